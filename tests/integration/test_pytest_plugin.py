"""The pytest plugin in a project of a user's own, by the examples of docs/testing.md."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from taskqueue.settings import PREFIX

DOCUMENT = Path(__file__).parents[2] / "docs" / "testing.md"

#: Seconds that a run of pytest may take.
PATIENCE = 120

#: Plugins of this environment that take long to load, and that no user needs.
UNNEEDED = ["no:hypothesispytest", "no:schemathesis", "no:xdist", "no:cacheprovider"]

#: Two tests that define an action of the same name, and a middleware.
LOCAL = """
import pytest
from taskqueue import action, middleware
from taskqueue.testing import arun

{mark}

@pytest.mark.parametrize("number", [1, 2])
async def test_an_action_of_its_own(taskqueue, number):
    @middleware
    async def within(task, call_next):
        return [await call_next()]

    @action
    async def own():
        return number

    task = await own.submit()
    await taskqueue.drain()
    assert await task.result() == await arun(own) == [number]
"""


def run_pytest(folder: Path, *arguments: str, path: str = "") -> str:
    """What pytest prints, which finds no failure."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith((PREFIX, "PYTEST")) and not name.lower().endswith("_proxy")
    }
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-W", "error", *(f"-p{name}" for name in UNNEEDED), *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_examples_of_the_document_pass(tmp_path: Path) -> None:
    examples = re.findall(r"^```\w+\n# (\S+)\n(.*?)^```$", DOCUMENT.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    for name, text in examples:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert "5 passed" in run_pytest(tmp_path)


@pytest.mark.parametrize("plugin", ["asyncio, strict", "anyio alone"])
def test_it_works_with_either_plugin_for_async_tests(tmp_path: Path, plugin: str) -> None:
    if plugin == "anyio alone":
        mark = "pytestmark = pytest.mark.anyio\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'"
        (tmp_path / "missing").mkdir()
        (tmp_path / "missing" / "pytest_asyncio.py").write_text("raise ImportError('not installed')")
        options = ["-p", "no:asyncio"]
    else:
        mark = "pytestmark = pytest.mark.asyncio"
        options = ["-o", "asyncio_mode=strict", "-o", "asyncio_default_fixture_loop_scope=function"]
    (tmp_path / "test_local.py").write_text(LOCAL.format(mark=mark))
    assert "2 passed" in run_pytest(tmp_path, *options, path=str(tmp_path / "missing"))


def test_a_project_that_does_not_use_it_pays_nothing() -> None:
    loaded = "import pytest_taskqueue, sys; print([name for name in sys.modules if name.startswith('taskqueue')])"
    assert subprocess.check_output([sys.executable, "-c", loaded], text=True).strip() == "[]"
