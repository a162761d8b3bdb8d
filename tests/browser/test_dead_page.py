"""The dashboard's page of dead letters, in a browser."""

from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser, Page, Route, expect
from tests.browser.visits import Faults, barriers
from tests.conformance.waiting import eventually
from tests.integration.programs import Client, Programs

pytestmark = pytest.mark.asyncio(loop_scope="session")

MARKUP = "<img src=http://127.0.0.2:9/x onerror=alert(1)>"


async def bury(home: str, count: int) -> None:
    """Have the worker get messages of tasks that are gone, by when its two slots are free."""
    async with aiohttp.ClientSession() as session:
        client = Client(session)
        holding = [await client.submit(home, "hold", {"name": "slot"}) for _ in range(2)]

        async def both_run() -> bool:
            async with session.get(f"{home}/tasks?status=running") as response:
                return bool((await response.json())["count"] == 2)

        await eventually(both_run)
        for _ in range(count):
            await client.submit(home, "uppercase", {"text": MARKUP}, tags=["gone"])
        for verb in ("cancel", "delete"):
            async with session.post(f"{home}/tasks/{verb}", json={"tag": "gone"}) as response:
                assert (await response.json())["count"] == count
        for id in holding:
            await session.post(f"{home}/tasks/{id}/cancel")

        async def all_are_dead() -> bool:
            async with session.get(f"{home}/dead?limit=1") as response:
                return bool((await response.json())["total"] == count)

        await eventually(all_are_dead)


def letter(id: str, **members: Any) -> dict[str, Any]:
    usual = {"reason": "x", "died_at": None, "message": "", "size": 0, "truncated": False}
    return {"id": id} | usual | members


async def test_it_shows_why_since_when_and_what_they_are(page: Page, home: str) -> None:
    await bury(home, 2)
    await page.goto("/ui/dead")
    rows = page.locator("#rows tr")
    await expect(rows).to_have_count(2)
    await expect(page.locator("#summary")).to_have_text("2 in all.")
    await expect(rows.first).to_contain_text("unknown task")
    await expect(rows.first.locator("time")).to_have_text("now")
    await expect(rows.first.locator("pre")).to_be_hidden()
    await rows.first.locator("summary").click()
    await expect(rows.first.locator("pre")).to_contain_text(MARKUP)
    await expect(page.locator("main img")).to_have_count(0)
    assert await barriers(page) == []


async def test_those_that_are_selected_are_dropped_once_that_is_confirmed(page: Page, home: str) -> None:
    await bury(home, 3)
    await page.goto("/ui/dead")
    rows = page.locator("#rows tr")
    await expect(rows).to_have_count(3)
    drop = page.locator("#verbs").get_by_role("button", name="Drop")
    await expect(drop).to_be_disabled()
    await rows.nth(0).get_by_role("checkbox").check()
    await rows.nth(1).get_by_role("checkbox").check()
    await expect(page.locator("#chosen")).to_have_text("2 selected")
    await drop.click()
    await page.get_by_role("dialog").get_by_role("button", name="Back").click()
    await expect(rows).to_have_count(3)
    await drop.click()
    await page.get_by_role("dialog").get_by_role("button", name="Drop 2 dead letters").click()
    await expect(rows).to_have_count(1)
    await expect(page.locator("#chosen")).to_have_text("drop: 2 done, 1 left")


async def test_all_are_requeued_once_their_number_is_typed(page: Page, home: str) -> None:
    await bury(home, 101)
    await page.goto("/ui/dead")
    await expect(page.locator("#summary")).to_have_text("The oldest 100 of 101.")
    await page.get_by_label("Select all that are shown").check()
    await page.get_by_label("all 101", exact=True).check()
    await expect(page.locator("#chosen")).to_have_text("101 selected")
    await page.locator("#verbs").get_by_role("button", name="Requeue").click()
    go = page.get_by_role("dialog").get_by_role("button", name="Requeue 101 dead letters")
    await expect(go).to_be_disabled()
    await page.get_by_label("Number of dead letters").fill("101")
    async with page.expect_request(f"{home}/dead/requeue") as asked:
        await go.click()
    assert (await asked.value).post_data_json == {"all": True, "limit": 101}
    await expect(page.locator("#chosen")).to_have_text("requeue: 101 done, 0 left")


