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
