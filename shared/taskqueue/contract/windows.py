"""What an operator looks at first: how it stands, what happened in the last hour, day or week, and what needs
attention."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypeAliasType

from taskqueue.contract.answers import Answer, Count, Time
from taskqueue.contract.overview import ActionStats, Counts, Percentiles
from taskqueue.task import Status

WindowName = TypeAliasType("WindowName", Literal["1h", "24h", "7d"])
Concern = TypeAliasType(
    "Concern",
    Literal[
        "broker_away",
        "broker_blocked",
        "no_worker",
        "nothing_completes",
        "failures",
        "unknown_action",
        "dead_letters",
        "backlog_nearly_full",
        "disk_nearly_full",
    ],
)
Severity = TypeAliasType("Severity", Literal["critical", "warning"])


class OverviewQuery(BaseModel):
    """The query string of `GET /overview`."""

    model_config = ConfigDict(extra="forbid")

    window: WindowName = Field("1h", description="How far to look back: by the minute, the quarter or two hours.")


class Point(Counts):
    """What happened in a part of the window."""

    at: Count = Field(description="Its begin.")
    wait: Percentiles
    run: Percentiles


class ActionInWindow(ActionStats):
    """What happened to the tasks of one action."""

    ended: list[Count] = Field(description="How many became final, by point.")


class Attention(Answer):
    """Something that an operator should look at."""

    concern: Concern
    severity: Severity
    text: str = Field(description="What is wrong; for people.")
    advice: str = Field(description="What to do about it; for people.")
    action: str | None = Field(description="The action that it is about, where it is about one.")


class OverviewAnswer(Answer):
    """How it stands, and what happened. It is up to a few seconds old."""

    at: Time = Field(description="When this was read.")
    window: WindowName
    width: Count = Field(description="Seconds from point to point.")
    attention: list[Attention] = Field(description="The most pressing first; empty where all is well.")
    tasks: dict[Status, Count] = Field(description="How many have each status.")
    oldest_waiting: float | None = Field(ge=0, description="How long the one that waits longest has been due.")
    backlog: Count = Field(
        description="How many are due and wait: queued, or not taken by the broker; of these 100,000 are counted."
    )
    drains_in: float | None = Field(
        ge=0, description="How long the backlog takes at the rate of the last ten minutes; null where none ended."
    )
    workers: Count = Field(description="How many are known.")
    slots: Count = Field(description="How many tasks these run at a time.")
    points: list[Point] = Field(description="Oldest first; the last one has only begun.")
    wait: Percentiles = Field(description="From when a task was due to the start of an attempt, in the window.")
    run: Percentiles = Field(description="How long attempts that gave a result took, in the window.")
    actions: dict[str, ActionInWindow] = Field(description="The fifty with most to tell.")
    others: Counts = Field(description="The tasks of all other actions.")
