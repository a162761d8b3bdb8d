-- Which worker knows which action, and since when a task has waited for one that knows its own.

-- Since a worker that doesn't know its action got it first: it waits for another one. NULL for all but such.
-- (No CHECK holds it against the status: programs of the version before claim such a task, and leave it as it is.)
ALTER TABLE task ADD COLUMN unknown_since INTEGER;
CREATE INDEX task_set_aside ON task (action, run_at)
WHERE unknown_since IS NOT NULL AND status IN ('pending', 'queued');

ALTER TABLE workers ADD COLUMN queue TEXT NOT NULL DEFAULT '';
-- JSON text, {"package": "version"}: taskqueue's and those of its actions.
ALTER TABLE workers ADD COLUMN versions TEXT NOT NULL DEFAULT '{}';
-- Resident bytes at its last beat; NULL where that can't be read.
ALTER TABLE workers ADD COLUMN memory INTEGER;

-- The catalogue: what workers have been able to run. Those who can now are in `workers`.
CREATE TABLE actions (
    name      TEXT    NOT NULL PRIMARY KEY,
    -- Whether it is none of those that ship.
    own       INTEGER NOT NULL CHECK (own IN (0, 1)),
    -- JSON Schemas: what is told of the arguments, and what they are checked against before a task is stored.
    arguments TEXT    NOT NULL,
    accepts   TEXT    NOT NULL,
    -- JSON text: the options that its tasks have where their POST doesn't say.
    defaults  TEXT    NOT NULL,
    -- Of the package that it is from, where that has one.
    version   TEXT,
    -- When a worker that knows it started or ended last.
    last_seen INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX actions_own ON actions (name) WHERE own = 1;

-- What the workers know that are at work now. Nothing is checked before one of this version tells what it accepts.
INSERT INTO actions (name, own, arguments, accepts, defaults, last_seen)
SELECT value ->> 'name', value ->> 'name' NOT IN ('uppercase', 'sum', '*'), value -> 'arguments', '{}', '{}', last_seen
FROM workers, json_each(workers.actions) WHERE true
ON CONFLICT DO NOTHING;

-- What there is one of: the id of this store, and the name of the queue that its tasks go through.
CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('store', lower(hex(randomblob(16))));
