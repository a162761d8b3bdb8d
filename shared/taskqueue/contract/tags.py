"""Tags that tasks have, to choose from."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from taskqueue.contract.answers import Answer
from taskqueue.contract.requests import written_as_json


class TagsQuery(BaseModel):
    """The query string of `GET /tags`."""

    model_config = ConfigDict(extra="forbid")

    prefix: Annotated[str, StringConstraints(max_length=64)] = Field("", description="How they begin.")
    limit: Annotated[int, BeforeValidator(written_as_json)] = Field(
        20, ge=1, le=100, description="How many at most."
    )


class TagsAnswer(Answer):
    """Tags of tasks that there are, in their order."""

    tags: list[str]
