"""A registered function is to type checkers what it was. Nothing here runs: `make check` reads it, strictly."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, assert_type

from taskqueue import Backoff, CallNext, Depends, TaskContext, action, middleware


@action
async def greet(name: str, *, times: int = 1) -> str:
    return f"hello {name}" * times


@action("thumbnail")
def make_thumbnail(path: str) -> None: ...


async def pool() -> list[str]:
    return []


@action(timeout=5, retry=Backoff(first=1))
async def store(row: str, rows: Annotated[list[str], Depends(pool)], task: TaskContext) -> int:
    rows.append(row)
    return task.attempt


@middleware
async def around(task: TaskContext, call_next: CallNext) -> Any:
    return await call_next()


@middleware  # type: ignore[type-var]
async def no_middleware(task: TaskContext) -> Any: ...


@action(priority="urgent")  # type: ignore[call-overload, untyped-decorator]
async def urgent() -> None: ...


async def calls(task: TaskContext, call_next: CallNext) -> None:
    assert_type(await store("a", [], task), int)
    assert_type(await around(task, call_next), Any)
    assert_type(await greet("world", times=2), str)
    assert_type(make_thumbnail("a.png"), None)
    function: Callable[[str], Coroutine[Any, Any, str]] = greet
    assert_type(await function("world"), str)
    greet(5)  # type: ignore[arg-type, unused-coroutine]
    make_thumbnail("a.png", 200)  # type: ignore[call-arg]
