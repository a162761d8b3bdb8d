"""The safeguards that `mutants.py` takes away, one at a time, and the case that must notice each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A safeguard taken away: in `file`, `before` is replaced by `after`."""

    name: str
    file: str
    before: str
    after: str
    case: str
    #: Why the simulation can't notice it, as else it must.
    unseen: str = ""


STORE = "shared/taskqueue/store"
QUERIES, LEDGER, VERBS = f"{STORE}/queries.sql", f"{STORE}/ledger.py", f"{STORE}/verbs.py"
ENGINE = f"{STORE}/engine/sqlite"
TRANSACTION, GROUP_COMMIT = f"{ENGINE}/transaction.py", f"{ENGINE}/group_commit.py"
INTAKE = "shared/taskqueue/intake.py"
API = "services/api/taskqueue_api"
WORKER = "services/worker/taskqueue_worker"
MIGRATION = "services/migrate/taskqueue_migrate/migrations/0004_the_row_of_a_task.sql"
CONSUME, SWEEPS, LIFE = f"{WORKER}/consume.py", f"{WORKER}/sweeps.py", f"{WORKER}/worker.py"

CASES = "tests/faults"
CLAIMS, LEASES, RACES = f"{CASES}/test_claims.py", f"{CASES}/test_leases.py", f"{CASES}/test_races.py"
COMMITS, RECONCILE = f"{CASES}/test_shared_commits.py", f"{CASES}/test_reconcile.py"
CRASHES, FILES, UPGRADE = (
    f"{CASES}/test_crash_points.py",
    f"{CASES}/test_file_faults.py",
    f"{CASES}/test_upgrade.py",
)
INTAKES, LEDGERS, UNKNOWN = (
    f"{CASES}/test_intake.py",
    f"{CASES}/test_ledger.py",
    f"{CASES}/test_unknown_commits.py",
)

THROUGH_HTTP = "tests/integration"
ROLLING = f"{CASES}/test_rolling.py"

ALIKE = "its workers all know the same actions"
SECOND = "a second message finds nothing to claim: it costs work, and breaks no promise"
RECONCILED = "reconciling finds the task, only later"

