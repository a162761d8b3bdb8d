-- Every statement on the tables but those of pages, which `pages.py` makes. An UPDATE that changes a status names
-- the statuses that it may leave: no row changed means that somebody else was first. A parameter whose name is a
-- plural is a JSON array. The table is called `task`: programs older than schema 4 look for `tasks`, and must not
-- find it.

-- name: submit
INSERT INTO task (
    id, action, payload, status, created_at, run_at, priority, max_attempts, timeout, tags, request_id, parent,
    traceparent, queued_at, dispatch_id, dispatch_until
)
VALUES (
    :id, :action, :payload, :status, :created_at, :run_at, :priority, :max_attempts, :timeout, :tags, :request_id,
    :parent, :traceparent, :queued_at, :dispatch_id, :dispatch_until
);

-- name: add_tags
INSERT INTO task_tags (tag, task_seq) SELECT value, :seq FROM json_each(:tags);

-- name: settle
-- Matched by the dispatch id too: another publisher's lease is not this one's to take off. Not by an index, here and
-- below: the planner would walk all that is queued, rather than look each of these up by its place.
UPDATE task NOT INDEXED SET dispatch_id = NULL, dispatch_until = NULL
FROM json_each(:confirmed) AS publish
WHERE task.seq = publish.value ->> 0 AND task.dispatch_id = publish.value ->> 1 AND task.status = 'queued';

-- name: demote
-- What was queued was due, so it is due now, whatever the clock says.
UPDATE task NOT INDEXED
SET status = 'pending', run_at = min(run_at, :now), queued_at = NULL, dispatch_id = NULL, dispatch_until = NULL
FROM json_each(:unconfirmed) AS publish
WHERE task.seq = publish.value ->> 0 AND task.dispatch_id = publish.value ->> 1 AND task.status = 'queued'
RETURNING seq, action, attempt;

-- name: demote_expired
-- A dispatch lease that reaches further than leases last was given before the clock was set back.
UPDATE task
SET status = 'pending', run_at = min(run_at, :now), queued_at = NULL, dispatch_id = NULL, dispatch_until = NULL
WHERE status = 'queued' AND seq IN (
    SELECT seq FROM task INDEXED BY task_leased WHERE status = 'queued' AND dispatch_until <= :now
    UNION ALL
    SELECT seq FROM task INDEXED BY task_leased WHERE status = 'queued' AND dispatch_until > :now + :lease
    LIMIT :limit
)
RETURNING seq, action, attempt;

-- name: demote_lost
UPDATE task
SET status = 'pending', run_at = min(run_at, :now), queued_at = NULL, dispatch_id = NULL, dispatch_until = NULL
WHERE status = 'queued' AND seq IN (
    SELECT seq FROM task INDEXED BY task_queued
    WHERE status = 'queued' AND priority = :priority AND queued_at <= :queued_before
    UNION ALL
    SELECT seq FROM task INDEXED BY task_queued
    WHERE status = 'queued' AND priority = :priority AND queued_at > :later
    LIMIT :limit
)
RETURNING seq, action, attempt;

-- name: demote_all
UPDATE task
SET status = 'pending', run_at = min(run_at, :now), queued_at = NULL, dispatch_id = NULL, dispatch_until = NULL
WHERE status = 'queued' AND seq IN (
    SELECT seq FROM task INDEXED BY task_by_status WHERE status = 'queued' AND seq > :after ORDER BY seq LIMIT :limit
)
RETURNING seq, action, attempt;

-- name: lease_due
-- As many bytes as may be leased, and what is left of the last one.
UPDATE task SET dispatch_id = id || '.' || :token, dispatch_until = :now + :lease
WHERE status = 'pending' AND seq IN (
    SELECT seq
    FROM (
        SELECT seq, sum(size) OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM (
            SELECT seq, octet_length(payload) AS size FROM task
            WHERE status = 'pending' AND priority = :priority AND run_at <= :now
              AND (dispatch_until IS NULL OR dispatch_until <= :now OR dispatch_until > :now + :lease)
            ORDER BY run_at
            LIMIT :limit
        )
    )
    WHERE coalesce(bytes_before, 0) < :most
)
RETURNING seq, id, dispatch_id, action, payload, priority;

