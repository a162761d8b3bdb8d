"""The rules and the configuration for Prometheus, by its own programs; and an alert that fires."""

import asyncio
import re
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.conformance.waiting import eventually
from tests.integration.programs import ROOT
from tests.integration.system import System
from tests.integration.tools import program

DEPLOYED = ROOT / "deploy/prometheus"


@pytest.mark.parametrize(
    "check",
    [("check", "config", "prometheus.yml"), ("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml")],
    ids=" ".join,
)
def test_promtool_finds_nothing_wrong(check: tuple[str, ...]) -> None:
    checked = subprocess.run(
        [program("promtool", "prometheus"), *check],
        cwd=DEPLOYED,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


class Prometheus:
    """A real one."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def ask(self, path: str, **query: str) -> Any:
        async with self._session.get(f"{self._url}/api/v1/{path}", params=query) as response:
            return (await response.json())["data"]

    async def value(self, query: str) -> float | None:
        """Of the one series that a query gives; None where there is none yet."""
        result = (await self.ask("query", query=query))["result"]
        return float(result[0]["value"][1]) if result else None

    async def firing(self) -> set[str]:
        alerts = (await self.ask("alerts"))["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


@asynccontextmanager
async def scraping(target: str, folder: Path) -> AsyncIterator[Prometheus]:
    """One that scrapes this target, by the deployed rules: but at once, and five times a second."""
    rules = re.sub(r"for: \w+", "for: 0s", (DEPLOYED / "rules.yml").read_text())
    (folder / "rules.yml").write_text(re.sub(r"\[\d+m\]", "[3s]", rules))
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 200ms, evaluation_interval: 200ms}\n"
        "rule_files: [rules.yml]\n"
        f"scrape_configs: [{{job_name: taskqueue-api, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        program("prometheus", "prometheus"),
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
        cwd=folder,
    )
    try:
        async with aiohttp.ClientSession() as session:

            async def is_ready() -> bool:
                try:
                    async with session.get(f"http://127.0.0.1:{port}/-/ready") as response:
                        return response.status == 200
                except aiohttp.ClientConnectionError:
                    return False

            await eventually(is_ready)
            yield Prometheus(f"http://127.0.0.1:{port}", session)
    finally:
        process.kill()
        await process.wait()


async def test_an_alert_fires_when_the_worker_is_stopped_and_tasks_wait(system: System, tmp_path: Path) -> None:
    url = system.client.make_url("")
    folder = tmp_path / "prometheus"
    folder.mkdir()
    async with scraping(f"{url.host}:{url.port}", folder) as prometheus:
        async with system.worker():
            await system.until(await system.submit("uppercase", {"text": "a"}))

            async def all_is_known() -> bool:
                finished = 'taskqueue_tasks_finished_total{action="uppercase", status="completed"}'
                return await prometheus.value("taskqueue_workers") == await prometheus.value(finished) == 1

            await eventually(all_is_known)
            assert await prometheus.firing() & {"TaskqueueNoWorker", "TaskqueueNothingCompletes"} == set()
        await system.submit("uppercase", {"text": "b"})

        async def is_told() -> bool:
            return {"TaskqueueNoWorker", "TaskqueueNothingCompletes"} <= await prometheus.firing()

        await eventually(is_told)
