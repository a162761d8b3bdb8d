"""The client as a program has it: it loads nothing of what runs tasks, and is there in two forms."""

import subprocess
import sys

from taskqueue.client import AsyncClient, AsyncHandle, Client, Handle

#: What the API and the workers need, and a client does not.
SERVERS = {
    "aiohttp",
    "aiormq",
    "aiosqlite",
    "pamqp",
    "pysqlite3",
    "sqlite3",
    "uvloop",
    "yarl",
    "pydantic_settings",
}


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after a statement."""
    script = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    )


def test_the_client_loads_no_server() -> None:
    loaded = loaded_by("import taskqueue.client")
    assert "httpx" in loaded
    assert not loaded & SERVERS


def test_what_defines_actions_loads_neither_server_nor_client() -> None:
    assert not loaded_by("import taskqueue") & (SERVERS | {"httpx"})


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_both_clients_and_both_handles_do_the_same() -> None:
    # An action's own submit is a coroutine: what it goes through is asynchronous.
    assert public(AsyncClient) - {"bind", "current"} == public(Client)
    assert public(AsyncHandle) | {"id", "status"} == public(Handle)
