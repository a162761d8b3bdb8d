"""Random histories of tasks against a model of the lifecycle in plain Python, and races on the real store.

The verbs run on the real schema and the real SQL, in memory. Two triggers of the test's own write down every
change of a status and every final status.
"""

import os
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from taskqueue.store.sqlite import Connection, IntegrityError
from tests.integration.store.given import NOON, looking, new_task, worker_info

from taskqueue.store import Refusal, transitions
from taskqueue.task import FINAL, TRANSITIONS, Claim, Edge, Outcome, Status
from taskqueue_migrate.runner import shipped_migrations

T = TypeVar("T")

LEASE = 5_000
ERROR = '{"type":"Error"}'
#: How far back something is chosen from what there has been: the latest are met most.
BACK = st.integers(0, 4)
DELAY = st.integers(0, 2 * LEASE)
ENDINGS = st.sampled_from(["complete", "retry", "fail", "release"])
WORKERS = st.sampled_from(["a", "b"])
PRIORITIES = (8, 4, 0)

RECORD = """
CREATE TABLE recordings (task TEXT, status TEXT, run INTEGER);
CREATE TABLE runs (task TEXT PRIMARY KEY, run INTEGER);
CREATE TABLE changes (task TEXT, source TEXT, target TEXT);
CREATE TRIGGER record AFTER UPDATE OF status ON tasks
WHEN NEW.status IN ('completed', 'failed', 'cancelled')
BEGIN
    INSERT INTO recordings VALUES (NEW.id, NEW.status, (SELECT run FROM runs WHERE task = NEW.id));
END;
CREATE TRIGGER note_run AFTER UPDATE OF status ON tasks
WHEN OLD.status IN ('completed', 'failed', 'cancelled')
BEGIN
    UPDATE runs SET run = run + 1 WHERE task = NEW.id;
END;
CREATE TRIGGER note_delete AFTER DELETE ON tasks
BEGIN
    INSERT INTO changes VALUES (OLD.id, OLD.status, NULL);
END;
CREATE TRIGGER note_change AFTER UPDATE OF status ON tasks
BEGIN
    INSERT INTO changes VALUES (NEW.id, OLD.status, NEW.status);
END;
CREATE TRIGGER note_submit AFTER INSERT ON tasks
BEGIN
    INSERT INTO changes VALUES (NEW.id, NULL, NEW.status);
    INSERT INTO runs VALUES (NEW.id, 1);
END;
"""


@dataclass
class ModelAttempt:
    worker: str
    outcome: str | None = None


@dataclass
class ModelTask:
    """What should be known of a task."""

    id: str
    priority: int
    run_at: int
    max_attempts: int
    dispatch_id: str | None
    dispatch_until: int | None
    status: str = "pending"
    worker: str | None = None
    failures: int = 0
    queued_at: int | None = None
    processed_at: int | None = None
    cancel_requested: bool = False
    progress: str | None = None
    attempts: list[ModelAttempt] = field(default_factory=list)
    #: How each run of it ended: the last one is the present one's, if that has ended.
    outcomes: list[str] = field(default_factory=list)
    runs: int = 1

    def claimable(self, now: int) -> bool:
        published = self.dispatch_id is not None
        return self.status == "queued" or (self.status == "pending" and (self.run_at <= now or published))

    def leasable(self, now: int) -> bool:
        free = self.dispatch_until is None or self.dispatch_until <= now or self.dispatch_until > now + LEASE
        return self.status == "pending" and self.run_at <= now and free

    def held_by(self, claim: Claim) -> bool:
        mine = (self.worker, len(self.attempts)) == (claim.worker, claim.attempt)
        return self.status == "running" and mine

    def move(self, status: str, now: int) -> None:
        self.status = status
        self.worker = self.dispatch_id = self.dispatch_until = self.queued_at = None
        if status in FINAL:
            self.processed_at = now
            self.outcomes.append(status)

    def end(self, outcome: str, status: str, now: int, *, failed: bool = False) -> str:
        """End the attempt; a cancel that was asked wins over all but a result."""
        if self.cancel_requested and status != "completed":
            outcome, status, failed = "cancelled", "cancelled", False
        self.attempts[-1].outcome = outcome
        self.failures += failed
        self.move(status, now)
        return status