-- name: mark_queued
UPDATE task NOT INDEXED SET status = 'queued', queued_at = :now, dispatch_id = NULL, dispatch_until = NULL
FROM json_each(:confirmed) AS publish
WHERE task.seq = publish.value ->> 0 AND task.dispatch_id = publish.value ->> 1 AND task.status = 'pending'
RETURNING seq, action, attempt;

-- name: claimable
SELECT seq, status, action, payload, run_at, priority, attempt, failures, max_attempts, timeout, tags, request_id,
       traceparent, dispatch_id, unknown_since, attempt_started IS NOT NULL AS has_attempt,
       EXISTS (SELECT 1 FROM workers WHERE workers.id = :worker) AS worker_known
FROM task WHERE id = :id;

-- name: archive_attempt
-- The one before: the row's own columns are for the next.
INSERT INTO attempts (task_seq, number, worker_id, started_at, ended_at, outcome, error, request_id)
SELECT seq, attempt, attempt_worker, attempt_started, attempt_ended, attempt_outcome, attempt_error, attempt_request_id
FROM task WHERE seq = :seq;

-- name: forget_attempts
DELETE FROM attempts WHERE task_seq = :seq AND number <= :until;

-- name: claim
UPDATE task
SET status = 'running', attempt = :attempt, worker_id = :worker,
    max_attempts = coalesce(max_attempts, :max_attempts),
    attempt_worker = :worker, attempt_started = :now, attempt_ended = NULL, attempt_outcome = NULL,
    attempt_error = NULL, attempt_request_id = request_id,
    queued_at = NULL, dispatch_id = NULL, dispatch_until = NULL, progress = NULL, unknown_since = NULL
WHERE seq = :seq AND status = :old AND status IN ('pending', 'queued') AND attempt = :attempt - 1;

-- name: waits_for_worker
SELECT 1 FROM task INDEXED BY task_set_aside
WHERE action = :action AND unknown_since IS NOT NULL AND status IN ('pending', 'queued') LIMIT 1;

-- name: set_aside
UPDATE task
SET status = 'pending', run_at = :run_at, unknown_since = :unknown_since,
    queued_at = NULL, dispatch_id = NULL, dispatch_until = NULL
WHERE seq = :seq AND status IN ('pending', 'queued');

-- name: give_up
UPDATE task
SET status = 'failed', error = :error, processed_at = :now, unknown_since = NULL,
    queued_at = NULL, dispatch_id = NULL, dispatch_until = NULL
WHERE seq = :seq AND status IN ('pending', 'queued');

-- name: take_up
-- What waits longest goes first. One that was set aside was due then, so nothing else has moved its time.
UPDATE task SET run_at = min(unknown_since, :now)
WHERE status = 'pending' AND seq IN (
    SELECT seq FROM task INDEXED BY task_set_aside
    WHERE action IN (SELECT value FROM json_each(:names)) AND run_at > :now
      AND unknown_since IS NOT NULL AND status IN ('pending', 'queued') AND status = 'pending'
    LIMIT :limit
)
RETURNING seq;

-- name: complete
UPDATE task
SET status = 'completed', result = :result, error = NULL, processed_at = :now, worker_id = NULL,
    attempt_ended = :now, attempt_outcome = 'ok'
WHERE seq = :seq AND status = 'running' AND attempt = :attempt AND worker_id = :worker;

-- name: cancel_running
UPDATE task
SET status = 'cancelled', error = :error, processed_at = :now, worker_id = NULL,
    attempt_ended = :now, attempt_outcome = 'cancelled', attempt_error = :error
WHERE seq = :seq AND status = 'running' AND attempt = :attempt AND worker_id = :worker AND cancel_requested = 1;

-- name: back_off
UPDATE task
SET status = 'pending', error = :error, failures = failures + 1, run_at = :run_at, worker_id = NULL,
    unknown_since = NULL, attempt_ended = :now, attempt_outcome = :outcome, attempt_error = :error
WHERE seq = :seq AND status = 'running' AND attempt = :attempt AND worker_id = :worker;

-- name: fail
UPDATE task
SET status = 'failed', error = :error, failures = failures + 1, processed_at = :now, worker_id = NULL,
    attempt_ended = :now, attempt_outcome = :outcome, attempt_error = :error
WHERE seq = :seq AND status = 'running' AND attempt = :attempt AND worker_id = :worker;

