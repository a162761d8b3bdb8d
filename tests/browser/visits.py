"""What pages did in a browser that none of ours may do, and what keeps people from using them."""

from typing import Self

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import BrowserContext, ConsoleMessage, Page, Request, WebError
from yarl import URL

#: What axe calls what locks somebody out.
GRAVE = {"serious", "critical"}


class Faults:
    """Requests to other hosts, errors in the console (what the policy refused is one), and errors that no script
    caught, of all pages of a context."""

    def __init__(self, home: str) -> None:
        self._home = URL(home).origin()
        self.seen: list[str] = []

    @classmethod
    def of(cls, context: BrowserContext, home: str) -> Self:
        """Those that there are from now on.

        Args:
            home: where the pages may ask for anything: an address of their host.
        """
        faults = cls(home)
        context.on("request", faults._asked)
        context.on("console", faults._wrote)
        context.on("weberror", faults._raised)
        return faults

    def expect(self, text: str) -> None:
        """Forget those with this text, which a test provoked; there is at least one."""
        left = [fault for fault in self.seen if text not in fault]
        assert len(left) < len(self.seen), f"no {text!r} in {self.seen}"
        self.seen = left

    def _asked(self, request: Request) -> None:
        url = URL(request.url)
        if url.scheme not in {"data", "blob"} and url.origin() != self._home:
            self.seen.append(f"asked another host: {url}")

    def _wrote(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.seen.append(f"console: {message.text} ({message.location['url']})")

    def _raised(self, error: WebError) -> None:
        self.seen.append(f"not caught: {error.error}")


async def barriers(page: Page) -> list[str]:
    """What axe finds serious or critical on a page, with where it is."""
    found = (await Axe().run(page)).response["violations"]
    return [
        f"{barrier['impact']}: {barrier['help']}: {node['html']}"
        for barrier in found
        if barrier["impact"] in GRAVE
        for node in barrier["nodes"]
    ]
