-- Jobs with their outbox and leases, and the catalog of configurations and templates.
-- Times are microseconds since 1970-01-01 UTC; ids are the 16 bytes of a UUID.

-- Short columns first: what stands behind the long texts is only reached by reading through them.
-- Every index is partial, so that millions of finished jobs cost nothing.
CREATE TABLE jobs (
        id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
        status TEXT NOT NULL
                CHECK (status IN ('QUEUED', 'PROCESSING', 'COMPLETED', 'FAILED', 'CANCELLED',
                                  'INTERRUPTED')),
        version INTEGER NOT NULL CHECK (version >= 1),
        attempt INTEGER NOT NULL CHECK (attempt >= 0),
        max_attempts INTEGER NOT NULL,
        retry_delay_ms INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        run_at INTEGER NOT NULL,
        started_at INTEGER,
        finished_at INTEGER,
        is_delayed INTEGER NOT NULL DEFAULT 0, -- run_at was in the future when it became QUEUED
        is_streamed INTEGER NOT NULL DEFAULT 0, -- its run is told while it happens
        session BLOB,                          -- of the worker, while PROCESSING
        config_name TEXT NOT NULL,
        template_name TEXT NOT NULL,
        graph_name TEXT NOT NULL,
        trace_id TEXT,
        error_code TEXT,
        provider TEXT,
        model_name TEXT,
        input_tokens INTEGER NOT NULL DEFAULT 0,
        output_tokens INTEGER NOT NULL DEFAULT 0,
        error_message TEXT,
        variables TEXT,
        metadata TEXT,
        prompt TEXT NOT NULL,
        result TEXT,
        input TEXT, -- for the graph
        questions TEXT, -- a JSON list, while INTERRUPTED
        answers TEXT,   -- a JSON object, an answer under the id of each question, until the run is over
        thread_id BLOB,                        -- of 0004
        checkpoint INTEGER NOT NULL DEFAULT 0, -- of the thread, where it begins; 0: the last
        CHECK ((status = 'PROCESSING') = (session IS NOT NULL)),
        CHECK ((status = 'INTERRUPTED') = (questions IS NOT NULL))
) STRICT;
CREATE INDEX jobs_queued ON jobs (config_name, run_at) WHERE status = 'QUEUED';
CREATE INDEX jobs_delayed ON jobs (run_at) WHERE status = 'QUEUED' AND is_delayed = 1;
CREATE INDEX jobs_processing ON jobs (session) WHERE status = 'PROCESSING';

-- One row a transition, written with it, removed once it is published. AUTOINCREMENT: ids are never
-- used again, so that readers can tell from them how many rows they have missed.
CREATE TABLE outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id BLOB NOT NULL,
        version INTEGER NOT NULL,
        kind TEXT NOT NULL,
        from_status TEXT NOT NULL,
        to_status TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        is_runnable INTEGER NOT NULL,
        error_code TEXT,
        at INTEGER NOT NULL,
        touched_at INTEGER NOT NULL -- written, or swept last
) STRICT;
CREATE INDEX outbox_touched ON outbox (touched_at);

-- Leases of workers. A lost session stays as a tombstone, so that a worker that wakes up late cannot
-- bring it back.
CREATE TABLE worker_sessions (
        id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
        state TEXT NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'lost')),
        lease_until INTEGER NOT NULL,
        started_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency_keys (
        key TEXT NOT NULL PRIMARY KEY CHECK (length(CAST(key AS BLOB)) BETWEEN 1 AND 255),
        job_id BLOB NOT NULL,
        fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 16), -- of the request
        created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

CREATE TABLE llm_configs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE
                CHECK (length(CAST(name AS BLOB)) BETWEEN 1 AND 255 AND trim(name) = name
                       AND name NOT GLOB '*[' || char(1) || '-' || char(31) || char(127) || ']*'),
        provider TEXT NOT NULL
                CHECK (length(provider) <= 100 AND provider GLOB '[a-z]*'
                       AND provider NOT GLOB '*[^a-z0-9_-]*'),
        model_name TEXT NOT NULL CHECK (length(CAST(model_name AS BLOB)) BETWEEN 1 AND 255),
        api_key_env TEXT NOT NULL DEFAULT ''
                CHECK (api_key_env = '' OR (api_key_env GLOB '[A-Za-z_]*'
                                            AND api_key_env NOT GLOB '*[^A-Za-z0-9_]*')),
        temperature REAL NOT NULL DEFAULT 0.7 CHECK (temperature BETWEEN 0.0 AND 2.0),
        max_tokens INTEGER NOT NULL DEFAULT 4096 CHECK (max_tokens BETWEEN 1 AND 10000000),
        is_active INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
        timeout_seconds REAL NOT NULL DEFAULT 120 CHECK (timeout_seconds BETWEEN 0.001 AND 3600),
        base_url TEXT CHECK (base_url GLOB 'http://*' OR base_url GLOB 'https://*'),
        created_at INTEGER NOT NULL
                DEFAULT (CAST(strftime('%s', 'now') AS INTEGER) * 1000000
                         + CAST(substr(strftime('%f', 'now'), 4) AS INTEGER) * 1000),
        updated_at INTEGER NOT NULL
                DEFAULT (CAST(strftime('%s', 'now') AS INTEGER) * 1000000
                         + CAST(substr(strftime('%f', 'now'), 4) AS INTEGER) * 1000)
) STRICT;

