"""Handlers as actions: what each takes is read from its signature."""

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import typing_extensions
from pydantic import ConfigDict, PydanticUserError, TypeAdapter

from taskqueue.actions.accepts import accepted
from taskqueue.actions.context import TaskContext
from taskqueue.actions.options import Executor, Options
from taskqueue.actions.resources import Depends, Resource, Scope

#: It returns the result, now or when awaited.
Handler = Callable[..., Any]

#: The actions that ship, by their module and name.
SHIPPED = {("taskqueue_worker.examples", name) for name in ("uppercase", "sum", "*")}

#: Makes a class at run time, for pydantic alone: nothing that a type checker could follow.
_typed_dict: Any = typing_extensions.TypedDict


class HandlersError(Exception):
    """The handlers can't be loaded. The text says which and why."""


@dataclass(frozen=True, slots=True)
class Action:
    """A handler, and what it takes."""

    name: str
    function: Handler
    #: Validates a task's `data`; its JSON Schema describes the action.
    arguments: TypeAdapter[dict[str, Any]]
    context_parameter: str | None
    #: Those that it takes, by parameter.
    resources: Mapping[str, Resource]
    #: Where it runs.
    executor: Executor
    options: Options

    @property
    def is_async(self) -> bool:
        """Whether it is called on an event loop; others are called in a thread."""
        return _is_async(self.function)

    def bind(self, data: str, context: TaskContext) -> Callable[..., Any]:
        """The handler's call for one task; it takes the values of the resources.

        Args:
            data: a JSON object, as text; it is validated as JSON, and as the action's options say.

        Raises:
            pydantic.ValidationError: `data` doesn't fit the handler's parameters.
        """
        arguments = self.arguments.validate_json(data)
        if self.context_parameter:
            arguments[self.context_parameter] = context
        if self.resources:
            return lambda **given: self.function(**arguments | given)
        return lambda: self.function(**arguments)

    @property
    def ships(self) -> bool:
        """Whether it is one of those that ship, and not somebody's own."""
        return (getattr(self.function, "__module__", None), self.name) in SHIPPED

    @property
    def package(self) -> str:
        """The top-level package or module that it is from."""
        return str(getattr(self.function, "__module__", "")).partition(".")[0]

    def accepts(self) -> dict[str, Any]:
        """The JSON Schema of what a worker accepts, or more: other data is refused before it is stored."""
        return accepted(self.arguments.core_schema)

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of its arguments."""
        try:
            return self.arguments.json_schema()
        except PydanticUserError:  # a type that validates by a function of its own
            return {}


def read_signature(name: str, function: Handler, options: Options) -> Action:
    """The action of this name that a function handles.

    Raises:
        HandlersError: its parameters can't be filled from a JSON object and resources, or it can't run there.
    """
    executor = _checked_executor(name, function, options.executor)
    members: dict[str, Any] = {}
    resources: dict[str, Resource] = {}
    context_parameter = None
    config = ConfigDict(strict=options.validate_ == "strict", extra="forbid")
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        annotation = parameter.annotation
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise HandlersError(f"action {name!r}: parameter {parameter.name!r} can't be passed by name")
        if annotation is TaskContext:
            context_parameter = parameter.name
        elif depends := _depends(annotation):
            try:
                resources[parameter.name] = _read_provider(depends)
            except (HandlersError, NameError) as error:
                raise HandlersError(f"action {name!r}: {parameter.name}: {error}") from error
        elif parameter.kind is parameter.VAR_KEYWORD:
            config["extra"] = "allow"
        else:
            if annotation is parameter.empty or options.validate_ is False:
                annotation = Any
            if isinstance(parameter.default, Depends):
                raise HandlersError(f"action {name!r}: {parameter.name}: write Annotated[..., Depends(...)]")
            required = parameter.default is parameter.empty
            members[parameter.name] = annotation if required else typing_extensions.NotRequired[annotation]
    arguments: Any = _typed_dict(name, members)
    arguments.__pydantic_config__ = config
    try:
        return Action(name, function, TypeAdapter(arguments), context_parameter, resources, executor, options)
    except PydanticUserError as error:
        raise HandlersError(f"action {name!r}: {error}") from error


def _checked_executor(name: str, function: Handler, executor: Executor | None) -> Executor:
    usual: Executor = "async" if _is_async(function) else "thread"
    if executor not in (None, usual, "process"):
        kind = "an `async def`" if usual == "async" else "a `def`"
        raise HandlersError(f'action {name!r}: the executor of {kind} is "{usual}" or "process", not {executor!r}')
    return executor or usual


def _is_async(function: Any) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    # Of an object, its class says how it is called.
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _depends(annotation: Any) -> Depends | None:
    """What `Annotated[..., Depends(...)]` says, or an alias of it."""
    if isinstance(annotation, typing_extensions.TypeAliasType):
        annotation = annotation.__value__
    if typing.get_origin(annotation) is not typing.Annotated:
        return None
    return next((marker for marker in annotation.__metadata__ if isinstance(marker, Depends)), None)


def _read_provider(depends: Depends, users: tuple[Depends, ...] = ()) -> Resource:
    """The resource that a provider gives.

    Args:
        users: those on the way to it, outermost first.

    Raises:
        HandlersError: its parameters can't be filled.
    """
    provider, scope = depends.provider, depends.scope
    label = getattr(provider, "__qualname__", None) or repr(provider)
    if scope not in typing.get_args(Scope):
        raise HandlersError(f'{label}: scope is "worker" or "task", not {scope!r}')
    if any(user.provider is provider for user in users):
        raise HandlersError(f"{label} depends on itself")
    if users and users[-1].scope == "worker" and scope == "task":
        raise HandlersError(f"{label} is opened for each task, so nothing can take it that is opened once")
    needs: dict[str, Resource] = {}
    context_parameter = None
    try:
        parameters = inspect.signature(provider, eval_str=True).parameters.values()
    except (TypeError, ValueError) as error:
        raise HandlersError(f"{label} can't be called, or doesn't tell what it takes") from error
    for parameter in parameters:
        if parameter.kind is not parameter.POSITIONAL_ONLY and (further := _depends(parameter.annotation)):
            needs[parameter.name] = _read_provider(further, (*users, depends))
        elif parameter.annotation is TaskContext and scope == "task":
            context_parameter = parameter.name
        elif parameter.default is parameter.empty and parameter.kind not in _VARIADIC:
            raise HandlersError(f"{label}: nothing fills its parameter {parameter.name!r}")
    return Resource(provider, scope, needs, context_parameter)


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