async def test_one_that_somebody_else_has_ended_is_told_and_the_others_stay_selected(
    page: Page, home: str, faults: Faults
) -> None:
    await bury(home, 2)
    await page.goto("/ui/dead")
    await page.get_by_label("Select all that are shown").check()
    async with aiohttp.ClientSession() as session:
        await session.post(f"{home}/dead/drop", json={"all": True, "limit": 1})
    await page.locator("#verbs").get_by_role("button", name="Drop").click()
    await page.get_by_role("dialog").get_by_role("button", name="Drop 2").click()
    await expect(page.get_by_role("alert")).to_contain_text("now; nothing was done")
    await expect(page.locator("#rows tr")).to_have_count(1)
    await expect(page.locator("#chosen")).to_have_text("1 selected")
    faults.expect("404")


async def test_where_there_are_none_it_says_so_and_looks_again_when_asked(page: Page, home: str) -> None:
    await page.goto("/ui/dead")
    await expect(page.locator("#summary")).to_have_text("There are none.")
    await expect(page.locator("#letters")).to_be_hidden()
    await bury(home, 1)
    await page.keyboard.press("r")
    await expect(page.locator("#rows tr")).to_have_count(1)


async def test_a_broker_that_is_away_is_told_until_it_is_back(page: Page, home: str, faults: Faults) -> None:
    async def refuse(route: Route) -> None:
        await route.fulfill(status=503, json={"error": "broker unavailable"})

    await page.route(f"{home}/dead?*", refuse)
    await page.goto("/ui/dead")
    alert = page.get_by_role("alert")
    await expect(alert).to_contain_text("The API can't answer now: broker unavailable. Trying again.")
    for _ in range(3):
        await page.keyboard.press("r")
    await page.unroute(f"{home}/dead?*")
    await expect(alert).to_be_hidden()
    await expect(page.locator("#summary")).to_have_text("There are none.")
    faults.expect("503")


async def test_whatever_is_in_them_harms_nothing(page: Page, home: str) -> None:
    letters = [
        letter("a", reason=MARKUP * 20, message=MARKUP, size=48),
        letter("b", reason="\u202etxt", message="\u202e" + "x" * 2000, size=15_000_000, truncated=True),
        letter("c"),
    ]

    async def answer(route: Route) -> None:
        await route.fulfill(json={"letters": letters, "count": 3, "total": 12345})

    await page.route(f"{home}/dead?*", answer)
    for width in (1200, 360):
        await page.set_viewport_size({"width": width, "height": 800})
        await page.goto("/ui/dead")
        rows = page.locator("#rows tr")
        await expect(rows).to_have_count(3)
        await rows.nth(1).locator("summary").click()
        await expect(rows.nth(1)).to_contain_text("This is its beginning only.")
        await expect(rows.nth(2)).to_contain_text("not known")
        await expect(page.locator("main img")).to_have_count(0)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        assert await barriers(page) == []
    await page.get_by_label("Select all that are shown").check()
    await page.get_by_label("the oldest 1,000").check()
    await expect(page.locator("#chosen")).to_have_text("1,000 selected")


async def test_who_may_only_read_sees_them_and_can_select_none(browser: Browser, programs: Programs) -> None:
    guarded = await programs.start("taskqueue-embedded", auth="on")
    home = await guarded.url()
    made = await programs.start("taskqueue", "keys", "create", "--role", "read", "--label", "who looks")
    assert await made.ended() == 0
    key = made.output.strip()

    async def is_known() -> bool:
        shown = {"Authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession(headers=shown) as session, session.get(f"{home}/dead") as response:
            return response.status == 200

    await eventually(is_known)

    async def answer(route: Route) -> None:
        await route.fulfill(json={"letters": [letter("a")], "count": 1, "total": 1})

    async with await browser.new_context(base_url=home) as context:
        page = await context.new_page()
        await page.route(f"{home}/dead?*", answer)
        await page.goto("/ui/dead")
        await page.get_by_label("Key").fill(key)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.locator("#rows tr")).to_have_count(1)
        await expect(page).to_have_url(f"{home}/ui/dead")
        await expect(page.get_by_role("checkbox")).to_have_count(0)
        await expect(page.locator("#verbs button")).to_have_count(0)
        assert await barriers(page) == []
