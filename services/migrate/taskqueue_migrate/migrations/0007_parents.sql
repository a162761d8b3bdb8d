-- A task may be submitted by another one, together with that one's completion.

-- The id of the task that submitted it; it stays when that one is deleted. NULL for all but such.
ALTER TABLE task ADD COLUMN parent TEXT;
CREATE INDEX task_by_parent ON task (parent, seq) WHERE parent IS NOT NULL;