-- name: release
UPDATE task
SET status = 'pending', run_at = :now, worker_id = NULL, unknown_since = NULL,
    attempt_ended = :now, attempt_outcome = 'shutdown'
WHERE seq = :seq AND status = 'running' AND attempt = :attempt AND worker_id = :worker;

-- name: snooze
UPDATE task
SET status = 'pending', run_at = :run_at, worker_id = NULL, unknown_since = NULL,
    attempt_ended = :now, attempt_outcome = 'snoozed'
WHERE seq = :seq AND status = 'running' AND attempt = :attempt AND worker_id = :worker;

-- name: tell_progress
UPDATE task SET progress = :progress
WHERE seq = :seq AND status = 'running' AND attempt = :attempt AND worker_id = :worker;

-- name: standing
SELECT seq, status, action, attempt FROM task WHERE id = :id;

-- name: cancel
UPDATE task
SET status = 'cancelled', processed_at = :now, cancel_requested = 1, unknown_since = NULL,
    queued_at = NULL, dispatch_id = NULL, dispatch_until = NULL
WHERE seq = :seq AND status IN ('pending', 'queued');

-- name: ask_to_cancel
UPDATE task SET cancel_requested = 1 WHERE seq = :seq AND status = 'running';

-- name: retry
UPDATE task
SET status = 'pending', run_at = :now, failures = 0, cancel_requested = 0, error = NULL, processed_at = NULL,
    request_id = :request_id, unknown_since = NULL
WHERE seq = :seq AND status IN ('failed', 'cancelled');

-- name: delete
DELETE FROM task WHERE seq = :seq AND status IN ('completed', 'failed', 'cancelled');

-- name: kept_answer
SELECT fingerprint, answer FROM idempotency_keys WHERE key = :key AND created_at > :expired;

-- name: keep_answer
INSERT INTO idempotency_keys (key, fingerprint, answer, created_at)
VALUES (:key, :fingerprint, :answer, :now)
ON CONFLICT (key) DO UPDATE SET
    fingerprint = excluded.fingerprint, answer = excluded.answer, created_at = excluded.created_at;

-- name: amend_answer
UPDATE idempotency_keys SET answer = :answer WHERE key = :key AND fingerprint = :fingerprint;

-- name: widen_created_ranges
INSERT INTO created_ranges (range, first, last)
SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(:ranges) WHERE true
ON CONFLICT (range) DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last);

-- name: add_status_counts
INSERT INTO status_counts (status, tasks) SELECT value ->> 0, value ->> 1 FROM json_each(:counts) WHERE true
ON CONFLICT (status) DO UPDATE SET tasks = tasks + excluded.tasks;

-- name: add_minute_counts
INSERT INTO minute_counts (minute, action, what, tasks)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(:counts) WHERE true
ON CONFLICT (minute, action, what) DO UPDATE SET tasks = tasks + excluded.tasks;

-- name: add_minute_times
INSERT INTO minute_times (minute, action, what, bound, attempts)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(:counts) WHERE true
ON CONFLICT (minute, action, what, bound) DO UPDATE SET attempts = attempts + excluded.attempts;

-- name: add_events
INSERT INTO events (at, task_seq, status, attempt, progress)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(:events);

-- name: prune_tasks
DELETE FROM task WHERE seq IN (
    SELECT seq FROM task WHERE status = :status AND processed_at < :before ORDER BY processed_at LIMIT :limit
) AND status IN ('completed', 'failed', 'cancelled');

-- name: empty_ranges
SELECT range FROM created_ranges WHERE NOT EXISTS (
    SELECT 1 FROM task NOT INDEXED WHERE seq >= range * 1000 AND seq < (range + 1) * 1000
) LIMIT :limit;

-- name: prune_ranges
-- The newest one may have got tasks again meanwhile.
DELETE FROM created_ranges WHERE range IN (SELECT value FROM json_each(:ranges)) AND NOT EXISTS (
    SELECT 1 FROM task NOT INDEXED WHERE seq >= range * 1000 AND seq < (range + 1) * 1000
);

-- name: prune_events
-- The oldest come first, so no index on their times is needed. Those from the future were written before the clock
-- was set back: they go in their time, but where that is later than events are kept.
DELETE FROM events WHERE seq <= (
    SELECT max(seq) FROM (SELECT seq, at FROM events ORDER BY seq LIMIT :limit)
    WHERE at < :before OR at > :now + (:now - :before)
);

