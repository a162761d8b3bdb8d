"""The dashboard's page to submit a task, in a browser."""

import re
import time
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Page, Route, expect
from tests.browser.visits import Faults, barriers

pytestmark = pytest.mark.asyncio(loop_scope="session")

MARKUP = "<img src=http://127.0.0.2:9/x onerror=alert(1)>"
LONG = "12345678901234567890"


async def opened(page: Page, query: str = "") -> None:
    await page.goto(f"/ui/submit{query}")
    await expect(page.get_by_role("button", name="Submit")).to_be_visible()


async def accepted(page: Page, home: str) -> dict[str, Any]:
    """The task that was submitted last."""
    link = page.locator("#done a")
    await expect(link).to_be_visible()
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{home}/tasks/{await link.inner_text()}") as response,
    ):
        task: dict[str, Any] = await response.json()
        return task


async def press(page: Page, name: str) -> None:
    await page.get_by_role("button", name=name, exact=True).click()


async def test_a_form_is_made_of_the_actions_schema_and_what_is_left_empty_is_left_out(
    page: Page, home: str
) -> None:
    await opened(page)
    await page.get_by_label("Action").fill("spread")
    await page.get_by_label("Action").blur()
    await page.get_by_label("names").fill('["a", "b"]')
    await page.get_by_label("failing").select_option("false")
    await press(page, "Submit")
    task = await accepted(page, home)
    assert (task["action"], task["data"]) == ("spread", {"names": ["a", "b"], "failing": False})
    await page.locator("#done a").click()
    await expect(page.locator("#action")).to_have_text("spread")


async def test_an_integer_is_submitted_as_it_was_typed(page: Page, home: str) -> None:
    await opened(page, "?action=fail")
    await page.get_by_label("until_attempt").fill(LONG)
    async with page.expect_request(f"{home}/tasks") as submitted:
        await press(page, "Submit")
    assert f'"until_attempt":{LONG}}}' in ((await submitted.value).post_data or "")
    assert (await accepted(page, home))["data"] == {"until_attempt": int(LONG)}
    await press(page, "Edit as JSON")
    await expect(page.get_by_label("Data, as JSON")).to_have_value(f'{{\n  "until_attempt": {LONG}\n}}')


async def test_all_options_are_submitted(page: Page, home: str) -> None:
    await opened(page, "?action=uppercase")
    await page.get_by_text("Options").click()
    for label, text in {
        "Delay": "3600",
        "Attempts": "7",
        "Timeout": "1.5",
        "Tags": f"one, two\n{MARKUP}\n",
    }.items():
        await page.get_by_label(label, exact=True).fill(text)
    await page.get_by_label("Priority").select_option("high")
    await page.get_by_label("Idempotency key").fill("once")
    await press(page, "Submit")
    task = await accepted(page, home)
    assert (task["max_attempts"], task["timeout"], task["priority"]) == (7, 1.5, "high")
    assert task["tags"] == ["one, two", MARKUP]
    assert 3590 < task["run_at"] - time.time() <= 3600
    await press(page, "Submit")
    assert (await accepted(page, home))["id"] == task["id"]
    await page.get_by_label("Delay").fill("")
    await page.get_by_label("Not before").fill("2040-01-31T12:00:00")
    await page.get_by_label("Idempotency key").fill("")
    await press(page, "Submit")
    await expect(page.locator("#done a")).not_to_have_text(task["id"])
    there = await page.evaluate("new Date('2040-01-31T12:00:00').getTime() / 1000")
    assert (await accepted(page, home))["run_at"] == there


async def test_what_does_not_fit_is_told_where_it_is_by_a_check_and_by_a_submit(
    page: Page, home: str, faults: Faults
) -> None:
    await opened(page, "?action=spread")
    await page.get_by_text("Options").click()
    await page.get_by_label("Attempts").fill("101")
    await page.get_by_label("names").fill('["a"]')
    await press(page, "Check only")
    await expect(page.get_by_label("Attempts")).to_be_focused()
    await expect(page.locator("#max_attempts-wrong")).to_have_text("Input should be less than or equal to 100")
    assert await barriers(page) == []
    await page.get_by_label("Attempts").fill("")
    await page.get_by_label("names").fill('["a", 1]')
    for button in ("Check only", "Submit"):
        await press(page, button)
        names = page.get_by_label("names")
        await expect(names).to_have_attribute("aria-invalid", "true")
        await expect(names).to_have_accessible_description(re.compile("1: this value is not of type"))
    faults.expect("Failed to load resource")
    await page.get_by_label("names").fill('["a"]')
    await press(page, "Check only")
    await expect(page.locator("#done")).to_have_text("It can be submitted. Nothing was stored.")
    await expect(page.get_by_label("names")).not_to_have_attribute("aria-invalid", "true")
    async with aiohttp.ClientSession() as session, session.get(f"{home}/tasks") as response:
        assert (await response.json())["count"] == 0


