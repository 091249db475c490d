-- Threads: jobs that run one after the other, each from the state in which the last one has left its
-- checkpoints (0003; the thread is their owner). A thread's row is locked by whoever gives it a job and
-- by whoever ends one, so that exactly one job of it is active at a time: has not ended, and does not
-- wait. One that waits is QUEUED and due at the end of all times. Whoever locks both locks threads first, in the
-- order of ids, then jobs in that of theirs.

CREATE TABLE threads (
        id uuid PRIMARY KEY,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now() -- when it was given a job, or a state, last
);

CREATE INDEX threads_created ON threads (created_at, id);

CREATE INDEX jobs_thread ON jobs (thread_id, id) WHERE thread_id IS NOT NULL;
CREATE INDEX jobs_thread_live ON jobs (thread_id, id)
        WHERE thread_id IS NOT NULL AND status IN ('QUEUED', 'PROCESSING', 'INTERRUPTED');

CREATE FUNCTION aiplat_waits() RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
        SELECT timestamptz '9999-12-31 23:59:59.999999+00'
$$;

-- However a job of a thread ends, the next one that waits is due, unless another is active. It is told of as
-- other delayed jobs are.
CREATE FUNCTION aiplat_next_in_thread() RETURNS trigger LANGUAGE plpgsql
        SET search_path FROM CURRENT AS $$
DECLARE
        next_id uuid;
BEGIN
        PERFORM 1 FROM threads WHERE id = NEW.thread_id FOR UPDATE;
        PERFORM 1 FROM jobs j WHERE j.thread_id = NEW.thread_id
                AND j.status IN ('QUEUED', 'PROCESSING', 'INTERRUPTED')
                AND NOT (j.status = 'QUEUED' AND j.run_at = aiplat_waits()) LIMIT 1;
        IF FOUND THEN
                RETURN NULL;
        END IF;
        SELECT j.id INTO next_id FROM jobs j WHERE j.thread_id = NEW.thread_id
                AND j.status IN ('QUEUED', 'PROCESSING', 'INTERRUPTED') ORDER BY j.id LIMIT 1;
        UPDATE jobs SET run_at = greatest(now(), created_at) WHERE id = next_id;
        RETURN NULL;
END $$;

CREATE TRIGGER jobs_next_in_thread AFTER UPDATE OF status ON jobs FOR EACH ROW
        WHEN (NEW.thread_id IS NOT NULL AND NEW.status IN ('COMPLETED', 'FAILED', 'CANCELLED'))
        EXECUTE FUNCTION aiplat_next_in_thread();

-- All jobs of a thread that have not ended are cancelled, and who runs them is told. Their events are published by
-- the next sweep. The number before the first checkpoint that one of them has made; none has: null.
CREATE FUNCTION aiplat_clear_thread(p_thread uuid, p_now timestamptz, p_silent text[])
        RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
        moved job_transition[];
BEGIN
        WITH held AS MATERIALIZED (SELECT j.id, j.status FROM jobs j WHERE j.thread_id = p_thread
                AND j.status IN ('QUEUED', 'PROCESSING', 'INTERRUPTED') ORDER BY j.id FOR UPDATE),
        gone AS (UPDATE jobs j SET status = 'CANCELLED', version = j.version + 1, session = NULL,
                is_delayed = false, questions = NULL, answers = NULL,
                updated_at = greatest(p_now, j.updated_at),
                finished_at = greatest(p_now, j.updated_at)
                FROM held h WHERE j.id = h.id AND j.id = ANY (ARRAY(SELECT id FROM held))
                RETURNING ROW(j.id, j.version, j.updated_at, 'cancelled', h.status, j.status,
                              j.attempt, false, NULL)::job_transition AS t)
        SELECT array_agg(t) INTO moved FROM gone;
        INSERT INTO outbox (n, transitions, touched_at)
                SELECT cardinality(moved), moved, now() - interval '1 hour'
                WHERE cardinality(moved) > 0 AND 'cancelled' <> ALL (p_silent);
        PERFORM pg_notify('aiplat_jobs_cancelled', string_agg(replace(job_id::text, '-', ''), ''))
                FROM (SELECT u.job_id, row_number() OVER () - 1 AS nth FROM unnest(moved) u) AS numbered
                GROUP BY nth / 240;
        RETURN (SELECT min(c.n) - 1 FROM checkpoints c WHERE c.owner = p_thread AND c.ns = ''
                AND c.job_id IN (SELECT u.job_id FROM unnest(moved) u));
END $$;

-- Store a new job of a thread. Outcome 0: stored; 3: the thread is busy, and the job would not wait. No row: it
-- is there already, or its key is taken. Strategies: 0 it waits, 1 it is refused, 2 and 3 the others are
-- cancelled, and with 3 it begins before what they did.
CREATE FUNCTION aiplat_create_in_thread(
        p_id uuid, p_key text, p_fingerprint bytea, p_max_attempts integer, p_retry_delay_ms integer,
        p_prompt text, p_config_name text, p_template_name text, p_graph_name text, p_variables text,
        p_metadata text, p_trace_id text, p_created_at timestamptz, p_is_streamed boolean, p_input text,
        p_thread uuid, p_checkpoint bigint, p_strategy integer, p_silent text[])
        RETURNS TABLE (job_id uuid, posted_id bigint, posted_n integer, outcome integer,
                       is_runnable boolean)
        LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
        is_busy boolean;
        before_all bigint;
