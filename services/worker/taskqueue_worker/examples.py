"""The actions that ship: each shows one way to write a handler."""

from typing import Any

from taskqueue import action


@action
async def uppercase(text: str | None = None) -> dict[str, Any]:
    return {"output": (text or "").upper()}


@action("sum")
async def total(numbers: list[int | float] | None = None) -> dict[str, Any]:
    return {"output": sum(numbers or ())}


@action("*")
async def anything_else(**data: Any) -> dict[str, Any]:
    return {"output": "processed"}
