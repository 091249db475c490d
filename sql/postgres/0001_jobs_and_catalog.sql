-- Jobs with their outbox and leases, and the catalog of configurations and templates.

CREATE TYPE job_status AS ENUM ('QUEUED', 'PROCESSING', 'COMPLETED', 'FAILED', 'CANCELLED',
                                'INTERRUPTED');

-- The id is a UUIDv7 made by the client, so rows are appended in the order of time and a range of ids
-- is a range of time: what has been kept long enough leaves with its partition (0002), not row by
-- row. Every further index is partial, so that millions of finished jobs cost nothing.
CREATE TABLE jobs (
        id uuid PRIMARY KEY,
        status job_status NOT NULL,
        version bigint NOT NULL CHECK (version >= 1),
        attempt integer NOT NULL CHECK (attempt >= 0),
        max_attempts integer NOT NULL,
        retry_delay_ms integer NOT NULL,
        prompt text NOT NULL,
        config_name text NOT NULL,
        template_name text NOT NULL,
        graph_name text NOT NULL,
        variables jsonb,
        metadata jsonb,
        input jsonb, -- for the graph
        trace_id text,
        result text,
        error_code text,
        error_message text,
        provider text,
        model_name text,
        input_tokens bigint NOT NULL DEFAULT 0,
        output_tokens bigint NOT NULL DEFAULT 0,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        run_at timestamptz NOT NULL,
        started_at timestamptz,
        finished_at timestamptz,
        is_delayed boolean NOT NULL DEFAULT false, -- run_at was in the future when it became QUEUED
        is_streamed boolean NOT NULL DEFAULT false, -- its run is told while it happens
        session uuid,                              -- of the worker, while PROCESSING
        questions text, -- a JSON list, while INTERRUPTED
        answers text,   -- a JSON object, an answer under the id of each question, until the run is over
        thread_id uuid,                       -- of 0005
        checkpoint bigint NOT NULL DEFAULT 0, -- of the thread, where it begins; 0: the last
        CHECK ((status = 'PROCESSING') = (session IS NOT NULL)),
        CHECK ((status = 'INTERRUPTED') = (questions IS NOT NULL))
) PARTITION BY RANGE (id);
-- By configuration, so that due work is taken evenly from all of them.
CREATE INDEX jobs_queued ON jobs (config_name, run_at) WHERE status = 'QUEUED';
CREATE INDEX jobs_delayed ON jobs (run_at) WHERE status = 'QUEUED' AND is_delayed;
CREATE INDEX jobs_processing ON jobs (session) WHERE status = 'PROCESSING';
CREATE INDEX jobs_interrupted ON jobs (id) WHERE status = 'INTERRUPTED';
-- Ids of times that no partition covers, and jobs that outlived the partition of their time.
CREATE TABLE jobs_default PARTITION OF jobs DEFAULT;

-- What happened to one job: its version orders its events.
CREATE TYPE job_transition AS (
        job_id uuid,
        version bigint,
        at timestamptz,
        kind text,
        from_status job_status,
        to_status job_status,
        attempt integer,
        is_runnable boolean, -- a worker may take the job now
        error_code text
);
-- One row a transaction with all its transitions, removed once they are published. To read it:
-- SELECT id, touched_at, t.* FROM outbox, unnest(transitions) t
CREATE TABLE outbox (
        id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        n integer NOT NULL CHECK (n = cardinality(transitions)),
        transitions job_transition[] NOT NULL,
        touched_at timestamptz NOT NULL DEFAULT now() -- written, or swept last
);
ALTER TABLE outbox ALTER transitions SET STORAGE EXTERNAL; -- gone in a moment: not worth compressing
CREATE INDEX outbox_touched ON outbox (touched_at);
ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
                        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 2000,
                        toast.autovacuum_vacuum_scale_factor = 0,
                        toast.autovacuum_vacuum_threshold = 20000);

-- Leases of workers. 'ending': taken away or given up, jobs are still to be moved; 'lost': a
-- tombstone, so that a worker that wakes up late cannot bring its session back.
CREATE TABLE worker_sessions (
        id uuid PRIMARY KEY,
        state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'ending', 'lost')),
        lease_until timestamptz NOT NULL,
        started_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX worker_sessions_live ON worker_sessions (lease_until) WHERE state <> 'lost';

CREATE TABLE idempotency_keys (
        key text PRIMARY KEY CHECK (octet_length(key) BETWEEN 1 AND 255),
        job_id uuid NOT NULL,
        fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 16), -- of the request
        created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);
-- Keys leave in the order of their age, in small batches:
ALTER TABLE idempotency_keys SET (autovacuum_vacuum_scale_factor = 0,
                                  autovacuum_vacuum_threshold = 50000);

