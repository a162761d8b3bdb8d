-- A task costs fewer changes: its last attempt stands in its own row, events are narrow, and what triggers did is
-- written by the programs, once a transaction.
--
-- Programs of an older version may still run. The table of tasks has a new name, so that they find none, answer 503
-- and hold what they have, rather than write past the new counters and events.

DROP TRIGGER range_of_new_task;
DROP TRIGGER event_of_new_task;
DROP TRIGGER event_of_status;
DROP TRIGGER event_of_progress;
DROP TRIGGER count_new_task;
DROP TRIGGER count_status;
DROP TRIGGER count_deleted_task;
DROP TRIGGER count_accepted;
DROP TRIGGER count_final;
DROP TRIGGER time_wait;
DROP TRIGGER time_run;
DROP TABLE time_bounds;

-- References of other tables follow this name, and stay with it.
ALTER TABLE tasks RENAME TO task;

CREATE TABLE new_task (
    -- The order of acceptance; lists are keyed by it. Never used again, so no task inherits another's events.
    seq              INTEGER PRIMARY KEY AUTOINCREMENT,
    id               TEXT    NOT NULL UNIQUE,
    action           TEXT    NOT NULL,
    payload          TEXT    NOT NULL,
    status           TEXT    NOT NULL
        CHECK (status IN ('pending', 'queued', 'running', 'completed', 'failed', 'cancelled')),
    result           TEXT,
    error            TEXT,
    created_at       INTEGER NOT NULL,
    processed_at     INTEGER,
    -- Not to be started earlier.
    run_at           INTEGER NOT NULL,
    priority         INTEGER NOT NULL,
    max_attempts     INTEGER NOT NULL CHECK (max_attempts >= 1),
    timeout          INTEGER CHECK (timeout > 0),
    -- Numbers the claims, and is the fence: it never goes back.
    attempt          INTEGER NOT NULL DEFAULT 0,
    -- The attempts that count against max_attempts.
    failures         INTEGER NOT NULL DEFAULT 0,
    -- Restricts the deletion of a worker that still has a running task.
    worker_id        TEXT    REFERENCES workers (id),
    queued_at        INTEGER,
    -- Who publishes it may, and nobody else, until then.
    dispatch_id      TEXT,
    dispatch_until   INTEGER,
    cancel_requested INTEGER NOT NULL DEFAULT 0 CHECK (cancel_requested IN (0, 1)),
    tags             TEXT    NOT NULL DEFAULT '[]',
    -- JSON text, {"fraction", "message"}, told by the handler of the present or last attempt.
    progress         TEXT,
    -- Which request submitted it, or retried it last.
    request_id       TEXT,
    -- The present or last attempt; a claim moves the one before to `attempts`.
    attempt_worker     TEXT,
    attempt_started    INTEGER,
    attempt_ended      INTEGER,
    attempt_outcome    TEXT
        CHECK (attempt_outcome IN ('ok', 'error', 'timeout', 'worker_lost', 'shutdown', 'cancelled')),
    attempt_error      TEXT,
    attempt_request_id TEXT,

    CHECK ((processed_at IS NOT NULL) = (status IN ('completed', 'failed', 'cancelled'))),
    CHECK ((result IS NOT NULL) = (status = 'completed')),
    CHECK ((worker_id IS NOT NULL) = (status = 'running')),
    CHECK ((queued_at IS NOT NULL) = (status = 'queued')),
    CHECK ((dispatch_id IS NULL) = (dispatch_until IS NULL)),
    CHECK (dispatch_id IS NULL OR status IN ('pending', 'queued')),
    CHECK (status <> 'failed' OR error IS NOT NULL),
    CHECK ((attempt_worker IS NULL) = (attempt_started IS NULL)),
    CHECK ((attempt_ended IS NULL) = (attempt_outcome IS NULL)),
    CHECK (attempt_ended IS NULL OR attempt_started IS NOT NULL),
    CHECK (status <> 'running' OR (attempt_started IS NOT NULL AND attempt_ended IS NULL))
) STRICT;

-- What waited to be marked was published, and is due: the relay publishes it once more.
INSERT INTO new_task (
    seq, id, action, payload, status, result, error, created_at, processed_at, run_at, priority, max_attempts,
    timeout, attempt, failures, worker_id, queued_at, cancel_requested, tags, progress, request_id,
    attempt_worker, attempt_started, attempt_request_id
)
SELECT
    task.seq, id, action, payload, status, result, task.error, created_at, processed_at,
    CASE WHEN dispatch_id IS NULL THEN run_at ELSE min(run_at, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)) END,
    priority, max_attempts, timeout, attempt, failures, task.worker_id, queued_at, cancel_requested, tags, progress,
    task.request_id, attempts.worker_id, attempts.started_at, attempts.request_id
FROM task
LEFT JOIN attempts ON status = 'running' AND task_seq = task.seq AND number = attempt
ORDER BY task.seq;
DELETE FROM attempts WHERE ended_at IS NULL;

DROP TABLE task;
ALTER TABLE new_task RENAME TO task;

CREATE INDEX task_by_status ON task (status, seq);
CREATE INDEX task_by_action ON task (action, status, seq);
CREATE INDEX task_by_end ON task (status, processed_at) WHERE processed_at IS NOT NULL;
CREATE INDEX task_by_worker ON task (worker_id) WHERE worker_id IS NOT NULL;
CREATE INDEX task_due ON task (priority, run_at) WHERE status = 'pending';
CREATE INDEX task_queued ON task (priority, queued_at) WHERE status = 'queued';
CREATE INDEX task_leased ON task (dispatch_until) WHERE status = 'queued' AND dispatch_until IS NOT NULL;

-- Events: numbers go on, so that a client can resume; those of deleted tasks are gone.
CREATE TABLE new_events (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    task_seq INTEGER NOT NULL,
    status   TEXT    NOT NULL,
    attempt  INTEGER NOT NULL,
    -- Set where the handler told its progress; else the status has changed.
    progress TEXT
) STRICT;
INSERT INTO new_events (seq, at, task_seq, status, attempt, progress)
SELECT events.seq, at, task.seq, events.status, events.attempt, events.progress
FROM events JOIN task ON task.id = events.task_id
ORDER BY events.seq;
-- There is no row to be raised where nothing was copied.
DELETE FROM sqlite_sequence WHERE name = 'new_events';
INSERT INTO sqlite_sequence (name, seq) SELECT 'new_events', seq FROM sqlite_sequence WHERE name = 'events';
DROP TABLE events;
ALTER TABLE new_events RENAME TO events;
CREATE INDEX events_of_ends ON events (task_seq, seq)
WHERE status IN ('completed', 'failed', 'cancelled') AND progress IS NULL;

UPDATE status_counts SET tasks = (SELECT count(*) FROM task WHERE task.status = status_counts.status);
