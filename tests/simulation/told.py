"""Of the oracle: what clients were told, held against what happened."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from tests.simulation.clients import Clients
from tests.simulation.database import Database
from tests.simulation.streams import Stream

from taskqueue.task import FINAL


def of_submissions(database: Database, clients: Clients) -> Iterator[str]:
    """What was accepted is stored, all or nothing of a request, and once of a key; what was refused is not."""
    values: defaultdict[str, list[int]] = defaultdict(list)
    ids: defaultdict[str, list[str]] = defaultdict(list)
    for row in database.submitted():
        if row["parent"]:  # no request sent it
            continue
        values[row["request_id"]].append(row["value"])
        ids[row["request_id"]].append(row["id"])
    for submission in clients.submissions:
        sent = [task.value for task in submission.sent]
        stored = [name for name in submission.requests if values[name]]
        for name in stored:
            if values[name] != sent:
                yield f"{name} sent {sent}, and {values[name]} is stored"
            if name in submission.refused:
                yield f"{name} was refused, and is stored"
        if submission.key and len(stored) > 1:
            yield f"{submission.key} is stored {len(stored)} times"
        if submission.key and len(submission.told) > 1:
            yield f"{submission.key}: its repeats were told {submission.told}"
        if len(submission.answers) > 1:
            yield f"{submission.key}: its repeats were answered {submission.answers}"
        known = {tuple(ids[name]) for name in stored}
        yield from (f"{told} were accepted, and are lost" for told in submission.told - known)


def of_acts(database: Database, clients: Clients) -> Iterator[str]:
    """As many were changed as was answered; and a task stood once where it was told to stand."""
    changed = _changes(database)
    for submission in clients.submissions:
        for name, count in submission.retries.items():
            if changed[name, "retry"] != count:
                yield f"{name} was told {count} retried, and there were {changed[name, 'retry']}"
        for verb, counts in (("cancel", submission.cancels), ("delete", submission.deletes)):
            told = [count for count in counts if count is not None]
            if len(told) == len(counts) and sum(told) != changed[submission.tag, verb]:
                were = changed[submission.tag, verb]
                yield f"{submission.tag}: {verb} was told {counts}, and there were {were}"
    left = {row["id"] for row in database.rows("SELECT id FROM task")}
    yield from (f"{id} was told to be gone, and is there" for id in clients.gone if id in left)
    histories = database.histories()
    yield from (f"{id} was told to be {it}" for id, it in clients.stood if it not in histories.get(id, []))


def _changes(database: Database) -> Counter[tuple[str, str]]:
    """How many tasks were cancelled, or asked to stop, and deleted, by tag; and retried, by request."""
    changes: Counter[tuple[str, str]] = Counter()
    tags = {row["id"]: row["tag"] for row in database.submitted()}
    for row in database.rows("SELECT * FROM history WHERE old IS NOT NULL"):
        match row["old"], row["new"]:
            case "pending" | "queued", "cancelled":
                changes[tags[row["id"]], "cancel"] += 1
            case "failed" | "cancelled", "pending":
                changes[row["request_id"], "retry"] += 1
            case _, None:
                changes[tags[row["id"]], "delete"] += 1
    for row in database.rows("SELECT id FROM asked"):
        changes[tags[row["id"]], "cancel"] += 1
    return changes


def of_streams(database: Database, clients: Clients) -> Iterator[str]:
    """Who follows events is told all of them, in their order, but for those of tasks that are deleted."""
    events, histories = _events(database), database.histories()
    left = {row["id"] for row in database.rows("SELECT id FROM task")}
    for stream in clients.streams:
        if stream.resets:
            yield f"{stream.path} was told reset, and all events are kept"
        if any(after <= before for before, after in pairwise(stream.seen)):
            yield f"{stream.path} was told {stream.seen}: not in their order"
        if untold := _untold(events, stream):
            yield f"{stream.path} was not told {untold}"
        if more := set(stream.seen) - {event["seq"] for event in events if _is_wanted(event, stream)}:
            yield f"{stream.path} was told {more}, too"
        if stream.gone and stream.task in left:
            yield f"{stream.path} was told to be gone, and is there"
        if stream.ended and not stream.gone and stream.status not in FINAL:
            yield f"{stream.path} was told to have ended, and before that {stream.status}"
        if stream.stood and stream.stood not in histories[str(stream.task)]:
            yield f"{stream.path} was told to be {stream.stood}"


def untold(database: Database, clients: Clients) -> list[int]:
    """What those who follow all tasks are still to be told."""
    events = _events(database)
    return [seq for stream in clients.streams if stream.task is None for seq in _untold(events, stream)]


def _events(database: Database) -> list[dict[str, Any]]:
    """All of them, with the `id` of their task; None where it was deleted."""
    return database.rows(
        "SELECT events.seq, history.id, events.status, EXISTS (SELECT 1 FROM task WHERE seq = task_seq) AS kept "
        "FROM events JOIN history ON history.seq = task_seq AND history.old IS NULL ORDER BY events.seq"
    )


def _untold(events: list[dict[str, Any]], stream: Stream) -> list[int]:
    """What it was not told, of tasks that are still there; of one task, up to the last one that it was told."""
    wanted = {event["seq"] for event in events if event["kept"] and _is_wanted(event, stream)}
    last = max(stream.seen, default=0)
    return sorted(seq for seq in wanted - set(stream.seen) if seq < last or not stream.task)


def _is_wanted(event: dict[str, Any], stream: Stream) -> bool:
    if stream.task:
        return event["id"] == stream.task and event["seq"] > stream.start
    return not stream.statuses or event["status"] in stream.statuses
