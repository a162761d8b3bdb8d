"""The wire format: what is encoded comes back, and nothing else is taken for a message."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.message import MalformedMessageError, Message, data_of, decode, encode

TEXT = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)
MESSAGES = st.builds(
    Message, TEXT, TEXT, st.dictionaries(TEXT, JSON, max_size=5), st.floats(0, 1e11) | st.integers(0, 10**11)
)
GOOD = {"id": "1", "action": "sum", "data": {"numbers": [1]}, "created_at": 1.5}


@given(MESSAGES)
def test_a_message_comes_back_as_it_was_sent(message: Message) -> None:
    assert decode(encode(message).encode()) == message


@given(MESSAGES)
def test_a_message_is_one_line_of_json_that_anybody_can_read(message: Message) -> None:
    text = encode(message)
    assert "\n" not in text
    assert json.loads(text) == {
        "id": message.id,
        "action": message.action,
        "data": message.data,
        "created_at": message.created_at,
    }


@given(MESSAGES)
def test_the_data_is_read_off_a_payload_as_it_was_written(message: Message) -> None:
    assert data_of(encode(message)) == json.dumps(message.data, ensure_ascii=False, separators=(",", ":"))


NAMES = ',"data":', ',"created_at":', '{"data":{"created_at":1}}', '","data":{},"created_at":1}', "\\"


@given(st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(NAMES))
def test_what_looks_like_a_payloads_names_is_not_taken_for_them(action: str, name: str, text: str) -> None:
    data = {name: text, "data": {"created_at": 1}, "created_at": 2}
    assert json.loads(data_of(encode(Message("1", action, data, 3)))) == data


def test_the_names_and_the_order_of_the_members_are_fixed() -> None:
    assert (
        encode(Message("i", "a", {"x": "é"}, 1.5)) == '{"id":"i","action":"a","data":{"x":"é"},"created_at":1.5}'
    )


@pytest.mark.parametrize(
    "data",
    [{"x": float("nan")}, {"x": [float("inf")]}, {"x": "\ud800"}, {"\udfff": 1}, {"x": 10**5000}],
    ids=["nan", "infinity", "half a surrogate pair", "half a pair as a name", "longer than can be written"],
)
def test_what_json_cannot_hold_is_not_encoded(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        encode(Message("1", "a", data, 0))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not JSON",
        b"{",
        b"\xff\xfe",
        b'{"id": "\xff"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 5000,
        b"null",
        b"[]",
        b'"text"',
        json.dumps(GOOD).encode("utf-16"),
        b"\xef\xbb\xbf" + json.dumps(GOOD).encode(),
    ],
    ids=lambda body: repr(body[:12]),
)
def test_a_body_that_is_not_a_json_object_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedMessageError, match=r"not JSON|not a JSON object"):
        decode(body)


@pytest.mark.parametrize("missing", GOOD)
def test_each_member_is_needed(missing: str) -> None:
    body = {name: value for name, value in GOOD.items() if name != missing}
    with pytest.raises(MalformedMessageError, match=missing):
        decode(json.dumps(body).encode())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", 1),
        ("id", None),
        ("action", []),
        ("action", None),
        ("data", None),
        ("data", []),
        ("data", "{}"),
        ("created_at", "now"),
        ("created_at", None),
        ("created_at", True),
    ],
)
def test_each_member_has_its_type(name: str, value: Any) -> None:
    with pytest.raises(MalformedMessageError, match=name):
        decode(json.dumps(GOOD | {name: value}).encode())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # Python's parser takes these; the store, or the API's answer, would choke on them.
        ("id", "\ud800"),
        ("action", "\udfff"),
        ("data", {"text": "\ud800"}),
        ("data", {"number": float("nan")}),
        ("data", {"number": float("-inf")}),
        ("created_at", float("nan")),
        ("created_at", float("inf")),
    ],
)
def test_what_could_not_have_been_encoded_is_malformed(name: str, value: Any) -> None:
    with pytest.raises(MalformedMessageError):
        decode(json.dumps(GOOD | {name: value}).encode())


def test_a_number_too_large_for_a_float_is_malformed() -> None:
    with pytest.raises(MalformedMessageError):
        decode(b'{"id":"1","action":"a","data":{"x":1e999},"created_at":0}')


@given(st.binary(max_size=200))
def test_no_body_does_worse_than_malformed(body: bytes) -> None:
    try:
        decode(body)
    except MalformedMessageError as error:
        assert str(error)
