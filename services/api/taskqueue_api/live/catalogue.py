"""What the workers can run, as this process has read it: data is held against it before it is stored, and what an
action says of its tasks counts where their POSTs don't.

Workers check again what they get. So where the catalogue can't be read, or doesn't tell, everything passes.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from jsonschema_rs import Draft202012Validator, ValidationError, ValidationErrorKind

from taskqueue.store import Store, StoreError

#: Seconds for which what was read is good.
FRESH = 1
#: Errors that are told of a task's data, and characters of each.
_ERRORS_TOLD, _TOLD = 20, 200


@dataclass(frozen=True, slots=True)
class Misfit:
    """What is wrong, and where in the task."""

    path: tuple[str | int, ...]
    error: str


class Catalogue:
    """Checks tasks as a setting says, and tells what holds for them where they don't."""

    def __init__(self, store: Store, check: Literal["off", "known", "strict"]) -> None:
        self._store = store
        self._check = check
        #: By action, what its data must fit; None before it was read, and where it can't be.
        self._actions: dict[str, Draft202012Validator] | None = None
        self._defaults: dict[str, Mapping[str, Any]] = {}
        #: Whether workers run actions that are not known by their names.
        self._any_action = False
        #: By the schema's text, of what was read last.
        self._compiled: dict[str, Draft202012Validator] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def refresh(self) -> None:
        """Read it, where that was a second ago or more."""
        if self._is_fresh():
            return
        async with self._reading:
            if not self._is_fresh():
                self._read_at = asyncio.get_running_loop().time()
                await self._read()

    def defaults(self, action: str) -> Mapping[str, Any]:
        """What an action says of its tasks where they don't; nothing where that isn't known."""
        return self._defaults.get(action, {})

    def misfits(self, action: str, data: dict[str, Any]) -> list[Misfit]:
        """What speaks against a task; empty where nothing does."""
        actions = self._actions  # another thread may be here when it is read anew
        if self._check == "off" or actions is None:
            return []
        validator = actions.get(action)
        if validator is None:
            refused = self._check == "strict" and not self._any_action
            return [Misfit(("action",), f"no worker knows {action!r}")] if refused else []
        if validator.is_valid(data):
            return []
        misfits = (misfit for error in validator.iter_errors(data) for misfit in _explain(error))
        return list(islice(misfits, _ERRORS_TOLD))

    def _is_fresh(self) -> bool:
        return asyncio.get_running_loop().time() - self._read_at < FRESH

    async def _read(self) -> None:
        try:
            known = await self._store.reads.catalogue()
        except StoreError:  # the submission itself will tell
            self._actions = None
            return
        self._compiled = {
            text: self._compiled.get(text) or _compile(text) for text in {action.accepts for action in known}
        }
        self._actions = {action.name: self._compiled[action.accepts] for action in known}
        self._defaults = {action.name: json.loads(action.defaults) for action in known}
        catch_all = next((action for action in known if action.name == "*"), None)
        self._any_action = catch_all is not None and (catch_all.own or not any(action.own for action in known))


def _compile(text: str) -> Draft202012Validator:
    try:
        return Draft202012Validator(json.loads(text), validate_formats=False, mask="this value")
    except ValueError:  # a schema that is none
        return Draft202012Validator(True)


def _explain(error: ValidationError) -> Iterator[Misfit]:
    path = ("data", *error.instance_path)
    match error.kind:
        case ValidationErrorKind.Required(property=name):
            yield Misfit((*path, str(name)), "required")
        case ValidationErrorKind.AdditionalProperties(unexpected=names):
            yield from (Misfit((*path, name), "not known") for name in names)
        case _:
            yield Misfit(path, error.message[:_TOLD])
