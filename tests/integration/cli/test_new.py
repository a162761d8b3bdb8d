"""`taskqueue new` makes a project, or says in a line why not. (tests/project runs what it makes.)"""

import os
from pathlib import Path

import pytest
from tests.integration.cli.conftest import CommandLine

taskqueue = CommandLine("")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


async def refused(name: str, code: int = 2) -> str:
    """What is said about a name, in one line."""
    ended = await taskqueue("new", name, code=code)
    assert not ended.output
    [line] = ended.errors.splitlines()
    return line.removeprefix("taskqueue: ")


async def test_a_new_project_bears_its_name_everywhere(here: Path) -> None:
    ended = await taskqueue("new", "shop_2")
    assert "cd shop_2" in ended.output
    files = files_in(here / "shop_2")
    assert {".gitignore", ".dockerignore", "Dockerfile", "docker-compose.yml", "pyproject.toml"} <= files
    assert {"README.md", "shop_2/__init__.py", "shop_2/actions.py", "tests/test_actions.py"} <= files
    for file in files:
        assert "project}" not in (here / "shop_2" / file).read_text()
    assert "from shop_2.actions import" in (here / "shop_2/tests/test_actions.py").read_text()


async def test_its_broker_is_configured_as_taskqueues_own(here: Path) -> None:
    await taskqueue("new", "shop")
    own = Path(__file__).parents[3] / "deploy" / "rabbitmq.conf"
    assert (here / "shop/rabbitmq.conf").read_text() == own.read_text()


async def test_an_empty_folder_is_taken_and_any_other_left_as_it_is(here: Path) -> None:
    (here / "shop").mkdir()
    await taskqueue("new", "shop")
    (here / "shop/shop/actions.py").write_text("mine")
    assert await refused("shop") == "shop/ is not empty"
    assert (here / "shop/shop/actions.py").read_text() == "mine"


async def test_a_file_of_this_name_is_left_as_it_is(here: Path) -> None:
    (here / "shop").write_text("mine")
    assert await refused("shop") == "shop: Not a directory"
    assert (here / "shop").read_text() == "mine"


@pytest.mark.parametrize(
    "name",
    ["", "Shop", "2shop", "_shop", "shop_", "my__shop", "my-shop", "my shop", "a/b", "../shop", "class", "é"],
)
async def test_a_name_that_no_package_or_no_image_can_have_is_refused(here: Path, name: str) -> None:
    assert "can't be a project's name" in await refused(name)
    assert files_in(here) == set()


@pytest.mark.parametrize("name", ["json", "tests", "taskqueue", "pydantic"])
async def test_a_name_that_a_module_has_already_is_refused(name: str) -> None:
    assert "there is a module of this name already" in await refused(name)


async def test_a_folder_that_can_not_be_written_is_told(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *_: object) -> int:
        raise OSError(28, os.strerror(28), str(path))

    monkeypatch.setattr(Path, "write_text", full)
    assert (await refused("shop", code=1)).endswith("No space left on device")
