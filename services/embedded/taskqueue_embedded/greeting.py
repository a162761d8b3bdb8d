"""What the person who started it reads: where it serves, and a request to begin with."""

import json
import shlex
from collections.abc import Sequence
from typing import Any

from taskqueue.actions.registry import FALLBACK

#: The one that the documentation begins with.
_FIRST = "uppercase"
_EXAMPLES = {
    "string": "hello world",
    "integer": 1,
    "number": 1.5,
    "boolean": True,
    "array": [],
    "object": {},
    "null": None,
}


def greeting(url: str, actions: Sequence[dict[str, Any]]) -> str:
    """The text.

    Args:
        actions: each with its `name` and the JSON Schema of its `arguments`.
    """
    arguments = {action["name"]: action["arguments"] for action in actions if action["name"] != FALLBACK}
    text = f"\ntaskqueue is serving on {url} (no Docker, one process; Ctrl-C stops it)."
    if not arguments:
        return f"{text} It has no actions: TASKQUEUE_HANDLERS names the modules that register some.\n"
    name = _FIRST if _FIRST in arguments else min(arguments)
    task = json.dumps({"action": name, "data": _example(arguments[name])}, ensure_ascii=False)
    return f"""{text} Send it a task:

  curl -X POST {url}/tasks -H 'Content-Type: application/json' \\
       -d {shlex.quote(task)}
  curl {url}/tasks

{url}/ui shows all that goes on; {url}/docs shows the API, and sends requests from the browser.
"""


def _example(schema: dict[str, Any]) -> dict[str, Any]:
    """A value for each argument, as its schema's first alternative has it."""
    return {name: _value(member) for name, member in schema.get("properties", {}).items()}


def _value(schema: dict[str, Any]) -> Any:
    while "anyOf" in schema:
        schema = schema["anyOf"][0]
    return schema["enum"][0] if "enum" in schema else _EXAMPLES.get(schema.get("type", "object"))