CREATE TABLE prompt_templates (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE
                CHECK (length(CAST(name AS BLOB)) BETWEEN 1 AND 255 AND trim(name) = name
                       AND name NOT GLOB '*[' || char(1) || '-' || char(31) || char(127) || ']*'),
        content TEXT NOT NULL
                CHECK (trim(content, char(9, 10, 11, 12, 13, 32)) <> ''
                       AND length(CAST(content AS BLOB)) <= 1048576),
        user_content TEXT CHECK (length(CAST(user_content AS BLOB)) <= 1048576),
        description TEXT,
        created_at INTEGER NOT NULL
                DEFAULT (CAST(strftime('%s', 'now') AS INTEGER) * 1000000
                         + CAST(substr(strftime('%f', 'now'), 4) AS INTEGER) * 1000),
        updated_at INTEGER NOT NULL
                DEFAULT (CAST(strftime('%s', 'now') AS INTEGER) * 1000000
                         + CAST(substr(strftime('%f', 'now'), 4) AS INTEGER) * 1000)
) STRICT;

CREATE TABLE catalog_revision (
        is_single INTEGER PRIMARY KEY DEFAULT 1 CHECK (is_single = 1),
        revision INTEGER NOT NULL
) STRICT;
INSERT INTO catalog_revision (revision) VALUES (1);

-- Whoever changes the catalog, by whatever way, raises the revision; times are kept by the database.
CREATE TRIGGER llm_configs_inserted AFTER INSERT ON llm_configs BEGIN
        UPDATE catalog_revision SET revision = revision + 1;
END;
CREATE TRIGGER llm_configs_updated AFTER UPDATE ON llm_configs BEGIN
        UPDATE llm_configs
        SET created_at = OLD.created_at,
            updated_at = CAST(strftime('%s', 'now') AS INTEGER) * 1000000
                         + CAST(substr(strftime('%f', 'now'), 4) AS INTEGER) * 1000
        WHERE id = NEW.id;
        UPDATE catalog_revision SET revision = revision + 1;
END;
CREATE TRIGGER llm_configs_deleted AFTER DELETE ON llm_configs BEGIN
        UPDATE catalog_revision SET revision = revision + 1;
END;
CREATE TRIGGER prompt_templates_inserted AFTER INSERT ON prompt_templates BEGIN
        UPDATE catalog_revision SET revision = revision + 1;
END;
CREATE TRIGGER prompt_templates_updated AFTER UPDATE ON prompt_templates BEGIN
        UPDATE prompt_templates
        SET created_at = OLD.created_at,
            updated_at = CAST(strftime('%s', 'now') AS INTEGER) * 1000000
                         + CAST(substr(strftime('%f', 'now'), 4) AS INTEGER) * 1000
        WHERE id = NEW.id;
        UPDATE catalog_revision SET revision = revision + 1;
END;
CREATE TRIGGER prompt_templates_deleted AFTER DELETE ON prompt_templates BEGIN
        UPDATE catalog_revision SET revision = revision + 1;
END;

INSERT INTO llm_configs (name, provider, model_name, api_key_env) VALUES
        ('default-smart', 'openai', 'gpt-4-turbo-preview', 'OPENAI_API_KEY'),
        ('default-fast', 'openai', 'gpt-3.5-turbo', 'OPENAI_API_KEY'),
        ('claude-opus', 'anthropic', 'claude-3-opus-20240229', 'ANTHROPIC_API_KEY'),
        ('claude-sonnet', 'anthropic', 'claude-3-5-sonnet-20241022', 'ANTHROPIC_API_KEY'),
        ('simulated', 'simulated', 'simulated', '');

INSERT INTO prompt_templates (name, content, description) VALUES
        ('default-assistant',
         'You are a careful, friendly assistant. Answer what was asked, plainly and correctly. '
         || 'When you are not sure, say so; when the question is ambiguous, state the reading you chose.',
         'General questions'),
        ('code-assistant',
         'You are an experienced software engineer. Give working, idiomatic code with the error '
         || 'handling it needs, name the language and version you assume, and explain in a few '
         || 'sentences why it is done this way. Point out mistakes in the code you are shown.',
         'Programming help'),
        ('creative-writer',
         'You are a writer with a sure feeling for rhythm, image and tone. Follow the form and '
         || 'length that were asked for, prefer the concrete to the general, and avoid worn phrases.',
         'Stories, poems, copy');
