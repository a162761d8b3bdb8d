"""The dashboard's overview, in a browser."""

from typing import Any

import aiohttp
import pytest
from playwright.async_api import Page, Route, expect
from tests.browser.visits import Faults, barriers
from tests.integration.programs import Client, Programs
from yarl import URL

pytestmark = pytest.mark.asyncio(loop_scope="session")

MARKUP = "<img src=http://127.0.0.2:9/x onerror=alert(1)>"
SOMETHING = {"accepted": 7, "completed": 5, "failed": 2, "cancelled": 0}


async def test_it_begins_with_what_needs_attention_and_leads_to_where_that_is_acted_on(
    page: Page, home: str
) -> None:
    async with aiohttp.ClientSession() as session:
        client = Client(session)
        for _ in range(5):
            await client.until_final(home, await client.submit(home, "refuse", {}))
    await page.goto("/ui")
    assert URL(page.url).path == "/ui/overview"
    await expect(page.locator("#attention")).to_contain_text("100% of the tasks that ended")
    await page.get_by_role("link", name="Failed tasks").click()
    await expect(page.locator("#rows tr")).to_have_count(5)
    assert URL(page.url).query_string == "status=failed&action=refuse"


async def test_it_follows_what_happens(page: Page, home: str) -> None:
    await page.goto("/ui/overview")
    await expect(page.get_by_text("All is well.")).to_be_visible()
    await expect(page.get_by_text("Nothing happened in this time.")).to_be_visible()
    card = page.locator(".card", has_text="completed")
    await expect(card).to_contain_text("0")
    async with aiohttp.ClientSession() as session:
        client = Client(session)
        await client.until_final(home, await client.submit(home, "uppercase", {"text": "x"}))
    await expect(card).to_contain_text("1")
    row = page.get_by_role("row", name="uppercase")
    await expect(row.get_by_role("cell").first).to_have_text("1")
    await card.click()
    await expect(page.locator("#rows tr")).to_have_count(1)


@pytest.mark.parametrize(("key", "name", "points"), [("1", "1h", 61), ("2", "24h", 97), ("3", "7d", 85)])
async def test_a_window_is_chosen_by_link_key_and_address(page: Page, key: str, name: str, points: int) -> None:
    await page.goto("/ui/overview?window=24h")
    await expect(page.locator("[data-window='24h']")).to_have_attribute("aria-current", "true")
    await page.keyboard.press(key)
    await expect(page.locator(f"[data-window='{name}']")).to_have_attribute("aria-current", "true")
    await expect(page.locator("#numbers tr")).to_have_count(points)
    await expect(page.locator(".chart")).to_have_count(3)
    assert URL(page.url).query["window"] == name
    await page.get_by_role("link", name="Last hour").click()
    await expect(page.locator("#numbers tr")).to_have_count(61)


async def test_it_says_that_the_api_is_away_and_comes_back_by_itself(
    page: Page, home: str, faults: Faults, programs: Programs
) -> None:
    await page.goto("/ui/overview")
    await expect(page.get_by_text("All is well.")).to_be_visible()
    await programs.started[0].kill()
    await expect(page.get_by_role("alert")).to_contain_text("The API doesn't answer. Trying again.")
    again = await programs.start("taskqueue-embedded", handlers="handlers", port=URL(home).port)
    await again.url()
    await expect(page.get_by_role("alert")).to_be_hidden()
    faults.expect("Failed to load resource")


@pytest.mark.parametrize("width", [1200, 360])
async def test_names_of_any_kind_and_length_harm_nothing(page: Page, home: str, width: int) -> None:
    names = [MARKUP, "\u202etxt", "x" * 100_000]

    body: dict[str, Any] = await (await page.request.get(f"{home}/overview")).json()
    times = {"wait": {"p50": 0.5, "p95": None}, "run": {"p50": None, "p95": 3600.5}}
    body["points"] = [point | SOMETHING | times for point in body["points"]]
    body["actions"] = {name: SOMETHING | times | {"ended": [1, 5, 0]} for name in names}
    body["attention"] = [
        {"concern": concern, "severity": severity, "text": name, "advice": name, "action": name}
        for name in names
        for concern, severity in (("failures", "critical"), ("one of a later version", "warning"))
    ]

    async def answer(route: Route) -> None:
        await route.fulfill(json=body)

    await page.route(f"{home}/overview?**", answer)
    await page.set_viewport_size({"width": width, "height": 800})
    await page.goto("/ui/overview")
    await expect(page.get_by_role("link", name=MARKUP)).to_be_visible()
    await expect(page.locator("main img")).to_have_count(0)
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    assert await barriers(page) == []
