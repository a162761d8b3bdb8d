"""A handler that does nothing: the load generator's ceiling is measured against it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvloop

from bench.programs.http import Queue, serve


@asynccontextmanager
async def _nothing() -> AsyncIterator[Queue]:
    async def submit(_data: dict[str, Any]) -> str:
        return "0"

    async def result(_id: str) -> None:
        return None

    yield Queue(submit, result)


if __name__ == "__main__":
    uvloop.run(serve(_nothing()))