-- name: prune_idempotency_keys
DELETE FROM idempotency_keys WHERE key IN (
    SELECT key FROM idempotency_keys WHERE created_at < :before ORDER BY created_at LIMIT :limit
);

-- name: prune_minute_counts
DELETE FROM minute_counts WHERE (minute, action, what) IN (
    SELECT minute, action, what FROM minute_counts WHERE minute < :before / 60000 LIMIT :limit
);

-- name: prune_actions
DELETE FROM actions WHERE name IN (
    SELECT name FROM actions
    WHERE last_seen < :before AND NOT EXISTS (
        SELECT 1 FROM workers, json_each(workers.actions) WHERE value ->> 'name' = actions.name
    )
    LIMIT :limit
);

-- name: prune_minute_times
DELETE FROM minute_times WHERE (minute, action, what, bound) IN (
    SELECT minute, action, what, bound FROM minute_times WHERE minute < :before / 60000 LIMIT :limit
);

-- name: beat
UPDATE workers SET beat = beat + 1, memory = :memory, last_seen = :now WHERE id = :id;

-- name: add_worker
-- Of its actions the names and executors. Versions before schema 5 wrote others beside the names.
INSERT INTO workers (
    id, host, pid, consumers, prefetch, queue, actions, versions, memory, started_at, last_seen
)
SELECT :id, :host, :pid, :consumers, :prefetch, :queue,
       json_group_array(json_object('name', value ->> 'name', 'executor', value ->> 'executor')),
       :versions, :memory, :started_at, :now
FROM json_each(:actions);

-- name: register_actions
INSERT INTO actions (name, own, arguments, accepts, defaults, version, last_seen)
SELECT value ->> 'name', value ->> 'own', value -> 'arguments', value -> 'accepts', value -> 'defaults',
       value ->> 'version', :now
FROM json_each(:actions) WHERE true
ON CONFLICT (name) DO UPDATE SET
    own = excluded.own, arguments = excluded.arguments, accepts = excluded.accepts, defaults = excluded.defaults,
    version = excluded.version, last_seen = excluded.last_seen
-- One that ships, of the same name, says nothing of somebody's own.
WHERE excluded.own >= actions.own;

-- name: part_from_actions
UPDATE actions SET last_seen = :now
WHERE name IN (SELECT value ->> 'name' FROM workers, json_each(workers.actions) WHERE workers.id = :worker);

-- name: named_action
SELECT 1 FROM actions WHERE name = :action;

-- name: own_action
SELECT 1 FROM actions WHERE own = 1 LIMIT 1;

-- name: worker_beats
SELECT id, beat FROM workers;

-- name: worker_beat
SELECT beat FROM workers WHERE id = :worker;

-- name: claims_of
-- Without their payloads: these are read again and again, and may be large.
SELECT seq, id, attempt, worker_id AS worker, action, '' AS payload, failures, max_attempts, timeout,
       attempt_started AS started_at, request_id, priority, cancel_requested
FROM task WHERE worker_id = :worker;

-- name: forget_worker
DELETE FROM workers WHERE id = :worker;

-- name: get
-- Payload and result are left out where they have more than so many bytes. The attempts before the last one are a
-- JSON array, and so are the children: only what has completed has any, and at most as many as a batch.
SELECT seq, id, action, status, error, created_at, run_at, processed_at, size,
       CASE WHEN size <= :most THEN payload ELSE '' END AS payload,
       CASE WHEN size <= :most THEN result END AS result,
       priority, attempt, failures, max_attempts, timeout, cancel_requested, tags, progress, request_id,
       unknown_since, parent, attempt_worker, attempt_started, attempt_ended, attempt_outcome, attempt_error, attempt_request_id,
       CASE WHEN attempt > 1 OR attempt_started IS NULL THEN (
           SELECT json_group_array(json_array(number, worker_id, started_at, ended_at, outcome, error, request_id))
           FROM (SELECT * FROM attempts WHERE task_seq = sized.seq ORDER BY number)
       ) END AS earlier,
       CASE WHEN status = 'completed' THEN (
           SELECT json_group_array(id) FROM (SELECT id FROM task WHERE parent = sized.id ORDER BY seq)
       ) END AS children
