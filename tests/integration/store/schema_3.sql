-- What programs on schema 3 run, as it was released: a program that still runs when the schema is 4 runs this.

-- name: submit
INSERT INTO tasks (
    id, action, payload, created_at, run_at, priority, max_attempts, timeout, tags, request_id,
    dispatch_id, dispatch_until
)
VALUES (
    :id, :action, :payload, :created_at, :run_at, :priority, :max_attempts, :timeout, :tags, :request_id,
    :dispatch_id, :dispatch_until
)
RETURNING seq;

-- name: tag
INSERT INTO task_tags (tag, task_seq) VALUES (:tag, :seq);

-- name: keep_answer
INSERT INTO idempotency_keys (key, fingerprint, answer, created_at)
VALUES (:key, :fingerprint, :answer, :now)
ON CONFLICT (key) DO UPDATE SET
    fingerprint = excluded.fingerprint, answer = excluded.answer, created_at = excluded.created_at;

-- name: mark_queued
UPDATE tasks SET status = 'queued', queued_at = :now, dispatch_id = NULL, dispatch_until = NULL
WHERE id = :id AND status = 'pending' AND dispatch_id = :dispatch_id;

-- name: claim
UPDATE tasks
SET status = 'running', attempt = attempt + 1, worker_id = :worker,
    queued_at = NULL, dispatch_id = NULL, dispatch_until = NULL, progress = NULL
WHERE id = :id AND (status = 'queued' OR (status = 'pending' AND (run_at <= :now OR dispatch_id IS NOT NULL)))
RETURNING seq, attempt, action, payload, failures, max_attempts, timeout, request_id;

-- name: start_attempt
INSERT INTO attempts (task_seq, number, worker_id, started_at, request_id)
VALUES (:seq, :attempt, :worker, :now, :request_id);

-- name: end_attempt
UPDATE attempts SET ended_at = :now, outcome = :outcome, error = :error
WHERE task_seq = (SELECT seq FROM tasks WHERE id = :id) AND number = :attempt;

-- name: complete
UPDATE tasks SET status = 'completed', result = :result, error = NULL, processed_at = :now, worker_id = NULL
WHERE id = :id AND status = 'running' AND attempt = :attempt AND worker_id = :worker;

-- name: retry
UPDATE tasks
SET status = 'pending', error = :error, failures = failures + 1, run_at = :run_at, worker_id = NULL
WHERE id = :id AND status = 'running' AND attempt = :attempt AND worker_id = :worker;

-- name: fail
UPDATE tasks
SET status = 'failed', error = :error, failures = failures + 1, processed_at = :now, worker_id = NULL
WHERE id = :id AND status = 'running' AND attempt = :attempt AND worker_id = :worker;

-- name: cancel_waiting
UPDATE tasks
SET status = 'cancelled', processed_at = :now, cancel_requested = 1,
    queued_at = NULL, dispatch_id = NULL, dispatch_until = NULL
WHERE id = :id AND status IN ('pending', 'queued');

-- name: ask_to_cancel
UPDATE tasks SET cancel_requested = 1 WHERE id = :id AND status = 'running';

-- name: rerun
UPDATE tasks
SET status = 'pending', run_at = :now, failures = 0, cancel_requested = 0, error = NULL, processed_at = NULL,
    request_id = :request_id
WHERE id = :id AND status IN ('failed', 'cancelled');

-- name: delete
DELETE FROM tasks WHERE id = :id AND status IN ('completed', 'failed', 'cancelled');

-- name: tell_progress
UPDATE tasks SET progress = :progress
WHERE id = :id AND status = 'running' AND attempt = :attempt AND worker_id = :worker;

-- name: beat
INSERT INTO workers (id, host, pid, consumers, prefetch, actions, started_at, last_seen)
VALUES (:worker, :host, :pid, :consumers, :prefetch, :actions, :started_at, :now)
ON CONFLICT (id) DO UPDATE SET beat = beat + 1, last_seen = :now;

-- name: cancels_asked
SELECT id, attempt FROM tasks WHERE worker_id = :worker AND cancel_requested = 1;

-- name: get
SELECT id, action, payload, status, result, error, created_at, run_at, processed_at,
       priority, attempt, failures, max_attempts, timeout, cancel_requested, tags, progress, request_id
FROM tasks WHERE id = :id;

-- name: attempts_of
SELECT number, worker_id AS worker, started_at, ended_at, outcome, error, request_id
FROM attempts WHERE task_seq = (SELECT seq FROM tasks WHERE id = :id) ORDER BY number;
