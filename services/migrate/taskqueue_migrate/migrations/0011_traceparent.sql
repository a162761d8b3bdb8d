-- The span that a task was submitted in, as W3C Trace Context's `traceparent` names it; NULL where its client told none.
ALTER TABLE task ADD COLUMN traceparent TEXT;