FROM (SELECT *, octet_length(payload) + coalesce(octet_length(result), 0) AS size FROM task) AS sized
WHERE id = :id;

-- name: known
SELECT id, seq FROM task WHERE id IN (SELECT value FROM json_each(:ids));

-- name: sizes
SELECT seq, octet_length(payload) + coalesce(octet_length(result), 0) + coalesce(octet_length(error), 0) AS size
FROM task WHERE seq IN (SELECT value FROM json_each(:seqs)) ORDER BY seq DESC;

-- name: page
SELECT seq, id, action, payload, status, result, error, created_at, run_at, processed_at,
       priority, attempt, failures, max_attempts, timeout, cancel_requested, tags, progress, request_id,
       unknown_since, parent
FROM task WHERE seq IN (SELECT value FROM json_each(:seqs)) ORDER BY seq DESC;

-- name: newest_place
SELECT coalesce(max(seq), 0) AS seq FROM task;

-- name: none_created_since_below
SELECT min(range) * 1000 AS seq FROM created_ranges WHERE last >= :at;

-- name: none_created_before_from
SELECT (max(range) + 1) * 1000 AS seq FROM created_ranges WHERE first < :at;

-- name: events_after
-- Of a deleted task only its place is left: it must not stop those who read on.
SELECT events.seq, events.at, events.task_seq, events.status, events.attempt, events.progress,
       task.id AS task_id, task.action, task.tags
FROM events LEFT JOIN task ON task.seq = events.task_seq
WHERE events.seq > :after ORDER BY events.seq LIMIT :limit;

-- name: events_of
SELECT events.seq, events.at, events.task_seq, events.status, events.attempt, events.progress,
       task.id AS task_id, task.action, task.tags
FROM events LEFT JOIN task ON task.seq = events.task_seq
WHERE events.seq > :after AND events.seq <= :until AND events.task_seq = :task_seq ORDER BY events.seq;

-- name: end_event
SELECT max(seq) AS seq FROM events
WHERE task_seq = :task_seq AND status IN ('completed', 'failed', 'cancelled') AND progress IS NULL;

-- name: event_range
-- Of one moment: the first of all events may come in between.
SELECT
    (SELECT min(seq) FROM events) AS first,
    (SELECT seq FROM sqlite_sequence WHERE name = 'events') AS last;

-- name: data_version
PRAGMA data_version;

-- name: status_counts
SELECT status, tasks FROM status_counts;

-- name: wrong_counts
-- Of one moment: what is written meanwhile counts in neither.
SELECT status, counted - tasks AS missing FROM (
    SELECT status, tasks, (SELECT count(*) FROM task WHERE task.status = status_counts.status) AS counted
    FROM status_counts
)
WHERE counted <> tasks;

-- name: waiting_count
SELECT total(tasks) AS tasks FROM status_counts WHERE status IN ('pending', 'queued');

-- name: oldest_waiting
-- `pending` and due, or queued first: by the index of each. What is queued first has been due for longest, but for
-- what was published again.
SELECT min(run_at) AS run_at FROM (
    SELECT min(run_at) AS run_at FROM task WHERE status = 'pending' AND priority = 8 AND run_at <= :now
    UNION ALL
    SELECT min(run_at) FROM task WHERE status = 'pending' AND priority = 4 AND run_at <= :now
    UNION ALL
    SELECT min(run_at) FROM task WHERE status = 'pending' AND priority = 0 AND run_at <= :now
    UNION ALL
    SELECT * FROM (SELECT run_at FROM task WHERE status = 'queued' AND priority = 8 ORDER BY queued_at LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT run_at FROM task WHERE status = 'queued' AND priority = 4 ORDER BY queued_at LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT run_at FROM task WHERE status = 'queued' AND priority = 0 ORDER BY queued_at LIMIT 1)
);

-- name: minute_counts
SELECT minute, what, sum(tasks) AS tasks FROM minute_counts WHERE minute >= :since GROUP BY minute, what;

-- name: minute_times
SELECT what, bound, sum(attempts) AS attempts FROM minute_times
WHERE minute >= :since GROUP BY what, bound ORDER BY what, bound;

-- name: busiest_actions
SELECT action FROM (
    SELECT action, tasks AS number FROM minute_counts WHERE minute >= :since AND minute < :until
    UNION ALL
    SELECT action, attempts FROM minute_times WHERE minute >= :since AND minute < :until
)
GROUP BY action ORDER BY sum(number) DESC, action LIMIT :limit;

