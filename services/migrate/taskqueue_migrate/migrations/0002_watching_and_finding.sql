-- What the API needs to find, watch and count tasks, and to answer a repeated POST with its first answer.

ALTER TABLE tasks ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
-- JSON text, {"fraction", "message"}, told by the handler of the present or last attempt.
ALTER TABLE tasks ADD COLUMN progress TEXT;
-- Which request submitted it: the client's X-Request-ID, or one that the API made.
ALTER TABLE tasks ADD COLUMN request_id TEXT;
-- JSON text, [{"name", "arguments"}]: the actions that a worker can run, with the JSON Schema of their arguments.
ALTER TABLE workers ADD COLUMN actions TEXT NOT NULL DEFAULT '[]';

CREATE INDEX tasks_by_action ON tasks (action, status, seq);
CREATE INDEX tasks_by_end ON tasks (status, processed_at) WHERE processed_at IS NOT NULL;

-- Between which times each thousand of tasks was accepted: where to look for those of a given time. An index
-- on created_at would not tell the first by seq, since clocks differ and are set back.
CREATE TABLE created_ranges (
    -- seq / 1000
    range INTEGER PRIMARY KEY,
    first INTEGER NOT NULL,
    last  INTEGER NOT NULL
) STRICT;
INSERT INTO created_ranges SELECT seq / 1000, min(created_at), max(created_at) FROM tasks GROUP BY seq / 1000;

CREATE TRIGGER range_of_new_task AFTER INSERT ON tasks BEGIN
    INSERT INTO created_ranges VALUES (NEW.seq / 1000, NEW.created_at, NEW.created_at)
    ON CONFLICT DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last)
    WHERE excluded.first < first OR excluded.last > last;
END;

CREATE TABLE task_tags (
    tag      TEXT    NOT NULL,
    task_seq INTEGER NOT NULL REFERENCES tasks (seq) ON DELETE CASCADE,
    PRIMARY KEY (tag, task_seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX task_tags_by_task ON task_tags (task_seq);

CREATE TABLE idempotency_keys (
    key         TEXT    NOT NULL PRIMARY KEY,
    -- Of the request that came first.
    fingerprint TEXT    NOT NULL,
    -- JSON text.
    answer      TEXT    NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- Events: every change of a task that a client can watch is a row, written by a trigger in the change's own
-- transaction, so that no verb can forget one. Ids rise in the order of the commits and are never used again.
CREATE TABLE events (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    task_id  TEXT    NOT NULL,
    action   TEXT    NOT NULL,
    tags     TEXT    NOT NULL,
    status   TEXT    NOT NULL,
    attempt  INTEGER NOT NULL,
    progress TEXT
) STRICT;
CREATE INDEX events_by_age ON events (at);
CREATE INDEX events_of_ends ON events (task_id, seq)
WHERE status IN ('completed', 'failed', 'cancelled') AND progress IS NULL;

CREATE TRIGGER event_of_new_task AFTER INSERT ON tasks BEGIN
    INSERT INTO events (at, task_id, action, tags, status, attempt)
    VALUES (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), NEW.id, NEW.action, NEW.tags, NEW.status, NEW.attempt);
END;
CREATE TRIGGER event_of_status AFTER UPDATE OF status ON tasks BEGIN
    INSERT INTO events (at, task_id, action, tags, status, attempt)
    VALUES (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), NEW.id, NEW.action, NEW.tags, NEW.status, NEW.attempt);
END;
CREATE TRIGGER event_of_progress AFTER UPDATE OF progress ON tasks WHEN NEW.progress IS NOT NULL BEGIN
    INSERT INTO events (at, task_id, action, tags, status, attempt, progress)
    VALUES (
        CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER),
        NEW.id, NEW.action, NEW.tags, NEW.status, NEW.attempt, NEW.progress
    );
END;

-- Counters, so that an overview never scans tasks.
CREATE TABLE status_counts (
    status TEXT    NOT NULL PRIMARY KEY,
    tasks  INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
INSERT INTO status_counts (status)
VALUES ('pending'), ('queued'), ('running'), ('completed'), ('failed'), ('cancelled');
UPDATE status_counts
SET tasks = (SELECT count(*) FROM tasks WHERE tasks.status = status_counts.status);

CREATE TRIGGER count_new_task AFTER INSERT ON tasks BEGIN
    UPDATE status_counts SET tasks = tasks + 1 WHERE status = NEW.status;
END;
CREATE TRIGGER count_status AFTER UPDATE OF status ON tasks BEGIN
    UPDATE status_counts SET tasks = tasks - 1 WHERE status = OLD.status;
    UPDATE status_counts SET tasks = tasks + 1 WHERE status = NEW.status;
END;
CREATE TRIGGER count_deleted_task AFTER DELETE ON tasks BEGIN
    UPDATE status_counts SET tasks = tasks - 1 WHERE status = OLD.status;
END;

-- A minute is Unix time / 60 s.
CREATE TABLE minute_counts (
    minute INTEGER NOT NULL,
    action TEXT    NOT NULL,
    -- 'accepted' or a final status.
    what   TEXT    NOT NULL,
    tasks  INTEGER NOT NULL,
    PRIMARY KEY (minute, action, what)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER count_accepted AFTER INSERT ON tasks BEGIN
    INSERT INTO minute_counts VALUES (NEW.created_at / 60000, NEW.action, 'accepted', 1)
    ON CONFLICT DO UPDATE SET tasks = tasks + 1;
END;
CREATE TRIGGER count_final AFTER UPDATE OF status ON tasks WHEN NEW.processed_at IS NOT NULL BEGIN
    INSERT INTO minute_counts VALUES (NEW.processed_at / 60000, NEW.action, NEW.status, 1)
    ON CONFLICT DO UPDATE SET tasks = tasks + 1;
END;

-- Histograms of an attempt's wait (from when the task was due to its start) and run time, in milliseconds.
CREATE TABLE minute_times (
    minute   INTEGER NOT NULL,
    action   TEXT    NOT NULL,
    -- 'wait' or 'run'.
    what     TEXT    NOT NULL,
    -- The attempts of this bucket took at most so long, and longer than the next lower bound.
    bound    INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    PRIMARY KEY (minute, action, what, bound)
) STRICT, WITHOUT ROWID;

-- The bounds of the buckets: about ten a decade, so that a percentile is within a quarter of the truth.
CREATE TABLE time_bounds (bound INTEGER PRIMARY KEY) STRICT;
WITH RECURSIVE series (bound) AS (
    SELECT 1 UNION ALL SELECT CAST(bound * 1.25 + 1 AS INTEGER) FROM series WHERE bound < 1000000000
)
INSERT INTO time_bounds SELECT bound FROM series;

CREATE TRIGGER time_wait AFTER INSERT ON attempts BEGIN
    INSERT INTO minute_times
    SELECT NEW.started_at / 60000, action, 'wait',
           (SELECT min(bound) FROM time_bounds WHERE bound >= min(NEW.started_at - run_at, 1000000000)), 1
    FROM tasks WHERE seq = NEW.task_seq
    ON CONFLICT DO UPDATE SET attempts = attempts + 1;
END;
CREATE TRIGGER time_run AFTER UPDATE OF ended_at ON attempts WHEN NEW.outcome = 'ok' BEGIN
    INSERT INTO minute_times
    SELECT NEW.ended_at / 60000, action, 'run',
           (SELECT min(bound) FROM time_bounds WHERE bound >= min(NEW.ended_at - NEW.started_at, 1000000000)), 1
    FROM tasks WHERE seq = NEW.task_seq
    ON CONFLICT DO UPDATE SET attempts = attempts + 1;
END;
