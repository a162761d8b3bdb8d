"""Random histories of the store against the lifecycle in plain Python (`tests/lifecycle.py`).

The verbs run on the real schema and the real SQL, in real transactions, in memory. Triggers of the test's own
write down every change of a status and every final one.
"""

import os
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from tests.integration.store.given import ERROR, LEASE, NOON, looking, new_task, worker_info
from tests.integration.store.lifecycle_steps import PRIORITIES, STEPS, latest
from tests.lifecycle import FINAL, Attempt, Lifecycle, Task

from taskqueue.store import GivenUp, Refusal, Repertoire, SetAside, verbs, workers
from taskqueue.store.catalogue import take_up
from taskqueue.store.engine.sqlite.connection import Connection
from taskqueue.store.engine.sqlite.transaction import Refused, Transactions
from taskqueue.store.ledger import BOUNDS, balance
from taskqueue.store.queries import QUERIES
from taskqueue.store.reads import Reads
from taskqueue.task import TRANSITIONS, Claim, Edge, Outcome, Status
from taskqueue_migrate.runner import shipped_migrations

T = TypeVar("T")

MEMORY = Path("memory")

NOT_LONG, PAUSE = 5_000, 1_000
#: How long a task waits for a worker that knows its action.
WAIT = 3 * LEASE

ABLE, UNABLE = Repertoire(frozenset({"act"})), Repertoire(frozenset({"another"}))


def attempts_of(action: str) -> int:
    """How many a task has that doesn't say."""
    return {"act": 2}[action]


RECORD = """
CREATE TABLE recordings (task TEXT, status TEXT, run INTEGER);
CREATE TABLE runs (task TEXT PRIMARY KEY, run INTEGER);
CREATE TABLE changes (task TEXT, source TEXT, target TEXT);
CREATE TRIGGER record AFTER UPDATE OF status ON task
WHEN NEW.status IN ('completed', 'failed', 'cancelled')
BEGIN
    INSERT INTO recordings VALUES (NEW.id, NEW.status, (SELECT run FROM runs WHERE task = NEW.id));
END;
CREATE TRIGGER note_run AFTER UPDATE OF status ON task
WHEN OLD.status IN ('completed', 'failed', 'cancelled')
BEGIN
    UPDATE runs SET run = run + 1 WHERE task = NEW.id;
END;
CREATE TRIGGER note_delete AFTER DELETE ON task
BEGIN
    INSERT INTO changes VALUES (OLD.id, OLD.status, NULL);
END;
CREATE TRIGGER note_change AFTER UPDATE OF status ON task
BEGIN
    INSERT INTO changes VALUES (NEW.id, OLD.status, NEW.status);
END;
CREATE TRIGGER note_submit AFTER INSERT ON task
BEGIN
    INSERT INTO changes VALUES (NEW.id, NULL, NEW.status);
    INSERT INTO runs VALUES (NEW.id, 1);
END;
"""