async def test_what_is_no_value_is_told_before_anything_is_sent(page: Page) -> None:
    await opened(page, "?action=nest")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    for typed, error in (("", "required"), ("1_0", "not a number"), ('1},"x":{"y":1', "not a number")):
        await page.get_by_label("levels").fill(typed)
        await press(page, "Submit")
        await expect(page.locator("#data-0-wrong")).to_contain_text(error)
    await page.get_by_label("levels").fill("1")
    await press(page, "Edit as JSON")
    await page.get_by_label("Data, as JSON").fill('{"levels": 1},"tags":["x"]')
    await press(page, "Submit")
    await expect(page.locator("#data-wrong")).to_contain_text("not JSON")
    assert sent == []


async def test_json_that_the_form_can_not_have_stays_json(page: Page) -> None:
    await opened(page, "?action=nest")
    await press(page, "Edit as JSON")
    data = page.get_by_label("Data, as JSON")
    await data.fill('{"levels": 1, "more": 2}')
    await press(page, "Edit as a form")
    await expect(page.locator("#data-wrong")).to_contain_text("the form of this action can't have this")
    await data.fill('{"levels": 2}')
    await press(page, "Edit as a form")
    await expect(page.get_by_label("levels")).to_have_value("2")


async def test_what_was_typed_for_an_action_is_there_when_it_is_chosen_again(page: Page) -> None:
    await opened(page, "?action=nest")
    await page.get_by_label("levels").fill("5")
    for action, label in (("unheard", "Data, as JSON"), ("nest", "levels")):
        await page.get_by_label("Action").fill(action)
        await page.get_by_label("Action").blur()
        await expect(page.get_by_label(label)).to_be_visible()
    await expect(page.get_by_label("levels")).to_have_value("5")


async def test_a_task_leads_to_another_like_it(page: Page, home: str) -> None:
    body = f'{{"action": "sum", "data": {{"numbers": [{LONG}, 1]}}, "tags": ["{MARKUP}"], "priority": "low"}}'
    async with aiohttp.ClientSession() as session, session.post(f"{home}/tasks", data=body) as response:
        first = await response.json()
    await page.goto(f"/ui/tasks/{first['id']}")
    await page.get_by_role("link", name="Submit another like it").click()
    await expect(page.get_by_label("Tags")).to_have_value(MARKUP)
    await press(page, "Submit")
    task = await accepted(page, home)
    assert task["id"] != first["id"]
    assert (task["data"], task["tags"], task["priority"]) == ({"numbers": [int(LONG), 1]}, [MARKUP], "low")


async def test_it_is_submitted_once_however_often_it_has_to_be_sent(page: Page, home: str, faults: Faults) -> None:
    keys: list[str | None] = []

    async def answer(route: Route) -> None:
        keys.append(route.request.headers.get("idempotency-key"))
        response = await route.fetch()
        await (route.abort() if len(keys) == 1 else route.fulfill(response=response))

    await page.route(f"{home}/tasks", answer)
    await opened(page, "?action=describe")
    await press(page, "Submit")
    await expect(page.get_by_role("alert")).to_contain_text("The API doesn't answer. Trying again.")
    await accepted(page, home)
    assert len(keys) == 2 and keys[0] == keys[1] and keys[0]
    async with aiohttp.ClientSession() as session, session.get(f"{home}/tasks") as response:
        assert (await response.json())["count"] == 1
    faults.expect("Failed to load resource")


async def test_a_catalogue_of_any_kind_harms_nothing(page: Page, home: str) -> None:
    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": [MARKUP, "a.b"],
        "$defs": {"Node": {"$ref": "#/$defs/Node"}},
        "properties": {
            MARKUP: {"type": "string", "description": MARKUP, "default": "x" * 1_000_000},
            "a.b": {"$ref": "#/$defs/Node"},
            "mode": {"anyOf": [{"enum": ["\u202efit", MARKUP]}, {"type": "null"}]},
        },
    }
    action = {"name": MARKUP, "arguments": schema, "defaults": {MARKUP: MARKUP}, "workers": 0, "last_seen": 1}

    async def answer(route: Route) -> None:
        await route.fulfill(json={"actions": [action], "count": 1})

    await page.route(f"{home}/actions", answer)
    await page.set_viewport_size({"width": 360, "height": 800})
    await opened(page)
    await page.get_by_label("Action").fill(MARKUP)
    await page.get_by_label("Action").blur()
    await page.get_by_label(MARKUP).fill("text")
    await page.get_by_label("a.b").fill("{}")
    await page.get_by_label("mode").select_option(f'"{MARKUP}"')
    await press(page, "Submit")
    assert (await accepted(page, home))["data"] == {MARKUP: "text", "a.b": {}, "mode": MARKUP}
    await expect(page.locator("main img")).to_have_count(0)
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
