-- Times are Unix milliseconds; payload, result and error are JSON text.

CREATE TABLE workers (
    id         TEXT    NOT NULL PRIMARY KEY,
    host       TEXT    NOT NULL,
    pid        INTEGER NOT NULL,
    consumers  INTEGER NOT NULL,
    prefetch   INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    -- Raised at each heartbeat; one that stands still marks a lost worker. No clock takes part.
    beat       INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE tasks (
    -- The order of acceptance; lists are keyed by it.
    seq              INTEGER PRIMARY KEY,
    id               TEXT    NOT NULL UNIQUE,
    action           TEXT    NOT NULL,
    payload          TEXT    NOT NULL,
    status           TEXT    NOT NULL DEFAULT 'pending'
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
    dispatch_id      TEXT,
    dispatch_until   INTEGER,
    queued_at        INTEGER,
    cancel_requested INTEGER NOT NULL DEFAULT 0 CHECK (cancel_requested IN (0, 1)),

    CHECK ((processed_at IS NOT NULL) = (status IN ('completed', 'failed', 'cancelled'))),
    CHECK ((result IS NOT NULL) = (status = 'completed')),
    CHECK ((worker_id IS NOT NULL) = (status = 'running')),
    CHECK ((queued_at IS NOT NULL) = (status = 'queued')),
    CHECK ((dispatch_id IS NULL) = (dispatch_until IS NULL)),
    CHECK (dispatch_id IS NULL OR status = 'pending'),
    CHECK (status <> 'failed' OR error IS NOT NULL)
) STRICT;

CREATE INDEX tasks_by_status ON tasks (status, seq);
CREATE INDEX tasks_due ON tasks (priority, run_at) WHERE status = 'pending';
CREATE INDEX tasks_by_worker ON tasks (worker_id) WHERE worker_id IS NOT NULL;

CREATE TABLE attempts (
    task_seq   INTEGER NOT NULL REFERENCES tasks (seq) ON DELETE CASCADE,
    number     INTEGER NOT NULL,
    worker_id  TEXT    NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER,
    outcome    TEXT
        CHECK (outcome IN ('ok', 'error', 'timeout', 'worker_lost', 'shutdown', 'cancelled')),
    error      TEXT,

    PRIMARY KEY (task_seq, number),
    CHECK ((ended_at IS NULL) = (outcome IS NULL))
) STRICT, WITHOUT ROWID;
