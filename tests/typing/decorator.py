"""A registered function is to type checkers what it was. Nothing here runs: `make check` reads it, strictly."""

from collections.abc import Callable, Coroutine
from typing import Any, assert_type

from taskqueue import action


@action
async def greet(name: str, *, times: int = 1) -> str:
    return f"hello {name}" * times


@action("thumbnail")
def make_thumbnail(path: str) -> None: ...


async def calls() -> None:
    assert_type(await greet("world", times=2), str)
    assert_type(make_thumbnail("a.png"), None)
    function: Callable[[str], Coroutine[Any, Any, str]] = greet
    assert_type(await function("world"), str)
    greet(5)  # type: ignore[arg-type, unused-coroutine]
    make_thumbnail("a.png", 200)  # type: ignore[call-arg]
