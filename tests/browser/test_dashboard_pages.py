"""Each page of the dashboard, dark and light, wide and narrow: nothing keeps anybody from using it."""

from typing import Literal

import aiohttp
import pytest
from playwright.async_api import Page, expect
from tests.browser.visits import barriers
from tests.integration.programs import Client

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_no_page_has_a_barrier_or_is_wider_than_a_phone(
    page: Page, home: str, scheme: Literal["light", "dark"]
) -> None:
    async with aiohttp.ClientSession() as session:
        client = Client(session)
        id = await client.submit(home, "uppercase", {"text": "wide " * 200}, tags=["team:red"])
        await client.until_final(home, id)
    await page.emulate_media(color_scheme=scheme)
    pages = {
        "/ui/overview": "uppercase",
        "/ui/tasks": "uppercase",
        f"/ui/tasks/{id}": "WIDE",
        "/ui/workers": "1 worker",
        "/ui/errors": "No task has failed.",
        "/ui/dead": "There are none.",
        "/ui/submit?action=spread": "names",
    }
    for path, text in pages.items():
        for width in (1200, 360):
            await page.set_viewport_size({"width": width, "height": 800})
            await page.goto(path)
            await expect(page.get_by_text(text).first).to_be_visible()
            assert await barriers(page) == []
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
