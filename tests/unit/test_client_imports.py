"""A program that only submits tasks loads nothing of what runs them."""

import subprocess
import sys

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