#: What can happen, and how.
STEPS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "clock_moves": {"milliseconds": st.sampled_from([1, 900, LEASE, 3 * LEASE, -1, -900, -2 * LEASE])},
    "submits": {
        "priority": st.sampled_from(PRIORITIES),
        "delay": st.sampled_from([0, 0, 0, 1_000, 8_000]),
        "max_attempts": st.integers(1, 3),
    },
    "submits_to_publish": {"priority": st.sampled_from(PRIORITIES), "max_attempts": st.integers(1, 3)},
    "leases": {"limit": st.integers(0, 3)},
    "confirms": {"back": BACK},
    "requeues": {"queued_for": st.sampled_from([0, LEASE]), "limit": st.integers(1, 10)},
    "is_claimed": {"back": BACK, "worker": WORKERS},
    "is_claimed_as_it_should": {"back": BACK, "worker": BACK},
    "ends": {"back": BACK, "verb": ENDINGS, "delay": DELAY},
    "ends_as_it_should": {"back": BACK, "verb": ENDINGS, "delay": DELAY, "cancel": st.booleans()},
    "ends_during_a_later_attempt": {"back": BACK, "verb": ENDINGS, "delay": DELAY, "cancel": st.booleans()},
    "is_cancelled": {"back": BACK},
    "tells_its_progress": {"back": BACK, "fraction": st.integers(0, 9)},
    "is_run_again": {"back": BACK},
    "is_run_again_as_it_should": {"back": BACK},
    "is_deleted": {"back": BACK},
    "is_deleted_as_it_should": {"back": BACK, "status": st.sampled_from(sorted(FINAL))},
    "is_rescued_as_it_should": {"back": BACK, "cancel": st.booleans()},
    "worker_beats_or_goes": {
        "worker": WORKERS,
        "what": st.sampled_from(["beat", "beat", "retire", "rescue", "rescue late", "rescue early"]),
    },
}


def latest(items: list[T], back: int) -> T:
    return items[-1 - back % len(items)]


