"""Spans of attempts: in whose trace they are, what they tell, and that handlers run in them."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from tests.conformance.server import RabbitServer
from tests.conformance.waiting import PATIENCE, eventually
from tests.integration import actions
from tests.integration.programs import ROOT, Client, Programs
from tests.integration.system import HANDLERS, System, quick_settings

from taskqueue.actions import registry
from taskqueue.client import AsyncClient
from taskqueue.process import EXIT_CONFIG
from taskqueue.task import Claim
from taskqueue.telemetry import TaskClaimed
from taskqueue.traces import Ids, Traces

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SENT = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
MODULE = "tests.integration.traced_actions"


@pytest.fixture(autouse=True)
def actions_of_their_own() -> Iterator[None]:
    """Other tests' workers in this process need no children."""
    yield
    if module := sys.modules.pop(MODULE, None):
        for name in registry.ACTIONS.keys() & vars(module).keys():
            del registry.ACTIONS[name]


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with System.open(quick_settings(tmp_path, handlers=f"{HANDLERS},{MODULE}", processes=1)) as system:
        yield system


@pytest.fixture
def exporter(system: System) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(id_generator=Ids(), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    system.telemetry.listen(Traces("tasks", provider).follow)
    return exporter


class Spans:
    """What is told of a system's attempts, one worker of which runs."""

    def __init__(self, system: System, exporter: InMemorySpanExporter) -> None:
        self.system = system
        self._exporter = exporter

    async def of(self, id: str, count: int = 1) -> list[ReadableSpan]:
        """Those of a task's attempts, once there are so many."""

        def found() -> list[ReadableSpan]:
            spans = self._exporter.get_finished_spans()
            return [span for span in spans if span.attributes and span.attributes["messaging.message.id"] == id]

        await eventually(lambda: len(found()) >= count)
        assert len(found()) == count
        return found()

    async def submitted(self, action: str, headers: dict[str, str] | None = None, **members: object) -> str:
        answer = await self.system.post("/tasks", json={"action": action} | members, headers=headers or {})
        assert answer.status == 202, answer
        return str(answer.body["id"])


@pytest.fixture
async def spans(system: System, exporter: InMemorySpanExporter) -> AsyncIterator[Spans]:
    async with system.worker():
        yield Spans(system, exporter)


def ids(span: ReadableSpan) -> tuple[str, str]:
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def parent(span: ReadableSpan) -> str | None:
    return None if span.parent is None else f"{span.parent.span_id:016x}"


async def test_an_attempt_belongs_to_the_span_in_which_its_task_was_submitted(spans: Spans) -> None:
    headers = SENT | {"X-Request-ID": "r1"}
    id = await spans.submitted("uppercase", headers, data={"text": "a"}, tags=["x", "y"])
    [span] = await spans.of(id)
    assert (ids(span)[0], parent(span)) == (TRACE, SPAN)
    assert (span.name, span.kind, span.status.status_code) == (
        "process uppercase",
        SpanKind.CONSUMER,
        StatusCode.UNSET,
    )
    assert span.links == ()
    [worker] = await spans.system.store.reads.worker_beats()
    told = dict(span.attributes or {})
    assert 0 <= float(str(told.pop("taskqueue.waited"))) < PATIENCE
    assert told == {
        "messaging.system": "taskqueue",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": "tasks",
        "messaging.message.id": id,
        "messaging.message.conversation_id": "r1",
        "messaging.client.id": worker,
        "taskqueue.action": "uppercase",
        "taskqueue.attempt": 1,
        "taskqueue.tags": ("x", "y"),
        "taskqueue.outcome": "ok",
        "taskqueue.status": "completed",
    }


async def test_each_of_a_batch_belongs_to_it(spans: Spans) -> None:
    body = {"tasks": [{"action": "uppercase"}] * 3}
    answer = await spans.system.post("/tasks/batch", json=body, headers=SENT)
    for task in answer.body["tasks"]:
        [span] = await spans.of(task["id"])
        assert (ids(span)[0], parent(span)) == (TRACE, SPAN)


@pytest.mark.parametrize("header", [None, "", "nonsense", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01" * 9])
async def test_without_one_that_is_good_the_trace_is_the_tasks(spans: Spans, header: str | None) -> None:
    id = await spans.submitted("uppercase", None if header is None else {"traceparent": header})
    [span] = await spans.of(id)
    assert (ids(span)[0], parent(span)) == (UUID(id).hex, None)


async def test_what_its_client_did_not_sample_is_not_told(spans: Spans) -> None:
    unsampled = await spans.submitted("uppercase", {"traceparent": f"00-{TRACE}-{SPAN}-00"})
    await spans.system.until(unsampled)
    await spans.of(await spans.submitted("uppercase"))
    await spans.of(unsampled, count=0)


@pytest.mark.parametrize("headers", [SENT, {}], ids=["traced", "untraced"])
async def test_later_attempts_link_to_the_first(spans: Spans, headers: dict[str, str]) -> None:
    id = await spans.submitted("fail", headers, data={"until_attempt": 3, "message": "on purpose"})
    first, second, third = await spans.of(id, count=3)
    assert len({ids(span) for span in (first, second, third)}) == 3
    assert first.links == ()
    for span in (second, third):
        assert ids(span)[0] == ids(first)[0]
        assert parent(span) == parent(first)
        [link] = span.links
        assert (link.context.trace_id, link.context.span_id) == (first.context.trace_id, first.context.span_id)
    assert [(span.attributes or {})["taskqueue.status"] for span in (first, second, third)] == [
        "pending",
        "pending",
        "completed",
    ]


async def test_a_failed_attempt_tells_its_error(spans: Spans) -> None:
    [span] = await spans.of(await spans.submitted("refuse"))
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "no such customer")
    attributes = span.attributes or {}
    assert (attributes["error.type"], attributes["taskqueue.status"]) == ("Reject", "failed")
    [event] = span.events
    told = event.attributes or {}
    assert (event.name, told["exception.type"], told["exception.message"]) == (
        "exception",
        "Reject",
        "no such customer",
    )
    assert "in refuse" in str(told["exception.stacktrace"])


async def test_one_that_took_too_long_tells_that(spans: Spans) -> None:
    id = await spans.submitted("hold", data={"name": "gate"}, timeout=0.05, max_attempts=1)
    [span] = await spans.of(id)
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "Timeout"


async def test_one_that_is_put_off_is_no_error(spans: Spans) -> None:
    first, _ = await spans.of(await spans.submitted("put_off", data={"times": 1}), count=2)
    assert first.status.status_code is StatusCode.UNSET
    assert (first.attributes or {})["taskqueue.outcome"] == "snoozed"


@pytest.mark.parametrize("action", ["span_of_coroutine", "span_of_thread"])
async def test_a_handler_runs_in_its_attempts_span(spans: Spans, action: str) -> None:
    id = await spans.submitted(action, SENT)
    [span] = await spans.of(id)
    assert (await spans.system.task(id))["result"] == ids(span)[1]


async def test_in_a_child_process_there_is_none(spans: Spans) -> None:
    id = await spans.submitted("span_of_child", SENT)
    await spans.of(id)
    assert (await spans.system.task(id))["result"] == "0" * 16


@pytest.mark.parametrize("action", ["span_of_parent", "span_of_child"])
async def test_what_a_handler_submits_belongs_to_its_attempt(spans: Spans, action: str) -> None:
    id = await spans.submitted(action, SENT)
    [span] = await spans.of(id)
    [child] = (await spans.system.task(id))["children"]
    [its_span] = await spans.of(child)
    assert (ids(its_span)[0], parent(its_span)) == (TRACE, ids(span)[1])


async def test_the_next_task_of_a_slot_is_in_a_span_of_its_own(
    system: System, exporter: InMemorySpanExporter
) -> None:
    async with system.worker(consumers=1):
        spans = Spans(system, exporter)
        tasks = [await spans.submitted("span_of_coroutine", SENT if number % 2 else {}) for number in range(6)]
        found = [(await spans.of(id))[0] for id in tasks]
    assert [parent(span) for span in found] == [None, SPAN] * 3
    assert [(await system.task(id))["result"] for id in tasks] == [ids(span)[1] for span in found]


async def test_a_worker_that_writes_none_hands_the_clients_on(system: System) -> None:
    claimed: list[Claim] = []
    system.telemetry.listen(lambda told: claimed.append(told.claim) if isinstance(told, TaskClaimed) else None)
    async with system.worker():
        answer = await system.post("/tasks", json={"action": "span_of_parent"}, headers=SENT)
        task = await system.until(answer.body["id"])
        assert task["result"] == "0" * 16
        await system.until(task["children"][0])
    assert [claim.traceparent for claim in claimed] == [SENT["traceparent"]] * 2


async def test_what_still_runs_when_it_is_closed_is_told(system: System) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(id_generator=Ids(), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traces = Traces("tasks", provider)
    system.telemetry.listen(traces.follow)
    async with system.worker():
        id = await system.submit("hold", {"name": "gate"})
        await actions.started("gate")
        # As where its handler outlasts the worker's stop; what ends later tells nobody.
        traces.close()
        [span] = exporter.get_finished_spans()
        assert (span.attributes or {})["messaging.message.id"] == id
        actions.let_go("gate")
        await system.until(id)


@pytest.fixture
async def received(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncio.Queue[tuple[str, Span]]]:
    """What a receiver of OTLP is sent: each span with the name of its service."""
    queue: asyncio.Queue[tuple[str, Span]] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        assert request.content_type == "application/x-protobuf"
        for resource in ExportTraceServiceRequest.FromString(await request.read()).resource_spans:
            named = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    queue.put_nowait((named["service.name"], span))
        return web.Response(content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    async with TestServer(app) as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", str(server.make_url("")))
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        yield queue


async def test_from_a_clients_span_to_a_receiver_of_otlp(
    programs: Programs, received: asyncio.Queue[tuple[str, Span]]
) -> None:
    api = await programs.start("taskqueue-embedded", traces="otlp", handlers=MODULE)
    async with AsyncClient(await api.url()) as client:
        with TracerProvider(shutdown_on_exit=False).get_tracer("shop").start_as_current_span("order") as order:
            handle = await client.submit("begin_own")
        assert await handle.result(timeout=PATIENCE)
    spans = {}
    async with asyncio.timeout(PATIENCE):
        while len(spans) < 2:
            service, span = await received.get()
            assert service == "taskqueue-worker"
            spans[span.name] = span
    attempt, own = spans["process begin_own"], spans["own"]
    context = order.get_span_context()
    assert attempt.trace_id == own.trace_id == context.trace_id.to_bytes(16, "big")
    assert attempt.parent_span_id == context.span_id.to_bytes(8, "big")
    assert own.parent_span_id == attempt.span_id
    assert await api.stop() == 0


@pytest.mark.docker
async def test_an_attempt_links_to_that_of_another_worker(
    migrated: Programs, client: Client, rabbit: RabbitServer, queue: str, received: asyncio.Queue[tuple[str, Span]]
) -> None:
    broker = {"broker_url": rabbit.url, "queue": queue}
    working = broker | {"traces": "otlp", "handlers": "tests.integration.actions"}
    url = await (await migrated.start("taskqueue-api", **broker)).url()
    first_worker = await migrated.start("taskqueue-worker", **working)
    id = await client.submit(url, "ask_again", {"after": 2})
    async with asyncio.timeout(PATIENCE):
        _, first = await received.get()
        await first_worker.kill()
        await migrated.start("taskqueue-worker", **working)
        _, second = await received.get()
    assert first.trace_id == second.trace_id == UUID(id).bytes
    assert [link.span_id for link in second.links] == [first.span_id]
    workers = [
        {pair.key: pair.value.string_value for pair in span.attributes}["messaging.client.id"]
        for span in (first, second)
    ]
    assert workers[0] != workers[1]


async def test_a_stop_sends_what_is_left(
    programs: Programs, received: asyncio.Queue[tuple[str, Span]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "thumbnails")
    api = await programs.start("taskqueue-embedded", traces="otlp", handlers=MODULE)
    async with AsyncClient(await api.url()) as client:
        await (await client.submit("span_of_coroutine")).result(timeout=PATIENCE)
    assert received.empty()
    assert await api.stop() == 0
    service, span = await received.get()
    assert (service, span.name) == ("thumbnails", "process span_of_coroutine")


async def test_a_receiver_that_is_away_keeps_no_task_and_no_stop_waiting(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{unused_tcp_port}")
    api = await programs.start("taskqueue-embedded", traces="otlp", handlers=MODULE)
    async with AsyncClient(await api.url()) as client:
        await (await client.submit("span_of_coroutine")).result(timeout=PATIENCE)
    async with asyncio.timeout(PATIENCE):
        assert await api.stop() == 0


async def test_where_it_is_off_nothing_of_it_is_imported(programs: Programs) -> None:
    (programs.folder / "looking.py").write_text(
        "import sys\nfrom taskqueue import action\n\n\n@action\ndef loaded() -> list[str]:\n"
        "    return [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    api = await programs.start("taskqueue-embedded", handlers="looking")
    async with AsyncClient(await api.url()) as client:
        handle = await client.submit("loaded")
        assert await handle.result(timeout=PATIENCE) == []


@pytest.mark.parametrize("program", ["taskqueue-worker", "taskqueue-embedded"])
async def test_without_opentelemetry_it_says_what_it_needs(migrated: Programs, program: str) -> None:
    (migrated.folder / "opentelemetry.py").write_text("raise ModuleNotFoundError(name=__name__)")
    started = await migrated.start(program, traces="otlp", handlers=MODULE)
    assert await started.ended() == EXIT_CONFIG
    [line] = [line for line in started.log if line["level"] == "ERROR"]
    assert "TASKQUEUE_TRACES is otlp, and opentelemetry is not installed" in line["message"]
    assert "taskqueue-http[otel]" in line["message"]


async def test_the_documents_handler_has_a_span_of_its_own(
    programs: Programs, received: asyncio.Queue[tuple[str, Span]]
) -> None:
    [example] = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs/traces.md").read_text(), re.DOTALL | re.MULTILINE
    )
    (programs.folder / "documented.py").write_text(example)
    api = await programs.start("taskqueue-embedded", traces="otlp", handlers="documented")
    async with AsyncClient(await api.url()) as client:
        await (await client.submit("resize", {"path": "a.png"})).result(timeout=PATIENCE)
    spans = {}
    async with asyncio.timeout(PATIENCE):
        while len(spans) < 2:
            _, span = await received.get()
            spans[span.name] = span
    assert spans["read"].parent_span_id == spans["process resize"].span_id


def test_the_document_lists_every_attribute() -> None:
    listed = re.findall(r"^\| `([a-z_.]+)` \|", (ROOT / "docs/traces.md").read_text(), re.MULTILINE)
    source = (ROOT / "shared/taskqueue/traces.py").read_text()
    told = re.findall(r'"((?:messaging|taskqueue|error)\.[a-z_.]+)"', source)
    assert sorted(listed) == sorted(set(told))