-- name: action_counts
SELECT action, what, sum(tasks) AS tasks FROM minute_counts
WHERE minute >= :since AND action IN (SELECT value FROM json_each(:names)) GROUP BY action, what;

-- name: action_times
SELECT action, what, bound, sum(attempts) AS attempts FROM minute_times
WHERE minute >= :since AND action IN (SELECT value FROM json_each(:names))
GROUP BY action, what, bound ORDER BY action, what, bound;

-- name: counts_by_minute
SELECT minute, action, what, tasks FROM minute_counts WHERE minute >= :since;

-- name: times_by_minute
SELECT minute, action, what, bound, attempts FROM minute_times WHERE minute >= :since;

-- name: last_span
-- Those from the future were written before the clock was set back.
SELECT max(minute) AS minute FROM (
    SELECT max(minute) AS minute FROM span_counts WHERE width = :width AND minute <= :now
    UNION ALL
    SELECT max(minute) FROM span_times WHERE width = :width AND minute <= :now
);

-- name: first_counted
SELECT min(minute) AS minute FROM (
    SELECT min(minute) AS minute FROM minute_counts WHERE minute >= :since
    UNION ALL
    SELECT min(minute) FROM minute_times WHERE minute >= :since
);

-- name: sums_of_counts
SELECT iif(action IN (SELECT value FROM json_each(:names)), action, '') AS name, what, sum(tasks) AS tasks
FROM minute_counts WHERE minute >= :since AND minute < :until GROUP BY name, what;

-- name: sums_of_times
SELECT iif(action IN (SELECT value FROM json_each(:names)), action, '') AS name, what, bound,
       sum(attempts) AS attempts
FROM minute_times WHERE minute >= :since AND minute < :until GROUP BY name, what, bound;

-- name: keep_span_counts
INSERT INTO span_counts (width, minute, action, what, tasks)
SELECT :width, :minute, value ->> 0, value ->> 1, value ->> 2 FROM json_each(:counts) WHERE true
ON CONFLICT (width, minute, action, what) DO UPDATE SET tasks = excluded.tasks;

-- name: keep_span_times
INSERT INTO span_times (width, minute, action, what, bound, attempts)
SELECT :width, :minute, value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(:times) WHERE true
ON CONFLICT (width, minute, action, what, bound) DO UPDATE SET attempts = excluded.attempts;

-- name: prune_span_counts
DELETE FROM span_counts WHERE (width, minute, action, what) IN (
    SELECT width, minute, action, what FROM span_counts WHERE width = :width AND minute < :before LIMIT :limit
);

-- name: prune_span_times
DELETE FROM span_times WHERE (width, minute, action, what, bound) IN (
    SELECT width, minute, action, what, bound FROM span_times WHERE width = :width AND minute < :before LIMIT :limit
);

-- name: window_actions
SELECT action FROM (
    SELECT action, tasks AS number FROM minute_counts WHERE minute >= :edge
    UNION ALL
    SELECT action, attempts FROM minute_times WHERE minute >= :edge
    UNION ALL
    SELECT action, tasks FROM span_counts WHERE width = :width AND minute >= :since AND minute < :edge
    UNION ALL
    SELECT action, attempts FROM span_times WHERE width = :width AND minute >= :since AND minute < :edge
)
WHERE action <> '' GROUP BY action ORDER BY sum(number) DESC, action LIMIT :limit;

-- name: window_counts
SELECT minute / :width * :width AS point,
       iif(action IN (SELECT value FROM json_each(:names)), action, '') AS name, what, sum(tasks) AS tasks
FROM (
    SELECT minute, action, what, tasks FROM minute_counts WHERE minute >= :edge
    UNION ALL
    SELECT minute, action, what, tasks FROM span_counts WHERE width = :width AND minute >= :since AND minute < :edge
)
GROUP BY point, name, what;

-- name: window_times
SELECT minute / :width * :width AS point, what, bound, sum(attempts) AS attempts
FROM (
    SELECT minute, what, bound, attempts FROM minute_times WHERE minute >= :edge
    UNION ALL
    SELECT minute, what, bound, attempts FROM span_times WHERE width = :width AND minute >= :since AND minute < :edge
)
GROUP BY point, what, bound ORDER BY point, what, bound;

