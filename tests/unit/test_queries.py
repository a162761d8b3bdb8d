"""A number in a query is written as in JSON."""

import json

from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from taskqueue.contract.limits import LATEST
from taskqueue.contract.requests import ListQuery, StatsQuery

NUMBERS = st.text("0123456789_+-.eEinfatyNx \t\n\u0661") | st.floats().map(repr) | st.integers().map(str)


def json_number(text: str) -> float | None:
    """What JSON reads; None where that is no number."""

    def none(_: str) -> None:
        return None

    try:
        value = json.loads(text, parse_constant=none)
    except ValueError:
        return None
    return None if text != text.strip() or isinstance(value, bool) else value


@given(NUMBERS)
@example("1_0")
@example("  1")
@example("1\n")
@example("infinity")
@example("+1")
@example("01")
@example(".5")
@example("\u0661")
@example("1e3")
def test_a_time_is_taken_where_json_would_read_it(text: str) -> None:
    number = json_number(text)
    wanted = number if number is not None and 0 <= number <= LATEST else None
    try:
        taken = ListQuery.model_validate({"created_after": text}).created_after
    except ValidationError:
        taken = None
    assert taken == wanted


@given(NUMBERS)
@example("1_0")
@example(" 5")
@example("+5")
@example("5")
def test_a_count_is_taken_where_json_would_read_it(text: str) -> None:
    for model, field, most in ((ListQuery, "limit", 1000), (StatsQuery, "minutes", 1440)):
        try:
            taken = getattr(model.model_validate({field: text}), field)
        except ValidationError:
            continue
        number = json_number(text)
        assert number is not None
        assert 1 <= number <= most
        assert taken == number
