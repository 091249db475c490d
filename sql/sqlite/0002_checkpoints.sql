-- Runs of graphs between their steps: what each step has changed, and what finished tasks of an unfinished
-- step have said. The owner is a job, or a thread of jobs.

-- A row says what its step has changed, or, when base = n, all there was. `job_id` and `fence` are the
-- claim that wrote it: a later claim replaces what an earlier one left under the same number.
CREATE TABLE checkpoints (
        owner BLOB NOT NULL CHECK (length(owner) = 16),
        ns TEXT NOT NULL,
        n INTEGER NOT NULL CHECK (n >= 1),
        base INTEGER NOT NULL CHECK (base BETWEEN 1 AND n),
        parent INTEGER NOT NULL CHECK (parent BETWEEN 0 AND n - 1),
        job_id BLOB NOT NULL,
        fence INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        step INTEGER NOT NULL,
        source INTEGER NOT NULL,
        place TEXT NOT NULL,
        changes TEXT NOT NULL,
        CHECK (base = n OR parent = n - 1),
        PRIMARY KEY (owner, ns, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoint_tasks (
        owner BLOB NOT NULL CHECK (length(owner) = 16),
        ns TEXT NOT NULL,
        n INTEGER NOT NULL,
        place INTEGER NOT NULL, -- of the task in its step
        job_id BLOB NOT NULL,
        fence INTEGER NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (owner, ns, n, place)
) STRICT, WITHOUT ROWID;