class Lifecycle(RuleBasedStateMachine):
    """Each step does something to the store and to the model, and compares what they say."""

    taken: set[Edge]
    template: Connection

    def __init__(self) -> None:
        super().__init__()
        self.db = type(self.template)(":memory:", isolation_level=None)
        self.db.row_factory = self.template.row_factory
        self.template.backup(self.db)
        self.db.execute("PRAGMA foreign_keys = ON")
        self.now = NOON
        self.model: dict[str, ModelTask] = {}
        self.workers: dict[str, int] = {}
        #: All claims ever made, and the (task, dispatch id) of all publishes that may be confirmed at some time.
        self.claims: list[Claim] = []
        self.publishes: list[tuple[str, str]] = []
        self.number = 0
        #: Tasks that were deleted, as they were.
        self.gone: dict[str, ModelTask] = {}
        self.highest_attempt: Counter[str] = Counter()

    def teardown(self) -> None:
        self.db.close()

    def run(self, verb: str, *arguments: Any, edge: str | None = None) -> Any:
        """Run a verb in a transaction, and see that each change of a status is an edge of this verb."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            result = getattr(transitions, verb)(self.db, *arguments)
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        changes = self.db.execute("SELECT source, target FROM changes").fetchall()
        self.db.execute("DELETE FROM changes")
        self.db.execute("COMMIT")
        for source, target in changes:
            taken = Edge(source and Status(source), target and Status(target), edge or verb)
            assert taken in TRANSITIONS, taken
            type(self).taken.add(taken)
        return result

    def open_tasks(self) -> list[ModelTask]:
        return [task for task in self.model.values() if task.status not in FINAL]

    def fresh(self, kind: str) -> str:
        self.number += 1
        return f"{kind}{self.number}"

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
        open_tasks = self.open_tasks()
        steps = ["clock_moves", "leases", "leases", "worker_beats_or_goes"]
        if len(open_tasks) < 3:  # a few at a time, so that the verbs meet
            steps += ["submits", "submits_to_publish"]
        if self.publishes:
            steps += ["confirms"] * 2
        if any(task.status == "queued" for task in open_tasks):
            steps += ["requeues", "is_cancelled"]
        if self.model:
            steps += ["is_claimed", "is_cancelled", "is_run_again", "is_deleted"]
        if len(open_tasks) < 3 and self.final_tasks("failed", "cancelled"):
            steps += ["is_run_again_as_it_should"]
        if self.final_tasks(*FINAL):
            steps += ["is_deleted_as_it_should"]
        if self.workers and any(task.claimable(self.now) for task in open_tasks):
            steps += ["is_claimed_as_it_should"] * 3
        if self.claims:
            steps += ["ends", "tells_its_progress"]
        if self.held():
            steps += ["ends_as_it_should"] * 3 + ["is_rescued_as_it_should"]
        if self.zombies():
            steps += ["ends_during_a_later_attempt"] * 3
        return steps

    def clock_moves(self, milliseconds: int) -> None:
        self.now += milliseconds

    def submits(self, priority: int, delay: int, max_attempts: int) -> None:
        id = self.fresh("task")
        task = new_task(
            id, created_at=self.now, run_at=self.now + delay, priority=priority, max_attempts=max_attempts
        )
        self.run("submit", task, None, None)
        self.model[id] = ModelTask(id, priority, task.run_at, max_attempts, None, None)

    def submits_to_publish(self, priority: int, max_attempts: int) -> None:
        id = self.fresh("task")
        task = new_task(id, created_at=self.now, run_at=self.now, priority=priority, max_attempts=max_attempts)
        until = self.now + LEASE
        self.run("submit", task, f"{id}.0", until)
        self.model[id] = ModelTask(id, priority, self.now, max_attempts, f"{id}.0", until)
        self.publishes.append((id, f"{id}.0"))

    def leases(self, limit: int) -> None:
        due = [task for task in self.model.values() if task.leasable(self.now)]
        got = self.run("lease_due", PRIORITIES, limit, LEASE, self.fresh("token"), self.now)
        chosen = [self.model[dispatch.id] for dispatch in got]
        assert len({task.id for task in chosen}) == len(chosen) == min(limit, len(due))
        left = [task for task in due if task not in chosen]
        for task in chosen:
            assert task in due
            assert not [other for other in left if (-other.priority, other.run_at) < (-task.priority, task.run_at)]
        for dispatch in got:
            task = self.model[dispatch.id]
            assert dispatch.dispatch_id != task.dispatch_id
            task.dispatch_id, task.dispatch_until = dispatch.dispatch_id, self.now + LEASE
            self.publishes.append((dispatch.id, dispatch.dispatch_id))

    def confirms(self, back: int) -> None:
        """At once, late, or a second time."""
        id, dispatch_id = latest(self.publishes, back)
        task = self.known(id)
        right = task.status == "pending" and task.dispatch_id == dispatch_id
        assert self.run("mark_queued", id, dispatch_id, self.now) == right
        if right:
            task.move("queued", self.now)
            task.queued_at = self.now

    def is_claimed(self, back: int, worker: str) -> None:
        self.claim(latest(list(self.model), back), worker)

    def is_claimed_as_it_should(self, back: int, worker: int) -> None:
        claimable = [task.id for task in self.open_tasks() if task.claimable(self.now)]
        self.claim(latest(claimable, back), latest(list(self.workers), worker))

    def claim(self, id: str, worker: str) -> None:
        task = self.model[id]
        try:
            claim = self.run("claim", id, worker, self.now)
        except IntegrityError:
            assert task.claimable(self.now)
            assert worker not in self.workers
            return
        if not task.claimable(self.now):
            assert claim is Refusal.NOT_CLAIMABLE
            return
        assert worker in self.workers
        task.attempts.append(ModelAttempt(worker))
        task.move("running", self.now)
        task.worker = worker
        task.progress = None
        expected = new_task(id)
        assert claim == Claim(
            id, len(task.attempts), worker, "act", expected.payload, task.failures, task.max_attempts, None
        )
        self.claims.append(claim)

    def ends(self, back: int, verb: str, delay: int) -> None:
        """Often too late: the claim may have been ended, or taken from its worker."""
        self.end(latest(self.claims, back), verb, delay)

    def ends_as_it_should(self, back: int, verb: str, delay: int, cancel: bool) -> None:
        claim = latest(self.held(), back)
        if cancel:
            self.cancel(claim.id)
        self.end(claim, verb, delay)

    def ends_during_a_later_attempt(self, back: int, verb: str, delay: int, cancel: bool) -> None:
        claim = latest(self.zombies(), back)
        if cancel:
            self.cancel(claim.id)
        self.end(claim, verb, delay)

    def zombies(self) -> list[Claim]:
        """The old claims of tasks that run again; those of the same worker last, which are met most."""
        held = self.held()
        ids = {claim.id for claim in held}
        old = [claim for claim in self.claims if claim.id in ids and claim not in held]
        return sorted(old, key=lambda claim: self.known(claim.id).worker == claim.worker)

    def held(self) -> list[Claim]:
        return [claim for claim in self.claims if self.known(claim.id).held_by(claim)]

    def known(self, id: str) -> ModelTask:
        """A task that there is, or was: its claims and publishes may come late."""
        return self.model.get(id) or self.gone[id]

    def end(self, claim: Claim, verb: str, delay: int) -> None:
        task = self.known(claim.id)
        held = task.held_by(claim)
        expected: str | None = None
        match verb:
            case "complete":
                result = "completed" if self.run(verb, claim, "{}", self.now) else None
                if held:
                    expected = task.end("ok", "completed", self.now)
            case "retry":
                run_at = self.now + delay
                result = self.run(verb, claim, Outcome.ERROR, ERROR, run_at, self.now)
                if held:
                    expected = task.end("error", "pending", self.now, failed=True)
                    task.run_at = run_at if expected == "pending" else task.run_at
            case "fail":
                result = self.run(verb, claim, Outcome.TIMEOUT, ERROR, self.now)
                if held:
                    expected = task.end("timeout", "failed", self.now, failed=True)
            case "release":
                result = self.run(verb, claim, self.now)
                if held:
                    expected = task.end("shutdown", "pending", self.now)
                    task.run_at = self.now if expected == "pending" else task.run_at
        assert result == expected

    def tells_its_progress(self, back: int, fraction: int) -> None:
        claim = latest(self.claims, back)
        task = self.known(claim.id)
        held = task.held_by(claim)
        progress = f'{{"fraction":0.{fraction}}}'
        assert self.run("tell_progress", claim, progress) == held
        if held:
            task.progress = progress

    def is_run_again(self, back: int) -> None:
        self.rerun(latest(list(self.model), back))

    def is_run_again_as_it_should(self, back: int) -> None:
        self.rerun(latest(self.final_tasks("failed", "cancelled"), back))

    def rerun(self, id: str) -> None:
        task = self.model[id]
        right = task.status in {"failed", "cancelled"}
        assert self.run("rerun", id, None, self.now) == right
        if right:
            task.move("pending", self.now)
            task.run_at, task.failures, task.processed_at, task.cancel_requested = self.now, 0, None, False
            task.runs += 1

    def is_deleted(self, back: int) -> None:
        self.delete(latest(list(self.model), back))

    def is_deleted_as_it_should(self, back: int, status: str) -> None:
        if tasks := self.final_tasks(status):
            self.delete(latest(tasks, back))

    def delete(self, id: str) -> None:
        right = self.model[id].status in FINAL
        assert self.run("delete", id) == right
        if right:
            self.gone[id] = self.model.pop(id)

    def final_tasks(self, *statuses: str) -> list[str]:
        return [task.id for task in self.model.values() if task.status in statuses]

    def is_cancelled(self, back: int) -> None:
        self.cancel(latest(list(self.model), back))

    def cancel(self, id: str) -> None:
        task = self.model[id]
        result = self.run("cancel", task.id, self.now)
        if task.status in ("pending", "queued"):
            task.move("cancelled", self.now)
            task.cancel_requested = True
        elif task.status == "running":
            task.cancel_requested = True
        assert result == task.status

    def worker_beats_or_goes(self, worker: str, what: str) -> None:
        """Rescued by an observer that has seen its present beat, an older one, or another life's."""
        match what:
            case "beat":
                self.beat(worker)
            case "retire":
                self.retire(worker)
            case _:
                self.rescue(worker, {"rescue": 0, "rescue late": 1, "rescue early": -1}[what])

    def beat(self, worker: str) -> None:
        asked = self.run("beat", worker_info(worker), self.now)
        self.workers[worker] = self.workers.get(worker, -1) + 1
        assert sorted(asked) == sorted(
            (task.id, len(task.attempts))
            for task in self.model.values()
            if task.worker == worker and task.cancel_requested
        )

    def is_rescued_as_it_should(self, back: int, cancel: bool) -> None:
        claim = latest(self.held(), back)
        if cancel:
            self.cancel(claim.id)
        self.rescue(claim.worker, 0)

    def rescue(self, worker: str, behind: int) -> None:
        counter = self.workers.get(worker, 0) - behind
        expected = None
        rescued = self.run(
            "rescue", worker, counter, ERROR, lambda failures: self.now + 1_000 * failures, self.now
        )
        if worker in self.workers and not behind:
            expected = []
            for task in self.model.values():
                if task.worker == worker:
                    last = task.failures + 1 >= task.max_attempts
                    status = task.end("worker_lost", "failed" if last else "pending", self.now, failed=True)
                    if status == "pending":
                        task.run_at = self.now + 1_000 * task.failures
                    expected.append((task.id, status))
            del self.workers[worker]
        if expected is None:
            assert rescued is None
        else:
            assert sorted((claim.id, status) for claim, status in rescued) == sorted(expected)

    def retire(self, worker: str) -> None:
        count = self.run("retire_worker", worker, self.now, edge="release")
        mine = [task for task in self.model.values() if task.worker == worker]
        assert count == len(mine)
        for task in mine:
            if task.end("shutdown", "pending", self.now) == "pending":
                task.run_at = self.now
        self.workers.pop(worker, None)

    def requeues(self, queued_for: int, limit: int) -> None:
        stale = [
            task
            for task in self.model.values()
            if task.queued_at is not None
            and (task.queued_at <= self.now - queued_for or task.queued_at > self.now)
        ]
        changed = self.run("requeue", 0, self.now - queued_for, limit, self.now)
        assert len(changed) == min(limit, len(stale))
        for task in stale[:limit]:  # the oldest first
            task.move("pending", self.now)
            task.run_at = min(task.run_at, self.now)

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        rows = {row["id"]: dict(row) for row in self.db.execute("SELECT * FROM tasks")}
        assert rows.keys() == self.model.keys()
        for id, task in self.model.items():
            row = rows[id]
            expected = asdict(task) | {"attempt": len(task.attempts), "worker_id": task.worker}
            for name in row.keys() & expected.keys():
                assert row[name] == expected[name], (id, name)
            assert row["attempt"] >= self.highest_attempt[id]
            self.highest_attempt[id] = row["attempt"]
        attempts = self.db.execute(
            "SELECT id, number, attempts.worker_id, outcome FROM attempts JOIN tasks ON seq = task_seq"
        )
        assert sorted(map(str, map(tuple, attempts))) == sorted(
            str((task.id, number, attempt.worker, attempt.outcome and str(attempt.outcome)))
            for task in self.model.values()
            for number, attempt in enumerate(task.attempts, 1)
        )
        assert dict(map(tuple, self.db.execute("SELECT id, beat FROM workers"))) == self.workers

    @invariant()
    def the_counters_are_what_a_scan_would_count(self) -> None:
        counted = dict(map(tuple, self.db.execute("SELECT status, tasks FROM status_counts")))
        assert +Counter(counted) == Counter(task.status for task in self.model.values())
        tasks = [*self.model.values(), *self.gone.values()]
        minutes = self.db.execute("SELECT what, sum(tasks) FROM minute_counts GROUP BY what")
        outcomes = Counter(outcome for task in tasks for outcome in task.outcomes)
        assert Counter(dict(map(tuple, minutes))) == outcomes + Counter(accepted=len(tasks))
        sums = self.db.execute("SELECT what, sum(attempts) FROM minute_times GROUP BY what")
        attempts = [attempt for task in tasks for attempt in task.attempts]
        ok = sum(attempt.outcome == "ok" for attempt in attempts)
        assert Counter(dict(map(tuple, sums))) == +Counter(wait=len(attempts), run=ok)

    @invariant()
    def the_last_event_of_a_task_tells_its_status(self) -> None:
        rows = self.db.execute(
            "SELECT task_id, status, attempt FROM events "
            "WHERE seq IN (SELECT max(seq) FROM events WHERE progress IS NULL GROUP BY task_id)"
        )
        told = {row["task_id"]: (row["status"], row["attempt"]) for row in rows}
        expected = {task.id: (task.status, len(task.attempts)) for task in (self.model | self.gone).values()}
        assert told == expected

    @invariant()
    def the_outcome_of_each_run_is_recorded_once_and_never_changes(self) -> None:
        recordings = [tuple(row) for row in self.db.execute("SELECT task, run, status FROM recordings")]
        runs = [(task, run) for task, run, _ in recordings]
        assert len(runs) == len(set(runs))
        tasks = self.model | self.gone
        assert sorted(recordings) == sorted(
            (task.id, run, outcome) for task in tasks.values() for run, outcome in enumerate(task.outcomes, 1)
        )
        for task in tasks.values():
            assert len(task.outcomes) == task.runs - (task.status not in FINAL)


def test_no_history_leaves_the_lifecycle_or_records_an_outcome_twice(tmp_path: Path) -> None:
    template = looking_at_new(tmp_path / "template.db")
    try:
        for migration in shipped_migrations():
            template.executescript(migration.sql)
        template.executescript(RECORD)
        Lifecycle.template = template
        Lifecycle.taken = set()
        run_state_machine_as_test(
            Lifecycle,
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
        assert Lifecycle.taken == set(TRANSITIONS)
    finally:
        template.close()


def looking_at_new(database: Path) -> Connection:
    database.touch()
    return looking(database)
