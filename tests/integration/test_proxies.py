"""The proxies of deploy/proxy, with TLS before the API: real ones, by the files there but for names and ports."""

import asyncio
import contextlib
import io
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from tests.conformance.waiting import PATIENCE, eventually
from tests.integration.keys import asking_for_keys, key_of, shown
from tests.integration.programs import ROOT
from tests.integration.system import System
from tests.integration.test_stream_ends import told
from tests.integration.tools import program
from yarl import URL

from taskqueue.contract.keys import Role
from taskqueue_api.http.credentials import COOKIE

DEPLOYED = ROOT / "deploy/proxy"
#: Seconds within which an event has passed; it takes milliseconds, where nobody gathers them.
PROMPTLY = 2
MIB = 1024 * 1024
#: The certificate's files, as nginx.conf calls them.
CHAIN, KEY = "fullchain.pem", "privkey.pem"


def nginx(folder: Path, api: str, port: int, prefix: str) -> list[str]:
    """Write its configuration, and return how it is started."""
    deployed = _replaced(
        (DEPLOYED / "nginx.conf").read_text(),
        {
            "server 127.0.0.1:8080;": f"server {api};",
            "listen 443": f"listen 127.0.0.1:{port}",
            "/etc/ssl/taskqueue": str(folder),
            "tasks.example.com": "localhost",
            '"/queue"': f'"{prefix}"',
            "location /queue/": f"location {prefix}/",
        },
    )
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    (folder / "nginx.conf").write_text(
        # Else, as root, it would give its workers to a user who may not write here.
        f"user root; daemon off; pid {folder}/pid; events {{}} http {{ access_log off; {temporary}\n{deployed}}}"
    )
    return [program("nginx", "nginx"), "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def caddy(folder: Path, api: str, port: int, prefix: str) -> list[str]:
    """Write its configuration, and return how it is started."""
    tls = f"tls {folder / CHAIN} {folder / KEY}"
    deployed = _replaced(
        (DEPLOYED / "Caddyfile").read_text(),
        {
            "reverse_proxy 127.0.0.1:8080": f"reverse_proxy {api}",
            "\ntasks.example.com {": f"\nhttps://localhost:{port} {{\nbind 127.0.0.1\n{tls}",
            '"/queue"': f'"{prefix}"',
            "handle_path /queue/*": f"handle_path {prefix}/*" if prefix else "handle",
        },
    )
    (folder / "Caddyfile").write_text(f"{{\nadmin off\nauto_https off\n}}\n{deployed}")
    return [program("caddy", "caddy"), "run", "--config", str(folder / "Caddyfile")]


def _replaced(text: str, values: dict[str, str]) -> str:
    for old, new in values.items():
        assert old in text
        text = text.replace(old, new)
    return text


PROXIES = {"nginx": nginx, "caddy": caddy}


class Proxied:
    """A client of an API behind a proxy; it is at another address than the proxy."""

    ADDRESS = "127.0.0.2"

    def __init__(self, system: System, session: aiohttp.ClientSession, base: URL, key: str) -> None:
        self.system = system
        self.session = session
        self.base = base
        self.key = key

    def at(self, path: str) -> URL:
        return URL(f"{self.base}{path}")

    async def submitted(self, body: bytes | dict[str, Any]) -> tuple[int, dict[str, Any], str]:
        """What a POST to /tasks is answered: status, body and Location."""
        return await self.posted("/tasks", body)

    async def posted(self, path: str, body: bytes | dict[str, Any]) -> tuple[int, dict[str, Any], str]:
        data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        headers = {"Content-Type": "application/json"}
        async with self.session.post(self.at(path), data=data, headers=headers) as response:
            assert response.content_type == "application/json", await response.text()
            return response.status, await response.json(), response.headers.get("Location", "")

    async def result(self, id: str) -> Any:
        """Of a task, once it is final."""
        async with self.session.get(self.at(f"/tasks/{id}"), headers={"Prefer": "wait=20"}) as response:
            return (await response.json())["result"]


@contextlib.asynccontextmanager
async def proxied(proxy: str, folder: Path, prefix: str) -> AsyncIterator[Proxied]:
    """The API with its settings for a proxy, a worker, and this proxy in front."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    (folder / CHAIN).write_bytes(certificate.cert_chain_pems[0].bytes())
    certificate.private_key_pem.write_to_path(folder / KEY)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"trust_forwarded_prefix": True, "trust_forwarded_for": True}
    async with asking_for_keys(folder, **settings) as system, system.worker():
        api = system.client.make_url("")
        process = await asyncio.create_subprocess_exec(
            *PROXIES[proxy](folder, f"{api.host}:{api.port}", port, prefix), env=os.environ | {"HOME": str(folder)}
        )
        try:
            key = await key_of(system, Role.ADMIN)
            connector = aiohttp.TCPConnector(ssl=context, local_addr=(Proxied.ADDRESS, 0), family=socket.AF_INET)
            async with aiohttp.ClientSession(
                connector=connector, headers=shown(key), timeout=aiohttp.ClientTimeout(total=PATIENCE)
            ) as session:
                there = Proxied(system, session, URL(f"https://localhost:{port}{prefix}"), key)
                await eventually(lambda: _answers(there, process))
                yield there
        finally:
            process.terminate()
            await process.wait()


async def _answers(there: Proxied, process: asyncio.subprocess.Process) -> bool:
    assert process.returncode is None, "the proxy has ended"
    with contextlib.suppress(aiohttp.ClientConnectionError):
        async with there.session.get(there.at("/livez")) as response:
            return response.status == 200
    return False


@pytest.fixture(params=PROXIES)
def proxy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def there(proxy: str, tmp_path: Path) -> AsyncIterator[Proxied]:
    async with proxied(proxy, tmp_path, "/queue") as proxied_api:
        yield proxied_api


@pytest.mark.parametrize("prefix", ["/queue", ""])
async def test_addresses_lead_to_what_they_name(proxy: str, tmp_path: Path, prefix: str) -> None:
    async with proxied(proxy, tmp_path, prefix) as there:
        # What a client says under the same name is not what the proxy says.
        there.session.headers["X-Forwarded-Prefix"] = "/elsewhere"
        status, body, location = await there.submitted({"action": "uppercase", "data": {"text": "a"}})
        assert (status, location) == (202, f"{prefix}/tasks/{body['id']}")
        assert await there.result(body["id"]) == {"output": "A"}
        async with there.session.get(there.base.join(URL(location))) as found:
            assert (await found.json())["id"] == body["id"]
        async with there.session.get(there.at("/"), headers={"Accept": "text/html"}) as page:
            assert (page.url, page.content_type) == (there.at("/docs"), "text/html")
        async with there.session.get(there.at("/openapi.json")) as document:
            assert (await document.json())["servers"][0]["url"] == (prefix or "/")


async def test_the_dashboard_signs_in_by_a_cookie_that_only_tls_carries(there: Proxied) -> None:
    async with aiohttp.ClientSession(connector=there.session.connector, connector_owner=False) as browser:
        async with browser.get(there.at("/ui")) as page:
            assert page.url.path == "/queue/ui/sign-in"
        origin = {"Origin": f"https://{there.base.authority}"}
        form = {"key": there.key}
        async with browser.post(page.url, data=form, headers=origin, allow_redirects=False) as signed_in:
            cookie = signed_in.cookies[COOKIE]
            assert (signed_in.status, cookie["secure"], cookie["path"]) == (303, True, "/queue")
        async with browser.get(there.at("/ui")) as page:
            assert (page.status, page.url.path) == (200, "/queue/ui/overview")


async def test_events_pass_as_they_happen(there: Proxied) -> None:
    async with there.session.get(there.at("/events")) as stream:
        assert stream.content_type == "text/event-stream"
        for _ in range(2):
            _, task, _ = await there.submitted({"action": "x", "delay": 1000})
            async with asyncio.timeout(PROMPTLY):
                assert (await anext(told(stream))).data["id"] == task["id"]


async def test_bodies_pass_up_to_the_limit_and_what_is_larger_is_refused(there: Proxied) -> None:
    task = json.dumps({"action": "uppercase", "data": {"text": "x" * (MIB - 100)}}).encode()
    status, body, _ = await there.submitted(task.ljust(MIB))
    assert status == 202
    assert len((await there.result(body["id"]))["output"]) == MIB - 100
    assert (await there.submitted(task.ljust(MIB + 1)))[0] == 413

    batch = json.dumps({"tasks": [{"action": "x", "data": {"text": "x" * (7 * MIB // 2)}}] * 2}).encode()
    assert (await there.posted("/tasks/batch", batch.ljust(8 * MIB)))[0] == 202
    status, body, _ = await there.posted("/tasks/batch", batch.ljust(8 * MIB + 1))
    assert (status, "large" in body["error"].lower()) == (413, True)


async def test_who_asks_is_known_by_their_own_address(there: Proxied, caplog: pytest.LogCaptureFixture) -> None:
    forged = {"X-Forwarded-For": "192.0.2.1", "Authorization": "Bearer tq_wrong"}
    async with there.session.get(there.at("/tasks"), headers=forged) as refused:
        assert refused.status == 401
    [line] = [record for record in caplog.records if record.message.startswith("refused a request")]
    assert line.__dict__["remote"] == Proxied.ADDRESS

    _, task, _ = await there.submitted({"action": "x", "delay": 1000})
    async with there.session.post(
        there.at(f"/tasks/{task['id']}/cancel"), headers={"X-Forwarded-For": "192.0.2.1"}
    ):
        pass
    async with there.session.get(there.at("/audit")) as audit:
        assert [entry["address"] for entry in (await audit.json())["entries"]] == [Proxied.ADDRESS]


async def test_an_api_that_is_away_is_told_in_json(there: Proxied) -> None:
    await there.system.client.server.close()
    status, body, _ = await there.submitted({"action": "x"})
    assert (status, list(body)) == (502, ["error"])
