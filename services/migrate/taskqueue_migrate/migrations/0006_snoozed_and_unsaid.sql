-- An attempt may end `snoozed`; and a task need not say how many attempts it has: its action does, at the first claim.
--
-- Only constraints change, and what there is meets the new ones: the texts of two tables are edited, as "Making Other
-- Kinds Of Table Schema Changes" in SQLite's documentation of ALTER TABLE allows, and no table is copied.

PRAGMA writable_schema = ON;
UPDATE sqlite_schema
SET sql = replace(replace(replace(sql,
        '''shutdown'', ''cancelled'')', '''shutdown'', ''cancelled'', ''snoozed'')'),
        'max_attempts     INTEGER NOT NULL CHECK', 'max_attempts     INTEGER CHECK'),
        -- Nor can a program of an older version claim what says nothing, which it would fail to read.
        'CHECK (status <> ''failed'' OR error IS NOT NULL)',
        'CHECK (status <> ''failed'' OR error IS NOT NULL),
    CHECK (status <> ''running'' OR max_attempts IS NOT NULL)')
WHERE type = 'table' AND name IN ('task', 'attempts');
PRAGMA writable_schema = RESET;

-- Fails where a text was not as expected; and lets all open connections read the schema anew.
CREATE TABLE edited (texts INTEGER NOT NULL CHECK (texts = 2)) STRICT;
INSERT INTO edited
SELECT count(*) FROM sqlite_schema
WHERE type = 'table' AND sql LIKE '%''snoozed''%'
  AND (name = 'attempts' OR (sql LIKE '%INTEGER CHECK (max_attempts >= 1)%' AND sql LIKE '%max_attempts IS NOT NULL)%'));
DROP TABLE edited;
