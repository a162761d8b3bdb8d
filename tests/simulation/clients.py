"""The clients: they submit, repeat, cancel, retry, delete, wait and leave; and remember what they were told."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from tests.simulation.http import PATIENCE, Answer, Http, RefusedError, UnansweredError
from tests.simulation.loop import Process
from tests.simulation.programs import Host
from tests.simulation.streams import Stream, follow
from tests.simulation.submissions import Submission, draw, members

from taskqueue.task import FINAL, Status


class Clients:
    """All clients, in a process that nothing happens to."""

    def __init__(self, host: Host, process: Process, random: Random) -> None:
        self.submissions: list[Submission] = []
        #: Of all tasks; and of one each.
        self.streams = [
            Stream("/events", last=0),
            Stream("/events?status=completed,failed,cancelled", last=0, statuses=frozenset(FINAL)),
        ]
        #: Of which tasks it was told that they are not there any more.
        self.gone: list[str] = []
        #: Where tasks stood, as it was told.
        self.stood: list[tuple[str, str]] = []
        self._host = host
        self._process = process
        self._random = random

    def start(self, clients: int, seconds: float) -> asyncio.Task[None]:
        """Submit over that time, and do with what was accepted what clients do."""
        return self._start(self._run(clients, seconds))

    async def _run(self, clients: int, seconds: float) -> None:
        self.http = Http(self._host, self._process, self._random)
        self._following = [self._start(follow(self.http, self._random, stream)) for stream in self.streams]
        running = [self._start(self._client(seconds)) for _ in range(clients)]
        await asyncio.wait(running)
        for client in running:
            client.result()

    async def leave(self) -> None:
        for following in self._following:
            following.cancel()
        await asyncio.wait(self._following)
        await self.http.close()

    def _start(self, coroutine: Any) -> asyncio.Task[None]:
        return self._process.start(coroutine)

    async def _client(self, seconds: float) -> None:
        chance = self._random
        await asyncio.sleep(chance.uniform(0, seconds))
        submission = draw(chance, len(self.submissions))
        self.submissions.append(submission)
        ids = await self._submit(submission)
        if not ids:
            return
        acts: list[Callable[[Submission, str], Awaitable[None]]] = [
            self._cancel, self._cancel_all, self._wait, self._watch, self._rest,
        ]  # fmt: skip
        await chance.choices(acts, [2, 2, 2, 2, 4])[0](submission, chance.choice(ids))
        may_fail = submission.cancelled or any(task.ends is Status.FAILED for task in submission.sent)
        if may_fail and chance.random() < 0.5:
            await asyncio.sleep(chance.uniform(0, 5))
            await chance.choice([self._retry, self._retry_all])(submission, chance.choice(ids))
        if chance.random() < 0.3:
            await asyncio.sleep(chance.uniform(0, 5))
            for _ in range(chance.randint(1, 3)):
                await chance.choice([self._delete, self._delete_all])(submission, chance.choice(ids))

    # Submitting

    async def _submit(self, submission: Submission) -> tuple[str, ...]:
        """The ids, where they were accepted; what has a key is sent until there is an answer."""
        chance = self._random
        tasks = [members(chance, task, submission.tag) for task in submission.sent]
        single = len(tasks) == 1 and chance.random() < 0.8
        path, body, kind = "/tasks/batch", json.dumps({"tasks": tasks}), "application/json"
        if single:
            path, body = "/tasks", json.dumps(tasks[0])
        elif chance.random() < 0.5:
            body, kind = "\n".join(map(json.dumps, tasks)), "application/x-ndjson"
        headers = {"Content-Type": kind} | ({"Idempotency-Key": submission.key} if submission.key else {})
        if single and chance.random() < 0.3:
            headers["Prefer"] = f"wait={chance.choice([0, 1, 3])}"
        answered = True
        for _ in range(20 if submission.key else 1):
            submission.requests.append(name := self.http.name())
            try:
                answer = await self.http.ask(
                    "POST",
                    path,
                    body.encode(),
                    name=name,
                    headers=headers,
                    patience=chance.choice([0.02, PATIENCE, PATIENCE, PATIENCE]),
                    expected=(200, 202) if "Prefer" in headers else (202,),
                )
            except RefusedError:
                submission.refused.add(name)
            except UnansweredError:
                answered = False
            else:
                told = answer.body["tasks"] if path == "/tasks/batch" else [answer.body]
                submission.told.add(tuple(task["id"] for task in told))
                if answer.status == 200:  # it waited for the end
                    self.stood.append((answer.body["id"], answer.body["status"]))
                elif answered:
                    submission.answers.add(tuple(task["status"] for task in told))
                # Some send it again all the same.
                if not submission.key or chance.random() < 0.5:
                    break
            await asyncio.sleep(chance.uniform(0.05, 1))
        return min(submission.told, default=())

    # Acting on what was accepted

    async def _rest(self, submission: Submission, id: str) -> None:
        pass

    async def _wait(self, submission: Submission, id: str) -> None:
        patience = self._random.choice([0.5, 5])
        answer = await self._try("GET", f"/tasks/{id}", patience=patience, headers={"Prefer": "wait=2"})
        if answer:
            self.stood.append((id, answer.body["status"]))

    async def _watch(self, submission: Submission, id: str) -> None:
        stream = Stream(f"/tasks/{id}/events", task=id)
        self.streams.append(stream)
        following = asyncio.create_task(follow(self.http, self._random, stream))
        await asyncio.wait({following}, timeout=self._random.uniform(1, 20))
        following.cancel()

    async def _cancel(self, submission: Submission, id: str) -> None:
        await asyncio.sleep(self._random.expovariate(1))
        submission.cancelled = True
        submission.cancels.append(None)
        await self._try("POST", f"/tasks/{id}/cancel", expected=(202, 409))

    async def _cancel_all(self, submission: Submission, id: str) -> None:
        await asyncio.sleep(self._random.expovariate(1))
        submission.cancelled = True
        submission.cancels += (await self._act_on_all("cancel", submission)).values()

    async def _retry(self, submission: Submission, id: str) -> None:
        submission.retried = True
        await self._try("POST", f"/tasks/{id}/retry", expected=(202, 409))

    async def _retry_all(self, submission: Submission, id: str) -> None:
        submission.retried = True
        counts = await self._act_on_all("retry", submission)
        submission.retries |= {name: count for name, count in counts.items() if count is not None}

    async def _delete(self, submission: Submission, id: str) -> None:
        submission.deleted = True
        # Asked again where its connection was lost, it is not there any more.
        answer = await self._try("DELETE", f"/tasks/{id}", expected=(204, 404, 409))
        submission.deletes.append({204: 1, 409: 0}.get(answer.status) if answer else None)
        if answer and answer.status != 409:
            self.gone.append(id)

    async def _delete_all(self, submission: Submission, id: str) -> None:
        submission.deleted = True
        submission.deletes += (await self._act_on_all("delete", submission)).values()

    async def _act_on_all(self, verb: str, submission: Submission) -> dict[str, int | None]:
        """How many each request was told, by their names: some are sent twice at once."""
        body = json.dumps({"tag": submission.tag}).encode()

        async def act(name: str) -> int | None:
            answer = await self._try("POST", f"/tasks/{verb}", body=body, name=name)
            return answer.body["count"] if answer else None

        names = [self.http.name() for _ in range(self._random.choice([1, 2]))]
        return dict(zip(names, await asyncio.gather(*map(act, names)), strict=True))

    async def _try(self, method: str, path: str, **options: Any) -> Answer | None:
        """The answer, where there is one."""
        with contextlib.suppress(RefusedError, UnansweredError):
            return await self.http.ask(method, path, **options)
        return None
