-- Every statement on the tasks, attempts and workers tables. Each `-- name:` is used by one function of
-- `transitions.py` or `reads.py`. An UPDATE that changes a status names the statuses that it may leave:
-- no row changed means that somebody else was first.

-- name: submit
INSERT INTO tasks (id, action, payload, created_at, run_at, priority, max_attempts, timeout, dispatch_id, dispatch_until)
VALUES (:id, :action, :payload, :created_at, :run_at, :priority, :max_attempts, :timeout, :dispatch_id, :dispatch_until);

-- name: mark_queued
UPDATE tasks SET status = 'queued', queued_at = :now, dispatch_id = NULL, dispatch_until = NULL
WHERE id = :id AND status = 'pending' AND dispatch_id = :dispatch_id;

-- name: lease_due
-- A dispatch lease that reaches further than leases last was given before the clock was set back.
UPDATE tasks SET dispatch_id = id || '.' || :token, dispatch_until = :now + :lease
WHERE seq IN (
    SELECT seq FROM tasks
    WHERE status = 'pending' AND priority = :priority AND run_at <= :now
      AND (dispatch_until IS NULL OR dispatch_until <= :now OR dispatch_until > :now + :lease)
    ORDER BY run_at
    LIMIT :limit
)
RETURNING id, dispatch_id, payload, priority;

-- name: claim
-- A pending task with a dispatch id was due when it was published, whatever the clock says now.
UPDATE tasks
SET status = 'running', attempt = attempt + 1, worker_id = :worker,
    queued_at = NULL, dispatch_id = NULL, dispatch_until = NULL
WHERE id = :id AND (status = 'queued' OR (status = 'pending' AND (run_at <= :now OR dispatch_id IS NOT NULL)))
RETURNING seq, attempt, action, payload, failures, max_attempts, timeout;

-- name: start_attempt
INSERT INTO attempts (task_seq, number, worker_id, started_at) VALUES (:seq, :attempt, :worker, :now);

-- name: end_attempt
UPDATE attempts SET ended_at = :now, outcome = :outcome, error = :error
WHERE task_seq = (SELECT seq FROM tasks WHERE id = :id) AND number = :attempt;

-- name: complete
UPDATE tasks SET status = 'completed', result = :result, error = NULL, processed_at = :now, worker_id = NULL
WHERE id = :id AND status = 'running' AND attempt = :attempt AND worker_id = :worker;

-- name: cancel_running
UPDATE tasks SET status = 'cancelled', error = :error, processed_at = :now, worker_id = NULL
WHERE id = :id AND status = 'running' AND attempt = :attempt AND worker_id = :worker AND cancel_requested = 1;

-- name: retry
UPDATE tasks
SET status = 'pending', error = :error, failures = failures + 1, run_at = :run_at, worker_id = NULL
WHERE id = :id AND status = 'running' AND attempt = :attempt AND worker_id = :worker;

-- name: fail
UPDATE tasks
SET status = 'failed', error = :error, failures = failures + 1, processed_at = :now, worker_id = NULL
WHERE id = :id AND status = 'running' AND attempt = :attempt AND worker_id = :worker;

-- name: release
UPDATE tasks SET status = 'pending', run_at = :now, worker_id = NULL
WHERE id = :id AND status = 'running' AND attempt = :attempt AND worker_id = :worker;

-- name: requeue
-- Those queued later than now were so before the clock was set back: nobody knows how long ago. What was queued
-- was due, so it is due now, whatever the clock says.
UPDATE tasks SET status = 'pending', queued_at = NULL, run_at = min(run_at, :now)
WHERE seq IN (
    SELECT seq FROM tasks WHERE status = 'queued' AND seq > :after AND (queued_at <= :queued_before OR queued_at > :now)
    ORDER BY seq LIMIT :limit
)
RETURNING seq;

-- name: cancel_waiting
UPDATE tasks
SET status = 'cancelled', processed_at = :now, cancel_requested = 1,
    queued_at = NULL, dispatch_id = NULL, dispatch_until = NULL
WHERE id = :id AND status IN ('pending', 'queued');

-- name: ask_to_cancel
UPDATE tasks SET cancel_requested = 1 WHERE id = :id AND status = 'running';

-- name: status
SELECT status FROM tasks WHERE id = :id;

-- name: beat
INSERT INTO workers (id, host, pid, consumers, prefetch, started_at, last_seen)
VALUES (:worker, :host, :pid, :consumers, :prefetch, :started_at, :now)
ON CONFLICT (id) DO UPDATE SET beat = beat + 1, last_seen = :now;

-- name: cancels_asked
SELECT id, attempt FROM tasks WHERE worker_id = :worker AND cancel_requested = 1;

-- name: worker_beats
SELECT id, beat FROM workers;

-- name: worker_beat
SELECT beat FROM workers WHERE id = :worker;

-- name: claims_of
SELECT id, attempt, worker_id AS worker, action, payload, failures, max_attempts, timeout
FROM tasks WHERE worker_id = :worker;

-- name: forget_worker
DELETE FROM workers WHERE id = :worker;

-- name: get
SELECT id, action, payload, status, result, error, created_at, run_at, processed_at,
       priority, attempt, failures, max_attempts, timeout, cancel_requested
FROM tasks WHERE id = :id;

-- name: attempts_of
SELECT number, worker_id AS worker, started_at, ended_at, outcome, error
FROM attempts WHERE task_seq = (SELECT seq FROM tasks WHERE id = :id) ORDER BY number;

-- name: newest
SELECT id, action, payload, status, result, error, created_at, run_at, processed_at,
       priority, attempt, failures, max_attempts, timeout, cancel_requested
FROM tasks ORDER BY seq DESC LIMIT :limit;

-- name: newest_with_status
SELECT id, action, payload, status, result, error, created_at, run_at, processed_at,
       priority, attempt, failures, max_attempts, timeout, cancel_requested
FROM tasks WHERE status = :status ORDER BY seq DESC LIMIT :limit;

-- name: schema_version
SELECT max(version) AS version FROM schema_migrations;
