-- Runs of graphs between their steps: what each step has changed, and what finished tasks of an unfinished
-- step have said. The owner is a job, or a thread of jobs.

-- A row says what its step has changed, or, when base = n, all there was. `job_id` and `fence` are the
-- claim that wrote it: a later claim replaces what an earlier one left under the same number.
CREATE TABLE checkpoints (
        owner uuid NOT NULL,
        n bigint NOT NULL CHECK (n >= 1),
        base bigint NOT NULL CHECK (base BETWEEN 1 AND n),
        parent bigint NOT NULL CHECK (parent BETWEEN 0 AND n - 1),
        job_id uuid NOT NULL,
        fence bigint NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        step integer NOT NULL,
        source smallint NOT NULL,
        ns text NOT NULL COLLATE "C",
        place text NOT NULL,
        changes text NOT NULL,
        CHECK (base = n OR parent = n - 1),
        PRIMARY KEY (owner, ns, n)
);

CREATE TABLE checkpoint_tasks (
        owner uuid NOT NULL,
        n bigint NOT NULL,
        job_id uuid NOT NULL,
        fence bigint NOT NULL,
        place integer NOT NULL, -- of the task in its step
        ns text NOT NULL COLLATE "C",
        value text NOT NULL,
        PRIMARY KEY (owner, ns, n, place)
);

-- One batch of what belongs to jobs that are gone. The caller repeats it while `n` is `max_rows`.
CREATE FUNCTION aiplat_delete_checkpoints(keep_since timestamptz, max_rows integer,
                                          OUT outcome text, OUT n bigint)
        LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
        DELETE FROM checkpoint_tasks WHERE ctid = ANY (ARRAY(
                SELECT t.ctid FROM checkpoint_tasks t
                WHERE t.owner < aiplat_id_floor(keep_since) AND t.owner = t.job_id
                AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = t.owner) LIMIT max_rows));
        GET DIAGNOSTICS n = ROW_COUNT;
        outcome := 'deleted';
        IF n = max_rows THEN
                RETURN;
        END IF;
        DELETE FROM checkpoints WHERE ctid = ANY (ARRAY(
                SELECT c.ctid FROM checkpoints c
                WHERE c.owner < aiplat_id_floor(keep_since) AND c.owner = c.job_id
                AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = c.owner) LIMIT max_rows));
        GET DIAGNOSTICS n = ROW_COUNT;
END $$;

-- The plan of retention (0002), after the jobs also what was kept of their runs.
ALTER FUNCTION aiplat_retention_plan(interval, interval, interval) RENAME TO aiplat_plan_jobs;
CREATE FUNCTION aiplat_retention_plan(keep_jobs interval, keep_keys interval, width interval)
        RETURNS TABLE (name text, from_time timestamptz, until_time timestamptz, bytes bigint,
                       action text, statement text)
        LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
        SELECT * FROM aiplat_plan_jobs(keep_jobs, keep_keys, width)
        UNION ALL
        SELECT 'checkpoints', NULL, NULL,
               pg_total_relation_size('checkpoints') + pg_total_relation_size('checkpoint_tasks'),
               CASE WHEN keep_jobs IS NULL THEN 'kept' ELSE 'delete' END,
               format('SELECT * FROM %I.aiplat_delete_checkpoints(%L, 1000)', current_schema(),
                      now() - keep_jobs)
$$;
