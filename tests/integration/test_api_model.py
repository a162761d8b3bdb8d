"""Random histories of what clients and workers do, over HTTP, against a model of the API in plain Python.

The API is the real one, on a real database. The machine itself plays the workers, with the store's verbs, so
nothing happens by itself, the clock is set by hand, and each answer can be foretold.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from tests.integration.api_model import (
    APPLIES_TO,
    ERROR,
    JSON,
    LEASE,
    LONG,
    MAX_ATTEMPTS,
    RESULT,
    Filter,
    FirstAnswer,
    Model,
    Submission,
    Task,
    told_event,
)
from tests.integration.api_steps import ACTIONS, BEGINNING, NO_OBJECT, STEPS, TAGS, WORKERS
from tests.integration.store.given import NOON, beat, claiming
from tests.integration.system import Answer, System, quick_settings
from tests.integration.test_stream_ends import Sent, listening, told, whole
from tests.lifecycle import FINAL, STATUSES
from yarl import URL

from taskqueue.store import Refusal, verbs
from taskqueue.task import Claim, Outcome
from taskqueue_migrate.runner import migrate

T = TypeVar("T")

ENDINGS = ("complete", "back off", "back off for long", "fail", "release", "snooze")
REFUSED = {
    "cancel": "the task is already {}",
    "retry": "the task is {}: only a failed or cancelled one is retried",
    "delete": "the task is {}: cancel it first",
}
ANOTHER_REQUEST = {"error": "this Idempotency-Key was used for another request"}

#: What each test of many histories must have met: requests with their answers, and what no answer shows.
REQUESTS = {
    "POST /tasks": (200, 202, 400, 422),
    "POST /tasks/batch": (202, 400, 422),
    "GET /tasks": (200, 400),
    "GET /tasks/{id}": (200, 304, 404),
    "HEAD /tasks/{id}": (200, 304, 404),
    "DELETE /tasks/{id}": (204, 404, 409),
    "POST /tasks/{id}/cancel": (202, 404, 409),
    "POST /tasks/{id}/retry": (202, 404, 409),
    "POST /tasks/cancel": (200, 400),
    "POST /tasks/retry": (200, 400),
    "POST /tasks/delete": (200, 400),
    "GET /events": (200, 400),
    "GET /tasks/{id}/events": (200, 204, 404),
}
MUST_BE_MET = {
    *STEPS,
    *(f"{request} {status}" for request, statuses in REQUESTS.items() for status in statuses),
    *(f"{verb} {status}" for verb in APPLIES_TO for status in STATUSES),
    *(f"{verb} all" for verb in APPLIES_TO),
    *ENDINGS,
    *("a cancel wins", "a result wins"),
    *(f"{what} between two pages" for what in ("submit", "delete")),
}


def latest(items: Iterable[T], back: int) -> T:
    items = list(items)
    return items[-1 - back % len(items)]


def assert_waited(answer: Answer, wait: dict[str, str]) -> None:
    assert answer.headers.get("Preference-Applied") == wait.get("Prefer")


def event_of(sent: Sent) -> JSON:
    assert sent.kind == ("status" if sent.data["progress"] is None else "progress")
    return sent.data


class Api(RuleBasedStateMachine):
    """Each step asks the API, or writes as a worker does, and compares the answer with the model's."""

    folder: Path
    met: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.model = Model(NOON)
        self.asked = 0
        #: When each submission was accepted, in seconds.
        self.times: list[float] = []
        #: All claims ever made: an old one is that of a worker which was taken for lost.
        self.claims: list[Claim] = []
        #: Of each task, the last ETag with what the answer told.
        self.known: dict[str, tuple[str, JSON]] = {}
        #: How many events have been read.
        self.watched = 0
        self.runner = asyncio.Runner()
        self.exits = contextlib.AsyncExitStack()

    @initialize(beginning=BEGINNING)
    def starts(self, beginning: list[str]) -> None:
        self.runner.run(self.begin(beginning))

    async def begin(self, beginning: list[str]) -> None:
        await self.open()
        for status in beginning:
            await self.submits({"action": ACTIONS[0]} | ({"delay": 3600} if status == "pending" else {}), True, {})
            match status:
                case "running":
                    await self.worker_claims(0, WORKERS[0])
                case "completed":
                    await self.worker_runs(WORKERS[0], "complete", False)
                case "failed":
                    await self.worker_runs(WORKERS[0], "fail", False)
                case "cancelled":
                    await self.act("cancel", latest(self.model.tasks.values(), 0))

    async def open(self) -> None:
        """The API on a copy of a database that was migrated once, since that takes long."""
        folder = Path(self.exits.enter_context(tempfile.TemporaryDirectory(dir=self.folder)))
        shutil.copy(self.folder / "template.db", folder / "tasks.db")
        settings = quick_settings(folder, max_attempts=MAX_ATTEMPTS, write_timeout=20, dispatch_lease=LEASE / 1000)
        self.system = await self.exits.enter_async_context(
            System.open(settings, clock=lambda: self.model.life.now)
        )
        for worker in WORKERS:
            await beat(self.system.store, worker)

    def teardown(self) -> None:
        with self.runner:
            self.runner.run(self.exits.aclose())

    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        # One rule that chooses among what can happen: hypothesis would try most histories without some rules,
        # and get nowhere.
        step = data.draw(st.sampled_from(self.possible_steps()))
        values = {name: data.draw(strategy, name) for name, strategy in STEPS[step].items()}
        self.runner.run(getattr(self, step)(**values))
        self.met[step] += 1

    def possible_steps(self) -> list[str]:
        """The likelier ones more than once."""
        steps = [step for step in STEPS if step.startswith("submits_")]
        steps += ["submits"] * 4 + ["asks_for_what_is_not_there", "watches_all", "watches_some"]
        steps += ["counts_what_happened", "looks_at_workers", "time_passes"]
        if not self.model.first_answers:
            steps = [step for step in steps if step not in {"submits_again", "submits_other_with_an_old_key"}]
        if self.model.tasks:
            steps += ["acts_on_one"] * 12 + ["acts_on_all"] * 8 + ["finds"] * 4 + ["reads_one"] * 3
            steps += ["misuses_a_cursor", "watches_one", "worker_claims_in_vain"]
        if self.claimable():
            steps += ["worker_claims"] * 5 + ["worker_runs"] * 8
        if self.held():
            steps += ["worker_ends"] * 6 + ["worker_tells_progress"] * 2
        if self.too_late():
            steps += ["worker_ends_too_late"]
        return steps

    # What there is to choose from

    def chosen(self, which: tuple[str, int]) -> Task:
        status, back = which
        tasks = self.model.found(Filter(), status) or self.model.found(Filter())
        return latest(tasks[::-1], back)

    def with_times(self, wanted: Filter) -> Filter:
        """Where the filter names a submission by how far back it is, the time at which that was accepted."""

        def time(back: Any) -> float | None:
            return None if back is None or not self.times else latest(self.times, back)

        return replace(
            wanted, created_after=time(wanted.created_after), created_before=time(wanted.created_before)
        )

    def keys_of_final(self) -> list[str]:
        ids = {task.id for task in self.model.found(Filter(status=FINAL))}
        return [key for key, first in self.model.first_answers.items() if first.body.get("id") in ids]

    def claimable(self) -> list[Task]:
        return [task for task in self.model.tasks.values() if self.model.life.is_claimable(task)]

    def held(self) -> list[Claim]:
        return [claim for claim in self.claims if self.is_held(claim)]

    def too_late(self) -> list[Claim]:
        """The others; those of tasks that run again last, which are met most."""
        running = {claim.id for claim in self.held()}
        others = [claim for claim in self.claims if not self.is_held(claim)]
        return sorted(others, key=lambda claim: claim.id in running)

    def is_held(self, claim: Claim) -> bool:
        task = self.model.tasks.get(claim.id)
        return task is not None and task.is_held_by(claim.worker, claim.attempt)

    # Requests

    async def ask(self, method: str, path: str | URL, headers: Any = None, **options: Any) -> Answer:
        self.asked += 1
        name = f"request-{self.asked}"
        headers = {"X-Request-ID": name} | (headers or {})
        async with self.system.client.request(method, path, headers=headers, **options) as response:
            text = await response.text()
        assert response.headers["X-Request-ID"] == name
        self.meet(method, path, response.status)
        return Answer(response.status, json.loads(text) if text else None, dict(response.headers))

    def meet(self, method: str, path: str | URL, status: int) -> None:
        self.met[f"{method} {re.sub(r'[0-9a-f-]{36}', '{id}', URL(path).path)} {status}"] += 1

    async def send(self, request: Submission, **headers: str) -> Answer:
        headers["Content-Type"] = request.content_type
        return await self.ask("POST", request.path, headers, data=request.body)

    async def submit(self, request: Submission, **headers: str) -> Answer:
        """Submit what must be accepted."""
        # Alone in its millisecond: chance must not decide which tasks a filter's time leaves out.
        self.model.life.now += 1
        answer = await self.send(request, **headers)
        assert answer.status == 202
        batch = request.path == "/tasks/batch"
        ids = [told["id"] for told in (answer.body["tasks"] if batch else [answer.body])]
        assert len(set(ids)) == len(ids)
        assert not {*ids} & {task.id for task in self.model.life.all_tasks()}
        name = answer.headers["X-Request-ID"]
        tasks = [self.model.accept(id, members, name) for id, members in zip(ids, request.tasks, strict=True)]
        self.times.append(self.model.life.now / 1000)
        told = [{"id": task.id, "status": task.status} for task in tasks]
        assert answer.body == ({"tasks": told, "count": len(told)} if batch else told[0])
        assert answer.headers.get("Location") == (None if batch else f"/tasks/{ids[0]}")
        assert "Idempotency-Replayed" not in answer.headers
        return answer

    def unused_key(self) -> str:
        """What is refused doesn't use a key up: then the next request gets the same one."""
        return f"key-{len(self.model.first_answers)}"

    async def submit_with_key(self, request: Submission, **headers: str) -> Answer:
        key = self.unused_key()
        answer = await self.submit(request, **{"Idempotency-Key": key}, **headers)
        self.model.first_answers[key] = FirstAnswer(request, answer.body)
        return answer

    # Steps: submitting

    async def submits(self, members: JSON, keyed: bool, wait: dict[str, str]) -> None:
        submit = self.submit_with_key if keyed else self.submit
        assert_waited(await submit(Submission.single(members), **wait), wait)

    async def submits_batch(self, tasks: list[JSON], lines: bool, keyed: bool) -> None:
        submit = self.submit_with_key if keyed else self.submit
        await submit(Submission.batch(tasks, lines=lines))

    async def submits_again(self, back: int, final: bool, quoted: bool) -> None:
        """The first answer comes again, whatever has become of the task; but who waits is told a final one."""
        key = latest((final and self.keys_of_final()) or self.model.first_answers, back)
        first = self.model.first_answers[key]
        single = first.request.path == "/tasks"
        for wait in ({}, {"Prefer": "wait=0"}) if single else ({},):
            answer = await self.send(first.request, **{"Idempotency-Key": f'"{key}"' if quoted else key}, **wait)
            assert answer.headers["Idempotency-Replayed"] == "true"
            assert answer.headers.get("Location") == (f"/tasks/{first.body['id']}" if single else None)
            assert_waited(answer, wait)
            if wait and key in self.keys_of_final():
                assert answer.status == 200
                assert answer.body == self.model.tasks[first.body["id"]].told_whole()
            else:
                assert (answer.status, answer.body) == (202, first.body)

    async def submits_other_with_an_old_key(self, back: int, members: JSON, batch: bool) -> None:
        key = latest(self.model.first_answers, back)
        members |= {"data": {"never": self.asked}}
        request = Submission.batch([members], lines=False) if batch else Submission.single(members)
        answer = await self.send(request, **{"Idempotency-Key": key})
        assert (answer.status, answer.body) == (422, ANOTHER_REQUEST)

    async def submits_a_line_twice(self, members: JSON) -> None:
        """The same bytes are a batch and a task; but a key is for one path."""
        key = self.unused_key()
        request = Submission.batch([members], lines=True)
        await self.submit_with_key(request)
        answer = await self.send(replace(request, path="/tasks"), **{"Idempotency-Key": key})
        assert (answer.status, answer.body) == (422, ANOTHER_REQUEST)

    async def submits_wrong(self, wrong: tuple[str, JSON]) -> None:
        member, members = wrong
        answer = await self.send(Submission.single(members), **{"Idempotency-Key": self.unused_key()})
        assert (answer.status, answer.body.keys()) == (400, {"error"})
        assert member in answer.body["error"]

    async def submits_no_object(self, body: bytes, batch: bool) -> None:
        request = Submission("/tasks/batch" if batch else "/tasks", "application/json", body, ())
        answer = await self.send(request, **{"Idempotency-Key": self.unused_key()})
        assert (answer.status, answer.body["error"]) == (400, NO_OBJECT[body])

    async def submits_batch_with_a_wrong_one(
        self, tasks: list[JSON], wrong: tuple[str, JSON], place: int, lines: bool
    ) -> None:
        member, members = wrong
        index = min(place, len(tasks))
        request = Submission.batch([*tasks[:index], members, *tasks[index:]], lines=lines)
        answer = await self.send(request, **{"Idempotency-Key": self.unused_key()})
        assert answer.status == 400
        [detail] = answer.body["details"]
        assert detail["index"] == index
        assert detail["path"].startswith(f"tasks.{index}")
        assert member in detail["error"]

    # Steps: reading

    async def reads_one(self, which: tuple[str, int], method: str, wait: dict[str, str]) -> None:
        await self.read(self.chosen(which), method, wait)

    async def read(self, task: Task, method: str, wait: dict[str, str]) -> None:
        """Also as a client that has read it before: it is sent again if it has changed, and only then."""
        answer = await self.ask(method, f"/tasks/{task.id}", wait)
        assert answer.status == 200
        assert_waited(answer, wait)
        if method == "GET":
            assert answer.body == task.told_whole()
        tag, now = answer.headers["Etag"], task.told_whole()
        known, then = self.known.get(task.id, (tag, now))
        self.known[task.id] = tag, now
        again = await self.ask(method, f"/tasks/{task.id}", wait | {"If-None-Match": known})
        assert_waited(again, wait)
        assert (again.status, again.headers["Etag"]) == (304 if then == now else 200, tag)
        assert (again.body is None) == (again.status == 304 or method == "HEAD")

    async def asks_for_what_is_not_there(self, back: int) -> None:
        id = latest([str(uuid4()), *self.model.life.gone], back)
        for method, path in [
            ("GET", f"/tasks/{id}"),
            ("DELETE", f"/tasks/{id}"),
            ("POST", f"/tasks/{id}/cancel"),
            ("POST", f"/tasks/{id}/retry"),
            ("GET", f"/tasks/{id}/events"),
        ]:
            answer = await self.ask(method, path)
            assert (answer.status, answer.body) == (404, {"error": f"no task has the id '{id}'"})
        assert (await self.ask("HEAD", f"/tasks/{id}")).status == 404

    async def finds(self, wanted: Filter, limit: int, commas: bool, meanwhile: list[str]) -> None:
        """What was there at the first page, and still is, comes once; what is accepted later doesn't."""
        wanted = self.with_times(wanted)
        query = [*wanted.parameters(commas=commas), ("limit", str(limit))]
        address: URL | None = URL("/tasks").with_query(query)
        rest = self.model.found(wanted)
        while address:
            answer = await self.ask("GET", address)
            page, rest = rest[:limit], rest[limit:]
            assert (answer.status, answer.body["count"]) == (200, len(page))
            for answered, task in zip(answer.body["tasks"], page, strict=True):
                assert answered == task.told()
            address = self.next_page(answer, query) if rest else None
            assert ("next" in answer.body, "Link" in answer.headers) == (bool(rest), bool(rest))
            if address and meanwhile:
                await self.meanwhile(meanwhile.pop(), rest)
            rest = [task for task in rest if task.id in self.model.tasks]

    def next_page(self, answer: Answer, query: list[tuple[str, str]]) -> URL:
        link = re.fullmatch('<(.+)>; rel="next"', answer.headers["Link"])
        assert link
        address = URL(link[1])
        assert sorted(address.query.items()) == sorted([*query, ("cursor", answer.body["next"])])
        return address

    async def meanwhile(self, what: str, rest: list[Task]) -> None:
        final = [task for task in [*self.model.tasks.values(), *rest] if task.status in FINAL]
        if what == "submit":
            await self.submit(Submission.single({"action": ACTIONS[0], "tags": [TAGS[0]]}))
        elif what == "delete" and final:
            await self.act("delete", final[-1])
        else:
            return
        self.met[f"{what} between two pages"] += 1

    async def misuses_a_cursor(self, wanted: Filter, other: Filter) -> None:
        wanted, other = self.with_times(wanted), self.with_times(other)
        first = await self.ask("GET", URL("/tasks").with_query([*wanted.parameters(), ("limit", "1")]))
        assert first.status == 200
        if cursor := first.body.get("next"):
            wrong = [(wanted, cursor[:-1]), (wanted, "")]
            if replace(other, status=set(other.status)) != replace(wanted, status=set(wanted.status)):
                wrong.append((other, cursor))
            for filter, text in wrong:
                query = [*filter.parameters(), ("cursor", text)]
                answer = await self.ask("GET", URL("/tasks").with_query(query))
                error = "cursor: not the `next` of a page with this filter"
                assert (answer.status, answer.body) == (400, {"error": error})

    async def counts_what_happened(self) -> None:
        body = (await self.ask("GET", "/stats?minutes=1440")).body
        counts: Counter[tuple[str, str]] = Counter()
        for action, counted in body["actions"].items():
            counts.update({(action, what): counted[what] for what in ("accepted", *FINAL)})
        expected: Counter[tuple[str, str]] = Counter()
        for (_, action, what), count in self.model.life.counts.items():
            expected[action, what] += count
        assert +counts == expected
        for what in ("accepted", *FINAL):
            total = sum(counts[action, what] for action in body["actions"])
            assert sum(minute[what] for minute in body["minutes"]) == total
        assert (body["wait"]["p50"] is not None) == bool(self.claims)
        assert (body["run"]["p50"] is not None) == any(what == "completed" for _, what in expected)

    async def looks_at_workers(self) -> None:
        body = (await self.ask("GET", "/workers")).body
        running: dict[str, list[JSON]] = {worker: [] for worker in WORKERS}
        for claim in self.held():
            told = {"id": claim.id, "action": claim.action, "attempt": claim.attempt}
            told |= {"started_at": claim.started_at / 1000}
            running[claim.worker].append(told)
        assert body["count"] == len(WORKERS)
        assert {worker["id"] for worker in body["workers"]} == running.keys()
        for worker in body["workers"]:
            by_id = [sorted(tasks, key=str) for tasks in (worker["running"], running[worker["id"]])]
            assert by_id[0] == by_id[1]

    async def time_passes(self, milliseconds: int) -> None:
        self.model.life.now += milliseconds

    # Steps: acting

    async def acts_on_one(self, verb: str, which: tuple[str, int]) -> None:
        """What its status doesn't allow is refused, and changes nothing that the last verb would meet."""
        task = self.chosen(which)
        for refused in [other for other in APPLIES_TO if task.status not in APPLIES_TO[other]]:
            await self.act(refused, task)
        await self.act(verb, task)

    async def act(self, verb: str, task: Task) -> None:
        before, path = task.status, f"/tasks/{task.id}"
        if verb == "delete":
            answer = await self.ask("DELETE", path)
        else:
            answer = await self.ask("POST", f"{path}/{verb}")
        expected: tuple[int, JSON | None]
        if before in APPLIES_TO[verb]:
            self.model.act(verb, task, answer.headers["X-Request-ID"])
            told = {"id": task.id, "status": task.status}
            expected = {
                "cancel": (202, told | {"cancel_requested": True}),
                "retry": (202, told),
                "delete": (204, None),
            }[verb]
        else:
            expected = 409, {"error": REFUSED[verb].format(before), "status": before}
        assert (answer.status, answer.body) == expected
        self.met[f"{verb} {before}"] += 1

    async def acts_on_all(self, verb: str, wanted: Filter, only_count: bool) -> None:
        """A filter must narrow; then what a dry run counts is what is changed."""
        for body in ({}, {"status": [], "tag": None, "dry_run": only_count}):
            assert (await self.ask("POST", f"/tasks/{verb}", json=body)).status == 400
        wanted = self.with_times(wanted)
        if wanted == Filter():
            return
        tasks = self.model.found(wanted, *APPLIES_TO[verb])
        for dry_run in (True,) if only_count else (True, False):
            body = wanted.members() | ({"dry_run": True} if dry_run else {})
            answer = await self.ask("POST", f"/tasks/{verb}", json=body)
            assert (answer.status, answer.body) == (200, {"count": len(tasks), "dry_run": dry_run})
            if dry_run:
                await self.compare()
        if tasks and not only_count:
            for task in tasks:
                self.model.act(verb, task, answer.headers["X-Request-ID"])
            self.met[f"{verb} all"] += 1

    # Steps: watching

    async def listen(self, path: str | URL, after: int | None, count: int, upto: int = 0) -> list[Sent]:
        """So many events of a stream, or all up to a number; the client leaves then."""
        async with listening(self.system, str(path), after) as response:
            self.meet("GET", path, response.status)
            assert (response.status, response.content_type) == (200, "text/event-stream")
            sent: list[Sent] = []
            async with contextlib.aclosing(told(response)) as stream:
                while len(sent) < count or (sent and int(sent[-1].id) < upto):
                    if not (event := await anext(stream, None)):
                        break
                    sent.append(event)
            return sent

    def told_since(self, after: int, wanted: Filter) -> dict[int, JSON]:
        """By their numbers. The events of a task go with it."""
        return {
            number: told_event(event)
            for number, event in enumerate(self.model.life.events, 1)
            if number > after and event.id in self.model.tasks and wanted.fits(event)
        }

    async def is_told(self, path: str | URL, after: int, expected: dict[int, JSON]) -> None:
        """All of it, in order. Events of a task that was deleted since may come, too, if they were read before."""
        events, tasks = self.model.life.events, self.model.tasks
        sent = await self.listen(path, after, len(expected), upto=max(expected, default=0))
        numbers = [int(event.id) for event in sent]
        deleted = {number for number in numbers if events[number - 1].id not in tasks}
        assert [number for number in numbers if number not in deleted] == sorted(expected)
        assert numbers == sorted(set(numbers))
        for number, event in zip(numbers, sent, strict=True):
            assert event_of(event) == told_event(events[number - 1])

    async def watches_all(self) -> None:
        """Resumed where it was left; and there is nothing after what is expected."""
        last = len(self.model.life.events)
        expected = self.told_since(self.watched, Filter())
        await self.is_told("/events", self.watched, expected)
        self.watched = last
        answer = await self.ask("GET", "/events", {"Last-Event-ID": str(last + 1)})
        assert answer.status == 400

    async def watches_some(self, wanted: Filter) -> None:
        """From the first event on, with a filter."""
        wanted = replace(wanted, created_after=None, created_before=None)
        expected = self.told_since(0, wanted)
        path = URL("/events").with_query(wanted.parameters())
        await self.is_told(path, 0, expected)

    async def watches_one(self, which: tuple[str, int]) -> None:
        """Where it stands comes first. A resumed stream tells what came since; that of a final task ends."""
        task = self.chosen(which)
        path, now = f"/tasks/{task.id}/events", len(self.model.life.events)
        [first] = await self.listen(path, None, 1)
        assert (first.kind, int(first.id)) == ("status", now)
        life = [told_event(event) for event in self.model.life.events if event.id == task.id]
        stands = [event for event in life if event["progress"] is None][-1]
        assert first.data == stands | {"progress": task.progress, "at": first.data["at"]}
        # A stream ends with the end of a run. Of a task that was retried it is resumed, as browsers do.
        resumed: list[Sent] = []
        while len(resumed) < len(life):
            last = int(resumed[-1].id) if resumed else 0
            resumed += (more := await self.listen(path, last, len(life) - len(resumed)))
            assert more
        assert list(map(event_of, resumed)) == life
        if task.status in FINAL:
            assert len(await whole(self.system, path)) == 1
            ended = list(map(event_of, await whole(self.system, path, 0)))
            assert ended == life[: len(ended)]
            assert {event["status"] for event in ended} & {*FINAL}
            answer = await self.ask("GET", path, {"Last-Event-ID": str(now)})
            assert (answer.status, answer.body) == (204, None)

    # Steps: what workers do

    async def worker_claims(self, back: int, worker: str) -> None:
        task = latest(self.claimable(), back)
        claim = await self.system.store.write(claiming, task.id, worker, MAX_ATTEMPTS)
        assert isinstance(claim, Claim)
        waited = self.model.life.now - task.run_at
        self.model.life.claim(task, worker, MAX_ATTEMPTS)
        self.claims.append(claim)
        assert json.loads(claim.payload) == task.told()["payload"]
        assert claim == Claim(
            seq=claim.seq,
            id=task.id,
            attempt=task.attempt,
            worker=worker,
            action=task.action,
            payload=claim.payload,
            failures=task.failures,
            max_attempts=task.max_attempts or 0,
            timeout=task.timeout and round(task.timeout * 1000),
            started_at=self.model.life.now,
            request_id=task.request_id,
            priority=task.priority,
            tags=task.tags,
            waited=waited,
        )

    async def worker_runs(self, worker: str, ending: str, cancel: bool) -> None:
        """At once from its claim to its end."""
        await self.worker_claims(0, worker)
        await self.ends(self.claims[-1], ending, cancel)

    async def worker_claims_in_vain(self, which: tuple[str, int], worker: str) -> None:
        task = self.chosen(which)
        if not self.model.life.is_claimable(task):
            assert await self.system.store.write(claiming, task.id, worker) is Refusal.NOT_CLAIMABLE

    async def worker_ends(self, back: int, ending: str, cancel: bool) -> None:
        await self.ends(latest(self.held(), back), ending, cancel)

    async def ends(self, claim: Claim, ending: str, cancel: bool) -> None:
        task = self.model.tasks[claim.id]
        if cancel:
            await self.act("cancel", task)
        answer = await self.end(claim, ending)
        self.model.end(task, ending)
        assert answer == task.status
        self.met[ending] += 1
        if task.cancel_requested:
            self.met["a result wins" if ending == "complete" else "a cancel wins"] += 1

    async def worker_ends_too_late(self, back: int, ending: str) -> None:
        assert not await self.end(latest(self.too_late(), back), ending)

    async def end(self, claim: Claim, ending: str) -> Any:
        write, error = self.system.store.write, json.dumps(ERROR)
        match ending:
            case "complete":
                return await write(verbs.complete, claim, json.dumps(RESULT))
            case "back off":
                return await write(verbs.back_off, claim, Outcome.ERROR, error, 0)
            case "back off for long":
                return await write(verbs.back_off, claim, Outcome.ERROR, error, LONG)
            case "fail":
                return await write(verbs.fail, claim, Outcome.TIMEOUT, error)
            case "snooze":
                return await write(verbs.snooze, claim, LONG)
            case _:
                return await write(verbs.release, claim)

    async def worker_tells_progress(self, back: int, late: bool, tenths: int) -> None:
        """While a client reads it again and again."""
        claim = latest((late and self.too_late()) or self.held(), back)
        progress = {"fraction": tenths / 10, "message": "coming" if tenths % 2 else None}
        task = self.model.tasks.get(claim.id)
        if task:
            await self.read(task, "GET", {})
        held = self.is_held(claim)
        assert await self.system.store.write(verbs.tell_progress, claim, json.dumps(progress)) == held
        if task and held:
            self.model.life.tell_progress(task, progress)
            await self.read(task, "GET", {})

    # After each step

    @invariant()
    def the_api_tells_what_the_model_does(self) -> None:
        self.runner.run(self.compare())

    async def compare(self) -> None:
        answer = await self.ask("GET", "/tasks?limit=1000")
        assert (answer.status, answer.body.keys()) == (200, {"tasks", "count"})
        assert answer.body["count"] == len(answer.body["tasks"])
        tasks = list(reversed(self.model.tasks.values()))
        assert answer.body["tasks"] == [task.told() for task in tasks]
        stats = (await self.ask("GET", "/stats?minutes=1")).body
        statuses = Counter(task.status for task in tasks)
        assert stats["tasks"] == {status: statuses[status] for status in STATUSES}
        assert stats["oldest_waiting"] == self.model.oldest_waiting()
        assert await self.system.broker.ready_count() == self.model.published


@pytest.mark.timeout(600)  # which leaves room to shrink what has failed
def test_no_history_surprises_a_client(tmp_path: Path) -> None:
    migrate(tmp_path / "template.db")
    Api.folder = tmp_path
    Api.met = Counter()
    run_state_machine_as_test(
        Api,
        settings=settings(
            max_examples=70,
            stateful_step_count=60,
            deadline=None,
            # The same histories each time where a failure must mean a change; else others each time.
            derandomize="CI" in os.environ,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
    # A model that never got somewhere shows nothing about it.
    assert MUST_BE_MET - Api.met.keys() == set()
