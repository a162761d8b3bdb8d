"""One Chromium for all tests, and for each a profile of its own and a taskqueue in a process."""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect
from tests.browser.visits import Faults
from tests.integration.programs import Programs

#: The browser, as distributions call it.
NAMES = ("chromium", "chromium-browser", "google-chrome")

#: Milliseconds until what a page is waited for must be there.
PATIENCE = 15_000


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        reason = f"no browser: none of {', '.join(NAMES)} is installed (Debian: apt install chromium)"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    expect.set_options(timeout=PATIENCE)
    # It refuses to run as root inside its sandbox.
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=executable, chromium_sandbox=os.getuid() != 0)
        yield chromium
        await chromium.close()


@pytest_asyncio.fixture(loop_scope="session")
async def programs(tmp_path: Path) -> AsyncIterator[Programs]:
    programs = Programs(tmp_path, [])
    yield programs
    await programs.end()


@pytest_asyncio.fixture(loop_scope="session")
async def home(programs: Programs) -> str:
    """Where an embedded taskqueue serves; everybody may do everything there."""
    return await (await programs.start("taskqueue-embedded", handlers="handlers,tests.integration.actions")).url()


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser, home: str) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(base_url=home)
    context.set_default_timeout(PATIENCE)
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def faults(context: BrowserContext, home: str) -> AsyncIterator[Faults]:
    """What the context's pages did; at the end of the test, nothing is left that it did not expect."""
    faults = Faults.of(context, home)
    yield faults
    assert faults.seen == []


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext, faults: Faults) -> Page:
    """A page of a context that does nothing which none of ours may do."""
    return await context.new_page()
