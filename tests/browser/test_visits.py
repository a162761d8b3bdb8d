"""The tests of pages see what they are there to see."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser
from tests.browser.visits import Faults, barriers

pytestmark = pytest.mark.asyncio(loop_scope="session")

BAD = """<!DOCTYPE html><html><body>
<img src="http://127.0.0.2:9/picture.png">
<script>window.inline = true</script>
<script src="raises.js"></script>
</body></html>"""
POLICY = {"Content-Security-Policy": "default-src 'self'; img-src *"}


async def bad_page(_: web.Request) -> web.Response:
    return web.Response(text=BAD, content_type="text/html", headers=POLICY)


async def raises(_: web.Request) -> web.Response:
    return web.Response(text="throw new Error('on purpose')", content_type="text/javascript")


@pytest_asyncio.fixture(loop_scope="session")
async def server() -> AsyncIterator[TestServer]:
    app = web.Application()
    app.add_routes([web.get("/", bad_page), web.get("/raises.js", raises)])
    async with TestServer(app) as server:
        yield server


async def test_a_page_that_does_what_none_may_is_seen(browser: Browser, server: TestServer) -> None:
    home = str(server.make_url("/"))
    async with await browser.new_context() as context:
        faults = Faults.of(context, home)
        page = await context.new_page()
        await page.goto(home)
        assert await page.evaluate("window.inline") is None
        found = await barriers(page)
    for text in ("asked another host: http://127.0.0.2:9/", "Content Security Policy", "not caught: on purpose"):
        faults.expect(text)
    for cause in ("alternative text", "lang attribute"):
        assert any(cause in barrier for barrier in found), found


async def test_a_fault_that_is_expected_must_be_there() -> None:
    with pytest.raises(AssertionError, match="no 'console' in"):
        Faults("http://127.0.0.1").expect("console")
