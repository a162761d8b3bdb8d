"""One attempt: from a claimed task to how it ended. Nothing here touches the store or the broker."""

import asyncio
import contextlib
import contextvars
import functools
import inspect
import json
import math
import threading
import traceback
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json, to_json, to_jsonable_python

from taskqueue.actions import Action, Reject, Retry, Snooze, TaskContext, around, find_action
from taskqueue.contract.bounds import TooDeepError, TooManyValuesError, check_bounds
from taskqueue.log_lines import claim_fields
from taskqueue.logs import TASK_FIELDS
from taskqueue.settings import Settings
from taskqueue.task import Claim, NewTask, Outcome
from taskqueue_worker.beside import Beside, Steps
from taskqueue_worker.resources import Resources
from taskqueue_worker.submissions import Submissions

#: Seconds that a cancelled handler has to clean up before its attempt is abandoned.
GRACE = 5
#: Characters kept of an error's message and of its traceback (of that, the end).
_MESSAGE, _TRACEBACK = 2_000, 10_000
#: Bytes of a result from which it is looked through off the loop.
_LARGE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended. `result` and `error` are JSON text."""

    outcome: Outcome
    result: str | None = None
    error: str | None = None
    #: Trying again would not help.
    final: bool = False
    #: Seconds until the next attempt, where the handler said so; it did where it asked to be snoozed.
    after: float | None = None
    #: What the handler submitted, where it has completed.
    submitted: tuple[NewTask, ...] = ()
    #: What the handler raised; `error` tells the same.
    raised: BaseException | None = field(default=None, compare=False)


#: Runs a claim's handler in a child process. It is given what to call with the progress, and when it begins.
RunInChild = Callable[[Claim, Callable[[str], None], Callable[[], None]], Coroutine[Any, Any, Ending]]


class Run:
    """A handler at work. `interrupt` may be called from the loop at any time.

    An `async def` handler is cancelled, and abandoned if it has not ended within the grace. A `def` handler
    runs in a thread of its own, which nobody can stop: its context's flag is set, and when the task is out
    of time or the worker stops, the thread is abandoned. An awaitable that it returns is then awaited as if it
    were an `async def` handler. A handler that returns has completed, interrupted or not.

    A handler with `executor="process"` has a run of its own in a child, which is killed to interrupt it.
    """

    def __init__(
        self,
        claim: Claim,
        settings: Settings,
        tell_progress: Callable[[str], None] = lambda progress: None,
        beside: Beside | None = None,
        resources: Resources | None = None,
        run_in_child: RunInChild | None = None,
        submissions: Submissions | None = None,
    ) -> None:
        """
        Args:
            run_in_child: None where all runs in this process: in a child, too.
        """
        self.claim = claim
        self._action = find_action(claim.action)
        said = self._action and self._action.options.timeout
        self.timeout = (said or settings.task_timeout) if claim.timeout is None else claim.timeout / 1000
        #: In the loop's time.
        self.deadline = asyncio.get_running_loop().time() + self.timeout
        self._settings = settings
        self._beside = beside or Beside()
        self._resources = resources or Resources()
        self._run_in_child = run_in_child
        self._tell_progress = tell_progress
        self._submissions = submissions or Submissions(claim, settings)
        self._context = TaskContext(
            claim.id,
            claim.action,
            claim.attempt,
            max_attempts=claim.max_attempts,
            failures=claim.failures,
            tags=claim.tags,
            deadline=claim.started_at / 1000 + self.timeout,
            request_id=claim.request_id,
            queued_for=max(0, claim.waited) / 1000,
            _tell_progress=tell_progress,
            _submit=self._submissions.add,
        )
        self._interrupted: Outcome | None = None
        #: Done when the handler has ended, or is abandoned.
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._handler: asyncio.Future[Any] | None = None
        self._out_of_time: asyncio.TimerHandle | None = None
        self._threaded = False

    async def ending(self) -> Ending:
        """Run the handler to its end, and tell it."""
        action = self._action
        if action is None:
            return _failed("UnknownAction", f"no handler is registered for {self.claim.action!r}", final=True)
        if self._run_in_child and action.executor == "process":
            self.deadline = math.inf  # it can't block the loop
            in_child = self._run_in_child(self.claim, self._tell_progress, self._start_the_clock)
            running = asyncio.ensure_future(in_child)
            return await self._unfinished(running) or running.result()
        # Of pydantic's parser: it is quick, and the store holds what it has checked before.
        data = to_json(from_json(self.claim.payload)["data"]).decode()
        try:
            call = action.bind(data, self._context)
        except ValidationError as error:
            return _failed("InvalidArguments", _explain(error), final=True)
        except Exception as error:  # a validator of the handler's own
            return _raised(error)
        if self._interrupted is not None:
            return self._interrupted_ending(self._interrupted)
        self._start_the_clock()
        handler = asyncio.ensure_future(self._work(action, call))
        return await self._unfinished(handler) or await _check_result(
            handler.result(), self._settings.max_result_bytes, self._submissions.tasks
        )

    def interrupt(self, outcome: Outcome) -> None:
        """Make it stop: TIMEOUT, CANCELLED or SHUTDOWN, the first of which counts.

        Only a thread that was asked to stop, for CANCELLED, takes another one.
        """
        self._context._cancelled.set()
        if self._interrupted is not None and not (self._threaded and self._interrupted is Outcome.CANCELLED):
            return  # It was cancelled, and may be cleaning up: a second time would disturb that.
        self._interrupted = outcome
        if self._handler is None or self._handler.done():
            return
        if not self._threaded:
            self._handler.cancel()
            asyncio.get_running_loop().call_later(GRACE, self._end)
        elif outcome is not Outcome.CANCELLED:
            self._end()

    @property
    def left_running(self) -> asyncio.Future[Any] | None:
        """The handler, if it still runs after its attempt was abandoned; done when it ends."""
        return self._handler if self._handler and not self._handler.done() else None

    async def _work(self, action: Action, call: Callable[..., Any]) -> Any:
        """The handler's result, with all that runs around it. What is logged meanwhile names the task."""
        TASK_FIELDS.set(claim_fields(self.claim))
        try:
            within = self._call_with_resources if action.resources else self._call
            return await around(self._context, functools.partial(within, action, call))()
        except (SystemExit, KeyboardInterrupt) as error:
            # Either would end the worker.
            raise _wrapped(error) from error

    async def _call_with_resources(self, action: Action, call: Callable[..., Any]) -> Any:
        async with self._resources.for_task(action, self._context) as given:
            return await self._call(action, functools.partial(call, **given))

    async def _call(self, action: Action, call: Callable[[], Any]) -> Any:
        pause = self._settings.simulated_work
        if not action.is_async:
            return await self._call_in_thread(call, pause)
        if pause:
            await asyncio.sleep(pause)
        return await call()

    async def _call_in_thread(self, call: Callable[[], Any], pause: float) -> Any:
        self._threaded = True
        try:
            result = await _run_in_thread(call, pause, f"task-{self.claim.id}", self._beside)
        finally:
            self._threaded = False
            if self._interrupted is not None:
                # What closes after it has no longer than what closes after a coroutine that is cancelled.
                asyncio.get_running_loop().call_later(GRACE, self._end)
        if not inspect.isawaitable(result):
            return result
        if self._interrupted is None:
            return await result
        if inspect.iscoroutine(result):
            result.close()
        raise asyncio.CancelledError

    def _handler_ended(self, handler: asyncio.Future[Any]) -> None:
        if not handler.cancelled():
            handler.exception()  # an abandoned attempt's error is nobody's
        self._end()

    def _end(self) -> None:
        self._submissions.close()
        if not self._over.done():
            self._over.set_result(None)

    def _start_the_clock(self) -> None:
        self._out_of_time = asyncio.get_running_loop().call_later(self.timeout, self.interrupt, Outcome.TIMEOUT)

    async def _unfinished(self, handler: asyncio.Future[Any]) -> Ending | None:
        """Wait until a handler has ended, or is abandoned: how, or None where it has a result."""
        self._handler = handler
        handler.add_done_callback(self._handler_ended)
        try:
            await self._over
        finally:
            if self._out_of_time:
                self._out_of_time.cancel()
        if handler.done() and not handler.cancelled() and handler.exception() is None:
            return None
        if self._interrupted is not None:
            return self._interrupted_ending(self._interrupted)
        if handler.cancelled():
            return _failed("CancelledError", "the handler was cancelled, but not by taskqueue")
        error = handler.exception()
        assert error is not None
        return _raised(error)

    def _interrupted_ending(self, outcome: Outcome) -> Ending:
        match outcome:
            case Outcome.TIMEOUT:
                return Ending(outcome, error=error_json("Timeout", f"ran longer than {self.timeout:g} s"))
            case Outcome.CANCELLED:
                return Ending(outcome, error=error_json("Cancelled", "cancelled while running"), final=True)
            case _:
                return Ending(outcome)


