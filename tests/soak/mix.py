"""What clients do all day: tasks of many kinds, and looks at them. Each answer must be the right one."""

import itertools
import json
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from tests.faults.cluster import Cluster

#: Tasks that a batch has.
BATCH = 10
#: Seconds that a delayed task is delayed, and one that is cancelled before it starts.
DELAY, LONG_DELAY = 2, 3600


class Mix:
    """Draws operations, and notes how long what they ask for takes."""

    def __init__(self, cluster: Cluster, chance: Random) -> None:
        self._cluster = cluster
        self._chance = chance
        self._numbers = itertools.count()
        self._recent: deque[str] = deque(maxlen=100)
        self.done: Counter[str] = Counter()
        #: Seconds from a POST to its answer, and to its answer with the result, since they were last cleared.
        self.posts: list[float] = []
        self.results: list[float] = []

    async def operate(self) -> None:
        """Do one thing.

        Raises:
            AssertionError: it was answered otherwise than it should.
        """
        operations: dict[Callable[[], Awaitable[None]], int] = {
            self.submit: 40,
            self.wait: 20,
            self.come_back: 5,
            self.fail: 3,
            self.delay: 5,
            self.batch: 3,
            self.cancel: 4,
            self.stream: 4,
            self.read: 8,
            self.page: 5,
            self.stats: 3,
        }
        [operation] = self._chance.choices(list(operations), list(operations.values()))
        await operation()
        self.done[operation.__name__] += 1

    async def submit(self) -> None:
        """A task; nobody waits for it."""
        number, began = next(self._numbers), time.perf_counter()
        id = await self._cluster.must_submit(expect=number, data={"value": number})
        self.posts.append(time.perf_counter() - began)
        self._recent.append(id)

    async def wait(self) -> None:
        """A task whose result is waited for."""
        number, began = next(self._numbers), time.perf_counter()
        task = await self._post("/tasks", 200, _echo(number), {"Prefer": "wait=60"})
        self.results.append(time.perf_counter() - began)
        self._cluster.accepted[task["id"]] = number
        assert task["result"]["output"] == number, task

    async def come_back(self) -> None:
        """A task that asks for another attempt."""
        await self._cluster.must_submit("come_back", expect="came back", data={"after": 1})

    async def fail(self) -> None:
        """A task that fails in each of its attempts."""
        await self._cluster.must_submit("fail", max_attempts=2)

    async def delay(self) -> None:
        """A task for later."""
        number = next(self._numbers)
        await self._cluster.must_submit(expect=number, data={"value": number}, delay=DELAY)

    async def batch(self) -> None:
        """Tasks together."""
        numbers = [next(self._numbers) for _ in range(BATCH)]
        answer = await self._post("/tasks/batch", 202, {"tasks": [_echo(number) for number in numbers]})
        for number, task in zip(numbers, answer["tasks"], strict=True):
            self._cluster.accepted[task["id"]] = number

    async def cancel(self) -> None:
        """A task that is cancelled before it starts."""
        id = await self._cluster.must_submit(data={"value": 0}, delay=LONG_DELAY)
        assert await self._cluster.cancel(id) == 202

    async def stream(self) -> None:
        """A task whose events are watched until its end."""
        id = await self._cluster.must_submit(data={"value": 0})
        async with self._cluster.http.get(f"/tasks/{id}/events") as stream:
            text = await stream.text()
        assert '"status":"completed"' in text.replace(" ", ""), text

    async def read(self) -> None:
        """A look at one of the last tasks."""
        if self._recent:
            await self._cluster.get(self._chance.choice(self._recent))

    async def page(self) -> None:
        """A look at the newest tasks."""
        await self._get("/tasks?limit=50&status=completed,failed")

    async def stats(self) -> None:
        """A look at the last minutes."""
        await self._get("/stats?minutes=5")

    async def _post(self, path: str, status: int, body: Any, headers: dict[str, str] | None = None) -> Any:
        async with self._cluster.http.post(path, json=body, headers=headers) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json()

    async def _get(self, path: str) -> None:
        async with self._cluster.http.get(path) as answer:
            assert answer.status == 200, await answer.text()
            json.loads(await answer.read())


def _echo(number: int) -> dict[str, Any]:
    return {"action": "echo", "data": {"value": number}}
