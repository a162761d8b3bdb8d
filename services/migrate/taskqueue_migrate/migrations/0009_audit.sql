-- What people and keys changed, other than by submitting.

CREATE TABLE audit (
    seq        INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    operation  TEXT    NOT NULL,
    -- Whose key it was, and what that was called; without where no keys are asked for.
    key        TEXT,
    label      TEXT,
    -- The task's or the key's id; or else a filter, as JSON text.
    target     TEXT,
    filter     TEXT,
    -- How many were changed; without where it was none that is changed.
    tasks      INTEGER,
    address    TEXT,
    request_id TEXT,
    CHECK ((target IS NULL) <> (filter IS NULL))
) STRICT;
