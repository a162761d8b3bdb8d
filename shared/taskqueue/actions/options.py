"""What an action says of its tasks, where their POSTs don't, and of where they run."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from taskqueue.contract.limits import MAX_TIMEOUT
from taskqueue.retry import Backoff

Validate = Literal["strict", "lax", False]
PriorityName = Literal["high", "normal", "low"]
#: Where a handler runs: on the worker's event loop, in a thread of its own, or in a child process of the worker.
Executor = Literal["async", "thread", "process"]


class Options(BaseModel):
    """Defaults of an action's tasks, where one is None, the settings decide; and where its handler runs.

    Raises:
        pydantic.ValidationError: one is out of its range.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    #: Seconds that an attempt may take.
    timeout: Annotated[float, Field(ge=0.001, le=MAX_TIMEOUT)] | None = None
    max_attempts: Annotated[int, Field(ge=1, le=100)] | None = None
    priority: PriorityName | None = None
    #: How long it waits after a failed attempt.
    retry: Backoff | None = None
    #: None is "async" for an `async def` handler, else "thread".
    executor: Executor | None = None
    #: How a task's `data` is held against the handler's annotations: as JSON has them; with what pydantic converts
    #: ("5" for an int, 1 for true); or by name only.
    validate_: Validate = Field("strict", alias="validate")

    def told(self) -> dict[str, Any]:
        """Those that were given of its tasks, as JSON."""
        told = self.model_fields_set - {"executor"}
        return self.model_dump(mode="json", include=told, exclude_none=True, by_alias=True)
