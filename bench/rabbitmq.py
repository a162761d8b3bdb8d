"""The RabbitMQ of a run: one container, with a virtual host of its own for each measurement."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import docker
from docker.errors import DockerException, ImageNotFound
from docker.models.containers import Container

from bench.processes import FailedError, cpu_seconds

_PUBLIC, _STAND_IN = "rabbitmq:4.3-management", "taskqueue-base/rabbitmq:4.3"
_USER, _PASSWORD = "bench", secrets.token_hex()

#: Seconds that it may take to start.
_START_TIMEOUT = 60


@dataclass
class RabbitMQ:
    """It runs."""

    amqp_port: int
    pid: int
    http: aiohttp.ClientSession

    @asynccontextmanager
    async def virtual_host(self) -> AsyncIterator[str]:
        """The URL of a new one; it goes with all that is in it."""
        name = f"bench-{secrets.token_hex(6)}"
        await self._manage("PUT", f"/api/vhosts/{name}")
        await self._manage(
            "PUT",
            f"/api/permissions/{name}/{_USER}",
            json={"configure": ".*", "write": ".*", "read": ".*"},
        )
        try:
            yield f"amqp://{_USER}:{_PASSWORD}@127.0.0.1:{self.amqp_port}/{name}"
        finally:
            await self._manage("DELETE", f"/api/vhosts/{name}")

    async def version(self) -> str:
        async with self.http.get("/api/overview") as answer:
            return str((await answer.json())["rabbitmq_version"])

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.pid)

    async def _manage(self, method: str, path: str, json: object = None) -> None:
        async with self.http.request(method, path, json=json) as answer:
            if answer.status >= 300:
                raise FailedError(f"RabbitMQ: {method} {path}: {answer.status} {await answer.text()}")


@asynccontextmanager
async def rabbitmq() -> AsyncIterator[RabbitMQ]:
    """Start one, and remove it with its data when left.

    Raises:
        FailedError: there is no Docker engine, or it does not start.
    """
    with _container() as container:
        amqp, management = (int(container.ports[f"{port}/tcp"][0]["HostPort"]) for port in (5672, 15672))
        async with aiohttp.ClientSession(
            f"http://127.0.0.1:{management}", auth=aiohttp.BasicAuth(_USER, _PASSWORD)
        ) as http:
            await _until_managed(http)
            yield RabbitMQ(amqp, container.attrs["State"]["Pid"], http)


@contextmanager
def _container() -> Iterator[Container]:
    try:
        client = docker.from_env()
    except DockerException as error:
        raise FailedError(f"no Docker engine answers, and the benchmark needs RabbitMQ: {error}") from error
    try:
        container = client.containers.run(
            _image(client),
            detach=True,
            hostname="rabbitmq",
            ports={"5672/tcp": ("127.0.0.1", None), "15672/tcp": ("127.0.0.1", None)},
            environment={"RABBITMQ_DEFAULT_USER": _USER, "RABBITMQ_DEFAULT_PASS": _PASSWORD},
        )
        try:
            container.reload()
            yield container
        finally:
            container.remove(v=True, force=True)
    finally:
        client.close()


def _image(client: docker.DockerClient) -> str:
    """What `make images` has chosen, or else the one that is here."""
    lines = Path(".env").read_text().splitlines() if Path(".env").exists() else []
    written = dict(line.split("=", 1) for line in lines if line.startswith("RABBITMQ_IMAGE="))
    if image := os.environ.get("RABBITMQ_IMAGE") or written.get("RABBITMQ_IMAGE"):
        return image
    try:
        client.images.get(_STAND_IN)
    except ImageNotFound:
        return _PUBLIC
    return _STAND_IN


async def _until_managed(http: aiohttp.ClientSession) -> None:
    """Its management answers last."""
    async with asyncio.timeout(_START_TIMEOUT):
        while True:
            try:
                async with http.get("/api/overview") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.2)