MUTANTS = (
    # The fence and the guards
    Mutant(
        "the fence is removed: a completion doesn't look whose the task is",
        QUERIES,
        " AND attempt = :attempt AND worker_id = :worker;\n\n-- name: cancel_running",
        ";\n\n-- name: cancel_running",
        f"{RACES}::test_a_result_that_comes_after_the_rescue_and_the_next_claim_is_refused",
    ),
    Mutant(
        "a claim doesn't look whether the task is due",
        VERBS,
        '(row["run_at"] <= now or row["dispatch_id"] is not None)',
        "True",
        f"{LEASES}::test_the_late_end_of_a_lease_strands_no_task_that_has_failed_into_its_backoff[settle]",
    ),
    Mutant(
        "a cancel that was asked of a running task is forgotten when its attempt ends",
        QUERIES,
        " AND worker_id = :worker AND cancel_requested = 1;",
        " AND worker_id = :worker AND cancel_requested = 2;",
        f"{RACES}::test_a_cancel_that_races_a_completion_ends_in_exactly_one_of_the_two",
    ),
    Mutant(
        "a rescue doesn't look whether the worker has beaten since",
        f"{STORE}/workers.py",
        'if not row or row[0]["beat"] != beat:',
        "if not row:",
        f"{CLAIMS}::test_a_worker_that_has_beaten_since_is_not_taken_for_lost",
        "the task is run once more, and the fence refuses the late result",
    ),
    Mutant(
        "what a task submits is stored though its completion is refused",
        VERBS,
        "        for task in submitted:\n            submit(tx, task)\n",
        "    for task in submitted:\n        submit(tx, task)\n",
        f"{CASES}/test_children.py::test_a_late_result_brings_no_children",
    ),
    # Dispatch leases
    Mutant(
        "a settle doesn't look which publish it is for",
        QUERIES,
        " AND task.dispatch_id = publish.value ->> 1 AND task.status = 'queued';",
        ";",
        f"{LEASES}::test_a_settle_that_comes_after_the_relays_lease_does_not_take_that_off",
        SECOND,
    ),
    Mutant(
        "a demotion doesn't look which publish it is for",
        QUERIES,
        "AND task.dispatch_id = publish.value ->> 1 AND task.status = 'queued'\nRETURNING",
        "AND task.status = 'queued'\nRETURNING",
        f"{LEASES}::test_a_demotion_that_comes_after_the_relay_has_published_does_not_make_it_publish_again",
        SECOND,
    ),
    Mutant(
        "a mark doesn't look which publish it is for",
        QUERIES,
        "AND task.dispatch_id = publish.value ->> 1 AND task.status = 'pending'",
        "AND task.status = 'pending'",
        f"{LEASES}::test_a_mark_for_an_earlier_lease_of_the_relays_does_not_count",
        SECOND,
    ),
    Mutant(
        "a lease keeps no other relay away",
        QUERIES,
        "      AND (dispatch_until IS NULL OR dispatch_until <= :now OR dispatch_until > :now + :lease)\n",
        "",
        f"{LEASES}::test_a_settle_that_comes_after_the_relays_lease_does_not_take_that_off",
        SECOND,
    ),
    Mutant(
        "nobody demotes a task whose publisher is gone",
        SWEEPS,
        "if expired := await self._store.bulk.demote_expired(self._lease):",
        "if expired := 0:",
        f"{INTAKES}::test_a_demotion_that_can_not_be_written_is_done_by_a_sweep_once_the_lease_has_run_out",
        RECONCILED,
    ),
    Mutant(
        "a task that is demoted is due when the clock says so",
        QUERIES,
        "-- A dispatch lease that reaches further than leases last was given before the clock was set back.\n"
        "UPDATE task\nSET status = 'pending', run_at = min(run_at, :now),",
        "UPDATE task\nSET status = 'pending',",
        f"{LEASES}::test_a_lease_from_before_the_clock_was_set_back_has_run_out",
        "the task waits as long as the clock was off, which may be",
    ),
    # The ledger
    Mutant(
        "the ledger doesn't take a task off its old status",
        LEDGER,
        "                    statuses[old] -= 1\n",
        "                    pass\n",
        f"{LEDGERS}::test_every_edge_is_told_by_one_event_and_counted_once",
    ),
    Mutant(
        "a verb owes no event",
        VERBS,
        "    tx.owed.extend(Changed(",
        "    list(Changed(",
        f"{LEDGERS}::test_every_edge_is_told_by_one_event_and_counted_once",
    ),
    Mutant(
        "the events of deleted tasks are left out, and the cursor stays before them",
        QUERIES,
        "FROM events LEFT JOIN task ON task.seq = events.task_seq\n"
        "WHERE events.seq > :after ORDER BY events.seq LIMIT :limit;",
        "FROM events JOIN task ON task.seq = events.task_seq\n"
        "WHERE events.seq > :after ORDER BY events.seq LIMIT :limit;",
        f"{LEDGERS}::test_a_stream_reads_on_over_the_events_of_deleted_tasks",
        "its clients delete no tasks",
    ),
    # Relay and reconciliation
    Mutant(
        "the relay is switched off",
        SWEEPS,
        "        while self._broker.state is BrokerState.CONNECTED:\n",
        "        while False:\n",
        f"{INTAKES}::test_a_demotion_that_can_not_be_written_is_done_by_a_sweep_once_the_lease_has_run_out",
    ),
    Mutant(
        "a lost message is missed only once the queue is empty",
        SWEEPS,
        "newest = now if empty else self._newest.get(priority)",
        "newest = now if empty else None",
        f"{RECONCILE}::test_a_lost_message_is_found_behind_a_backlog_that_never_ends",
        "its queue gets empty in the end",
    ),
    Mutant(
        "whatever has been queued for long counts as lost, also behind a backlog",
        SWEEPS,
        "newest = now if empty else self._newest.get(priority)",
        "newest = now",
        f"{RECONCILE}::test_a_backlog_that_lasts_many_periods_is_published_once",
        SECOND,
    ),
    Mutant(
        "redelivered messages tell how far the queue has come",
        CONSUME,
        "if made_at is not None and not delivery.redelivered:",
        "if made_at is not None:",
        f"{RECONCILE}::test_a_redelivered_message_tells_nothing_about_those_queued_before_it",
        SECOND,
    ),
    Mutant(
        "a message from before the clock was set back tells how far the queue has come",
        SWEEPS,
        "if newest is not None and newest <= now:",
        "if newest is not None:",
        f"{RECONCILE}::test_a_clock_that_is_set_back_behind_a_backlog_brings_no_flood",
        SECOND,
    ),
    # Intake
    Mutant(
        "settles that could not be written are forgotten",
        INTAKE,
        "        self._confirmed += confirmed\n        self._news.set()\n",
        "        self._news.set()\n",
        f"{INTAKES}::test_leases_that_could_not_be_settled_are_settled_once_the_store_is_back",
        SECOND,
    ),
    Mutant(
        "a stop of the API doesn't settle what has gathered",
        INTAKE,
        "            await asyncio.wait({settling})\n            await self._settle_gathered()\n",
        "            await asyncio.wait({settling})\n",
        f"{INTAKES}::test_a_stop_settles_what_has_gathered",
        SECOND,
    ),
    Mutant(
        "the answer that is kept with a key is not amended by a demotion",
        INTAKE,
        "    if demoted and amend:\n",
        "    if False:\n",
        f"{INTAKES}::test_the_answer_kept_with_a_key_is_the_one_that_was_given",
    ),
    # Group commit
    Mutant(
        "what ran before a write that raised is committed, and then run again",
        TRANSACTION,
        'suppress(self.connection.Error):\n                    self.connection.execute("ROLLBACK")',
        'suppress(self.connection.Error):\n                    self.connection.execute("COMMIT")',
        f"{COMMITS}::test_of_a_batch_in_which_some_writes_raise_the_others_are_written_once",
    ),
    Mutant(
        "a write that raises takes its neighbours along",
        TRANSACTION,
        "                outcomes[left.pop(raised.place)] = Refused(raised.error)\n",
        "                outcomes |= {place: Refused(raised.error) for place in left}\n                break\n",
        f"{COMMITS}::test_a_claim_whose_neighbour_raises_is_granted_once",
        "none of its writes raises",
    ),
    # Unknown commits
    Mutant(
        "a commit whose answer got lost counts as failed",
        TRANSACTION,
        "            if is_busy(error) or is_full(error):\n                raise\n",
        "            raise\n",
        f"{UNKNOWN}::test_a_submission_whose_commits_answer_got_lost_is_accepted_once",
    ),
    Mutant(
        "a submission is not read back",
        INTAKE,
        "return await self._store.reads.known(ids)",
        "return {}",
        f"{UNKNOWN}::test_a_submission_whose_commits_answer_got_lost_is_accepted_once",
    ),
    Mutant(
        "an outcome whose answer got lost doesn't read its fence",
        f"{WORKER}/outcome.py",
        "if status is None and any(",
        "if status and any(",
        f"{UNKNOWN}::test_an_outcome_whose_commits_answer_got_lost_is_recorded_once_and_told_as_recorded",
    ),
    Mutant(
        "nobody releases what runs in a worker's name and in none of its slots",
        LIFE,
        "        strays.look(held)\n",
        "",
        f"{CLAIMS}::test_a_task_that_runs_in_a_workers_name_but_in_none_of_its_slots_is_released",
    ),
    Mutant(
        "a worker releases also what is in its slots",
        f"{WORKER}/strays.py",
        " if not self._holds(task.claim.id)",
        "",
        f"{CLAIMS}::test_a_task_that_runs_in_a_workers_name_but_in_none_of_its_slots_is_released",
    ),
    # Claims, acks and the stop
    Mutant(
        "the ack is sent before the claim is committed",
        CONSUME,
        "            answer = await self._answer(claiming) if claiming else Refusal.UNKNOWN\n",
        "            await delivery.ack()\n"
        "            answer = await self._answer(claiming) if claiming else Refusal.UNKNOWN\n",
        f"{CLAIMS}::test_a_message_is_not_acknowledged_before_its_claim_is_committed",
        RECONCILED,
    ),
    Mutant(
        "a worker that was taken for lost drops its messages",
        CONSUME,
        "            if answer is not Refusal.WORKER_UNKNOWN:\n                return answer\n",
        "            return answer\n",
        f"{CLAIMS}::test_a_worker_that_was_taken_for_lost_holds_its_messages_until_it_beats_again",
        RECONCILED,
    ),
    Mutant(
        "the next task begins before the outcome of the one before is recorded",
        CONSUME,
        "            await self._outcomes.recorded(claim, ending, outcome)\n",
        "            asyncio.ensure_future(self._outcomes.recorded(claim, ending, outcome))\n",
        f"{COMMITS}::test_a_granted_claim_waits_for_the_outcome_before_it",
        "both outcomes are recorded in the end",
    ),
    Mutant(
        "a stop leaves the claim that shares the commit of an outcome",
        CONSUME,
        "            self._claiming.write.cancel()\n",
        "            pass\n",
        f"{COMMITS}::test_a_stop_records_the_outcome_and_withdraws_the_claim_that_would_share_its_commit",
        "the worker's goodbye releases it",
    ),
    Mutant(
        "a stop doesn't let tasks finish that run",
        CONSUME,
        "        if self.run is None or self.stuck.is_set():\n            working.cancel()",
        "        if True:\n            working.cancel()",
        f"{COMMITS}::test_a_stop_records_the_outcome_and_withdraws_the_claim_that_would_share_its_commit",
        "the task is released and run once more, which may be",
    ),
    Mutant(
        "a worker says goodbye before its outcomes are recorded",
        LIFE,
        "        await _drain(settings, slots, working, runs)\n",
        "        await store.write(retire, me.id)\n        await _drain(settings, slots, working, runs)\n",
        f"{COMMITS}::test_a_stop_gives_the_task_of_a_granted_claim_back_after_all_outcomes",
        "the task is run once more, which may be",
    ),
    # What clients ask for
    Mutant(
        "a bulk verb counts what it doesn't apply to any more",
        f"{STORE}/bulk.py",
        " for id in ids if verbs.status_of(tx, id) in statuses)",
        " for id in ids)",
        f"{THROUGH_HTTP}/test_bulk.py::test_a_task_that_no_longer_fits_when_it_is_acted_on_is_left_alone",
    ),
    Mutant(
        "a task can be deleted while it runs",
        QUERIES,
        "DELETE FROM task WHERE seq = :seq AND status IN ('completed', 'failed', 'cancelled');",
        "DELETE FROM task WHERE seq = :seq;",
        f"{THROUGH_HTTP}/test_bulk.py::test_a_task_is_deleted_where_it_is_final_only",
    ),
    Mutant(
        "the tasks of a batch are stored one by one",
        INTAKE,
        "            return await self._store.write(_submit_all, tasks, to_publish, self._lease, request, kept)\n",
        "            return [\n"
        "                seq\n"
        "                for task, now in zip(tasks, to_publish, strict=True)\n"
        "                for seq in await self._store.write(_submit_all, [task], [now], self._lease, None, kept)\n"
        "            ]\n",
        f"{THROUGH_HTTP}/test_batch.py::test_a_batch_is_one_transaction",
    ),
    Mutant(
        "a key is looked for before the transaction, and not in it",
        INTAKE,
        "        if replay := find_answer(tx, request):\n",
        "        if replay := None:\n",
        f"{THROUGH_HTTP}/test_idempotency.py::test_fifty_at_once_make_one_task",
    ),
    Mutant(
        "a POST of which nobody knows whether it is stored is answered as refused",
        f"{API}/resources/submit.py",
        "        if request.transport is not None:\n            request.transport.abort()\n        raise\n",
        '        raise unavailable("failed to queue task") from None\n',
        f"{THROUGH_HTTP}/test_commit_unknown.py::test_where_nobody_can_look_the_connection_ends_without_an_answer",
    ),
    Mutant(
        "a stream that is resumed goes on with what comes",
        f"{API}/resources/events.py",
        "        return _Start(named, resumed=True, lost=False)\n",
        "        return _Start(last, resumed=True, lost=False)\n",
        f"{THROUGH_HTTP}/test_watch.py"
        "::test_a_client_that_resumes_again_and_again_under_load_misses_nothing_and_sees_nothing_twice",
    ),
    Mutant(
        "the first and the last event are read one after the other",
        f"{STORE}/reads.py",
        '        [row] = await self._engine.read("event_range")\n',
        '        [row] = await self._engine.read("event_range")\n'
        '        [later] = await self._engine.read("event_range")\n'
        '        row = {"first": row["first"], "last": later["last"]}\n',
        f"{THROUGH_HTTP}/test_stream_ends.py"
        "::test_a_stream_resumed_in_the_moment_of_the_first_event_of_all_is_told_it",
    ),
    Mutant(
        "the stream of a task that is resumed goes on with what comes",
        f"{API}/live/watcher.py",
        "                yield await self._store.reads.events_of(task_seq, after=after, until=self._last)\n",
        "",
        f"{THROUGH_HTTP}/test_task_stream.py"
        "::test_a_resumed_stream_tells_first_what_was_missed_then_what_comes_in_order_without_doubles",
    ),
    Mutant(
        "the stream of a task that is final can't be resumed, whatever was told of it",
        f"{API}/resources/events.py",
        "        if end is None or end <= start.after:\n",
        "        if True:\n",
        f"{THROUGH_HTTP}/test_stream_ends.py::test_an_end_that_was_missed_is_told_however_much_came_after_it",
    ),
    # Where tasks run
    Mutant(
        "a worker claims what it doesn't know",
        VERBS,
        '    if not takes(tx, repertoire, row["action"]):\n',
        "    if False:\n",
        f"{ROLLING}::test_a_rolling_deployment_of_a_new_action_loses_and_falsifies_nothing",
        ALIKE,
    ),
    Mutant(
        "the catch-all that ships takes what is another worker's",
        f"{STORE}/catalogue.py",
        '            return not tx.run("own_action")\n',
        "            return True\n",
        f"{ROLLING}::test_a_stock_worker_beside_one_of_ones_own_takes_none_of_its_tasks",
        ALIKE,
    ),
    Mutant(
        "nobody looks whose the queue is",
        "shared/taskqueue/broker/rabbitmq/topology.py",
        "                await self._own(connection)\n",
        "",
        "tests/integration/test_queue_owners.py"
        "::test_a_second_installation_or_another_queues_name_is_refused_at_the_start",
        "it has one installation",
    ),
    # What needs processes to be killed, or to be of another version
    Mutant(
        "a claim that shares the commit of an outcome is acknowledged before that commit",
        CONSUME,
        "            following = self._enqueue_claim(delivery) if delivery else None\n",
        "            following = self._enqueue_claim(delivery) if delivery else None\n"
        "            await (delivery.ack() if delivery else asyncio.sleep(0))\n",
        f"{CRASHES}::test_a_worker_killed_around_the_commit_of_an_outcome_and_the_next_claim_loses_neither"
        "[before verbs.claim-first_ended0-second_ended0]",
        RECONCILED,
    ),
    Mutant(
        "leases that have run out are not ended while the broker is away",
        SWEEPS,
        "        if expired := await self._store.bulk.demote_expired(self._lease):\n",
        "        if self._broker.state is not BrokerState.CONNECTED:\n            return\n"
        "        if expired := await self._store.bulk.demote_expired(self._lease):\n",
        f"{CRASHES}::test_the_tasks_of_an_api_that_died_are_demoted_while_the_broker_is_away_too"
        "[before broker.publish]",
        "the broker comes back in the end",
    ),
    Mutant(
        "the migration leaves programs of the version before a table that they can write",
        MIGRATION,
        "ALTER TABLE new_task RENAME TO task;\n",
        "ALTER TABLE new_task RENAME TO task;\nCREATE TABLE tasks AS SELECT * FROM task;\n",
        f"{UPGRADE}::test_old_processes_that_outlive_the_migration_write_nothing_and_lose_nothing",
        "it runs no version before",
    ),
    Mutant(
        "the migration forgets which attempts run",
        MIGRATION,
        "LEFT JOIN attempts ON status = 'running' AND task_seq = task.seq AND number = attempt\n",
        "LEFT JOIN attempts ON status = 'failed' AND task_seq = task.seq AND number = attempt\n",
        f"{UPGRADE}::test_old_processes_that_outlive_the_migration_write_nothing_and_lose_nothing",
        "it runs no version before",
    ),
    # The files
    Mutant(
        "a write doesn't look whether its file is still there",
        GROUP_COMMIT,
        "            self._files.look()\n",
        "            pass\n",
        f"{FILES}::test_a_database_that_is_moved_away_costs_503s_and_no_result_until_it_is_back",
        "its file stays where it is",
    ),
    Mutant(
        "a commit into a file that was moved meanwhile counts",
        GROUP_COMMIT,
        "            self._files.confirm()\n",
        "            pass\n",
        f"{FILES}::test_a_post_whose_commit_went_into_a_file_that_was_moved_meanwhile_gets_no_answer",
        "its file stays where it is",
    ),
    Mutant(
        "a log that was deleted is not copied",
        f"{ENGINE}/files.py",
        "                await save()\n",
        "                pass\n",
        f"{FILES}::test_of_a_log_that_is_deleted_nothing_is_lost_whose_processes_are_killed[log]",
        "its file stays where it is",
    ),
)
