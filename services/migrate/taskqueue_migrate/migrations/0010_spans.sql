-- What minutes add up to, for who looks back over days: minutes are kept for little more than one. Workers write
-- them once a span is over. Of its actions the busiest have their names; '' stands for all others.
CREATE TABLE span_counts (
    -- In minutes: 15 or 120.
    width  INTEGER NOT NULL,
    -- Its first one.
    minute INTEGER NOT NULL,
    action TEXT    NOT NULL,
    what   TEXT    NOT NULL,
    tasks  INTEGER NOT NULL,
    PRIMARY KEY (width, minute, action, what)
) STRICT, WITHOUT ROWID;

CREATE TABLE span_times (
    width    INTEGER NOT NULL,
    minute   INTEGER NOT NULL,
    action   TEXT    NOT NULL,
    what     TEXT    NOT NULL,
    bound    INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    PRIMARY KEY (width, minute, action, what, bound)
) STRICT, WITHOUT ROWID;
