-- Every statement on the tables but those of pages, which `find.py` makes. Each `-- name:` is used by one
-- function of `transitions.py`, `many.py` or `reader.py`. An UPDATE that changes a status names the statuses that it may leave:
-- no row changed means that somebody else was first.

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

-- name: idempotent_answer
SELECT fingerprint, answer FROM idempotency_keys WHERE key = :key AND created_at > :expired;

-- name: keep_answer
INSERT INTO idempotency_keys (key, fingerprint, answer, created_at)
VALUES (:key, :fingerprint, :answer, :now)
ON CONFLICT (key) DO UPDATE SET
    fingerprint = excluded.fingerprint, answer = excluded.answer, created_at = excluded.created_at;

-- name: amend_answer
UPDATE idempotency_keys SET answer = :answer WHERE key = :key AND fingerprint = :fingerprint;

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

-- name: prune_tasks
DELETE FROM tasks WHERE seq IN (
    SELECT seq FROM tasks WHERE status = :status AND processed_at < :before ORDER BY processed_at LIMIT :limit
) AND status IN ('completed', 'failed', 'cancelled');

-- name: prune_events
DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE at < :before ORDER BY at LIMIT :limit);

-- name: prune_idempotency_keys
DELETE FROM idempotency_keys WHERE key IN (
    SELECT key FROM idempotency_keys WHERE created_at < :before ORDER BY created_at LIMIT :limit
);

-- name: prune_minute_counts
DELETE FROM minute_counts WHERE (minute, action, what) IN (
    SELECT minute, action, what FROM minute_counts WHERE minute < :before / 60000 LIMIT :limit
);

-- name: prune_minute_times
DELETE FROM minute_times WHERE (minute, action, what, bound) IN (
    SELECT minute, action, what, bound FROM minute_times WHERE minute < :before / 60000 LIMIT :limit
);

-- name: status
SELECT status FROM tasks WHERE id = :id;

-- name: beat
INSERT INTO workers (id, host, pid, consumers, prefetch, actions, started_at, last_seen)
VALUES (:worker, :host, :pid, :consumers, :prefetch, :actions, :started_at, :now)
ON CONFLICT (id) DO UPDATE SET beat = beat + 1, last_seen = :now;

-- name: cancels_asked
SELECT id, attempt FROM tasks WHERE worker_id = :worker AND cancel_requested = 1;

-- name: worker_beats
SELECT id, beat FROM workers;

-- name: worker_beat
SELECT beat FROM workers WHERE id = :worker;

-- name: claims_of
SELECT id, attempt, worker_id AS worker, action, payload, failures, max_attempts, timeout, request_id
FROM tasks WHERE worker_id = :worker;

-- name: forget_worker
DELETE FROM workers WHERE id = :worker;

-- name: get
SELECT id, action, payload, status, result, error, created_at, run_at, processed_at,
       priority, attempt, failures, max_attempts, timeout, cancel_requested, tags, progress, request_id
FROM tasks WHERE id = :id;

-- name: page
-- `:seqs` is a JSON array.
SELECT seq, id, action, payload, status, result, error, created_at, run_at, processed_at,
       priority, attempt, failures, max_attempts, timeout, cancel_requested, tags, progress, request_id
FROM tasks WHERE seq IN (SELECT value FROM json_each(:seqs)) ORDER BY seq DESC;

-- name: attempts_of
SELECT number, worker_id AS worker, started_at, ended_at, outcome, error, request_id
FROM attempts WHERE task_seq = (SELECT seq FROM tasks WHERE id = :id) ORDER BY number;

-- name: none_created_since_below
SELECT min(range) * 1000 AS seq FROM created_ranges WHERE last >= :at;

-- name: none_created_before_from
SELECT (max(range) + 1) * 1000 AS seq FROM created_ranges WHERE first < :at;

-- name: events_after
SELECT seq, at, task_id, action, tags, status, attempt, progress
FROM events WHERE seq > :after ORDER BY seq LIMIT :limit;

-- name: end_event
SELECT max(seq) AS seq FROM events
WHERE task_id = :id AND status IN ('completed', 'failed', 'cancelled') AND progress IS NULL;

-- name: first_event
SELECT min(seq) AS seq FROM events;

-- name: last_event
SELECT seq FROM sqlite_sequence WHERE name = 'events';

-- name: data_version
PRAGMA data_version;

-- name: status_counts
SELECT status, tasks FROM status_counts;

-- name: waiting_count
SELECT total(tasks) AS tasks FROM status_counts WHERE status IN ('pending', 'queued');

-- name: oldest_waiting
-- `pending` and due, or `queued`; by the index of each.
SELECT min(run_at) AS run_at FROM (
    SELECT min(run_at) AS run_at FROM tasks WHERE status = 'pending' AND priority = 8 AND run_at <= :now
    UNION ALL
    SELECT min(run_at) FROM tasks WHERE status = 'pending' AND priority = 4 AND run_at <= :now
    UNION ALL
    SELECT min(run_at) FROM tasks WHERE status = 'pending' AND priority = 0 AND run_at <= :now
    UNION ALL
    SELECT min(run_at) FROM tasks INDEXED BY tasks_queued WHERE status = 'queued'
);

-- name: minute_counts
SELECT minute, what, sum(tasks) AS tasks FROM minute_counts WHERE minute >= :since GROUP BY minute, what;

-- name: minute_times
SELECT what, bound, sum(attempts) AS attempts FROM minute_times
WHERE minute >= :since GROUP BY what, bound ORDER BY what, bound;

-- name: busiest_actions
SELECT action FROM (
    SELECT action, tasks AS number FROM minute_counts WHERE minute >= :since
    UNION ALL
    SELECT action, attempts FROM minute_times WHERE minute >= :since
)
GROUP BY action ORDER BY sum(number) DESC, action LIMIT :limit;

-- name: action_counts
-- `:names` is a JSON array.
SELECT action, what, sum(tasks) AS tasks FROM minute_counts
WHERE minute >= :since AND action IN (SELECT value FROM json_each(:names)) GROUP BY action, what;

-- name: action_times
SELECT action, what, bound, sum(attempts) AS attempts FROM minute_times
WHERE minute >= :since AND action IN (SELECT value FROM json_each(:names))
GROUP BY action, what, bound ORDER BY action, what, bound;

-- name: workers
SELECT id, host, pid, consumers, prefetch, actions, started_at, last_seen FROM workers ORDER BY started_at;

-- name: running
SELECT id, action, attempt, worker_id AS worker FROM tasks WHERE worker_id IS NOT NULL;

-- name: schema_version
SELECT max(version) AS version FROM schema_migrations;
