-- Partitions of `jobs`: made ahead of time, dropped when all in them has been kept long enough. Each
-- function is one short transaction; housekeeping (retention.c) calls them one by one, and so may an
-- operator. None waits longer than 100 ms for a lock on `jobs`, so that nobody waits behind it for
-- longer: it says that it could not and is called again later.

-- The lowest id of a time, and the time of an id (UUIDv7: milliseconds first).
CREATE FUNCTION aiplat_id_floor(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT AS $$
        SELECT (lpad(to_hex(greatest(floor(extract(epoch FROM at) * 1000), 0)::bigint), 12, '0')
                || repeat('0', 20))::uuid
$$;

CREATE FUNCTION aiplat_id_time(id uuid) RETURNS timestamptz LANGUAGE sql IMMUTABLE STRICT AS $$
        SELECT to_timestamp(('x' || lpad(left(replace(id::text, '-', ''), 12), 16, '0'))::bit(64)::bigint
                            / 1000.0)
$$;

-- Every partition, oldest first; the default one last, without bounds.
CREATE FUNCTION aiplat_partitions()
        RETURNS TABLE (name text, from_id uuid, until_id uuid, bytes bigint) LANGUAGE sql STABLE
        SET search_path FROM CURRENT AS $$
        SELECT c.relname::text, bounds[1]::uuid, bounds[2]::uuid, pg_total_relation_size(c.oid)
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        LEFT JOIN LATERAL regexp_match(pg_get_expr(c.relpartbound, c.oid),
                                       $re$FROM \('([^']+)'\) TO \('([^']+)'\)$re$) AS bounds ON true
        WHERE i.inhparent = 'jobs'::regclass AND NOT i.inhdetachpending ORDER BY bounds[1]::uuid
$$;

-- The ranges that are still to be made, up to `ahead` from now. One begins where the last ends, or at
-- a multiple of `width`.
CREATE FUNCTION aiplat_partitions_to_make(width interval, ahead interval)
        RETURNS TABLE (from_time timestamptz, until_time timestamptz) LANGUAGE plpgsql STABLE
        SET search_path FROM CURRENT AS $$
DECLARE
        seconds bigint := extract(epoch FROM width)::bigint;
        edge bigint := floor(extract(epoch FROM now()) / seconds)::bigint * seconds;
        last bigint;
BEGIN
        SELECT extract(epoch FROM aiplat_id_time(max(until_id::text)::uuid))::bigint INTO last
        FROM aiplat_partitions();
        IF last > edge THEN
                edge := last;
        END IF;
        WHILE edge <= extract(epoch FROM now() + ahead) LOOP
                from_time := to_timestamp(edge);
                edge := (edge / seconds + 1) * seconds;
                until_time := to_timestamp(edge);
                RETURN NEXT;
        END LOOP;
END $$;

-- Make one. Rows of its range that had to go to the default partition move into it. Traffic goes on:
-- attaching locks the default partition alone against it. Answers 'made', 'exists', 'busy' (a lock
-- was not to be had) or 'crowded' (too many rows in the default partition; the range stays there).
CREATE FUNCTION aiplat_make_partition(from_time timestamptz, until_time timestamptz,
                                      max_moved integer DEFAULT 5000)
        RETURNS text LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
        low uuid := aiplat_id_floor(from_time);
        high uuid := aiplat_id_floor(until_time);
        part text := 'jobs_' || to_char(from_time AT TIME ZONE 'UTC', 'YYYYMMDD_HH24MI');
BEGIN
        PERFORM set_config('lock_timeout', '100ms', true);
        PERFORM pg_advisory_xact_lock(702195862, hashtext(current_schema()));
        IF EXISTS (SELECT 1 FROM aiplat_partitions() p WHERE p.from_id < high AND p.until_id > low) THEN
                RETURN 'exists';
        END IF;
        IF (SELECT count(*) FROM (SELECT 1 FROM jobs_default WHERE id >= low AND id < high
                                  LIMIT max_moved + 1) AS misplaced) > max_moved THEN
                RETURN 'crowded';
        END IF;
        EXECUTE format('CREATE TABLE %I (LIKE jobs INCLUDING DEFAULTS INCLUDING CONSTRAINTS) WITH ('
                       -- a row is written three times in its life
                       'autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05)',
                       part);
        EXECUTE format('ALTER TABLE %I OWNER TO %I', part,
                       (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'jobs'::regclass));
        -- The parent before its partitions, as everybody does.
        LOCK TABLE ONLY jobs IN SHARE UPDATE EXCLUSIVE MODE;
        LOCK TABLE jobs_default IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('WITH moved AS (DELETE FROM jobs_default WHERE id >= $1 AND id < $2 RETURNING *) '
                       'INSERT INTO %I SELECT * FROM moved', part) USING low, high;
        EXECUTE format('ALTER TABLE jobs ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                       part, low, high);
        RETURN 'made';
EXCEPTION WHEN lock_not_available THEN
        RETURN 'busy';
END $$;

-- Drop one whose time is over. Jobs in it that have not ended, or not before `keep_since`, move to the
-- default partition: an accepted job is never lost. They are looked for before anything is locked.
-- Answers how it ended: 'dropped', 'young', 'busy', 'crowded' (too many to move) or 'gone'.
CREATE FUNCTION aiplat_drop_partition(part text, keep_since timestamptz,
                                      max_moved integer DEFAULT 5000,
                                      OUT outcome text, OUT moved bigint)
        LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
        bound uuid;
        kept uuid[];
BEGIN
        moved := 0;
        SELECT p.until_id INTO bound FROM aiplat_partitions() p WHERE p.name = part;
        IF bound IS NULL OR bound > aiplat_id_floor(keep_since) THEN
                outcome := CASE WHEN bound IS NULL THEN 'gone' ELSE 'young' END;
                RETURN;
        END IF;
        EXECUTE format('SELECT array_agg(id) FROM (SELECT id FROM %I WHERE finished_at IS NULL '
                       'OR finished_at >= $1 LIMIT $2 + 1) AS late', part)
                INTO kept USING keep_since, max_moved;
        IF cardinality(kept) > max_moved THEN
                outcome := 'crowded';
                RETURN;
        END IF;
        PERFORM set_config('lock_timeout', '100ms', true);
        LOCK TABLE ONLY jobs IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', part);
        LOCK TABLE jobs_default IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('ALTER TABLE jobs DETACH PARTITION %I', part);
        -- Those that came meanwhile are found through the indexes of live jobs.
        EXECUTE format('INSERT INTO jobs SELECT * FROM %1$I WHERE id = ANY ($1) UNION '
                       'SELECT * FROM %1$I WHERE status = ''QUEUED'' UNION '
                       'SELECT * FROM %1$I WHERE status = ''PROCESSING'' UNION '
                       'SELECT * FROM %1$I WHERE status = ''INTERRUPTED''', part)
                USING coalesce(kept, '{}');
        GET DIAGNOSTICS moved = ROW_COUNT;
        EXECUTE format('DROP TABLE %I', part);
        outcome := 'dropped';
EXCEPTION WHEN lock_not_available THEN
        moved := 0;
        outcome := 'busy';
END $$;

-- One small batch of what no partition takes along: jobs of the default partition that ended before
-- `keep_since`, keys older than it. The caller repeats it while `n` is `max_rows`.
CREATE FUNCTION aiplat_delete_ended(keep_since timestamptz, max_rows integer,
                                    OUT outcome text, OUT n bigint)
        LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
        DELETE FROM jobs_default WHERE id = ANY (ARRAY(
                SELECT d.id FROM jobs_default d WHERE d.finished_at < keep_since
                LIMIT max_rows FOR UPDATE SKIP LOCKED));
        GET DIAGNOSTICS n = ROW_COUNT;
        outcome := 'deleted';
END $$;

CREATE FUNCTION aiplat_delete_keys(keep_since timestamptz, max_rows integer,
                                   OUT outcome text, OUT n bigint)
        LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
        DELETE FROM idempotency_keys WHERE key = ANY (ARRAY(
                SELECT k.key FROM idempotency_keys k WHERE k.created_at < keep_since
                ORDER BY k.created_at LIMIT max_rows FOR UPDATE SKIP LOCKED));
        GET DIAGNOSTICS n = ROW_COUNT;
        outcome := 'deleted';
END $$;

-- What retention has to do, in order, each with the statement that does it (NULL: nothing). It answers
-- an outcome and a number. NULL for `keep_jobs` or `keep_keys` keeps them for ever.
CREATE FUNCTION aiplat_retention_plan(keep_jobs interval, keep_keys interval, width interval)
        RETURNS TABLE (name text, from_time timestamptz, until_time timestamptz, bytes bigint,
                       action text, statement text)
        LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
        SELECT 'new partition', m.from_time, m.until_time, 0::bigint, 'make',
               format('SELECT %I.aiplat_make_partition(%L, %L), 0::bigint', current_schema(),
                      m.from_time, m.until_time)
        FROM aiplat_partitions_to_make(width, 2 * width) m
        UNION ALL
        SELECT p.name, aiplat_id_time(p.from_id), aiplat_id_time(p.until_id), p.bytes,
               CASE WHEN p.until_id <= aiplat_id_floor(now() - keep_jobs) THEN 'drop' ELSE 'kept' END,
               CASE WHEN p.until_id <= aiplat_id_floor(now() - keep_jobs) THEN
                    format('SELECT * FROM %I.aiplat_drop_partition(%L, %L)', current_schema(), p.name,
                           now() - keep_jobs) END
        FROM aiplat_partitions() p WHERE p.from_id IS NOT NULL
        UNION ALL
        SELECT p.name, NULL, NULL, p.bytes, CASE WHEN keep_jobs IS NULL THEN 'kept' ELSE 'delete' END,
               format('SELECT * FROM %I.aiplat_delete_ended(%L, 1000)', current_schema(),
                      now() - keep_jobs)
        FROM aiplat_partitions() p WHERE p.from_id IS NULL
        UNION ALL
        SELECT 'idempotency_keys', NULL, NULL, pg_total_relation_size('idempotency_keys'),
               CASE WHEN keep_keys IS NULL THEN 'kept' ELSE 'delete' END,
               format('SELECT * FROM %I.aiplat_delete_keys(%L, 1000)', current_schema(),
                      now() - keep_keys)
$$;

-- The first, of the week that it is; housekeeping makes the next ones as wide as its setting says.
SELECT aiplat_make_partition(from_time, until_time)
FROM aiplat_partitions_to_make(interval '7 days', interval '0');
