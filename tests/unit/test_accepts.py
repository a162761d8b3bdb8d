"""What is refused before it is stored: never what a worker would accept, whatever its types are."""

import json
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator
from pydantic import (
    AfterValidator,
    AliasChoices,
    AnyUrl,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    Json,
    PositiveInt,
    SecretStr,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from typing_extensions import TypedDict

from taskqueue import TaskContext
from taskqueue.actions.options import Options
from taskqueue.actions.signatures import Action, read_signature

CONTEXT = TaskContext("t", "act", 1)


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


class Level(IntEnum):
    ONE = 1
    TWO = 2


class Lenient(Enum):
    A = "a"

    @classmethod
    def _missing_(cls, value: object) -> "Lenient":
        return cls.A


class Lax(BaseModel):
    n: int
    flag: bool = False
    text: Annotated[str, Field(max_length=2)] = ""
    next: "Lax | None" = None


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    n: Annotated[int, Field(ge=0, le=3)]
    lax: Lax | None = None


class Numbers(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True, str_strip_whitespace=True)

    text: Annotated[str, Field(max_length=1)]


class Named(BaseModel):
    n: int = Field(validation_alias=AliasChoices("n", "number"))


class ByEither(BaseModel):
    model_config = ConfigDict(populate_by_name=True, extra="forbid")

    n: int = Field(alias="a")


class Completed(BaseModel):
    n: int

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, value: Any) -> Any:
        return {"n": 0} if value is None or isinstance(value, list) else value


