"""Dead letters: messages that can't be tasks."""

from typing import Literal

from taskqueue.contract.answers import ErrorAnswer
from taskqueue.contract.dead_letters import (
    DeadLettersAnswer,
    DeadLettersBody,
    DeadLettersQuery,
    EndedLettersAnswer,
)
from taskqueue.contract.keys import Role
from taskqueue_api.openapi import answers, examples, headers
from taskqueue_api.openapi.terms import Content, Operation, answer

_AWAY = answer(
    "The broker can't be used now, or others look at the dead letters.",
    ErrorAnswer,
    {"error": "broker unavailable"},
    headers.RETRY_AFTER,
)

LIST_DEAD_LETTERS = Operation(
    id="list_dead_letters",
    group="Dead letters",
    role=Role.READ,
    summary="The oldest dead letters",
    description="While they are looked at, nobody else sees them.",
    query=DeadLettersQuery,
    answers={
        200: answer("The oldest first.", DeadLettersAnswer, examples.DEAD_LETTERS),
        400: answers.bad("limit: Input should be less than or equal to 1000"),
        503: _AWAY,
    },
)


def _ending(verb: Literal["requeue", "drop"], summary: str) -> Operation:
    return Operation(
        id=f"{verb}_dead_letters",
        group="Dead letters",
        role=Role.OPERATE,
        summary=summary,
        description="One after the other, for ten seconds at most: `left` tells whether there is more to do. "
        "Where it ends with 503, some may be done.",
        body=(Content(DeadLettersBody, {"some": {"ids": [examples.DEAD_LETTER["id"]]}, "all": {"all": True}}),),
        answers=answers.OF_WRITES
        | {
            200: answer("It is done.", EndedLettersAnswer, {"count": 12, "left": 0}),
            400: answers.bad("name ids, or say that all are meant"),
            404: answer(
                "A letter that is named is not there; nothing was done.",
                ErrorAnswer,
                {"error": "no dead letter has the id '790f00d5d5c4' now; nothing was done"},
            ),
            503: answer(
                "The broker or the database can't be used now, or others look at the dead letters.",
                ErrorAnswer,
                {"error": "broker unavailable"},
                headers.RETRY_AFTER,
            ),
        },
    )


REQUEUE_DEAD_LETTERS = _ending("requeue", "Put dead letters back into the queue of tasks")
DROP_DEAD_LETTERS = _ending("drop", "Delete dead letters for good")
