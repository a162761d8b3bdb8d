-- Which request led to the attempt: the one that submitted the task, or that retried it.
ALTER TABLE attempts ADD COLUMN request_id TEXT;

-- The queued task that has been due for longest is not the oldest: others had to wait for their time.
CREATE INDEX tasks_queued ON tasks (run_at) WHERE status = 'queued';
