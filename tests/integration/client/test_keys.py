"""The client at an API that asks for keys."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.integration.keys import asking_for_keys, key_of
from tests.integration.system import System

from taskqueue.client import AsyncClient, Client, ForbiddenError, NotFoundError, UnauthorizedError
from taskqueue.contract.keys import Role


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with asking_for_keys(tmp_path) as system:
        yield system


async def test_it_shows_the_key_that_it_is_given(system: System, url: str) -> None:
    async with AsyncClient(url, key=await key_of(system, Role.SUBMIT)) as client:
        handle = await client.submit("uppercase", {"text": "x"})
        assert (await client.get(handle.id)).action == "uppercase"
        events = client.watch(handle.id)
        assert (await anext(events)).data.id == handle.id
        await events.aclose()
        with pytest.raises(ForbiddenError, match="needs the role operate"):
            await client.cancel(handle.id)


async def test_it_shows_that_of_the_environment_else(
    system: System, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKQUEUE_KEY", await key_of(system, Role.READ) + "\n")

    def count() -> int:
        with Client(url) as client:
            return len(list(client.find()))

    assert await asyncio.to_thread(count) == 0


@pytest.mark.parametrize("key", [None, "tq_wrong"])
async def test_without_a_good_one_it_raises_and_does_not_try_again(url: str, key: str | None) -> None:
    async with AsyncClient(url, key=key) as client:
        with pytest.raises(UnauthorizedError) as raised:
            await client.submit("x")
        assert raised.value.status == 401
        assert "tq_wrong" not in str(raised.value)


async def test_an_admin_makes_lists_and_revokes_keys(system: System, url: str) -> None:
    async with AsyncClient(url, key=await key_of(system, Role.ADMIN)) as client:
        made = await client.create_key("the shop", Role.SUBMIT, expires_in=timedelta(days=1))
        other = await client.create_key("on call", "operate", expires_at=datetime(2099, 1, 1, tzinfo=UTC))
        assert [key.id for key in await client.keys()][:2] == [other.id, made.id]
        assert other.expires_at == 4070908800
        assert (await client.revoke_key(made.id)).revoked_at is not None
        with pytest.raises(NotFoundError):
            await client.revoke_key("none")


def test_a_key_and_a_password_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        Client("http://me:secret@127.0.0.1:1", key="tq_x")
