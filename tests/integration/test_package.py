"""The wheel, away from this repository: what it installs, and that it works."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from tests.conformance.waiting import eventually
from tests.integration.programs import ROOT, Client, Programs

from taskqueue.version import DISTRIBUTION, VERSION

#: What it needs is installed here.
NEEDED = [Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel installs."""
    folder = tmp_path_factory.mktemp("wheel")
    hatchling = Path(sys.executable).with_name("hatchling")
    subprocess.run([hatchling, "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder / "installed")
    return folder / "installed"


def test_it_installs_no_module_but_ours_under_a_name_that_is_ours(installed: Path) -> None:
    names = {path.name for path in installed.iterdir()}
    [metadata] = [name for name in names if name.endswith(".dist-info")]
    assert metadata == f"{DISTRIBUTION.replace('-', '_')}-{VERSION}.dist-info"
    modules = names - {metadata}
    assert "taskqueue" in modules
    assert {name for name in modules if not name.startswith("taskqueue")} == {"pytest_taskqueue"}
    assert (installed / "taskqueue" / "py.typed").exists()


async def test_it_runs_the_examples_where_there_are_no_other_actions(
    programs: Programs, client: Client, installed: Path
) -> None:
    program = await programs.start("taskqueue_embedded", installed=[installed, *NEEDED])
    url = await program.url()
    id = await client.submit(url, "uppercase", {"text": "hello"})
    [task] = await client.until_final(url, id)
    assert task["result"] == {"output": "HELLO"}
    assert await program.stop() == 0


async def test_it_runs_a_projects_own_handlers_instead(
    programs: Programs, client: Client, installed: Path
) -> None:
    handlers = programs.folder / "handlers"
    handlers.mkdir()
    (handlers / "own.py").write_text(
        "from taskqueue import action\n\n@action\ndef resize() -> dict:\n    return {}\n"
    )
    program = await programs.start("taskqueue_embedded", installed=[installed, *NEEDED])
    url = await program.url()
    await eventually(lambda: "resize" in program.output)
    told = await client.get(f"{url}/actions")
    assert [action["name"] for action in told["actions"]] == ["resize"]
    assert await program.stop() == 0