class Reading:
    """The part of an engine that reads, at once."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    async def read(self, query: str, **values: Any) -> list[Any]:
        return self._db.execute(QUERIES[query], values).fetchall()


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")


class StoreHistory(RuleBasedStateMachine):
    """Each step does something to the store and to the model, and compares what they say."""

    taken: set[Edge]
    template: Connection

    def __init__(self) -> None:
        super().__init__()
        self.db = type(self.template)(":memory:", isolation_level=None)
        self.db.row_factory = self.template.row_factory
        self.template.backup(self.db)
        self.db.execute("PRAGMA foreign_keys = ON")
        self.model = Lifecycle(NOON, LEASE, WAIT)
        self.transactions: Transactions[Any] = Transactions(
            MEMORY, self.db, QUERIES, lambda: self.model.now, balance, time.monotonic
        )
        self.reads = Reads(Reading(self.db))
        #: All claims ever made, and the (task, dispatch id) of all publishes that may be confirmed at some time.
        self.claims: list[Claim] = []
        self.publishes: list[tuple[str, str]] = []
        self.number = 0
        self.last_seq = 0

    def teardown(self) -> None:
        self.db.close()

    # Running verbs

    def call(self, verb: Callable[..., T], *arguments: Any, edge: str | None = None, **named: Any) -> Any:
        """A write that runs a verb, and sees that each change of a status is an edge of it."""

        def write(tx: Any) -> T:
            result = verb(tx, *arguments, **named)
            for source, target in self.db.execute("SELECT source, target FROM changes").fetchall():
                name = edge or ("submit" if source is None else verb.__name__)
                taken = Edge(source and Status(source), target and Status(target), name)
                assert taken in TRANSITIONS, taken
                type(self).taken.add(taken)
            self.db.execute("DELETE FROM changes")
            return result

        return write

    def commit(self, *writes: Any) -> list[Any]:
        """Run writes in one transaction."""
        return self.transactions.run(writes, 0)

    def run(self, verb: Callable[..., T], *arguments: Any, edge: str | None = None, **named: Any) -> T:
        [outcome] = self.commit(self.call(verb, *arguments, edge=edge, **named))
        if isinstance(outcome, Refused):
            raise outcome.error
        return outcome

    # What there is to choose from

    def fresh(self, kind: str) -> str:
        self.number += 1
        return f"{kind}{self.number}"

    def claimable(self) -> list[str]:
        return [task.id for task in self.model.tasks.values() if self.model.is_claimable(task)]

    def held(self) -> list[Claim]:
        return [claim for claim in self.claims if self.task(claim).is_held_by(claim.worker, claim.attempt)]

    def set_asides(self) -> list[Task]:
        return [task for task in self.model.open_tasks() if task.unknown_since is not None]

    def zombies(self) -> list[Claim]:
        """The old claims of tasks that run again; those of the same worker last, which are met most."""
        held = self.held()
        ids = {claim.id for claim in held}
        old = [claim for claim in self.claims if claim.id in ids and claim not in held]
        return sorted(old, key=lambda claim: self.task(claim).worker == claim.worker)

    def task(self, claim: Claim) -> Task:
        return self.model.known(claim.id)

    def final_tasks(self, *statuses: str) -> list[str]:
        return [task.id for task in self.model.tasks.values() if task.status in statuses]

    def published(self, backs: Iterable[int]) -> list[tuple[Task, str]]:
        """Publishes, each once: of one task there may be several."""
        chosen = dict.fromkeys(latest(self.publishes, back) for back in backs)
        return [(self.model.known(id), dispatch_id) for id, dispatch_id in chosen]

    def leased(self) -> list[tuple[str, str]]:
        """Publishes whose leases are still on queued tasks."""
        return [(id, name) for id, name in self.publishes if self.model.known(id).is_published_by(name, "queued")]

    @initialize()
    def workers_start(self) -> None:
        for worker in ("a", "b"):
            self.beat(worker)

    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        # One rule that chooses among what can happen: hypothesis would try most histories without some rules,
        # and get nowhere.
        step = data.draw(st.sampled_from(self.possible_steps()))
        getattr(self, step)(**data.draw(st.fixed_dictionaries(STEPS[step])))

    def possible_steps(self) -> list[str]:
        """The likelier ones more than once."""
        open_tasks = self.model.open_tasks()
        steps = ["clock_moves", "leases", "leases", "worker_beats_or_goes"]
        if len(open_tasks) < 3:  # a few at a time, so that the verbs meet
            steps += ["submits", "submits_to_publish", "submits_to_publish"]
        if self.publishes:
            steps += ["is_settled", "is_marked", "is_marked", "is_not_confirmed"]
        if self.leased():
            steps += ["is_settled", "is_not_confirmed_as_it_may_be"]
        if any(task.status == "queued" for task in open_tasks):
            steps += ["publishers_are_lost", "messages_are_lost", "the_queue_is_lost", "is_cancelled"]
        if self.model.tasks:
            steps += ["is_claimed", "is_cancelled", "is_retried", "is_deleted"]
        if len(open_tasks) < 3 and self.final_tasks("failed", "cancelled"):
            steps += ["is_retried_as_it_should"]
        if self.final_tasks(*FINAL):
            steps += ["is_deleted_as_it_should"]
        if self.model.workers and self.claimable():
            steps += ["is_claimed_as_it_should"] * 3
            if self.held():
                steps += ["ends_and_the_next_is_claimed"] * 2
        if self.claims:
            steps += ["ends", "tells_its_progress"]
        if self.held():
            steps += ["ends_as_it_should"] * 3 + ["is_rescued_as_it_should"]
        if self.zombies():
            steps += ["ends_during_a_later_attempt"] * 3
        return steps + self.possible_steps_of_who_knows_no_action()

    def possible_steps_of_who_knows_no_action(self) -> list[str]:
        steps = []
        if self.model.workers and self.model.tasks:
            steps += ["is_set_aside"]
        if self.model.workers and self.claimable():
            steps += ["is_set_aside_as_it_may_be"]
        if self.set_asides():
            steps += ["is_taken_up"]
            if self.model.workers:
                steps += ["waits_in_vain"]
        return steps

    def clock_moves(self, milliseconds: int) -> None:
        self.model.now += milliseconds

    # Into the queue

    def submits(self, priority: int, delay: int, max_attempts: int | None, tags: tuple[str, ...]) -> None:
        now, id = self.model.now, self.fresh("task")
        task = Task(id, "act", now, now + delay, priority, max_attempts, tags, f"by {id}")
        self.submit(task, token=None)

    def submits_to_publish(self, priorities: list[int], max_attempts: int | None) -> None:
        """One, or a batch in one transaction."""
        now, tasks = self.model.now, []
        for priority in priorities:
            id = self.fresh("task")
            tasks.append(Task(id, "act", now, now, priority, max_attempts, (), f"by {id}"))
        self.submit(*tasks, token="0")

    def submit(self, *tasks: Task, token: str | None) -> None:
        names = [token and f"{task.id}.{token}" for task in tasks]
        writes = [
            self.call(verbs.submit, self.new(task), name, LEASE) for task, name in zip(tasks, names, strict=True)
        ]
        for task, name, seq in zip(tasks, names, self.commit(*writes), strict=True):
            self.placed(task, seq)
            self.model.submit(task, name)
            if name:
                self.publishes.append((task.id, name))

    def placed(self, task: Task, seq: int) -> None:
        assert seq > self.last_seq
        self.last_seq = task.seq = seq

    def new(self, task: Task) -> Any:
        names = ("created_at", "run_at", "priority", "max_attempts", "tags", "request_id", "parent")
        return new_task(task.id, **{name: getattr(task, name) for name in names})

    def leases(self, limit: int) -> None:
        due = [task for task in self.model.tasks.values() if self.model.is_leasable(task)]
        got = self.run(verbs.lease_due, PRIORITIES, limit, LEASE, self.fresh("token"))
        chosen = [self.model.tasks[dispatch.id] for dispatch in got]
        assert len({task.id for task in chosen}) == len(chosen) == min(limit, len(due))
        left = [task for task in due if task not in chosen]
        for task in chosen:
            assert task in due
            assert not [other for other in left if (-other.priority, other.run_at) < (-task.priority, task.run_at)]
        for task, dispatch in zip(chosen, got, strict=True):
            assert dispatch.dispatch_id not in {name for _, name in self.publishes}
            self.model.take_lease(task, dispatch.dispatch_id)
            self.publishes.append((dispatch.id, dispatch.dispatch_id))

    def is_settled(self, backs: list[int]) -> None:
        """At once, late, or a second time."""
        publishes = self.published(backs)
        self.run(verbs.settle, [(task.seq, name) for task, name in publishes])
        for task, name in publishes:
            if task.is_published_by(name, "queued"):
                self.model.settle(task)

    def is_marked(self, backs: list[int]) -> None:
        """At once, late, or a second time."""
        publishes = self.published(backs)
        right = [task for task, name in publishes if task.is_published_by(name, "pending")]
        marked = self.run(verbs.mark_queued, [(task.seq, name) for task, name in publishes])
        self.moved(marked, right, self.model.mark_queued)

    def is_not_confirmed(self, backs: list[int]) -> None:
        self.not_confirmed(self.published(backs))

    def is_not_confirmed_as_it_may_be(self, back: int) -> None:
        id, name = latest(self.leased(), back)
        self.not_confirmed([(self.model.known(id), name)])

    def not_confirmed(self, publishes: list[tuple[Task, str]]) -> None:
        right = [task for task, name in publishes if task.is_published_by(name, "queued")]
        demoted = self.run(verbs.demote, [(task.seq, name) for task, name in publishes])
        self.moved(demoted, right, self.model.demote)

    def publishers_are_lost(self, limit: int) -> None:
        lost = [task for task in self.model.tasks.values() if self.model.is_abandoned(task)]
        self.moved(self.run(verbs.demote_expired, LEASE, limit, edge="demote"), lost, self.model.demote, limit)

    def messages_are_lost(self, priority: int, for_long: bool, also_later: bool, limit: int) -> None:
        before = self.model.now - NOT_LONG * for_long
        lost = [
            task
            for task in self.queued()
            if task.priority == priority
            and (task.queued_at <= before or (also_later and task.queued_at > self.model.now))
        ]
        demoted = self.run(verbs.demote_lost, priority, before, limit, also_later=also_later, edge="demote")
        self.moved(demoted, lost, self.model.demote, limit)

    def the_queue_is_lost(self, limit: int) -> None:
        after = 0
        while queued := self.queued():
            demoted = self.run(verbs.demote_all, after, limit, edge="demote")
            self.moved(demoted, queued[:limit], self.model.demote)
            after = max(demoted)

    def queued(self) -> list[Task]:
        return [task for task in self.model.tasks.values() if task.status == "queued"]

    def moved(
        self, seqs: set[int], right: list[Task], move: Callable[[Task], None], limit: int | None = None
    ) -> None:
        """These tasks are those that should have been moved, or as many of them as may be at once."""
        assert len(seqs) == min(len(right), limit or len(right))
        assert seqs <= {task.seq for task in right}
        # They are told in the order of the places that they were found at.
        told = self.db.execute("SELECT task_seq FROM events ORDER BY seq DESC LIMIT ?", (len(seqs),)).fetchall()
        by_seq = {task.seq: task for task in right}
        for (seq,) in reversed(told):
            move(by_seq[seq])

    # One attempt

    def is_claimed(self, back: int, worker: str) -> None:
        id = latest(self.model.tasks, back)
        self.claimed(id, worker, self.run(verbs.claim, id, worker, ABLE, WAIT, attempts_of))

    def is_claimed_as_it_should(self, back: int, worker: int) -> None:
        id, name = latest(self.claimable(), back), latest(self.model.workers, worker)
        self.claimed(id, name, self.run(verbs.claim, id, name, ABLE, WAIT, attempts_of))

    def is_set_aside(self, back: int, worker: int) -> None:
        self.set_aside(latest(self.model.tasks, back), latest(self.model.workers, worker))

    def is_set_aside_as_it_may_be(self, back: int, worker: int) -> None:
        """Again, rather than for the first time."""
        waiting = [task.id for task in self.set_asides() if self.model.is_claimable(task)]
        self.set_aside(latest(waiting or self.claimable(), back), latest(self.model.workers, worker))

    def waits_in_vain(self, back: int, worker: int, queued: bool) -> None:
        """Until it fails: from the queue, or before the mark of its message is written."""
        task = latest(self.set_asides(), back)
        self.clock_moves(WAIT - self.model.waited(task))
        self.leases(10)
        publishes = [(task.seq, name) for id, name in self.publishes if id == task.id and queued]
        marked = self.run(verbs.mark_queued, publishes)
        self.moved(marked, [task] if marked else [], self.model.mark_queued)
        self.set_aside(task.id, latest(self.model.workers, worker))

    def set_aside(self, id: str, worker: str) -> None:
        """It is claimed by a worker that doesn't know its action."""
        task = self.model.tasks[id]
        over = self.model.waited(task) >= WAIT
        others = self.set_asides()
        answer = self.run(verbs.claim, id, worker, UNABLE, WAIT, edge="give_up" if over else "set_aside")
        if not self.model.is_claimable(task):
            assert answer is Refusal.NOT_CLAIMABLE
        elif over:
            self.model.give_up(task)
            task.error = at_once(self.reads.get(id)).error
            assert "UnknownAction" in task.error
            assert answer == GivenUp(id, "act")
        else:
            self.model.set_aside(task)
            assert answer == SetAside(id, "act", first=not others)

    def is_taken_up(self, knows: bool, limit: int) -> None:
        repertoire = ABLE if knows else UNABLE
        waiting = [task for task in self.model.tasks.values() if knows and self.model.may_be_taken_up(task)]
        seqs = self.run(take_up, repertoire, ["act"], limit)
        assert len(seqs) == min(len(waiting), limit)
        for task in waiting:
            if task.seq in seqs:
                self.model.take_up(task)
        assert seqs <= {task.seq for task in waiting}

    def claimed(self, id: str, worker: str, answer: Claim | Refusal) -> None:
        """What a claim should have been answered."""
        task = self.model.tasks[id]
        if not self.model.is_claimable(task):
            assert answer is Refusal.NOT_CLAIMABLE
            return
        if worker not in self.model.workers:
            assert answer is Refusal.WORKER_UNKNOWN
            return
        waited = self.model.now - task.run_at
        self.model.claim(task, worker, attempts_of("act"))
        assert answer == Claim(
            seq=task.seq,
            id=id,
            attempt=task.attempt,
            worker=worker,
            action="act",
            payload=new_task(id).payload,
            failures=task.failures,
            max_attempts=task.max_attempts or 0,
            timeout=None,
            started_at=self.model.now,
            request_id=task.request_id,
            priority=task.priority,
            tags=task.tags,
            waited=waited,
        )
        self.claims.append(answer)

    def ends(self, back: int, verb: str, delay: int, children: int) -> None:
        """Often too late: the claim may have been ended, or taken from its worker."""
        self.end(latest(self.claims, back), verb, delay, children)

    def ends_as_it_should(self, back: int, verb: str, delay: int, children: int, cancel: bool) -> None:
        claim = latest(self.held(), back)
        if cancel:
            self.cancel(claim.id)
        self.end(claim, verb, delay, children)

    def ends_during_a_later_attempt(self, back: int, verb: str, delay: int, children: int, cancel: bool) -> None:
        claim = latest(self.zombies(), back)
        if cancel:
            self.cancel(claim.id)
        self.end(claim, verb, delay, children)

    def ends_and_the_next_is_claimed(self, back: int, verb: str, children: int, beside: bool) -> None:
        """In one transaction, as workers do; at times beside a write that raises, so that it is run again."""
        claim, id = latest(self.held(), back), latest(self.claimable(), back)

        def raises(tx: object) -> None:
            raise LookupError

        submitted = self.submitted_by(claim, children)
        writes = [
            self.ending(claim, verb, 0, submitted),
            self.call(verbs.claim, id, claim.worker, ABLE, WAIT, attempts_of),
        ]
        ended, answer, *_ = self.commit(*writes, *([raises] if beside else []))
        self.ended(claim, verb, 0, submitted, ended)
        self.claimed(id, claim.worker, answer)

    def end(self, claim: Claim, verb: str, delay: int, children: int) -> None:
        submitted = self.submitted_by(claim, children)
        [outcome] = self.commit(self.ending(claim, verb, delay, submitted))
        self.ended(claim, verb, delay, submitted, outcome)

    def submitted_by(self, claim: Claim, children: int) -> list[Task]:
        now, ids = self.model.now, [self.fresh("child") for _ in range(children)]
        return [Task(id, "act", now, now, 4, None, ("x",), claim.request_id, claim.id) for id in ids]

    def ending(self, claim: Claim, verb: str, delay: int, submitted: list[Task]) -> Any:
        arguments: dict[str, tuple[Any, ...]] = {
            "complete": ("{}", list(map(self.new, submitted))),
            "back_off": (Outcome.ERROR, ERROR, delay),
            "fail": (Outcome.TIMEOUT, ERROR),
            "release": (),
            "snooze": (delay,),
        }
        return self.call(getattr(verbs, verb), claim, *arguments[verb])

    def ended(self, claim: Claim, verb: str, delay: int, submitted: list[Task], answer: Status | None) -> None:
        """What an ending should have been answered."""
        task = self.task(claim)
        if not task.is_held_by(claim.worker, claim.attempt):
            assert answer is None
            return
        match verb:
            case "complete":
                self.model.complete(task, "{}", submitted)
                for child in submitted:
                    self.placed(child, self.seq_of(child.id))
            case "back_off":
                self.model.back_off(task, "error", ERROR, self.model.now + delay)
            case "fail":
                self.model.fail(task, "timeout", ERROR)
            case "release":
                self.model.release(task)
            case "snooze":
                self.model.snooze(task, self.model.now + delay)
        assert answer == task.status

    def seq_of(self, id: str) -> int:
        [row] = self.db.execute("SELECT seq FROM task WHERE id = ?", (id,)).fetchall()
        return int(row["seq"])

    def tells_its_progress(self, back: int, fraction: int) -> None:
        claim = latest(self.claims, back)
        task, progress = self.task(claim), f'{{"fraction":0.{fraction}}}'
        held = task.is_held_by(claim.worker, claim.attempt)
        assert self.run(verbs.tell_progress, claim, progress) == held
        if held:
            self.model.tell_progress(task, progress)

    # What clients ask for

    def is_retried(self, back: int) -> None:
        self.retry(latest(self.model.tasks, back))

    def is_retried_as_it_should(self, back: int) -> None:
        self.retry(latest(self.final_tasks("failed", "cancelled"), back))

    def retry(self, id: str) -> None:
        task, request = self.model.tasks[id], self.fresh("request")
        right = task.status in {"failed", "cancelled"}
        assert self.run(verbs.retry, id, request) == right
        if right:
            self.model.retry(task, request)

    def is_deleted(self, back: int) -> None:
        self.delete(latest(self.model.tasks, back))

    def is_deleted_as_it_should(self, back: int, status: str) -> None:
        if tasks := self.final_tasks(status):
            self.delete(latest(tasks, back))

    def delete(self, id: str) -> None:
        right = self.model.tasks[id].status in FINAL
        assert self.run(verbs.delete, id) == right
        if right:
            self.model.delete(self.model.tasks[id])

    def is_cancelled(self, back: int) -> None:
        self.cancel(latest(self.model.tasks, back))

    def cancel(self, id: str) -> None:
        task = self.model.tasks[id]
        answer = self.run(verbs.cancel, id)
        self.model.cancel(task)
        assert answer == task.status

    # What workers do with each other

    def worker_beats_or_goes(self, worker: str, what: str) -> None:
        """Rescued by an observer that has seen its present beat, an older one, or another life's."""
        match what:
            case "beat":
                self.beat(worker)
            case "retire":
                mine = self.model.run_by(worker)
                assert self.run(workers.retire, worker, edge="release") == len(mine)
                self.model.retire(worker)
            case _:
                self.rescue(worker, {"rescue": 0, "rescue late": 1, "rescue early": -1}[what])

    def beat(self, worker: str) -> None:
        held = self.run(workers.beat, worker_info(worker))
        self.model.beat(worker)
        assert sorted((it.claim.id, it.claim.attempt, it.cancel_requested) for it in held) == sorted(
            (task.id, task.attempt, task.cancel_requested) for task in self.model.run_by(worker)
        )
        claims = [replace(claim, payload="", tags=(), waited=0) for claim in self.claims]
        assert all(it.claim in claims for it in held), (
            "a beat tells the very claims, but not what nobody needs then"
        )

    def is_rescued_as_it_should(self, back: int, cancel: bool) -> None:
        claim = latest(self.held(), back)
        if cancel:
            self.cancel(claim.id)
        self.rescue(claim.worker, 0)

    def rescue(self, worker: str, behind: int) -> None:
        counter = self.model.workers.get(worker, 0) - behind
        mine = self.model.run_by(worker)
        rescued = self.run(workers.rescue, worker, counter, ERROR, lambda failures: PAUSE * failures)
        if worker not in self.model.workers or behind:
            assert rescued is None
            return
        self.model.rescue(worker, ERROR, PAUSE)
        assert sorted((claim.id, status) for claim, status in rescued or []) == sorted(
            (task.id, task.status) for task in mine
        )

    # After each step

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        rows = {row["id"]: dict(row) for row in self.db.execute("SELECT * FROM task")}
        assert rows.keys() == self.model.tasks.keys()
        for id, task in self.model.tasks.items():
            expected = asdict(task) | {"worker_id": task.worker, "attempt": task.attempt}
            for name in ("tags", "attempts", "worker"):
                del expected[name]
            for name in rows[id].keys() & expected.keys():
                assert rows[id][name] == expected[name], (id, name)
            told = at_once(self.reads.get(id))
            assert told is not None
            assert told.tags == task.tags
            assert list(map(attempt_of, told.attempts)) == task.attempts
            assert [attempt.number for attempt in told.attempts] == list(range(1, task.attempt + 1))
            assert list(told.children) == self.model.children_of(task)
        assert at_once(self.reads.worker_beats()) == self.model.workers

    @invariant()
    def a_task_has_rows_only_for_the_attempts_before_its_last(self) -> None:
        rows = self.db.execute("SELECT task_seq, count(*) FROM attempts GROUP BY task_seq")
        earlier = {task.seq: task.attempt - 1 for task in self.model.tasks.values() if task.attempt > 1}
        assert dict(map(tuple, rows)) == earlier

    @invariant()
    def the_counters_are_what_a_scan_would_count(self) -> None:
        counted = dict(map(tuple, self.db.execute("SELECT status, tasks FROM status_counts")))
        assert +Counter(counted) == Counter(task.status for task in self.model.tasks.values())
        minutes = self.db.execute("SELECT minute, action, what, tasks FROM minute_counts")
        assert {tuple(row)[:3]: row["tasks"] for row in minutes} == self.model.counts
        times: Counter[tuple[int, str, str, int]] = Counter()
        for (minute, action, what, milliseconds), count in self.model.times.items():
            times[minute, action, what, BOUNDS[bisect_left(BOUNDS, milliseconds)]] += count
        rows = self.db.execute("SELECT minute, action, what, bound, attempts FROM minute_times")
        assert {tuple(row)[:4]: row["attempts"] for row in rows} == times
        accepted = [task.created_at for task in self.model.all_tasks()]
        ranges = list(map(tuple, self.db.execute("SELECT first, last FROM created_ranges")))
        assert ranges == ([(min(accepted), max(accepted))] if accepted else [])

    @invariant()
    def every_change_is_told_once_and_in_its_order(self) -> None:
        events = at_once(self.reads.events_after(0, limit=10_000))
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        seqs = {task.seq: task for task in self.model.all_tasks()}
        told = [
            (event.at, seqs[event.task_seq].id, event.status, event.attempt, event.progress) for event in events
        ]
        assert told == [
            (event.at, event.id, event.status, event.attempt, event.progress) for event in self.model.events
        ]
        for event in events:
            task = seqs[event.task_seq]
            there = task.id in self.model.tasks
            assert (event.task_id, event.action) == ((task.id, "act") if there else (None, None))

    @invariant()
    def the_outcome_of_each_run_is_recorded_once_and_never_changes(self) -> None:
        recordings = [tuple(row) for row in self.db.execute("SELECT task, run, status FROM recordings")]
        runs = [(task, run) for task, run, _ in recordings]
        assert len(runs) == len(set(runs))
        tasks = list(self.model.all_tasks())
        assert sorted(recordings) == sorted(
            (task.id, run, outcome) for task in tasks for run, outcome in enumerate(task.outcomes, 1)
        )
        for task in tasks:
            assert len(task.outcomes) == task.runs - (task.status not in FINAL)


def attempt_of(told: Any) -> Attempt:
    return Attempt(
        told.worker,
        told.started_at,
        told.request_id,
        told.ended_at,
        told.outcome and str(told.outcome),
        told.error,
    )


def test_no_history_leaves_the_lifecycle_or_records_an_outcome_twice(tmp_path: Path) -> None:
    (tmp_path / "template.db").touch()
    template = looking(tmp_path / "template.db")
    try:
        for migration in shipped_migrations():
            template.executescript(migration.sql)
        template.executescript(RECORD)
        StoreHistory.template = template
        StoreHistory.taken = set()
        run_state_machine_as_test(
            StoreHistory,
            settings=settings(
                max_examples=120,
                stateful_step_count=80,
                deadline=None,
                # The same histories each time where a failure must mean a change; else others each time.
                derandomize="CI" in os.environ,
                print_blob=True,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
        # A model that never got somewhere shows nothing about it.
        assert StoreHistory.taken == set(TRANSITIONS)
    finally:
        template.close()
