"""Dead letters over HTTP while the broker is killed, silent or full: clear answers, and none is lost."""

from pathlib import Path
from typing import Any

import aio_pika
import pytest
from tests.conformance.waiting import at_most
from tests.faults.cluster import Cluster, until
from tests.faults.test_broker_faults import Firewall, disk_alarm, firewall, killed

pytestmark = pytest.mark.docker

__all__ = ["firewall"]

AWAY = (503, {"error": "broker unavailable"})


async def ask(cluster: Cluster, method: str, path: str, **options: Any) -> tuple[int, Any]:
    async with cluster.http.request(method, path, **options) as response:
        assert ("Retry-After" in response.headers) == (response.status == 503)
        return response.status, await response.json()


async def total(cluster: Cluster) -> int:
    status, answer = await ask(cluster, "GET", "/dead")
    assert status == 200, answer
    return int(answer["total"])


async def bury(cluster: Cluster, *bodies: bytes) -> None:
    """Put messages there as nobody has rejected them."""
    async with await aio_pika.connect(cluster.server.url) as connection:
        channel = await connection.channel()
        for body in bodies:
            await channel.default_exchange.publish(
                aio_pika.Message(body, delivery_mode=2), routing_key=f"{cluster.queue}.dead"
            )


async def test_a_broker_that_is_killed_is_told_and_has_them_when_it_is_back(cluster: Cluster) -> None:
    api = await cluster.start_api()
    await bury(cluster, b"1", b"2", b"3")
    assert await total(cluster) == 3
    async with killed(cluster.server):
        for method, path, body in (
            ("GET", "/dead", None),
            ("POST", "/dead/requeue", {"all": True}),
            ("POST", "/dead/drop", {"ids": ["x"]}),
        ):
            with at_most(3):
                assert await ask(cluster, method, path, json=body) == AWAY
    await cluster.until_ready(api)
    assert await ask(cluster, "POST", "/dead/drop", json={"all": True, "limit": 1}) == (
        200,
        {"count": 1, "left": 2},
    )
    assert await total(cluster) == 2


async def test_a_broker_that_falls_silent_is_told_soon_and_keeps_them(
    cluster: Cluster, firewall: Firewall
) -> None:
    await firewall.open()
    await cluster.start_api()
    await bury(cluster, b"1", b"2")
    assert await total(cluster) == 2
    firewall.drop()
    with at_most(12):
        assert await ask(cluster, "POST", "/dead/drop", json={"all": True}) == AWAY
    firewall.lift()
    firewall.cut()

    async def are_there() -> bool:
        return (await ask(cluster, "GET", "/dead"))[1].get("total") == 2

    await until(are_there, "both to be there")


async def test_where_the_broker_takes_no_messages_nothing_is_requeued_and_they_can_be_dropped(
    cluster: Cluster,
) -> None:
    await cluster.start_api()
    await bury(cluster, b"1", b"2")
    async with disk_alarm(cluster.server):
        with at_most(12):
            assert await ask(cluster, "POST", "/dead/requeue", json={"all": True}) == AWAY
        assert await ask(cluster, "POST", "/dead/drop", json={"all": True, "limit": 1}) == (
            200,
            {"count": 1, "left": 1},
        )
    assert await total(cluster) == 1
    assert await ask(cluster, "POST", "/dead/requeue", json={"all": True}) == (200, {"count": 1, "left": 0})


async def test_many_large_ones_take_no_memory(cluster: Cluster) -> None:
    api = await cluster.start_api()
    await bury(cluster, *[bytes([number]) * 4_000_000 for number in range(60)])

    def most() -> int:
        """Kilobytes that the API has ever had."""
        status = Path(f"/proc/{api.handle.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))

    before = most()
    status, answer = await ask(cluster, "GET", "/dead")
    assert (status, answer["total"]) == (200, 60)
    assert {letter["size"] for letter in answer["letters"]} == {4_000_000}
    assert await ask(cluster, "POST", "/dead/drop", json={"all": True}) == (200, {"count": 60, "left": 0})
    assert most() - before < 80_000, "all together have 240,000"
