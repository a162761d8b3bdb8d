"""Keys: who may use the API."""

from taskqueue.contract.answers import ErrorAnswer
from taskqueue.contract.keys import KeyAnswer, KeyBody, KeysAnswer, NewKeyAnswer, Role
from taskqueue_api.openapi import answers, examples
from taskqueue_api.openapi.terms import Content, Operation, answer

CREATE_KEY = Operation(
    id="create_key",
    group="Keys",
    role=Role.ADMIN,
    summary="Make a key",
    description="The answer alone has the key: what is kept of it opens nothing.",
    body=(
        Content(
            KeyBody,
            {
                "for a program": examples.KEY_WANTED,
                "for a month": examples.KEY_FOR_A_MONTH,
                "for a tenant": examples.KEY_OF_A_TENANT,
            },
        ),
    ),
    answers=answers.OF_WRITES
    | {
        201: answer(
            "It is good at once here, and within two seconds at other APIs.", NewKeyAnswer, examples.NEW_KEY
        ),
        400: answers.bad("label required"),
        503: answers.UNAVAILABLE,
    },
)

LIST_KEYS = Operation(
    id="list_keys",
    group="Keys",
    role=Role.ADMIN,
    summary="All keys, without what opens anything",
    answers={
        200: answer("The keys, newest first.", KeysAnswer, {"keys": [examples.KEY], "count": 1}),
        400: answers.bad("unknown query parameter 'limit'"),
        503: answers.UNAVAILABLE,
    },
)

REVOKE_KEY = Operation(
    id="revoke_key",
    group="Keys",
    role=Role.ADMIN,
    summary="End a key for good",
    description="At once here, and within two seconds at other APIs; its sessions end with it.",
    answers=answers.OF_WRITES
    | {
        200: answer("It is revoked.", KeyAnswer, examples.KEY | {"revoked_at": 1795345200.0}),
        400: answers.bad("unknown query parameter 'force'"),
        404: answer("There is no such key.", ErrorAnswer, {"error": "no key has the id 'r7Kq2LxV9bTz'"}),
        503: answers.UNAVAILABLE,
    },
)