class Filled(BaseModel):
    n: int = 0

    @field_validator("n", mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return 1 if value == "a" else value


@dataclass
class Node:
    n: int
    more: "list[Node]" = field(default_factory=list)


class Part(TypedDict, total=False):
    n: int


class Pair(NamedTuple):
    a: int
    b: str = ""


Tree = dict[str, "Tree"]

TYPES: list[Any] = [
    int,
    float,
    bool,
    str,
    None,
    Any,
    object,
    dict,
    list,
    bytes,
    Decimal,
    datetime,
    date,
    time,
    timedelta,
    UUID,
    Path,
    AnyUrl,
    ByteSize,
    SecretStr,
    Json[int],
    PositiveInt,
    Colour,
    Level,
    Lenient,
    Lax,
    Strict,
    Numbers,
    Named,
    ByEither,
    Completed,
    Filled,
    Node,
    Part,
    Pair,
    Literal["a", "b"],
    Literal["a", 1, None, True],
    Annotated[int, Field(gt=-1, lt=3)],
    Annotated[int, Field(multiple_of=2)],
    Annotated[float, Field(ge=0, le=1)],
    Annotated[float, Field(le=1e17)],
    Annotated[str, Field(min_length=1, max_length=2)],
    Annotated[str, StringConstraints(strip_whitespace=True, max_length=1)],
    Annotated[str, StringConstraints(to_upper=True, max_length=2)],
    Annotated[str, Field(pattern=r"^\d$")],
    Annotated[int, Field(strict=False)],
    Annotated[int, BeforeValidator(lambda value: 0 if isinstance(value, str) else value)],
    Annotated[int, AfterValidator(lambda value: -value)],
    Annotated[Any, WithJsonSchema({"type": "integer"})],
    Annotated[list[int], Field(min_length=1, max_length=2)],
    set[int],
    frozenset[str],
    Annotated[set[int], Field(max_length=1)],
    tuple[int, str],
    tuple[int, ...],
    dict[str, int],
    dict[int, str],
    list[Lax],
]
COMBINED = st.recursive(
    st.sampled_from(TYPES),
    lambda types: st.one_of(
        types.map(lambda it: list[it]),
        types.map(lambda it: dict[str, it]),
        st.tuples(types, types).map(lambda two: two[0] | two[1] if _unites(*two) else two[0]),
        types.map(lambda it: it | None if _unites(it, None) else it),
    ),
    max_leaves=3,
)

SCALARS = st.one_of(
    st.sampled_from([None, True, False, 0, 1, 2, 3, 4, 1.0, 0.5, -1, 2.5, 10**17 + 1, 10**30, 2**53]),
    st.sampled_from(
        ["", "a", "b", "ab", "1", "1.5", "true", "red", " a ", "1e5", "NaN", "ss", "\u00df\u00df", "\u0663"]
    ),
    st.sampled_from(["2026-01-01", "2026-01-01T00:00:00Z", "12:00", "PT1S", "1 MB", "http://x.example", "[1]"]),
    st.sampled_from(["00000000-0000-0000-0000-000000000000"]),
)
NAMES = st.sampled_from(["n", "a", "number", "flag", "text", "next", "lax", "more", "other", "1"])
JSON = st.recursive(
    SCALARS,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(NAMES, values, max_size=3),
    max_leaves=6,
)


def _unites(one: Any, other: Any) -> bool:
    try:
        one | other
    except TypeError:
        return False
    return True


def action_of(type_: Any, *, with_default: bool = False) -> Action:
    """An action with one argument of this type."""

    def handler(value: Any, task: TaskContext) -> dict[str, Any]:
        return {}

    if with_default:
        handler.__defaults__ = (None, CONTEXT)
    handler.__annotations__["value"] = type_
    return read_signature("act", handler, Options())


def is_accepted(action: Action, data: dict[str, Any]) -> bool:
    try:
        action.bind(json.dumps(data), CONTEXT)
    except ValidationError:
        return False
    return True


def validator_of(action: Action) -> Draft202012Validator:
    """As the API has it: from text."""
    return Draft202012Validator(json.loads(json.dumps(action.accepts())), validate_formats=False)


DATA = st.one_of(
    st.fixed_dictionaries({"value": JSON}),
    st.fixed_dictionaries({}, optional={"value": JSON, "other": JSON}),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(COMBINED, st.booleans(), st.lists(DATA, min_size=6, max_size=6))
def test_what_a_worker_accepts_is_never_refused(
    type_: Any, with_default: bool, many: list[dict[str, Any]]
) -> None:
    action = action_of(type_, with_default=with_default)
    validator = validator_of(action)
    for data in many:
        assert validator.is_valid(data) or not is_accepted(action, data), (type_, data)


@pytest.mark.parametrize("type_", TYPES)
@settings(max_examples=10, deadline=None)
@given(value=JSON)
def test_nor_is_it_for_each_type_alone(type_: Any, value: Any) -> None:
    action = action_of(type_)
    assert validator_of(action).is_valid({"value": value}) or not is_accepted(action, {"value": value})


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (int, "200"),
        (int, None),
        (int, True),
        (str, 5),
        (bool, 1),
        (float, "1"),
        (Annotated[int, Field(le=9)], 10),
        (Annotated[str, Field(min_length=1)], ""),
        (Colour, "blue"),
        (Literal["a", "b"], "c"),
        (list[int], ["1"]),
        (list[int], {}),
        (dict[str, int], {"a": "1"}),
        (int | None, "1"),
        (int | str, 1.5),
        (Strict, {"n": 4}),
        (Strict, {"n": 1, "other": 1}),
        (Strict, {}),
        (Lax, {}),
        (Lax, 1),
        (Node, {"n": 1, "more": [{}]}),
        (Part, {"n": "1"}),
        (set[int], ["a"]),
    ],
    ids=str,
)
def test_what_no_worker_would_accept_is_refused(type_: Any, value: Any) -> None:
    action = action_of(type_)
    assert not is_accepted(action, {"value": value})
    assert not validator_of(action).is_valid({"value": value})


@pytest.mark.parametrize("data", [{}, {"value": 1, "other": 2}], ids=str)
def test_a_member_that_is_missing_or_not_known_is_refused(data: dict[str, Any]) -> None:
    assert not validator_of(action_of(int)).is_valid(data)


def test_what_an_action_accepts_is_told_alike_by_each_process() -> None:
    """Else workers would write it anew in turn."""
    assert action_of(Node).accepts() == action_of(Node).accepts()
    assert "0x" not in json.dumps(action_of(list[Lax]).accepts())
    assert set(action_of(Node).accepts()["$defs"]) == {"0"}
