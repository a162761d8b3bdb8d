"""A registered function as its callers and type checkers see it: what it was, and a way to submit a task of it.

handle = await resize.submit(path="a.png", width=200)
handle = await resize.options(delay=60, priority="low").submit(path="a.png", width=200)
"""

import inspect
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, Unpack

from taskqueue.actions.signatures import Action

if TYPE_CHECKING:
    from taskqueue.client import AsyncHandle, SubmitOptions

P = ParamSpec("P")
T = TypeVar("T")
#: What a call gives: the result, or what it is awaited from.
R_co = TypeVar("R_co", covariant=True)
#: The result.
T_co = TypeVar("T_co", covariant=True)

#: The default of a parameter that the worker fills (`task: TaskContext = injected`): with one, type checkers let a
#: submit leave it out. Nobody gets to see it.
injected: Any = ...


class Submission(Generic[P, T]):
    """A task of an action, as it will be submitted."""

    def __init__(self, action: Action, told: "SubmitOptions") -> None:
        self.action = action
        #: What is said of it beside its arguments.
        self.told = told

    def options(self, **options: "Unpack[SubmitOptions]") -> "Submission[P, T]":
        """The same, of which more is said than its arguments: see `taskqueue.client.SubmitOptions`."""
        return Submission(self.action, self.told | options)

    async def submit(self, *args: P.args, **kwargs: P.kwargs) -> "AsyncHandle[T]":
        """Submit a task of the action, with these arguments of its function.

        It goes through the client that was bound (`AsyncClient.bind`), or else to `TASKQUEUE_URL`.

        Raises:
            taskqueue.client.InvalidRequestError: the arguments don't fit the function's annotations.
            taskqueue.client.TaskqueueError: as `AsyncClient.submit` does.
        """
        from taskqueue.client import AsyncClient  # noqa: PLC0415  # a worker has none, and needs none

        client = await AsyncClient.current()
        return await client.submit(self, *args, **kwargs)

    def data(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a call by their names.

        Raises:
            TypeError: the function has no such parameters, or the worker fills one.
        """
        signature = inspect.signature(self.action.function)
        data: dict[str, Any] = {}
        for name, value in signature.bind_partial(*args, **kwargs).arguments.items():
            if name == self.action.context_parameter or name in self.action.resources:
                raise TypeError(f"{self.action.name}: the worker fills {name!r}")
            if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                data |= value
            else:
                data[name] = value
        return data


class Submittable(Protocol[P, T]):
    """An action with types: a registered function, or one with options."""

    def options(self, **options: "Unpack[SubmitOptions]") -> Submission[P, T]: ...


class ActionFunction(Protocol[P, R_co, T]):
    """A registered function: it can be called as before."""

    __name__: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> "Coroutine[Any, Any, AsyncHandle[T]]":
        """As Submission.submit."""

    def options(self, **options: "Unpack[SubmitOptions]") -> Submission[P, T]:
        """As Submission.options."""


def make_submittable(action: Action) -> None:
    """Give an action's function `submit` and `options`.

    Only to a function: an object that can be called is its class's, and may have methods of these names.
    """
    function: Any = action.function
    if inspect.isfunction(function):
        submission = Submission[Any, Any](action, {})
        vars(function).update(submit=submission.submit, options=submission.options)
