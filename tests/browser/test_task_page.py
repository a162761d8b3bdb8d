"""The dashboard's page of one task, in a browser."""

import asyncio
import json
import re
import sys

import aiohttp
import pytest
from playwright.async_api import Page, expect
from tests.browser.visits import barriers

pytestmark = pytest.mark.asyncio(loop_scope="session")

MARKUP = "<img src=http://127.0.0.2:9/x onerror=alert(1)>"


async def submit(home: str, text: str) -> str:
    """The id of a task, of JSON as it stands here."""
    async with aiohttp.ClientSession() as session, session.post(f"{home}/tasks", data=text) as response:
        assert response.status == 202, await response.text()
        id: str = (await response.json())["id"]
        return id


async def test_it_shows_what_was_given_and_what_came_of_it_and_runs_none_of_it(page: Page, home: str) -> None:
    id = await submit(home, f'{{"action": "uppercase", "data": {{"text": "{MARKUP}"}}, "tags": ["{MARKUP}"]}}')
    await page.goto(f"/ui/tasks/{id}")
    await expect(page.locator("#status")).to_contain_text("completed")
    await expect(page.get_by_label("Result", exact=True)).to_contain_text(MARKUP.upper())
    await expect(page.get_by_label("Data", exact=True)).to_contain_text(MARKUP)
    await expect(page.locator("#timeline li")).to_have_count(3)
    await expect(page.locator("main img")).to_have_count(0)
    assert await barriers(page) == []


async def test_an_integer_that_javascript_would_round_is_exact(page: Page, home: str) -> None:
    id = await submit(home, '{"action": "sum", "data": {"numbers": [12345678901234567890, 1]}}')
    await page.goto(f"/ui/tasks/{id}")
    await expect(page.get_by_label("Result", exact=True)).to_contain_text("12345678901234567891")
    await expect(page.get_by_label("Data", exact=True)).to_contain_text("12345678901234567890")


@pytest.mark.parametrize(("way", "program"), [("curl", "sh"), ("Python", sys.executable)])
async def test_the_lines_that_submit_it_again_do(page: Page, home: str, way: str, program: str) -> None:
    odd = 'it\'s "$(x)" \\ \N{GRINNING FACE}'
    task = {"action": f"{way} {odd}", "data": {odd: [odd, None]}, "tags": [odd]}
    id = await submit(home, json.dumps(task))
    await page.goto(f"/ui/tasks/{id}")
    await page.get_by_text(f"Submit it again: {way}").click()
    lines = await page.get_by_label(f"Submit it again: {way}", exact=True).inner_text()
    running = await asyncio.create_subprocess_exec(program, "-c", lines)
    assert await running.wait() == 0
    async with aiohttp.ClientSession() as session, session.get(f"{home}/tasks?limit=2") as response:
        told = (await response.json())["tasks"]
    assert [{name: each[name] for name in task} for each in told] == [task, task]


async def test_it_follows_a_task_from_waiting_to_cancelled_by_its_button(page: Page, home: str) -> None:
    id = await submit(home, '{"action": "uppercase", "data": {"text": "a"}, "delay": 3600}')
    await page.goto(f"/ui/tasks/{id}")
    await expect(page.locator("#status")).to_contain_text("pending")
    await page.locator("#verbs").get_by_role("button", name="Cancel").click()
    await page.get_by_role("dialog").get_by_role("button", name="Cancel 1 task").click()
    await expect(page.locator("#status")).to_contain_text("cancelled")
    await expect(page.locator("#verbs").get_by_role("button", name="Retry")).to_be_visible()


async def test_it_follows_what_others_do_to_the_task(page: Page, home: str) -> None:
    id = await submit(home, '{"action": "uppercase", "data": {"text": "a"}, "delay": 3600}')
    await page.goto(f"/ui/tasks/{id}")
    await expect(page.locator("#status")).to_contain_text("pending")
    async with aiohttp.ClientSession() as session, session.post(f"{home}/tasks/{id}/cancel") as response:
        assert response.status == 202
    await expect(page.locator("#status")).to_contain_text("cancelled")


async def test_the_lines_that_submit_it_again_have_its_options_and_the_timeline_its_waits(
    page: Page, home: str
) -> None:
    id = await submit(
        home, '{"action": "fail", "tags": ["it\'s"], "priority": "low", "max_attempts": 2, "timeout": 9}'
    )
    await page.goto(f"/ui/tasks/{id}")
    await expect(page.locator("#status")).to_contain_text("failed")
    await expect(page.locator("#timeline")).to_contain_text(re.compile("Waits .* for the next attempt"))
    for language, told in {
        "curl": '"priority":"low","max_attempts":2,"timeout":9,"tags":["it',
        "Python": ', priority="low", max_attempts=2, timeout=9, tags=["it\'s"])',
    }.items():
        await page.get_by_text(f"Submit it again: {language}").click()
        await expect(page.get_by_label(f"Submit it again: {language}")).to_contain_text(told)


async def test_what_a_members_name_tells_to_be_secret_is_masked_and_never_submitted_so(
    page: Page, home: str
) -> None:
    masked = '"API-Key": "s3cret", "Password": {"of": "s3cret"}, "list": [{"apiKey": 5341}]'
    secrets = f'{{{masked}, "tokens": 7, "token": null}}'
    id = await submit(home, f'{{"action": "give", "data": {{"value": {secrets}}}}}')
    await page.goto(f"/ui/tasks/{id}")
    await expect(page.get_by_label("Result", exact=True)).to_contain_text('"API-Key": "•••••"')
    for label in ("Result", "Data"):
        shown = page.get_by_label(label, exact=True)
        await expect(shown).to_contain_text('"tokens": 7')
        await expect(shown).to_contain_text('"token": null')
    await expect(page.get_by_text("What is masked is to be filled in")).to_be_visible()
    content = await page.content()
    assert "s3cret" not in content and "5341" not in content
    await page.get_by_role("link", name="Submit another like it").click()
    await page.get_by_role("button", name="Submit").click()
    await expect(page.get_by_text("what is masked is to be typed again")).to_be_visible()
    assert "s3cret" not in await page.get_by_label("value").input_value()
