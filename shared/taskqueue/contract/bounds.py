"""How much there is in a JSON text, told before anything is made of it.

The text need not be JSON: a parser finds that out. What isn't may be told to be too much.
"""

import re
from itertools import accumulate

from taskqueue.contract.limits import MAX_DEPTH, MAX_VALUES

#: To its end, or to that of the text: it matches at every quote, so that no text is looked at twice.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_SPACE = b" \t\r\n"
_BRACKETS = b"[]{}"
_NO_BRACKETS = bytes(set(range(256)) - set(_BRACKETS))
#: By a bracket's byte.
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class TooManyValuesError(ValueError):
    """The text says how many are allowed."""

    limit = MAX_VALUES


class TooDeepError(ValueError):
    """The text says how deep it may be."""


def check_bounds(text: bytes) -> None:
    """Refuse a JSON text that has too many values, or too many levels.

    Raises:
        TooManyValuesError, TooDeepError: as below.
    """
    check_values(text)
    check_depth(text)


def check_values(text: bytes) -> None:
    """Refuse a text that has too many values. One that clearly has not costs next to nothing.

    Raises:
        TooManyValuesError: more than `MAX_VALUES`, names included.
    """
    if values_at_most(text) > MAX_VALUES:
        # Each string is a value or a name: so many of them are enough to know.
        bare, strings = without_strings(text, count=MAX_VALUES + 1)
        if strings > MAX_VALUES or values_in(bare) > MAX_VALUES:
            raise TooManyValuesError(f"more than {MAX_VALUES} JSON values and names")


def check_depth(text: bytes) -> None:
    """Refuse a text that is nested too deeply, and does not have too many values. Most cost next to nothing.

    Raises:
        TooDeepError: more than `MAX_DEPTH` levels of objects and arrays.
    """
    if depth_at_most(text) > MAX_DEPTH:
        bare, _ = without_strings(text)
        if depth_in(bare) > MAX_DEPTH:
            raise TooDeepError(f"JSON nested too deeply: {MAX_DEPTH} levels are the limit")


def values_at_most(text: bytes) -> int:
    """An upper bound of the values and names in a text: each but the first follows one of these."""
    return 1 + sum(map(text.count, (b",", b":", b"[", b"{")))


def depth_at_most(text: bytes) -> int:
    """An upper bound of the levels in a text."""
    return text.count(b"[") + text.count(b"{")


def without_strings(text: bytes, count: int = 0) -> tuple[bytes, int]:
    """The text with a digit in the place of each string, and how many these are: `count` at most, if not 0."""
    return _STRING.subn(b"0", text, count=count)


def values_in(bare: bytes) -> int:
    """The values and names in a text without strings."""
    bare = bare.translate(None, _SPACE)
    return values_at_most(bare) - bare.count(b"[]") - bare.count(b"{}")


def depth_in(bare: bytes) -> int:
    """The levels in a text without strings."""
    return max(accumulate(map(_STEP.__getitem__, bare.translate(None, _NO_BRACKETS))), default=0)
