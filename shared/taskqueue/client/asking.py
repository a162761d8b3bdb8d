"""Sends a request until it is answered: again where that is safe, and only for so long."""

import math
import time
from typing import TypeVar

from taskqueue.client.calls import Call
from taskqueue.client.errors import AnswerLostError, RefusedError, TaskqueueError
from taskqueue.client.wires import Wire
from taskqueue.retry import Backoff

T = TypeVar("T")

#: Between two tries.
_BACKOFF = Backoff(first=0.1, most=10)


class Tries:
    """The tries of one request, or of a stream to stay there.

    Args:
        seconds: from the first failure on, in which further tries may begin.
        deadline: on the monotonic clock, after which none begins whatever the seconds.
    """

    def __init__(self, wire: Wire, seconds: float, deadline: float = math.inf) -> None:
        self._wire = wire
        self._seconds = seconds
        self._deadline = deadline
        self.succeed()

    def succeed(self) -> None:
        """What fails from now on has all the time."""
        self._failures = 0
        self._until = math.inf

    async def one_more(self, failure: TaskqueueError) -> bool:
        """Whether there is time for another try after this failure; it is due when this returns."""
        now = time.monotonic()
        if self._failures == 0:
            self._until = min(now + self._seconds, self._deadline)
        self._failures += 1
        pause = _BACKOFF.pause(self._failures)
        if isinstance(failure, RefusedError) and failure.retry_after is not None:
            pause += failure.retry_after  # not all clients at the same moment
        if now + pause >= self._until:
            return False
        await self._wire.sleep(pause)
        return True


async def ask(wire: Wire, call: Call[T], seconds: float, deadline: float = math.inf) -> T:
    """What the answer to a call says.

    Args:
        seconds, deadline: as Tries has them.

    Raises:
        TaskqueueError: one of those that `errors` has.
    """
    tries = Tries(wire, seconds, deadline)
    lost: AnswerLostError | None = None
    failure: TaskqueueError
    while True:
        try:
            response = await wire.send(call)
            if not response.is_success:
                raise call.refusal(response)
            return call.read(response)
        except AnswerLostError as error:
            failure = lost = error
        except RefusedError as error:
            error.after_loss = lost is not None
            failure = error
        except TaskqueueError as error:
            failure = error
        if not call.may_follow(failure):
            raise failure
        if not await tries.one_more(failure):
            raise lost or failure
