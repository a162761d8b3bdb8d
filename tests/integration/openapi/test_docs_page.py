"""`/docs` renders from what this host serves, and its browser asks no other."""

import re
from html.parser import HTMLParser

from tests.integration.openapi.described import Reply
from tests.integration.system import System
from yarl import URL

from taskqueue.version import VERSION


class Links(HTMLParser):
    """What a page loads, and whether it has scripts or styles of its own."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.inline = ""
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.loads += [value for name in ("src", "href") if (value := attributes.get(name))]
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside in {"script", "style"}:
            self.inline += data.strip()


async def read(system: System, path: str) -> Reply:
    async with system.client.get(path) as response:
        assert response.status == 200, path
        return await Reply.read(response)


async def test_the_page_loads_only_what_is_served_beside_it(system: System) -> None:
    page = await read(system, "/docs")
    links = Links(page.body.decode())
    assert not links.inline
    assert len(links.loads) == 4
    kinds = {"js": "text/javascript", "css": "text/css", "png": "image/png"}
    for link in links.loads:
        url = URL(link)
        assert not url.absolute
        assert not link.startswith("/"), "it must hold behind a proxy's prefix"
        file = await read(system, f"/{link}")
        assert file.content_type == kinds[link.rpartition(".")[2]]
        assert file.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_browser_that_opens_the_address_is_led_to_the_dashboard(system: System) -> None:
    async with system.client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}) as response:
        assert [answer.status for answer in response.history] == [307, 303]
        assert (response.status, response.url.path) == (200, "/ui/overview")
        assert response.content_type == "text/html"


async def test_a_program_that_opens_the_address_is_told_what_is_there(system: System) -> None:
    root = await read(system, "/")
    assert root.json == {"name": "taskqueue", "version": VERSION, "docs": "/docs", "openapi": "/openapi.json"}
    assert root.headers["Vary"] == "Accept"
    for name in ("docs", "openapi"):
        await read(system, root.json[name])


async def test_its_policy_lets_a_browser_ask_this_host_only(system: System) -> None:
    policy = (await read(system, "/docs")).headers["Content-Security-Policy"]
    rules = {
        name: sources.split() for name, _, sources in (rule.strip().partition(" ") for rule in policy.split(";"))
    }
    assert rules["default-src"] == ["'none'"]
    assert {source for sources in rules.values() for source in sources} <= {"'none'", "'self'", "data:"}
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == ["'self'"]


async def test_its_style_sheet_names_no_other_file(system: System) -> None:
    css = (await read(system, "/docs/swagger-ui.css")).body.decode()
    assert "@import" not in css
    assert set(re.findall(r"url\(\s*[\"']?(\w+:|)", css)) == {"data:"}


async def test_its_script_asks_for_the_document_beside_it_and_for_no_validation_elsewhere(system: System) -> None:
    start = (await read(system, "/docs/start.js")).body.decode()
    assert re.findall(r"https?:|//", start) == []
    assert 'url: "openapi.json"' in start
    assert "validatorUrl: null" in start
    assert (await read(system, "/openapi.json")).json["openapi"].startswith("3.1")


async def test_its_viewer_knows_openapi_3_1(system: System) -> None:
    script = (await read(system, "/docs/swagger-ui-bundle.js")).body
    assert b"https://spec.openapis.org/oas/3.1/dialect/base" in script


async def test_a_browser_that_has_a_file_gets_it_no_second_time(system: System) -> None:
    for path in ("/docs", "/docs/swagger-ui-bundle.js", "/openapi.json"):
        first = await read(system, path)
        assert first.headers["Cache-Control"] == "no-cache"
        async with system.client.get(path, headers={"If-None-Match": first.headers["Etag"]}) as response:
            assert (response.status, await response.read()) == (304, b"")
        async with system.client.get(path, headers={"If-None-Match": '"other"'}) as response:
            assert (response.status, await response.read()) == (200, first.body)
