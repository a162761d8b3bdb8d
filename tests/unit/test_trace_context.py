"""`traceparent`, as W3C Trace Context has it."""

import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from taskqueue.trace_context import HEADER, current_traceparent, read_traceparent

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ARABIC_FOUR = "\u0664"
GOOD = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize("flags", ["00", "01", "03", "ff"])
def test_what_is_well_formed_is_taken_as_it_is(flags: str) -> None:
    assert read_traceparent(f"00-{TRACE}-{SPAN}-{flags}") == f"00-{TRACE}-{SPAN}-{flags}"


@pytest.mark.parametrize("later", [f"01-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-the-future-brings"])
def test_of_later_versions_what_this_one_knows_is_taken(later: str) -> None:
    assert read_traceparent(later) == GOOD


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        GOOD[:-1],
        GOOD + "0",
        GOOD + "-more",
        GOOD + "\n",
        " " + GOOD,
        GOOD.upper(),
        GOOD.replace("-", "_"),
        f"ff-{TRACE}-{SPAN}-01",
        f"0x-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-0g",
        f"00-{ARABIC_FOUR * 32}-{SPAN}-01",
        f"{GOOD},{GOOD}",
    ],
)
def test_what_is_malformed_is_none(header: str) -> None:
    assert read_traceparent(header) is None


def test_the_current_span_is_told_as_opentelemetry_tells_it() -> None:
    assert current_traceparent() is None
    with TracerProvider().get_tracer("test").start_as_current_span("a"):
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        assert current_traceparent() == carrier[HEADER] == read_traceparent(carrier[HEADER])


def test_no_program_and_no_client_imports_opentelemetry() -> None:
    program = (
        "import sys, taskqueue.client, taskqueue_api.__main__, taskqueue_cli.__main__\n"
        "import taskqueue_embedded.__main__, taskqueue_worker.__main__, taskqueue_worker.children.__main__\n"
        "from taskqueue.trace_context import current_traceparent\n"
        "assert current_traceparent() is None\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "[]\n"