#: A worker's handlers at work, by task id and attempt: where it was taken for lost, it may get its own task again.
Runs = dict[tuple[str, int], Run]


#: Never set: who waits for it waits as long as it may.
_NEVER = threading.Event()


def _run_in_thread(call: Callable[[], Any], pause: float, name: str, beside: Beside) -> asyncio.Future[Any]:
    """Run `call` in a thread of its own."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.done():  # the loop is being closed, and has cancelled all that waits
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run() -> Steps:
        result: Any = None
        raised: Exception | None = None
        if pause:
            yield _NEVER, pause
        try:
            result = context.run(call)
        except StopIteration as error:  # no future takes one
            raised = _wrapped(error)
        except Exception as error:
            raised = error
        except BaseException as error:  # also SystemExit is the handler's failure
            raised = _wrapped(error)
        # A closed loop: the worker has gone on without this thread.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, raised)

    beside.start(name, run())
    return future


def _wrapped(error: BaseException) -> RuntimeError:
    wrapped = RuntimeError(f"the handler raised {type(error).__name__}")
    wrapped.__cause__ = error
    return wrapped


def _as_json(value: object) -> Any:
    """What pydantic makes of a value that JSON has not: a model, a dataclass, a time, a Decimal, a UUID, ..."""
    if isinstance(value, _NO_JSON):
        raise TypeError(f"{type(value).__name__} has no JSON form of its own: return a list or a str")
    return to_jsonable_python(value)


#: Pydantic would take these. But a set has no order, bytes are no text, and an iterator is that of a handler which
#: yields where it should return.
_NO_JSON = (set, frozenset, bytes, bytearray, Iterator)

#: `json.dumps` would make one for each result. Unlike pydantic's serializer it refuses NaN.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_as_json)


async def _check_result(result: Any, limit: int, submitted: Sequence[NewTask] = ()) -> Ending:
    try:
        text = _ENCODER.encode(result)
        encoded = text.encode()
    except Exception as error:  # whatever the result's own classes raise
        return _failed("InvalidResult", f"the result is not JSON: {error}", final=True)
    if len(encoded) > limit:
        told = f"{len(encoded)} bytes; TASKQUEUE_MAX_RESULT_BYTES is {limit}"
        return _failed("ResultTooLarge", told, final=True)
    try:
        if len(encoded) > _LARGE:
            await asyncio.to_thread(check_bounds, encoded)
        else:
            check_bounds(encoded)
    except TooManyValuesError as error:
        return _failed("ResultTooLarge", f"{error}", final=True)
    except TooDeepError as error:
        return _failed("InvalidResult", f"{error}", final=True)
    return Ending(Outcome.OK, result=text, submitted=tuple(submitted))


def _raised(error: BaseException) -> Ending:
    if isinstance(error, Snooze):
        return Ending(Outcome.SNOOZED, after=error.seconds, raised=error)
    trace = "".join(traceback.format_exception(error))
    try:
        message = str(error)
    except Exception:
        message = "(it can't be printed)"
    return Ending(
        Outcome.ERROR,
        error=error_json(type(error).__name__, message, trace),
        final=isinstance(error, Reject),
        after=error.after if isinstance(error, Retry) else None,
        raised=error,
    )


def _failed(type_: str, message: str, *, final: bool = False) -> Ending:
    return Ending(Outcome.ERROR, error=error_json(type_, message), final=final)


def _explain(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'data'}: {item['msg']}"
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    )


def error_json(type_: str, message: str, trace: str | None = None) -> str:
    """An attempt's error as JSON text, cut to a readable length. ASCII, so that any string can be stored."""
    error = {"type": type_, "message": message[:_MESSAGE], "traceback": trace and trace[-_TRACEBACK:]}
    return json.dumps(error, separators=(",", ":"))