CREATE TABLE llm_configs (
        id serial PRIMARY KEY,
        name varchar(255) UNIQUE NOT NULL
                CHECK (octet_length(name) BETWEEN 1 AND 255 AND name !~ '[[:cntrl:]]'
                       AND name !~ '^\s' AND name !~ '\s$'),
        provider varchar(100) NOT NULL CHECK (provider ~ '^[a-z][a-z0-9_-]{0,99}$'),
        model_name varchar(255) NOT NULL CHECK (octet_length(model_name) BETWEEN 1 AND 255),
        api_key_env varchar(255) NOT NULL DEFAULT ''
                CHECK (api_key_env ~ '^([A-Za-z_][A-Za-z0-9_]*)?$'),
        temperature double precision NOT NULL DEFAULT 0.7 CHECK (temperature BETWEEN 0.0 AND 2.0),
        max_tokens integer NOT NULL DEFAULT 4096 CHECK (max_tokens BETWEEN 1 AND 10000000),
        is_active boolean NOT NULL DEFAULT true,
        timeout_seconds double precision NOT NULL DEFAULT 120
                CHECK (timeout_seconds BETWEEN 0.001 AND 3600),
        base_url text CHECK (base_url ~ '^https?://'),
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE prompt_templates (
        id serial PRIMARY KEY,
        name varchar(255) UNIQUE NOT NULL
                CHECK (octet_length(name) BETWEEN 1 AND 255 AND name !~ '[[:cntrl:]]'
                       AND name !~ '^\s' AND name !~ '\s$'),
        content text NOT NULL CHECK (content ~ '\S' AND octet_length(content) <= 1048576),
        user_content text CHECK (octet_length(user_content) <= 1048576),
        description text,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE catalog_revision (
        is_single boolean PRIMARY KEY DEFAULT true CHECK (is_single),
        revision bigint NOT NULL
);
INSERT INTO catalog_revision (revision) VALUES (1);

CREATE FUNCTION aiplat_touch_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
        NEW.created_at := OLD.created_at;
        NEW.updated_at := now();
        RETURN NEW;
END $$;

-- Whoever changes the catalog, by whatever way, tells every process that listens. A statement that
-- changed no row is no change.
CREATE FUNCTION aiplat_catalog_changed() RETURNS trigger LANGUAGE plpgsql
        SET search_path FROM CURRENT AS $$
DECLARE
        raised bigint;
BEGIN
        IF TG_OP <> 'TRUNCATE' THEN
                PERFORM 1 FROM changed LIMIT 1;
                IF NOT FOUND THEN
                        RETURN NULL;
                END IF;
        END IF;
        UPDATE catalog_revision SET revision = revision + 1 RETURNING revision INTO raised;
        PERFORM pg_notify('aiplat_catalog', raised::text);
        RETURN NULL;
END $$;

CREATE TRIGGER llm_configs_touch BEFORE UPDATE ON llm_configs
        FOR EACH ROW EXECUTE FUNCTION aiplat_touch_row();
CREATE TRIGGER llm_configs_inserted AFTER INSERT ON llm_configs REFERENCING NEW TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION aiplat_catalog_changed();
CREATE TRIGGER llm_configs_updated AFTER UPDATE ON llm_configs REFERENCING NEW TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION aiplat_catalog_changed();
CREATE TRIGGER llm_configs_deleted AFTER DELETE ON llm_configs REFERENCING OLD TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION aiplat_catalog_changed();
CREATE TRIGGER llm_configs_truncated AFTER TRUNCATE ON llm_configs
        FOR EACH STATEMENT EXECUTE FUNCTION aiplat_catalog_changed();

CREATE TRIGGER prompt_templates_touch BEFORE UPDATE ON prompt_templates
        FOR EACH ROW EXECUTE FUNCTION aiplat_touch_row();
CREATE TRIGGER prompt_templates_inserted AFTER INSERT ON prompt_templates
        REFERENCING NEW TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION aiplat_catalog_changed();
CREATE TRIGGER prompt_templates_updated AFTER UPDATE ON prompt_templates
        REFERENCING NEW TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION aiplat_catalog_changed();
CREATE TRIGGER prompt_templates_deleted AFTER DELETE ON prompt_templates
        REFERENCING OLD TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION aiplat_catalog_changed();
CREATE TRIGGER prompt_templates_truncated AFTER TRUNCATE ON prompt_templates
        FOR EACH STATEMENT EXECUTE FUNCTION aiplat_catalog_changed();

INSERT INTO llm_configs (name, provider, model_name, api_key_env) VALUES
        ('default-smart', 'openai', 'gpt-4-turbo-preview', 'OPENAI_API_KEY'),
        ('default-fast', 'openai', 'gpt-3.5-turbo', 'OPENAI_API_KEY'),
        ('claude-opus', 'anthropic', 'claude-3-opus-20240229', 'ANTHROPIC_API_KEY'),
        ('claude-sonnet', 'anthropic', 'claude-3-5-sonnet-20241022', 'ANTHROPIC_API_KEY'),
        ('simulated', 'simulated', 'simulated', '');

INSERT INTO prompt_templates (name, content, description) VALUES
        ('default-assistant',
         'You are a careful, friendly assistant. Answer what was asked, plainly and correctly. '
         'When you are not sure, say so; when the question is ambiguous, state the reading you chose.',
         'General questions'),
        ('code-assistant',
         'You are an experienced software engineer. Give working, idiomatic code with the error '
         'handling it needs, name the language and version you assume, and explain in a few '
         'sentences why it is done this way. Point out mistakes in the code you are shown.',
         'Programming help'),
        ('creative-writer',
         'You are a writer with a sure feeling for rhythm, image and tone. Follow the form and '
         'length that were asked for, prefer the concrete to the general, and avoid worn phrases.',
         'Stories, poems, copy');
