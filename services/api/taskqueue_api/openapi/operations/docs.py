"""The document itself, and its page."""

from taskqueue.contract.answers import ErrorAnswer, OpenApiDocument, RootAnswer
from taskqueue.contract.keys import Role
from taskqueue_api.openapi import answers, examples, headers
from taskqueue_api.openapi.terms import Answer, Content, Operation, answer

GET_ROOT = Operation(
    id="get_root",
    group="Documentation",
    role=Role.READ,
    narrows=True,
    summary="Where to read on",
    answers={
        200: answer("The paths.", RootAnswer, examples.ROOT),
        307: Answer("For browsers, which ask for HTML: the dashboard.", headers=(headers.PAGE,)),
    },
)

GET_OPENAPI = Operation(
    id="get_openapi",
    group="Documentation",
    role=Role.READ,
    narrows=True,
    summary="This document",
    headers=(headers.IF_NONE_MATCH,),
    answers={200: Answer("OpenAPI 3.1.", (Content(OpenApiDocument),), (headers.ETAG,)), 304: answers.NOT_MODIFIED},
)

BROWSE = Operation(
    id="browse",
    group="Documentation",
    role=Role.READ,
    narrows=True,
    summary="A page to browse this document",
    headers=(headers.IF_NONE_MATCH,),
    answers={
        200: Answer("The page.", (Content(None, media_type="text/html"),), (headers.ETAG,)),
        304: answers.NOT_MODIFIED,
    },
)

GET_PAGE_FILE = Operation(
    id="get_page_file",
    group="Documentation",
    role=Role.READ,
    narrows=True,
    summary="What the page loads",
    headers=(headers.IF_NONE_MATCH,),
    answers={
        200: Answer(
            "The file.",
            tuple(
                Content(None, media_type=media_type) for media_type in ("text/javascript", "text/css", "image/png")
            ),
            (headers.ETAG,),
        ),
        304: answers.NOT_MODIFIED,
        404: answer("There is no such file.", ErrorAnswer, {"error": "no such path"}),
    },
)
