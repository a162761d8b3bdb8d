"""The registry of actions.

    from taskqueue import action

    @action
    async def greet(name: str) -> dict:
        return {"output": f"hello {name}"}

The members of a task's `data` are the function's keyword arguments, checked against its annotations.
"""

import importlib
import importlib.metadata
import pkgutil
import sys
from collections.abc import Callable
from typing import Any, overload

from taskqueue.actions.signatures import Action, Handler, HandlersError, read_signature

#: The name under which the handler of all other actions registers.
FALLBACK = "*"

#: The registered actions, by name.
ACTIONS: dict[str, Action] = {}


@overload
def action(name: str) -> Callable[[Handler], Handler]: ...
@overload
def action(name: Handler) -> Handler: ...
def action(name: str | Handler) -> Callable[[Handler], Handler] | Handler:
    """Register a function as the handler of the action of its name, or of the name given.

    `@action("*")` registers the handler of every action that has no other.

    Raises:
        HandlersError: the name is taken, there is none, or the parameters can't be filled from a JSON object.
    """
    if not isinstance(name, str):
        if not hasattr(name, "__name__"):  # an object that can be called, or a partial
            raise HandlersError(f"{name!r} has no name: register it with action('its name')")
        return _register(name.__name__, name)
    return lambda function: _register(name, function)


def find_action(name: str) -> Action | None:
    """The handler of an action: its own, else the fallback, else None."""
    return ACTIONS.get(name) or ACTIONS.get(FALLBACK)


def describe_actions() -> list[dict[str, Any]]:
    """The registered actions as the catalogue has them: `name`, whether it is a user's `own`, the JSON Schemas of
    its `arguments` and of what it `accepts`, the `defaults` of its options, and its package's `version`."""
    return [
        {
            "name": name,
            "own": not action.ships,
            "arguments": action.schema(),
            "accepts": action.accepts(),
            "defaults": {},
            "version": version_of(action.package),
        }
        for name, action in sorted(ACTIONS.items())
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


def _register(name: str, function: Handler) -> Handler:
    if name in ACTIONS:
        other = ACTIONS[name].function
        raise HandlersError(f"action {name!r} is registered twice, by {other!r} and {function!r}")
    ACTIONS[name] = read_signature(name, function)
    return function
