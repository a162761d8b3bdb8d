"""`/docs` in a browser: the operations are there to read and to try."""

import pytest
from playwright.async_api import Page, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_it_shows_the_operations_and_answers_a_request_that_is_tried(page: Page) -> None:
    await page.goto("/docs")
    operation = page.locator(".opblock").filter(has_text="/livez")
    await operation.locator(".opblock-summary-control").click()
    await operation.get_by_role("button", name="Try it out").click()
    await operation.get_by_role("button", name="Execute").click()
    await expect(operation.locator(".live-responses-table tbody .response-col_status").first).to_have_text("200")
