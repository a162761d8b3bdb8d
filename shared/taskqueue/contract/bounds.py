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


class TooDeepError(ValueError):
    """The text says how deep it may be."""


def check_bounds(text: bytes) -> None:
    """Refuse a JSON text that has too much in it. One that clearly has not costs next to nothing.

    Raises:
        TooManyValuesError: more than `MAX_VALUES` values and names.
        TooDeepError: more than `MAX_DEPTH` levels of objects and arrays.
    """
    many, deep = values_at_most(text) > MAX_VALUES, depth_at_most(text) > MAX_DEPTH
    if not many and not deep:
        return
    # Each string is a value or a name: so many of them are enough to know.
    bare, strings = without_strings(text, count=MAX_VALUES + 1)
    if strings > MAX_VALUES or (many and values_in(bare) > MAX_VALUES):
        raise TooManyValuesError(f"more than {MAX_VALUES} JSON values and names")
    if depth_in(bare) > MAX_DEPTH:
        raise TooDeepError(f"JSON nested too deeply: {MAX_DEPTH} levels are the limit")


def values_at_most(text: bytes) -> int:
    """An upper bound of the values and names in a text: each but the first follows one of these."""
    return 1 + sum(map(text.count, (b",", b":", b"[", b"{")))


def depth_at_most(text: bytes) -> int:
    """An upper bound of the levels in a text."""
    return text.count(b"[") + text.count(b"{")


def without_strings(text: bytes, count: int) -> tuple[bytes, int]:
    """The text with a digit in the place of each string, up to so many of them, and how many these were."""
    return _STRING.subn(b"0", text, count=count)


def values_in(bare: bytes) -> int:
    """The values and names in a text without strings."""
    bare = bare.translate(None, _SPACE)
    return values_at_most(bare) - bare.count(b"[]") - bare.count(b"{}")


def depth_in(bare: bytes) -> int:
    """The levels in a text without strings."""
    return max(accumulate(map(_STEP.__getitem__, bare.translate(None, _NO_BRACKETS))), default=0)