-- name: window_action_times
SELECT action, what, bound, sum(attempts) AS attempts
FROM (
    SELECT minute, action, what, bound, attempts FROM minute_times WHERE minute >= :edge
    UNION ALL
    SELECT minute, action, what, bound, attempts FROM span_times WHERE width = :width AND minute >= :since AND minute < :edge
)
WHERE action IN (SELECT value FROM json_each(:names))
GROUP BY action, what, bound ORDER BY action, what, bound;

-- name: due_count
-- Those that are due, and not published: of a long backlog without a broker only the first are counted.
SELECT count(*) AS tasks FROM (
    SELECT 1 FROM task WHERE status = 'pending' AND priority IN (8, 4, 0) AND run_at <= :now LIMIT 100000
);

-- name: worker_count
SELECT count(*) AS workers, total(consumers) AS slots FROM workers;

-- name: tags
-- From each to the next, by the index: not through all that have the same one.
WITH RECURSIVE found (tag, number) AS (
    SELECT min(tag), 1 FROM task_tags WHERE tag >= :first
    UNION ALL
    SELECT (SELECT min(tag) FROM task_tags WHERE tag > found.tag), number + 1
    FROM found WHERE found.tag IS NOT NULL AND number < :limit
)
SELECT tag FROM found WHERE tag IS NOT NULL;

-- name: workers
SELECT id, host, pid, consumers, prefetch, queue, actions, versions, memory, started_at, last_seen
FROM workers ORDER BY started_at;

-- name: catalogue
SELECT name, own, accepts, defaults FROM actions;

-- name: actions
SELECT name, arguments, defaults, version, last_seen FROM actions ORDER BY name;

-- name: set_aside_counts
SELECT action, count(*) AS tasks FROM task INDEXED BY task_set_aside
WHERE unknown_since IS NOT NULL AND status IN ('pending', 'queued') GROUP BY action;

-- name: running
SELECT id, action, attempt, attempt_started AS started_at, worker_id AS worker FROM task WHERE worker_id IS NOT NULL;

-- name: identity
SELECT name, value FROM meta;

-- name: note_queue
INSERT INTO meta (name, value) VALUES ('queue', :queue)
ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE :takes;

-- name: migrations_table
SELECT 1 FROM sqlite_schema WHERE name = 'schema_migrations';

-- name: schema_version
SELECT max(version) AS version FROM schema_migrations;

-- name: add_key
INSERT INTO api_keys (id, label, role, hash, scope, created_at, expires_at)
VALUES (:id, :label, :role, :hash, :scope, :now, :expires_at);

-- name: keys
SELECT id, label, role, hash, scope, created_at, expires_at, revoked_at, last_used_at FROM api_keys ORDER BY seq DESC;

-- name: key
SELECT id, label, role, hash, scope, created_at, expires_at, revoked_at, last_used_at FROM api_keys WHERE id = :id;

-- name: revoke_key
UPDATE api_keys SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL;

-- name: touch_keys
UPDATE api_keys SET last_used_at = max(coalesce(last_used_at, 0), use.value ->> 1)
FROM json_each(:uses) AS use WHERE api_keys.id = use.value ->> 0;

-- name: note_session_secret
INSERT INTO meta (name, value) VALUES ('session_secret', :secret) ON CONFLICT (name) DO NOTHING;

-- name: session_secret
SELECT value FROM meta WHERE name = 'session_secret';

-- name: note_deed
INSERT INTO audit (at, operation, key, label, target, filter, tasks, address, request_id)
VALUES (:now, :operation, :key, :label, :target, :filter, :tasks, :address, :request_id);

-- name: add_to_note
UPDATE audit SET tasks = tasks + :tasks WHERE seq = :seq;

-- name: audit
SELECT seq, at, operation, key, label, target, filter, tasks, address, request_id FROM audit
WHERE seq < :before AND (:key IS NULL OR key = :key) AND (:operation IS NULL OR operation = :operation)
ORDER BY seq DESC LIMIT :limit;

-- name: prune_audit
-- The oldest come first, so no index on their times is needed.
DELETE FROM audit WHERE seq IN (
    SELECT seq FROM (SELECT seq, at FROM audit ORDER BY seq LIMIT :limit) WHERE at < :before
);
