"""The dashboard's list of tasks, in a browser."""

import aiohttp
import pytest
from playwright.async_api import Page, Route, expect
from tests.browser.visits import Faults, barriers
from tests.integration.programs import Client
from yarl import URL

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def submit(home: str, count: int) -> list[str]:
    """The ids of tasks that were accepted, oldest first."""
    async with aiohttp.ClientSession() as session:
        client = Client(session)
        ids = [await client.submit(home, "uppercase", {"text": "a"}) for _ in range(count)]
        await client.until_final(home, *ids)
    return ids


async def test_it_shows_tasks_newest_first_and_keeps_nobody_out(page: Page, home: str) -> None:
    ids = await submit(home, 3)
    await page.goto("/ui/tasks")
    rows = page.locator("#rows tr")
    await expect(rows).to_have_count(3)
    for row, id in enumerate(reversed(ids)):
        await expect(rows.nth(row).locator("a")).to_have_attribute("href", f"../ui/tasks/{id}")
        await expect(rows.nth(row)).to_contain_text("completed")
    assert await barriers(page) == []


async def test_new_tasks_are_counted_until_they_are_asked_for(page: Page, home: str) -> None:
    await submit(home, 1)
    await page.goto("/ui/tasks")
    await expect(page.locator("#live")).to_have_text("Live")
    await expect(page.locator("#rows tr")).to_have_count(1)
    await submit(home, 2)
    await expect(page.locator("#fresh")).to_have_text("Show 2 new")
    await expect(page.locator("#rows tr")).to_have_count(1)
    await page.locator("#fresh").click()
    await expect(page.locator("#rows tr")).to_have_count(3)


async def test_a_filter_is_in_the_address_and_the_way_back_leads_out_of_it(page: Page, home: str) -> None:
    await submit(home, 2)
    await page.goto("/ui/tasks")
    await expect(page.locator("#rows tr")).to_have_count(2)
    await page.get_by_label("failed").check()
    await expect(page.locator("#none")).to_be_visible()
    assert page.url.endswith("/ui/tasks?status=failed")
    await page.reload()
    await expect(page.get_by_label("failed")).to_be_checked()
    await expect(page.locator("#none")).to_be_visible()
    await page.go_back()
    await expect(page.locator("#rows tr")).to_have_count(2)
    await expect(page.get_by_label("failed")).not_to_be_checked()


async def test_all_that_match_are_deleted_once_their_number_is_typed(page: Page, home: str) -> None:
    await submit(home, 101)
    await page.goto("/ui/tasks")
    await expect(page.locator("#rows tr")).to_have_count(50)
    await page.get_by_label("Select this page").check()
    await expect(page.locator("#chosen")).to_have_text("50 selected")
    await page.get_by_label("all that match").check()
    await page.locator("#verbs").get_by_role("button", name="Delete").click()
    go = page.get_by_role("dialog").get_by_role("button", name="Delete 101 tasks")
    await expect(go).to_be_disabled()
    await page.get_by_label("Number of tasks").fill("50")
    await expect(go).to_be_disabled()
    await page.get_by_label("Number of tasks").fill("101")
    await go.click()
    await expect(page.locator("#none")).to_be_visible()


async def test_who_turns_back_in_the_dialog_deletes_nothing(page: Page, home: str) -> None:
    await submit(home, 2)
    await page.goto("/ui/tasks")
    await expect(page.locator("#rows tr")).to_have_count(2)
    await page.get_by_label("Select this page").check()
    await page.locator("#verbs").get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Back").click()
    await page.reload()
    await expect(page.locator("#rows tr")).to_have_count(2)


async def test_the_keyboard_selects_a_row(page: Page, home: str) -> None:
    await submit(home, 2)
    await page.goto("/ui/tasks")
    await expect(page.locator("#rows tr")).to_have_count(2)
    for key in ("j", "j", "k", "x"):
        await page.keyboard.press(key)
    await expect(page.locator("#rows tr").nth(0).get_by_role("checkbox")).to_be_checked()
    await expect(page.locator("#chosen")).to_have_text("1 selected")
    await page.keyboard.press("/")
    await expect(page.get_by_label("Search")).to_be_focused()


async def test_it_says_that_the_api_is_away_and_comes_back_by_itself(
    page: Page, home: str, faults: Faults
) -> None:
    await submit(home, 1)
    away = True

    async def answer(route: Route) -> None:
        await (route.abort() if away else route.continue_())

    await page.route("**/tasks?*", answer)
    await page.goto("/ui/tasks")
    await expect(page.get_by_role("alert")).to_contain_text("The API doesn't answer.")
    away = False
    await expect(page.locator("#rows tr")).to_have_count(1)
    await expect(page.get_by_role("alert")).to_be_hidden()
    faults.expect("Failed to load resource")


async def test_text_is_searched_for_and_what_is_found_can_be_acted_on(page: Page, home: str) -> None:
    async with aiohttp.ClientSession() as session:
        client = Client(session)
        failed = [
            await client.submit(home, "fail", {"message": text}, max_attempts=1) for text in ("No 1", "No 2", "x")
        ]
        await client.until_final(home, *failed)
    await page.goto("/ui/tasks")
    await page.keyboard.press("/")
    await page.keyboard.type("NO ")
    await page.keyboard.press("Enter")
    rows = page.locator("#rows tr")
    await expect(rows).to_have_count(2)
    assert URL(page.url).query["q"] == "NO "
    await page.get_by_label("Search").fill("nowhere")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("No task fits.")).to_be_visible()
    await page.goto("/ui/errors")
    await page.get_by_role("row", name="No …").get_by_role("link").click()
    await expect(rows).to_have_count(2)
    await page.get_by_label("Select this page").check()
    await page.get_by_label("all that match").check()
    await page.get_by_role("button", name="Retry").click()
    await page.get_by_role("button", name="Retry 2 tasks").click()
    await expect(page.locator("#chosen")).to_have_text("retry: 2 done")
