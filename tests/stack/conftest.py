"""One stack for all cases, built and started once; a case that disturbs it finds and leaves it as it was."""

from collections.abc import Generator, Iterator
from uuid import uuid4

import pytest
from tests.stack.stack import Stack


@pytest.fixture(scope="session")
def fresh_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The shared stack, as it is after its first start."""
    with Stack(f"taskqueue-stack-{uuid4().hex[:8]}", tmp_path_factory.mktemp("stack")) as stack:
        stack.build()
        stack.start()
        yield stack


@pytest.fixture
def stack(fresh_stack: Stack) -> Stack:
    """The shared stack, for cases that only use it: one worker, all settings as in `SETTINGS`."""
    return fresh_stack


@pytest.fixture
def disturbed(fresh_stack: Stack) -> Iterator[Stack]:
    """The shared stack, for cases that stop, kill, scale or configure: put back afterwards."""
    yield fresh_stack
    fresh_stack.configure()
    fresh_stack.up("--scale", "worker=1")


@pytest.fixture
def tag() -> str:
    """A tag of this case's own, to find its tasks by among those of all others."""
    return uuid4().hex


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the containers logged beside a failure."""
    report = yield
    stacks = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Stack)]
    for stack in stacks if report.failed else []:
        report.sections.append(("Logs of the containers", stack.logs("migrate", "api", "worker", tail="30")))
    return report
