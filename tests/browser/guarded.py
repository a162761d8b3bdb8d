"""A dashboard that asks for keys, and people who sign in to it."""

from dataclasses import dataclass
from typing import Any

import aiohttp
from playwright.async_api import Browser, Page, expect
from tests.browser.visits import Faults
from tests.conformance.waiting import eventually
from tests.integration.keys import shown
from tests.integration.programs import Programs

from taskqueue.contract.keys import Role


@dataclass
class Guarded:
    """One that runs in a process of its own."""

    url: str
    admin: str

    @classmethod
    async def start(cls, programs: Programs) -> "Guarded":
        """Start it, and make its first key."""
        url = await (await programs.start("taskqueue-embedded", handlers="handlers", auth="on")).url()
        made = await programs.start("taskqueue", "keys", "create", "--role", "admin", "--label", "the first")
        assert await made.ended() == 0, made.errors
        guarded = cls(url, made.output.strip())

        async def is_known() -> bool:
            return "keys" in await guarded.ask("GET", "/keys")

        await eventually(is_known)
        return guarded

    async def ask(self, method: str, path: str, key: str | None = None, **options: Any) -> Any:
        """An answer's JSON."""
        headers = shown(key or self.admin)
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(method, self.url + path, **options) as response,
        ):
            return await response.json()

    async def key_of(self, role: Role, label: str = "", **members: Any) -> str:
        """A new key."""
        body = {"label": label or f"a {role}", "role": role} | members
        key: str = (await self.ask("POST", "/keys", json=body))["key"]
        return key

    async def signed_in(self, browser: Browser, key: str) -> tuple[Page, Faults]:
        """A page of a browser whose reader has signed in."""
        context = await browser.new_context(base_url=self.url)
        faults = Faults.of(context, self.url)
        page = await context.new_page()
        await page.goto("/ui")
        await page.get_by_label("Key").fill(key)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        return page, faults
