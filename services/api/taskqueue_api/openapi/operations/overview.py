"""What goes on, and health."""

from taskqueue.contract.answers import LiveAnswer, NotReadyAnswer, ReadyAnswer
from taskqueue.contract.failures import ErrorsAnswer, ErrorsQuery
from taskqueue.contract.keys import Role
from taskqueue.contract.overview import ActionsAnswer, StatsAnswer, WorkersAnswer
from taskqueue.contract.requests import StatsQuery
from taskqueue.contract.tags import TagsAnswer, TagsQuery
from taskqueue.contract.windows import OverviewAnswer, OverviewQuery
from taskqueue_api.openapi import answers, examples
from taskqueue_api.openapi.terms import Answer, Content, Operation, answer

GET_OVERVIEW = Operation(
    id="get_overview",
    group="Overview",
    role=Role.READ,
    summary="How it stands, what happened, and what needs attention",
    description="It is read every 2 seconds (an hour), 10 (a day) or 30 (a week) at most, and kept so long.",
    query=OverviewQuery,
    answers={
        200: answer("The overview.", OverviewAnswer, examples.OVERVIEW),
        400: answers.bad("window: Input should be '1h', '24h' or '7d'"),
        503: answers.UNAVAILABLE,
    },
)

LIST_ERRORS = Operation(
    id="list_errors",
    group="Overview",
    role=Role.READ,
    narrows=True,
    summary="What fails, and how often",
    description="Errors of the same action that differ in numbers and ids only are one.",
    query=ErrorsQuery,
    answers={
        200: answer("The errors.", ErrorsAnswer, examples.ERRORS),
        400: answers.bad("unknown query parameter 'status'"),
        503: answers.UNAVAILABLE,
    },
)

LIST_TAGS = Operation(
    id="list_tags",
    group="Overview",
    role=Role.READ,
    summary="Tags that tasks have",
    query=TagsQuery,
    answers={
        200: answer("The tags.", TagsAnswer, {"tags": ["customer-7", "images"]}),
        400: answers.bad("limit: Input should be less than or equal to 100"),
        503: answers.UNAVAILABLE,
    },
)

GET_STATS = Operation(
    id="get_stats",
    group="Overview",
    role=Role.READ,
    summary="Count tasks, now and in the last minutes",
    query=StatsQuery,
    answers={
        200: answer("The counters.", StatsAnswer, examples.STATS),
        400: answers.bad("minutes: Input should be less than or equal to 1440"),
        503: answers.UNAVAILABLE,
    },
)

LIST_WORKERS = Operation(
    id="list_workers",
    group="Overview",
    role=Role.READ,
    summary="Who works, and on what",
    answers={
        200: answer("The workers.", WorkersAnswer, examples.WORKERS),
        400: answers.bad("unknown query parameter 'limit'"),
        503: answers.UNAVAILABLE,
    },
)

LIST_ACTIONS = Operation(
    id="list_actions",
    group="Overview",
    role=Role.READ,
    narrows=True,
    summary="What the workers can run, and could",
    answers={
        200: answer("The actions.", ActionsAnswer, examples.ACTIONS),
        400: answers.bad("unknown query parameter 'limit'"),
        503: answers.UNAVAILABLE,
    },
)

GET_METRICS = Operation(
    id="get_metrics",
    group="Overview",
    role=Role.READ,
    summary="Metrics, for Prometheus",
    description="In Prometheus's text format, or OpenMetrics where `Accept` asks for it. Where the database or "
    "the broker is away, it says so, and leaves out what only these know.",
    answers={
        200: Answer("The metrics.", (Content(None, {"example": examples.METRICS}, "text/plain"),)),
        400: answers.bad("unknown query parameter 'name'"),
    },
)

CHECK_LIVE = Operation(
    id="check_live",
    group="Health",
    role=None,
    summary="Whether the process answers",
    answers={200: answer("It does.", LiveAnswer, {"status": "ok"})},
)

CHECK_READY = Operation(
    id="check_ready",
    group="Health",
    role=None,
    summary="Whether tasks can be accepted",
    answers={
        200: answer("They can.", ReadyAnswer, {"status": "ready", "schema": 5, "broker": "connected"}),
        503: answer(
            "They can't.",
            NotReadyAnswer,
            {"status": "not ready", "error": "schema 4, needed is 5", "broker": "connected"},
        ),
    },
)
