"""The dashboard's page of workers, in a browser."""

from typing import Any

import aiohttp
import pytest
from playwright.async_api import Page, Route, expect
from tests.browser.visits import Faults, barriers
from tests.integration.programs import Client, Programs
from yarl import URL

pytestmark = pytest.mark.asyncio(loop_scope="session")

MARKUP = "<img src=http://127.0.0.2:9/x onerror=alert(1)>"
#: Turns what follows around, where it isn't kept apart.
RIGHT_TO_LEFT = "\u202e"

HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


async def test_it_shows_what_runs_and_for_how_long_until_it_ends(page: Page, home: str) -> None:
    await page.goto("/ui/workers")
    row = page.locator("#rows tr")
    await expect(row).to_have_count(1)
    await expect(row).to_contain_text("0 of 2")
    async with aiohttp.ClientSession() as session:
        id = await Client(session).submit(home, "hold", {"name": "a"})
        link = row.get_by_role("link", name="hold")
        await expect(link).to_have_attribute("href", f"../ui/tasks/{id}")
        await expect(row.locator(".since")).to_have_text("1 s")
        await expect(page.locator("#summary")).to_have_text("1 worker: 1 of at most 2 tasks at a time.")
        await session.post(f"{home}/tasks/{id}/cancel")
    await expect(row).to_contain_text("0 of 2")
    await expect(link).to_have_count(0)


async def test_it_tells_what_a_worker_knows_its_versions_and_its_memory(page: Page, home: str) -> None:
    await page.goto("/ui/workers")
    row = page.locator("#rows tr")
    await expect(row).to_contain_text("MiB")
    await expect(row).to_contain_text("taskqueue 0.")
    await row.locator("summary").click()
    await expect(row.get_by_role("listitem").filter(has_text="uppercase")).to_contain_text("async")
    assert await barriers(page) == []


async def test_it_asks_nothing_while_nobody_sees_it(page: Page, home: str) -> None:
    await page.clock.install()
    await page.goto("/ui/workers")
    await expect(page.locator("#rows tr")).to_have_count(1)
    await page.evaluate(HIDE, True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.clock.run_for(60_000)
    assert asked == []
    async with page.expect_response(f"{home}/workers"):
        await page.evaluate(HIDE, False)


async def test_it_says_that_the_api_is_away_and_comes_back_by_itself(
    page: Page, home: str, faults: Faults, programs: Programs
) -> None:
    await page.goto("/ui/workers")
    await expect(page.locator("#rows tr")).to_have_count(1)
    await programs.started[0].kill()
    await expect(page.get_by_role("alert")).to_contain_text("The API doesn't answer. Trying again.")
    again = await programs.start("taskqueue-embedded", handlers="handlers", port=URL(home).port)
    await again.url()
    await expect(page.get_by_role("alert")).to_be_hidden()
    faults.expect("Failed to load resource")


async def test_names_of_any_kind_and_length_harm_nothing(page: Page, home: str) -> None:
    names = [MARKUP, RIGHT_TO_LEFT + "txt", "x" * 1_000_000]

    async def answer(route: Route) -> None:
        body: dict[str, Any] = await (await route.fetch()).json()
        body["workers"][0] |= {
            "host": MARKUP,
            "actions": names,
            "versions": dict.fromkeys(names, RIGHT_TO_LEFT),
            "running": [{"id": name, "action": name, "attempt": 2, "started_at": 1} for name in names]
            + [{"id": "y", "action": "y", "attempt": 1, "started_at": 1}] * 27,
        }
        await route.fulfill(json=body)

    await page.route(f"{home}/workers", answer)
    await page.set_viewport_size({"width": 360, "height": 800})
    await page.goto("/ui/workers")
    row = page.locator("#rows tr")
    await expect(row).to_contain_text("and 10 more")
    await expect(row.get_by_role("rowheader")).to_contain_text(MARKUP)
    await expect(row.get_by_role("link", name=MARKUP)).to_be_visible()
    await expect(page.locator("main img")).to_have_count(0)
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
