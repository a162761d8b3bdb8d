"""The actions that ship: each shows one way to write a handler."""

from typing import Any

from taskqueue import action


@action
async def uppercase(text: str) -> dict[str, Any]:
    return {"output": text.upper()}


@action("sum")
async def total(numbers: list[int | float]) -> dict[str, Any]:
    return {"output": sum(numbers)}


@action("*")
async def anything_else(**data: Any) -> dict[str, Any]:
    return {"output": "processed"}
