"""What an action says of its tasks, where their POSTs don't."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from taskqueue.contract.limits import MAX_TIMEOUT
from taskqueue.retry import Backoff

Validate = Literal["strict", "lax", False]
PriorityName = Literal["high", "normal", "low"]


class Options(BaseModel):
    """Defaults of an action's tasks; where one is None, the settings decide.

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
    #: How a task's `data` is held against the handler's annotations: as JSON has them; with what pydantic converts
    #: ("5" for an int, 1 for true); or by name only.
    validate_: Validate = Field("strict", alias="validate")

    def told(self) -> dict[str, Any]:
        """Those that were given, as JSON."""
        return self.model_dump(mode="json", include=self.model_fields_set, exclude_none=True, by_alias=True)
