-- Threads: jobs that run one after the other, each from the state in which the last one has left its
-- checkpoints (0002; the thread is their owner). One job of a thread is active at a time: has not
-- ended, and does not wait. One that waits is QUEUED and due at the end of all times.

CREATE TABLE threads (
        id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL -- when it was given a job, or a state, last
) STRICT, WITHOUT ROWID;

CREATE INDEX threads_created ON threads (created_at, id);

CREATE INDEX jobs_thread ON jobs (thread_id, id) WHERE thread_id IS NOT NULL;
CREATE INDEX jobs_thread_live ON jobs (thread_id, id)
        WHERE thread_id IS NOT NULL AND status IN ('QUEUED', 'PROCESSING', 'INTERRUPTED');

-- However a job of a thread ends, the next one that waits is due, unless another is active. It is told of as
-- other delayed jobs are.
CREATE TRIGGER jobs_next_in_thread AFTER UPDATE OF status ON jobs
WHEN NEW.thread_id IS NOT NULL AND NEW.status IN ('COMPLETED', 'FAILED', 'CANCELLED')
        AND NOT EXISTS (SELECT 1 FROM jobs WHERE thread_id = NEW.thread_id
                        AND status IN ('QUEUED', 'PROCESSING', 'INTERRUPTED')
                        AND NOT (status = 'QUEUED' AND run_at = 253402300799999999))
BEGIN
        UPDATE jobs SET run_at = max(NEW.updated_at, created_at)
        WHERE id = (SELECT id FROM jobs WHERE thread_id = NEW.thread_id
                    AND status IN ('QUEUED', 'PROCESSING', 'INTERRUPTED') ORDER BY id LIMIT 1);
END;

CREATE TRIGGER threads_states AFTER DELETE ON threads
BEGIN
        DELETE FROM checkpoint_tasks WHERE owner = OLD.id;
        DELETE FROM checkpoints WHERE owner = OLD.id;
END;
