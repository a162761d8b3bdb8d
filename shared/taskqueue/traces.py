"""Spans of attempts, for OpenTelemetry: a listener of the telemetry. Nobody else imports OpenTelemetry, and nobody
this, but where `TASKQUEUE_TRACES` asks for it.

Attributes are those of the semantic conventions for messaging, version 1.44.0, and some of our own, `taskqueue.*`.
"""

import json
import threading
from contextvars import ContextVar, Token
from hashlib import sha256
from typing import Any
from uuid import UUID

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from taskqueue.task import Claim, Outcome
from taskqueue.telemetry import TaskClaimed, TaskEnded
from taskqueue.trace_context import HEADER
from taskqueue.version import VERSION

#: Seconds that a process waits at its end for the spans that are still to be sent.
_SENDING = 5

#: The ids of the span that is being begun: of its trace, and its own.
_IDS: ContextVar[tuple[int, int] | None] = ContextVar("ids", default=None)


class Ids(RandomIdGenerator):
    """An attempt's span has an id that follows from its task's, so that later ones can link to the first one's,
    whichever worker runs them. So has its trace, where the client told none. All others are random."""

    def generate_trace_id(self) -> int:
        ids = _IDS.get()
        return ids[0] if ids else super().generate_trace_id()

    def generate_span_id(self) -> int:
        ids = _IDS.get()
        return ids[1] if ids else super().generate_span_id()


class Traces:
    """The spans of a worker's attempts; `follow` is a listener."""

    def __init__(self, queue: str, provider: TracerProvider) -> None:
        """
        Args:
            provider: its ids are `Ids`.
        """
        self._queue = queue
        self._provider = provider
        self._tracer = provider.get_tracer(
            "taskqueue", VERSION, schema_url="https://opentelemetry.io/schemas/1.44.0"
        )
        #: By task and attempt, with what was current before.
        self._spans: dict[tuple[str, int], tuple[trace.Span, Token[Context]]] = {}

    @classmethod
    def exporting(cls, queue: str) -> "Traces":
        """Spans that are sent by OTLP over HTTP, as OpenTelemetry's own variables say, and with them those that
        handlers begin."""
        named = Resource({SERVICE_NAME: "taskqueue-worker"}).merge(OTELResourceDetector().detect())
        resource = Resource.create(named.attributes)
        provider = TracerProvider(resource=resource, id_generator=Ids(), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
        return cls(queue, provider)

    def close(self) -> None:
        """End what still runs, and send what is left, as far as that takes no longer than some seconds."""
        for span, _ in self._spans.values():
            span.end()
        sending = threading.Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(_SENDING)

    def follow(self, happening: object) -> None:
        """Begin a span with an attempt, and end it once its outcome is recorded.

        Meanwhile it is the current one of who told, and so of the handler, which is called by them.
        """
        match happening:
            case TaskClaimed(claim):
                span = self._begun(claim)
                self._spans[claim.id, claim.attempt] = span, attach(trace.set_span_in_context(span))
            case TaskEnded(claim):
                span, before = self._spans.pop((claim.id, claim.attempt))
                detach(before)
                _finish(span, happening)

    def _begun(self, claim: Claim) -> trace.Span:
        parent = TraceContextTextMapPropagator().extract({HEADER: claim.traceparent or ""}, Context())
        told = trace.get_current_span(parent).get_span_context()
        trace_id = told.trace_id if told.is_valid else UUID(claim.id).int
        token = _IDS.set((trace_id, _span_id(claim.id, claim.attempt)))
        try:
            return self._tracer.start_span(
                f"process {claim.action}",
                parent,
                trace.SpanKind.CONSUMER,
                self._attributes(claim),
                [_to_first(claim.id, trace_id)] if claim.attempt > 1 else [],
            )
        finally:
            _IDS.reset(token)

    def _attributes(self, claim: Claim) -> dict[str, Any]:
        named = {} if claim.request_id is None else {"messaging.message.conversation_id": claim.request_id}
        return named | {
            "messaging.system": "taskqueue",
            "messaging.operation.type": "process",
            "messaging.operation.name": "process",
            "messaging.destination.name": self._queue,
            "messaging.message.id": claim.id,
            "messaging.client.id": claim.worker,
            "taskqueue.action": claim.action,
            "taskqueue.attempt": claim.attempt,
            "taskqueue.tags": claim.tags,
            "taskqueue.waited": claim.waited / 1000,
        }


def _finish(span: trace.Span, ended: TaskEnded) -> None:
    span.set_attribute("taskqueue.outcome", ended.outcome)
    if ended.status is not None:
        span.set_attribute("taskqueue.status", ended.status)
    if ended.outcome in {Outcome.ERROR, Outcome.TIMEOUT} and ended.error is not None:
        error = json.loads(ended.error)
        span.set_attribute("error.type", error["type"])
        span.set_status(trace.StatusCode.ERROR, error["message"])
        if "traceback" in error:
            names = {"type": "type", "message": "message", "stacktrace": "traceback"}
            span.add_event("exception", {f"exception.{name}": error[key] for name, key in names.items()})
    span.end()


def _to_first(id: str, trace_id: int) -> trace.Link:
    """A link to the span of a task's first attempt."""
    sampled = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    return trace.Link(trace.SpanContext(trace_id, _span_id(id, 1), is_remote=True, trace_flags=sampled))


def _span_id(id: str, attempt: int) -> int:
    """Of the span of an attempt; never 0, which is no id."""
    return int.from_bytes(sha256(f"{id} {attempt}".encode()).digest()[:8], "big") or 1
