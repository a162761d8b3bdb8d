"""Loads the named queries of `queries.sql`."""

import re
from importlib.resources import files
from typing import Final


def _load() -> dict[str, str]:
    text = files(__package__).joinpath("queries.sql").read_text(encoding="utf-8")
    _, *parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return {name: sql.strip() for name, sql in zip(parts[::2], parts[1::2], strict=True)}


#: SQL text by name.
QUERIES: Final = _load()
