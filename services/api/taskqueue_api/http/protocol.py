"""The server below the application: what can't be read as HTTP is answered like everything else that is wrong, in
JSON, and told by a line of the log."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.http import HttpVersion11, RawRequestMessage
from aiohttp.http_exceptions import BadHttpMessage, ContentEncodingError, InvalidURLError, LineTooLong
from aiohttp.web_protocol import RequestHandler
from yarl import URL

from taskqueue_api.http.compression import ACCEPTED, UNKNOWN_CODING
from taskqueue_api.http.defence import defend
from taskqueue_api.http.errors import INTERNAL_ERROR, as_json, error_body
from taskqueue_api.http.refusals import Refusals
from taskqueue_api.http.request_ids import HEADER, name_of

_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

#: Characters of the parser's own words that an answer, and the log, repeats.
_TOLD = 200

#: Bytes that a request's target, and each of its headers, may have. They differ because that is how the parser's
#: error tells which of them was too long.
LONGEST_TARGET, LONGEST_HEADER = 8192, 8190


class Runner(web.AppRunner):
    """Serves an application by this protocol."""

    def __init__(self, app: web.Application, **options: Any) -> None:
        super().__init__(app, **options, max_line_size=LONGEST_TARGET, max_field_size=LONGEST_HEADER)

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            _meeting_expectations(made.request_handler),
            request_factory=_naming_something(made.request_factory),
            handler_cancellation=made.handler_cancellation,
            **made._kwargs,
        )


def _meeting_expectations(handler: _Handler) -> _Handler:
    """Before aiohttp does, which fails over an expectation that is no Unicode."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        expected = request.headers.get("Expect")
        if expected and expected.lower() != "100-continue" and request.version >= HttpVersion11:
            raise web.HTTPExpectationFailed
        return await handler(request)

    return handle


def _naming_something(factory: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """aiohttp's parser lets a CONNECT pass that names no target, and its request would then fail."""

    def make(message: RawRequestMessage, *arguments: Any) -> web.BaseRequest:
        if message.url is None:
            message = message._replace(path="/", url=URL("/"))
        return factory(message, *arguments)

    return make


class _Server(web.Server):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._refusals = Refusals()

    def __call__(self) -> RequestHandler:
        return _Protocol(self, self._refusals, loop=self._loop, **self._kwargs)


class _Protocol(RequestHandler):
    """One connection."""

    __slots__ = ("_refusals",)

    def __init__(self, manager: _Server, refusals: Refusals, **options: Any) -> None:
        super().__init__(manager, **options)
        self._refusals = refusals

    def data_received(self, data: bytes) -> None:
        """Take what has come. The parser doesn't tell who waits for the rest of a body that it is broken."""
        super().data_received(data)
        request = self._current_request
        if self._messages and request and not request.content.is_eof():
            message, _ = self._messages[-1]
            if not isinstance(message, RawRequestMessage):
                request.content.set_exception(web.RequestPayloadError(message.message))

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; one that aiohttp raised becomes JSON."""
        if isinstance(resp, web.HTTPException):
            as_json(resp)
            resp.headers[HEADER] = name_of(request)
        if not resp.prepared:
            await defend(request, resp)
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what the parser refused, in place of a request; or a request that no middleware has answered."""
        if message is None:
            super().handle_error(request, status, exc)  # logs it, or raises where an answer has begun
            error = INTERNAL_ERROR
        else:
            status, error = _told(exc, message)
            self._refusals.tell(error, remote=request.remote, request_id=name_of(request))
        response = web.Response(status=status, text=error_body(error), content_type="application/json")
        response.headers[HEADER] = name_of(request)
        response.force_close()
        if status == 415:
            response.headers["Accept-Encoding"] = ACCEPTED
        return response

    def log_exception(self, *arguments: Any, **options: Any) -> None:
        """Log what went wrong with a connection; a body that nobody reads may be as broken as it likes, and who
        waits for the go-ahead of `Expect` may leave."""
        if not isinstance(options.get("exc_info"), web.RequestPayloadError | ConnectionResetError):
            super().log_exception(*arguments, **options)


def _told(error: BaseException | None, message: str) -> tuple[int, str]:
    """The status, and what is wrong."""
    match error:
        case ContentEncodingError():
            return 415, UNKNOWN_CODING
        case LineTooLong(args=(_, int(limit), *_)) if limit == LONGEST_TARGET:
            return 414, f"the request's target is longer than {LONGEST_TARGET} bytes"
        case LineTooLong():
            return 431, f"a header is longer than {LONGEST_HEADER} bytes"
        case BadHttpMessage() if message == "Too many headers received":
            return 431, "there are too many headers"
        case InvalidURLError():
            return 400, "not HTTP: the request's target is not valid"
        case _:
            # What follows the empty line points at the place in what was sent.
            return 400, "not HTTP: " + " ".join(message.partition("\n\n")[0].split()).rstrip(":.")[:_TOLD]
