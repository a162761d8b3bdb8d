"""Pages of other origins: none, unless a setting names their origins."""

from pathlib import Path

import pytest
from tests.integration.system import System, quick_settings

PAGE = "https://app.example"
ALLOWED = "Access-Control-Allow-Origin"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "idempotency-key"}


async def test_it_is_off(system: System) -> None:
    for method, status in (("GET", 200), ("OPTIONS", 405)):
        async with system.client.request(method, "/tasks", headers=PREFLIGHT | {"Origin": PAGE}) as response:
            assert response.status == status
            assert not [name for name in response.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize(
    ("origins", "allowed"), [(f"https://x.example, {PAGE}", True), ("*", True), ("https://x.example", False)]
)
async def test_the_origins_that_are_named_may_use_the_api(tmp_path: Path, origins: str, allowed: bool) -> None:
    async with System.open(quick_settings(tmp_path, cors_origins=origins)) as system:
        for path in ("/tasks", "/tasks/none", "/events"):
            async with system.client.get(path, headers={"Origin": PAGE}) as response:
                assert response.headers.get(ALLOWED) == (PAGE if allowed else None)
                assert "Origin" in response.headers.getall("Vary")
        async with system.client.options("/tasks", headers=PREFLIGHT | {"Origin": PAGE}) as response:
            assert response.status == (204 if allowed else 405)
            assert ("Idempotency-Key" in response.headers.get("Access-Control-Allow-Headers", "")) is allowed
        async with system.client.options("/tasks", headers={"Origin": PAGE}) as response:
            assert response.status == 405


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": PAGE}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://{host}"}, False),
        ({"Origin": "http://{host}"}, True),
        ({"Origin": "http://queue.lan", "Host": "queue.lan"}, True),
        ({"Origin": "http://[::1]:8080", "Host": "[::1]:8080"}, True),
        ({"Origin": "https://xn--bcher-kva.example", "Host": "xn--bcher-kva.example"}, True),
        ({"Origin": "http://queue.lan", "Host": "queue.lan:8080"}, False),
        ({"Origin": PAGE}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://["}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://friend.example"}, True),
        ({"Origin": "https://friend.example"}, True),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_page_of_another_origin_changes_nothing(
    tmp_path: Path, method: str, headers: dict[str, str], allowed: bool
) -> None:
    settings = quick_settings(tmp_path, cors_origins="https://friend.example", auth="proxy")
    async with System.open(settings) as system:
        id = await system.submit("x", delay=1000)
        await system.post(f"/tasks/{id}/cancel")
        path = f"/tasks/{id}" if method == "DELETE" else f"/tasks/{id}/retry"
        host = f"{system.client.host}:{system.client.port}"
        sent = {name: value.format(host=host) for name, value in headers.items()}
        async with system.client.request(method, path, headers=sent) as response:
            assert (response.status in {202, 204}) is allowed
            if not allowed:
                assert response.status == 403
                assert "TASKQUEUE_CORS_ORIGINS" in (await response.json())["error"]
        if not allowed:
            assert (await system.task(id))["status"] == "cancelled"
        assert (await system.get("/tasks", headers=sent)).status == 200, "reading is the browser's to prevent"