BEGIN
        PERFORM 1 FROM jobs j WHERE j.id = p_id;
        IF FOUND THEN
                RETURN;
        END IF;
        IF p_key IS NOT NULL THEN
                INSERT INTO idempotency_keys AS k (key, job_id, fingerprint)
                        VALUES (p_key, p_id, p_fingerprint) ON CONFLICT (key) DO NOTHING;
                IF NOT FOUND THEN
                        RETURN;
                END IF;
        END IF;
        INSERT INTO threads AS t (id) VALUES (p_thread) ON CONFLICT (id) DO UPDATE SET updated_at = now();
        is_busy := EXISTS (SELECT FROM jobs j WHERE j.thread_id = p_thread
                AND j.status IN ('QUEUED', 'PROCESSING', 'INTERRUPTED'));
        job_id := p_id;
        outcome := 0;
        IF is_busy AND p_strategy = 1 THEN
                DELETE FROM idempotency_keys k WHERE k.key = p_key;
                outcome := 3;
                is_runnable := false;
                RETURN NEXT;
                RETURN;
        END IF;
        IF is_busy AND p_strategy >= 2 THEN
                before_all := aiplat_clear_thread(p_thread, p_created_at, p_silent);
                is_busy := false;
                IF p_strategy = 3 AND p_checkpoint = 0 AND before_all IS NOT NULL THEN
                        p_checkpoint := CASE before_all WHEN 0 THEN -1 ELSE before_all END;
                END IF;
        END IF;
        is_runnable := NOT is_busy;
        INSERT INTO jobs (id, status, version, attempt, max_attempts, retry_delay_ms, prompt,
                          config_name, template_name, graph_name, variables, metadata, trace_id,
                          created_at, updated_at, run_at, is_delayed, is_streamed, input, thread_id,
                          checkpoint)
                VALUES (p_id, 'QUEUED', 1, 0, p_max_attempts, p_retry_delay_ms, p_prompt,
                        p_config_name, p_template_name, p_graph_name, p_variables::jsonb,
                        p_metadata::jsonb, p_trace_id, p_created_at, p_created_at,
                        CASE WHEN is_busy THEN aiplat_waits() ELSE p_created_at END, is_busy,
                        p_is_streamed, p_input::jsonb, p_thread, p_checkpoint);
        INSERT INTO outbox AS o (n, transitions)
                SELECT 1, ARRAY[ROW(p_id, 1, p_created_at, 'created', 'QUEUED', 'QUEUED', 0,
                                    NOT is_busy, NULL)::job_transition]
                WHERE NOT is_busy OR 'created' <> ALL (p_silent)
                RETURNING o.id, o.n INTO posted_id, posted_n;
        RETURN NEXT;
END $$;

-- Store a state that no run has made, when none of the thread's jobs is active. 0: stored, or there already; 1: one
-- is; 2: another has the number.
CREATE FUNCTION aiplat_update_thread(
        p_thread uuid, p_n bigint, p_parent bigint, p_base bigint, p_job uuid, p_step integer,
        p_source integer, p_place text, p_changes text) RETURNS integer
        LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
        INSERT INTO threads AS t (id) VALUES (p_thread) ON CONFLICT (id) DO UPDATE SET updated_at = now();
        IF EXISTS (SELECT FROM jobs j WHERE j.thread_id = p_thread
                   AND j.status IN ('QUEUED', 'PROCESSING', 'INTERRUPTED')) THEN
                RETURN 1;
        END IF;
        INSERT INTO checkpoints (owner, ns, n, parent, base, job_id, fence, step, source, place, changes)
                VALUES (p_thread, '', p_n, p_parent, p_base, p_job, 0, p_step, p_source, p_place, p_changes)
                ON CONFLICT DO NOTHING;
        IF FOUND OR EXISTS (SELECT FROM checkpoints c WHERE c.owner = p_thread AND c.ns = '' AND c.n = p_n
                            AND c.fence = 0 AND c.place = p_place AND c.changes = p_changes) THEN
                RETURN 0;
        END IF;
        RETURN 2;
END $$;

-- One batch of threads that have not been used since then and whose jobs are gone, with their states. The caller
-- repeats it while `n` is `max_rows`.
CREATE FUNCTION aiplat_delete_threads(keep_since timestamptz, max_rows integer,
                                      OUT outcome text, OUT n bigint)
        LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
        gone uuid[];
BEGIN
        SELECT array_agg(id) INTO gone FROM (SELECT t.id FROM threads t WHERE t.updated_at < keep_since
                AND NOT EXISTS (SELECT FROM jobs j WHERE j.thread_id = t.id)
                LIMIT max_rows FOR UPDATE SKIP LOCKED) AS unused;
        DELETE FROM checkpoint_tasks WHERE owner = ANY (gone);
        DELETE FROM checkpoints WHERE owner = ANY (gone);
        DELETE FROM threads WHERE id = ANY (gone);
        n := coalesce(cardinality(gone), 0);
        outcome := 'deleted';
END $$;

-- The plan of retention (0003), after the runs also threads.
ALTER FUNCTION aiplat_retention_plan(interval, interval, interval) RENAME TO aiplat_plan_runs;
CREATE FUNCTION aiplat_retention_plan(keep_jobs interval, keep_keys interval, width interval)
        RETURNS TABLE (name text, from_time timestamptz, until_time timestamptz, bytes bigint,
                       action text, statement text)
        LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
        SELECT * FROM aiplat_plan_runs(keep_jobs, keep_keys, width)
        UNION ALL
        SELECT 'threads', NULL, NULL, pg_total_relation_size('threads'),
               CASE WHEN keep_jobs IS NULL THEN 'kept' ELSE 'delete' END,
               format('SELECT * FROM %I.aiplat_delete_threads(%L, 1000)', current_schema(),
                      now() - keep_jobs)
$$;
