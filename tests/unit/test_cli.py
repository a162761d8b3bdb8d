"""What the command line reads and writes: arguments, spans, bars, rates."""

import json
import math
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.contract.overview import Minute
from taskqueue_cli.arguments import read_arguments
from taskqueue_cli.options import moment
from taskqueue_cli.output import plain, span
from taskqueue_cli.overview import sparkline
from taskqueue_cli.top import Rates

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="=:"), min_size=1).filter(
    lambda name: not name.startswith("@")
)
TEXTS = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(NAMES, JSON, st.sampled_from(["=", ":="]))
def test_what_is_written_as_json_is_that_value(name: str, value: Any, sign: str) -> None:
    assert read_arguments([f"{name}{sign}{json.dumps(value)}"]) == {name: value}


@given(NAMES, TEXTS)
def test_what_is_no_json_is_text(name: str, text: str) -> None:
    try:
        json.loads(text, parse_constant=pytest.fail)
    except (ValueError, pytest.fail.Exception):
        assert read_arguments([f"{name}={text}"]) == {name: text}


def test_what_is_said_again_counts() -> None:
    assert read_arguments(["a=1", "b=2", "a=3"]) == {"a": 3, "b": 2}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("1795341600.5", 1795341600.5),
        ("2026-11-22T10:00:00Z", 1795341600),
        ("2026-11-22T12:00+02:00", 1795341600),
    ],
)
def test_a_time_is_unix_seconds_or_iso_8601(text: str, seconds: float) -> None:
    assert moment(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "10:00"])
def test_another_time_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        moment(text)


@given(st.text())
def test_no_text_commands_the_terminal_or_is_lost(text: str) -> None:
    written = plain(text)
    assert all(c.isprintable() or c == "\n" for c in written)
    assert [c for c in written if c.isalnum()] == [c for c in text if c.isprintable() and c.isalnum()]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0001, "0 ms"),
        (0.25, "250 ms"),
        (1.234, "1.23 s"),
        (90, "90 s"),
        (600, "10 min"),
        (7200, "2 h"),
        (172800, "2 d"),
        (86400 * 1234, "1,234 d"),
        (None, ""),
    ],
)
def test_a_span_is_told_in_a_unit_that_fits(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


@given(st.lists(st.integers(0, 10**9), max_size=50))
def test_a_line_of_bars_has_one_for_each_count_and_the_highest_for_the_largest(counts: list[int]) -> None:
    line = sparkline(counts)
    assert len(line) == len(counts)
    for bar, count in zip(line, counts, strict=True):
        assert (bar == " ") == (count == 0)
        assert (bar == "█") == (count > 0 and math.ceil(8 * count / max(counts)) == 8)


def minute(at: int, accepted: int) -> Minute:
    return Minute(at=at, accepted=accepted, completed=0, failed=0, cancelled=0)


def test_rates_are_of_the_last_looks_and_go_on_over_the_end_of_a_minute() -> None:
    rates = Rates()
    assert rates.since_before([minute(0, 100)], now=0)["accepted"] == 0
    assert rates.since_before([minute(0, 110)], now=2)["accepted"] == 5
    assert rates.since_before([minute(60, 20)], now=4)["accepted"] == 7.5
    for second in range(5, 30):
        told = rates.since_before([minute(60, 20)], now=second)
    assert told["accepted"] == 0
