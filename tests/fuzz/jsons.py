"""JSON texts from a grammar, and what looks like some: deep, wide, odd numbers, half pairs, names given twice."""

from collections.abc import Callable
from random import Random

ODD_NUMBERS = [
    "0", "-0", "-0.0", "1e308", "1e309", "-1E+400", "5e-324", "1e-400", "0.1", "1.0", "9007199254740993",
    "18446744073709551616", "-9223372036854775809", "253402300799", "253402300800", "1753000000", "9" * 4299,
    "9" * 4301, "1" + "0" * 20_000, "0." + "3" * 5_000, "1e99999999999999999999",
]  # fmt: skip
NO_NUMBERS = ["NaN", "Infinity", "-Infinity", "01", "1.", ".5", "+1", "0x1f", "1_0", "1e", "--1", "\u0661"]
ODD_STRINGS = [
    "", " ", "\\u0000", "\\ud800", "\\udfff\\ud800", "\\ud83d\\ude00", "\U0001f600", "\ufeff", "\u2028", "\x7f",
    "\\u001b[2J", "\\n", "%s%n", "{}", "' OR 1=1 --", "../../etc/passwd", "x" * 201, "x" * 65, "\u0130" * 30,
    "a.b",
    "\\\\", "\\/", "__proto__", "\u00df", "\ud800",
]  # fmt: skip
NO_STRINGS = ["\n", "\\x41", "\\u12", "\\", "\x00", '"']
BLANKS = ["", "", "", " ", "\n", "\t", "\r\n", " " * 100]
NO_BLANKS = ["\ufeff", "\x0c", "\u00a0", "/**/", ","]
#: What a parser, or who walks through what it has made, goes through by recursion.
DEPTHS = [2, 100, 190, 201, 255, 260, 1_000, 5_000, 100_000]


def any_text(chance: Random) -> bytes:
    """A JSON value; now and then what is none."""
    return _sent(chance, _value(chance, 4))


def any_task(chance: Random) -> bytes:
    """Near enough to a task that many are accepted."""
    return _sent(chance, _task(chance))


def any_batch(chance: Random) -> bytes:
    """Tasks together, as a JSON object or line by line."""
    tasks = [_task(chance) for _ in range(chance.choice([0, 1, 2, 5]))] * (
        chance.choice([200, 201]) if chance.random() < 0.01 else 1
    )
    if chance.random() < 0.3:
        return _sent(chance, chance.choice(["\n", "\r\n", "\n\n", ""]).join(tasks))
    return _sent(chance, '{"tasks":[' + ",".join(tasks) + "]}")


def any_filter(chance: Random) -> bytes:
    """For actions on many tasks."""
    given = {
        "status": [
            '["completed"]',
            '["pending","queued"]',
            '["failed","cancelled"]',
            '["running"]',
            "[]",
            '"failed"',
        ],
        "action": ['"uppercase"', '"x"', '""', "null"],
        "tag": ['"a"', '""', "1"],
        "created_after": ["0", "1e9", "null"],
        "created_before": ["1e11", "253402300799", "-1"],
        "dry_run": ["true", "false", "1"],
    }
    return _sent(chance, _object(chance, given, keep=0.4))


def _task(chance: Random) -> str:
    given = {
        "action": ['"uppercase"', '"sum"', '"x"', '"x"', '""', '"' + "y" * 200 + '"'],
        "data": ['{"text":"hello"}', '{"numbers":[1,2.5]}', "{}", '{"x":' + _value(chance, 3) + "}"],
        "delay": ["0", "0.001", "1", "3.5", "null"],
        "run_at": ["0", "1753000000.5", "null"],
        "timeout": ["1", "0.5", "82800"],
        "priority": ['"high"', '"normal"', '"low"'],
        "max_attempts": ["1", "3", "100", "2.0"],
        "tags": ["[]", '["a","b"]', '["a","a"]'],
    }
    first = chance.choice(given["action"])
    rest = _object(chance, given, keep=0.25)[1:]
    return f'{{"action":{first}' + ("," if rest != "}" else "") + rest


def _object(chance: Random, given: dict[str, list[str]], *, keep: float) -> str:
    """Some of the members that are known, rarely one that isn't, and rarely with any value at all."""
    members = []
    for name, values in given.items():
        if chance.random() < keep:
            value = _value(chance, 2) if chance.random() < 0.1 else chance.choice(values)
            members += [f'"{name}":{value}'] * (2 if chance.random() < 0.02 else 1)
    if chance.random() < 0.05:
        members.append(f"{_string(chance)}:{_value(chance, 2)}")
    return "{" + ",".join(members) + "}"


def _value(chance: Random, depth: int) -> str:
    if depth == 0:
        return _atom(chance, 0)
    [make] = chance.choices(list(KINDS), list(KINDS.values()))
    return make(chance, depth - 1)


def _atom(chance: Random, _: int) -> str:
    return chance.choice(["null", "true", "false", "0", "-1", '"x"', "[]", "{}"])


def _number(chance: Random, _: int) -> str:
    return chance.choice(ODD_NUMBERS)


def _text(chance: Random, _: int) -> str:
    return _string(chance)


def _list(chance: Random, depth: int) -> str:
    return "[" + ",".join(_value(chance, depth) for _ in range(chance.randrange(5))) + "]"


def _members(chance: Random, depth: int) -> str:
    members = [f"{_string(chance)}:{_value(chance, depth)}" for _ in range(chance.randrange(5))]
    return "{" + ",".join(members * chance.choice([1, 1, 1, 2])) + "}"


def _deep(chance: Random, _: int) -> str:
    levels = chance.choice(DEPTHS)
    opening, closing = chance.choice([("[", "]"), ('{"x":', "}"), ('[{"":', "}]")])
    return opening * levels + "0" + closing * (levels - chance.choice([0, 0, 0, 1]))


def _wide(chance: Random, _: int) -> str:
    count = chance.choice([10, 1_000, 20_000])
    return chance.choice(["[" + "0," * count + "0]", "{" + ",".join(f'"{n}":0' for n in range(count)) + "}"])


def _none(chance: Random, _: int) -> str:
    return chance.choice([*NO_NUMBERS, *(f'"{text}"' for text in NO_STRINGS)])


def _blanks(chance: Random, depth: int) -> str:
    blank = chance.choice(BLANKS + NO_BLANKS)
    return blank + _value(chance, depth) + blank


#: What a value may be, and how often it is.
KINDS: dict[Callable[[Random, int], str], int] = {
    _atom: 25,
    _number: 20,
    _text: 20,
    _list: 14,
    _members: 14,
    _deep: 2,
    _wide: 1,
    _none: 2,
    _blanks: 2,
}


def _string(chance: Random) -> str:
    return '"' + "".join(chance.choice(ODD_STRINGS) for _ in range(chance.choice([1, 1, 1, 2, 3]))) + '"'


def _sent(chance: Random, text: str) -> bytes:
    """As bytes, rarely not of UTF-8, cut off, or followed by something."""
    encoding = chance.choice(["utf-16", "latin-1", "utf-8-sig"]) if chance.random() < 0.02 else "utf-8"
    body = text.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace")
    if chance.random() < 0.03:
        body = body[: chance.randrange(len(body) + 1)]
    if chance.random() < 0.02:
        body += chance.choice([b"\0", b"{}", b"]", b" \n", b"\xff", b"\xef\xbb\xbf"])
    return body
