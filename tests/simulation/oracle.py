"""What must hold after every run, whatever went wrong in it: the promise of docs/guarantees.md."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise

from tests.faults.cluster import WRONG_COUNTS
from tests.simulation.clients import Clients
from tests.simulation.database import Database
from tests.simulation.submissions import Sent, Submission
from tests.simulation.told import of_acts, of_streams, of_submissions

from taskqueue.task import FINAL, TRANSITIONS, Outcome, Status
from taskqueue.telemetry import TaskEnded

EDGES = {(edge.source, edge.target) for edge in TRANSITIONS}

ATTEMPTS = """
SELECT id, attempt AS number, attempt_outcome AS outcome FROM task WHERE attempt_started IS NOT NULL
UNION ALL SELECT id, number, outcome FROM attempts JOIN task ON seq = task_seq
"""


def violations(database: Database, clients: Clients, ended: Iterable[TaskEnded]) -> list[str]:
    """Every promise that was broken.

    Args:
        ended: what the workers told of attempts.
    """
    return [
        *clients.http.broken,
        *_of_tasks(database, clients),
        *_of_children(database, clients),
        *_of_histories(database, clients),
        *_of_attempts(database, ended),
        *_of_counters(database),
        *_of_events(database),
        *of_submissions(database, clients),
        *of_acts(database, clients),
        *of_streams(database, clients),
    ]


def _of_tasks(database: Database, clients: Clients) -> Iterator[str]:
    sent = {task.value: (task, submission) for submission in clients.submissions for task in submission.sent}
    for row in database.rows("SELECT *, payload ->> '$.data.value' AS value FROM task"):
        yield from _of_task(row, *sent[row["value"]])
    [check] = database.rows("PRAGMA integrity_check")
    if check["integrity_check"] != "ok":
        yield f"the database is damaged: {check['integrity_check']}"


def _of_task(task: dict[str, object], sent: Sent, submission: Submission) -> Iterator[str]:
    id, status = task["id"], task["status"]
    if status not in FINAL:
        yield f"{id} is {status}, and not final"
    elif status == Status.COMPLETED:
        result = json.loads(str(task["result"]))
        if result != {"output": sent.value, "attempt": task["attempt"]}:
            yield f"{id} has the result {result}: of another task, or attempt than {task['attempt']}"
    elif status == Status.CANCELLED:
        if not submission.cancelled:
            yield f"{id} is cancelled, and nobody asked for it"
    elif status != sent.ends and sent.action != "stubborn":
        yield f"{id} is {status}: {task['error']}"


def _of_children(database: Database, clients: Clients) -> Iterator[str]:
    """They came with the completion of the task that submitted them, and never without."""
    actions = {task.value: task.action for submission in clients.submissions for task in submission.sent}
    histories, submitted = database.histories(), database.submitted()
    children = Counter(row["parent"] for row in submitted)
    for row in submitted:
        fans_out = not row["parent"] and actions[row["value"]] == "fan_out"
        expected = 2 if fans_out and Status.COMPLETED in histories[row["id"]] else 0
        if children[row["id"]] != expected:
            yield f"{row['id']} was {histories[row['id']]}, and has {children[row['id']]} children"


def _of_histories(database: Database, clients: Clients) -> Iterator[str]:
    """The edges of docs/lifecycle.md and no others: so one final status a run, and a new run by a retry only."""
    sent = {task.value: submission for submission in clients.submissions for task in submission.sent}
    senders = {row["id"]: sent[row["value"]] for row in database.submitted()}
    for id, statuses in database.histories().items():
        for before, after in pairwise([None, *statuses]):
            if (before, after) not in EDGES:
                yield f"{id} was {before}, and then {after}"
            if before in FINAL and after and not senders[id].retried:
                yield f"{id} was {before}, and nobody asked for another run"
            if before in FINAL and not after and not senders[id].deleted:
                yield f"{id} is gone, and nobody asked for that"
    early = database.rows("SELECT id FROM history WHERE early")
    yield from (f"{row['id']} was begun before its time" for row in early)


def _of_attempts(database: Database, ended: Iterable[TaskEnded]) -> Iterator[str]:
    """Each claim is an attempt, and each has ended, as its worker was told."""
    outcomes: dict[str, dict[int, str | None]] = {row["id"]: {} for row in database.rows("SELECT id FROM task")}
    for row in database.rows(ATTEMPTS):
        outcomes[row["id"]][row["number"]] = row["outcome"]
    for id, statuses in database.histories().items():
        if id not in outcomes:  # deleted
            continue
        numbers = sorted(outcomes[id])
        if numbers != list(range(1, statuses.count(Status.RUNNING) + 1)):
            yield f"{id} has the attempts {numbers}, and was {statuses}"
        if None in outcomes[id].values():
            yield f"an attempt of {id} has not ended"
    for told in ended:
        if told.claim.id not in outcomes:
            continue
        outcome = outcomes[told.claim.id][told.claim.attempt]
        # A rescue, too, ends an attempt as cancelled where a client asked for it.
        if told.status is None and outcome == told.outcome and outcome != Outcome.CANCELLED:
            yield f"attempt {told.claim.attempt} of {told.claim.id} was told lost, and ended {outcome} as it was"
        if told.status not in (None, Status.CANCELLED) and outcome != told.outcome:
            yield f"attempt {told.claim.attempt} of {told.claim.id} was told {told.outcome}, and ended {outcome}"


def _of_counters(database: Database) -> Iterator[str]:
    for row in database.rows(WRONG_COUNTS):
        yield f"the counter of {row['status']} is {row['tasks']}"
    counted: Counter[str] = Counter()
    for row in database.rows("SELECT what, sum(tasks) AS tasks FROM minute_counts GROUP BY what"):
        counted[row["what"]] = row["tasks"]
    happened = Counter(
        "accepted" if row["old"] is None else row["new"]
        for row in database.rows("SELECT old, new FROM history")
        if row["old"] is None or row["new"] in FINAL
    )
    if counted != happened:
        yield f"the minutes count {dict(counted)}, and it was {dict(happened)}"


def _of_events(database: Database) -> Iterator[str]:
    """They tell what happened to each task, in its order."""
    told: dict[int, list[str]] = {}
    for row in database.rows("SELECT task_seq, status FROM events WHERE progress IS NULL ORDER BY seq"):
        told.setdefault(row["task_seq"], []).append(row["status"])
    happened: dict[int, list[str]] = {}
    for row in database.rows("SELECT seq, new FROM history WHERE new IS NOT NULL ORDER BY number"):
        happened.setdefault(row["seq"], []).append(row["new"])
    for seq in told.keys() | happened.keys():
        if told.get(seq) != happened.get(seq):
            yield f"the events of {seq} tell {told.get(seq)}, and it was {happened.get(seq)}"
