"""Times that clients send: Unix seconds, or ISO 8601 with its offset."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from taskqueue.contract.limits import LATEST
from taskqueue.contract.requests import BulkBody, ListQuery, SubmitBody

OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=OFFSETS)  # noqa: DTZ001  # they get one


@given(TIMES)
def test_a_time_in_iso_8601_is_the_moment_that_its_seconds_are(time: datetime) -> None:
    text, seconds = time.isoformat(), time.timestamp()
    utc = time.astimezone(UTC).isoformat().replace("+00:00", "Z")
    for written in (text, utc, seconds):
        assert SubmitBody.model_validate({"action": "x", "run_at": written}).run_at == seconds
        assert BulkBody.model_validate({"created_after": written}).created_after == seconds
        assert ListQuery.model_validate({"created_before": str(written)}).created_before == seconds


@given(st.floats(0, LATEST))
def test_seconds_are_taken_as_they_are(seconds: float) -> None:
    assert SubmitBody.model_validate({"action": "x", "run_at": seconds}).run_at == seconds


@pytest.mark.parametrize(
    "time",
    [
        "2030-01-31",
        "2030-01-31T12:00:00",
        "2030-01-31T12:00Z",
        "2030-01-31 12:00:00Z",
        "2030-01-31T12:00:00 02:00",
        "2030-01-31T12:00:00+0200",
        "2030-01-31T12:00:00z",
        "2030-02-30T12:00:00Z",
        "2030-01-31T25:00:00Z",
        "2030-01-31T12:00:60Z",
        "2030-01-31T12:00:00+24:00",
        "2030-01-31T12:00:00Z\n",
        "٢٠٣٠-01-31T12:00:00Z",
        "tomorrow",
        "",
    ],
)
@pytest.mark.parametrize("model", [SubmitBody, BulkBody, ListQuery])
def test_another_text_is_refused_with_what_a_time_looks_like(model: type[Any], time: str) -> None:
    name = "run_at" if model is SubmitBody else "created_after"
    with pytest.raises(ValidationError) as refused:
        model.model_validate({"action": "x", name: time})
    [error] = refused.value.errors()
    assert error["loc"] == (name,)
    assert "a time with its offset as in 2030-01-31T12:00:00Z" in error["msg"]


@pytest.mark.parametrize("time", ["1970-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"])
def test_a_time_out_of_range_is_refused_as_its_seconds_are(time: str) -> None:
    with pytest.raises(ValidationError, match=r"greater than or equal to 0|less than or equal to 253402300799"):
        SubmitBody.model_validate({"action": "x", "run_at": time})


def test_a_number_in_quotes_is_no_time_where_json_has_numbers() -> None:
    with pytest.raises(ValidationError, match="valid number"):
        SubmitBody.model_validate({"action": "x", "run_at": "1"})
    assert ListQuery.model_validate({"created_after": "1"}).created_after == 1
