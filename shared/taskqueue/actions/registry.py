"""The registry of actions.

    from taskqueue import action

    @action
    async def greet(name: str) -> str:
        return f"hello {name}"

The members of a task's `data` are the function's keyword arguments, checked against its annotations.
"""

import importlib
import importlib.metadata
import pkgutil
import sys
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from pydantic import ValidationError

from taskqueue.actions.options import Executor, Options, PriorityName, Validate
from taskqueue.actions.signatures import Action, Handler, HandlersError, read_signature
from taskqueue.actions.submitting import ActionFunction, make_submittable
from taskqueue.retry import Backoff

P = ParamSpec("P")
T = TypeVar("T")

#: The name under which the handler of all other actions registers.
FALLBACK = "*"

#: The registered actions, by name.
ACTIONS: dict[str, Action] = {}


class Registrar(Protocol):
    """Registers a function."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, T]], /
    ) -> ActionFunction[P, Coroutine[Any, Any, T], T]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> ActionFunction[P, T, T]: ...


@overload
def action(name: Callable[P, Coroutine[Any, Any, T]]) -> ActionFunction[P, Coroutine[Any, Any, T], T]: ...
@overload
def action(name: Callable[P, T]) -> ActionFunction[P, T, T]: ...
@overload
def action(
    name: str | None = None,
    *,
    timeout: float | None = None,
    max_attempts: int | None = None,
    priority: PriorityName | None = None,
    retry: Backoff | None = None,
    executor: Executor | None = None,
    validate: Validate = "strict",
) -> Registrar: ...
def action(name: str | Handler | None = None, **options: Any) -> Any:
    """Register a function as the handler of the action of its name, or of the name given.

    It stays the function that it was, and has two more attributes, `submit` and `options`: see
    `taskqueue.actions.submitting`.

    `@action("*")` registers the handler of every action that has no other.

    Args:
        timeout: seconds that an attempt may take, if the task's POST doesn't say.
        max_attempts: attempts that a task has, if its POST doesn't say.
        priority: which of the waiting go first, if the POST doesn't say.
        retry: how long a task waits after a failed attempt.
        executor: where it runs. "process" is a child process of the worker, for work that keeps a core busy; None
            is "async" for an `async def` function, else "thread".
        validate: how a task's `data` is held against the annotations: `"strict"`, `"lax"` (with pydantic's
            conversions: "5" for an int), or False (by name only).

    Raises:
        HandlersError: the name is taken, there is none, an option is out of its range, the parameters can't be
            filled from a JSON object, or the function can't run there.
    """
    if name is None or isinstance(name, str):
        return lambda function: _register(name or _name_of(function), function, options)
    return _register(_name_of(name), name, options)


def find_action(name: str) -> Action | None:
    """The handler of an action: its own, else the fallback, else None."""
    return ACTIONS.get(name) or ACTIONS.get(FALLBACK)


def known_actions() -> list[Action]:
    """The registered actions, by name."""
    return [ACTIONS[name] for name in sorted(ACTIONS)]


def describe_actions() -> list[dict[str, Any]]:
    """The registered actions as the catalogue has them: `name`, whether it is a user's `own`, the JSON Schemas of
    its `arguments` and of what it `accepts`, the `defaults` of its tasks, its `executor`, and its package's
    `version`."""
    return [
        {
            "name": action.name,
            "own": not action.ships,
            "arguments": action.schema(),
            "accepts": action.accepts(),
            "defaults": action.options.told(),
            "executor": action.executor,
            "version": version_of(action.package),
        }
        for action in known_actions()
    ]


def package_versions() -> dict[str, str]:
    """The versions of the packages that the registered actions are from, as far as these have one."""
    packages = sorted({action.package for action in ACTIONS.values()})
    return {name: version for name in packages if (version := version_of(name))}


def version_of(package: str) -> str | None:
    """The version of an installed package; one that is not installed may tell it as `__version__`."""
    try:
        return importlib.metadata.version(package)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        version = getattr(sys.modules.get(package), "__version__", None)
        return version if isinstance(version, str) else None


def load_handlers(modules: str) -> list[str]:
    """Import modules, and all modules of packages, so that they register their actions.

    Args:
        modules: dotted names separated by commas.

    Returns:
        the names of the actions known now.

    Raises:
        HandlersError: one can't be imported.
    """
    for name in filter(None, (part.strip() for part in modules.split(","))):
        _import(name)
    return sorted(ACTIONS)


def _import(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except HandlersError:
        raise
    except (Exception, SystemExit) as error:
        raise HandlersError(f"handlers {name!r} can't be imported: {type(error).__name__}: {error}") from error
    for child in pkgutil.iter_modules(getattr(module, "__path__", ())):
        _import(f"{name}.{child.name}")


def _name_of(function: Handler) -> str:
    if not hasattr(function, "__name__"):  # an object that can be called, or a partial
        raise HandlersError(f"{function!r} has no name: register it with action('its name')")
    return function.__name__


def _register(name: str, function: Handler, options: dict[str, Any]) -> Handler:
    if name in ACTIONS:
        other = ACTIONS[name].function
        raise HandlersError(f"action {name!r} is registered twice, by {other!r} and {function!r}")
    try:
        ACTIONS[name] = read_signature(name, function, Options(**options))
    except ValidationError as error:
        [first, *_] = error.errors()
        raise HandlersError(f"action {name!r}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    make_submittable(ACTIONS[name])
    return function
