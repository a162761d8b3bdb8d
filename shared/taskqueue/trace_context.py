"""W3C Trace Context (Level 1): `traceparent`, which names a span and its trace. Standard library only."""

import re
import sys
from typing import Any

#: The request's header.
HEADER = "traceparent"
#: Later versions may add something behind; `ff` is none.
_FORM = re.compile("(?!ff)[0-9a-f]{2}(-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})(-.*)?", re.ASCII)


def read_traceparent(header: str) -> str | None:
    """What a client has sent, as version 00; None where it is malformed, which the standard has us ignore."""
    found = _FORM.fullmatch(header)
    if found is None or (found[2] is not None and header.startswith("00")):
        return None
    return f"00{found[1]}"


def write_traceparent(trace_id: int, span_id: int, flags: int) -> str:
    """That of a span."""
    return f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}"


def current_traceparent() -> str | None:
    """That of the span that this code runs in; None where there is none, or OpenTelemetry was not imported."""
    opentelemetry: Any = sys.modules.get("opentelemetry.trace")
    if opentelemetry is None:
        return None
    span = opentelemetry.get_current_span().get_span_context()
    return write_traceparent(span.trace_id, span.span_id, span.trace_flags) if span.is_valid else None
