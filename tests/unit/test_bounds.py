"""How much is in a JSON text: the cheap count is never too low, the exact one is exact, neither takes long."""

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.contract.bounds import (
    TooDeepError,
    TooManyValuesError,
    check_bounds,
    depth_at_most,
    depth_in,
    values_at_most,
    values_in,
    without_strings,
)
from taskqueue.contract.limits import MAX_DEPTH, MAX_VALUES

#: With much of what could be taken for the end of a string, or for JSON.
TEXT = st.text(st.sampled_from('",:[]{}\\ \n\té\U0001f600') | st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=30,
)
MANY = MAX_VALUES - 3


def values(value: Any) -> int:
    match value:
        case list():
            return 1 + sum(map(values, value))
        case dict():
            return 1 + len(value) + sum(map(values, value.values()))
        case _:
            return 1


def depth(value: Any) -> int:
    match value:
        case list():
            return 1 + max(map(depth, value), default=0)
        case dict():
            return 1 + max(map(depth, value.values()), default=0)
        case _:
            return 0


@given(JSON, st.booleans(), st.sampled_from([None, 0, 2]))
def test_what_is_in_a_text_is_counted(value: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    bare, strings = without_strings(text, count=1000)
    assert (values_in(bare), depth_in(bare)) == (values(value), depth(value))
    assert values_at_most(text) >= values(value) >= strings
    assert depth_at_most(text) >= depth(value)


@given(st.binary() | st.text(st.sampled_from('"\\[]{},:0 ')).map(str.encode))
def test_what_is_not_json_is_counted_too(text: bytes) -> None:
    # Strings that nothing separates (`"""`) may be more than are told: a parser stops at the second one.
    bare, _ = without_strings(text, count=1000)
    assert b'"' not in bare
    check_bounds(text)


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b"0," * MANY + b'",,,,"]',  # the array, one value more, and a string that looks like others
        b"[" + b'"",' * MANY + b"0 ]",
        b'"' + b",[{:" * MAX_VALUES + b'"',
        b"[" * MAX_DEPTH + b'"[[[{{{"' + b"]" * MAX_DEPTH,
        b"[" + b"[]," * MANY + b"{} ]",
    ],
    ids=["numbers", "strings", "a string", "levels", "empty ones"],
)
def test_as_much_as_is_allowed_is_taken(text: bytes) -> None:
    json.loads(text)
    check_bounds(text)


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b"0," * MAX_VALUES + b"0]",
        b"[" + b'"",' * MAX_VALUES + b"0]",
        b"[" + b"[]," * MAX_VALUES + b"0]",
        b"{" + b",".join(b'"%d":0' % number for number in range(MAX_VALUES // 2)) + b"}",
        b"[" * MAX_VALUES * 2,
    ],
    ids=["numbers", "strings", "empty ones", "names", "no JSON"],
)
def test_more_values_are_refused(text: bytes) -> None:
    with pytest.raises(TooManyValuesError, match=f"more than {MAX_VALUES}"):
        check_bounds(text)


@pytest.mark.parametrize("bracket", [b"[]", b'{"x":0}'])
def test_more_levels_are_refused(bracket: bytes) -> None:
    opening, closing = bracket[:-1], bracket[-1:]
    with pytest.raises(TooDeepError, match=f"{MAX_DEPTH} levels"):
        check_bounds(opening * (MAX_DEPTH + 1) + closing * (MAX_DEPTH + 1))


@pytest.mark.parametrize(
    "text",
    [b'["' + b'\\"' * 2**20, b'"\\' * 2**20, b'"[\\",' * 2**20, b'"' * 2**21, b"[" * 2**21, b"\\" * 2**21],
    ids=["an open string", "odd quotes", "brackets in strings", "quotes", "brackets", "backslashes"],
)
def test_a_text_made_to_be_slow_is_not(text: bytes) -> None:
    begun = time.process_time()
    for part in (text[: len(text) // 8], text):
        with contextlib.suppress(ValueError):
            check_bounds(part)
    assert time.process_time() - begun < 2  # some 0.1 s; a minute and more, were it quadratic
