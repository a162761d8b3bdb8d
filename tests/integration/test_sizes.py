"""Long answers are compressed; how much a client may open and send is limited."""

import gzip
import json
from pathlib import Path

import aiohttp
import pytest
from tests.conformance.waiting import eventually
from tests.integration.system import System, quick_settings

from taskqueue_api.resources import events


async def raw(system: System, path: str, **headers: str) -> tuple[dict[str, str], bytes]:
    """An answer as it came over the wire."""
    options = {name.replace("_", "-"): value for name, value in headers.items()}
    skipped = ["Accept-Encoding"]
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.get(system.client.make_url(path), headers=options, skip_auto_headers=skipped) as response,
    ):
        return dict(response.headers), await response.read()


@pytest.mark.parametrize("accepted", ["gzip", "deflate, GZIP;q=0.5", "gzip, br"])
async def test_a_long_answer_is_compressed_for_who_takes_it(system: System, accepted: str) -> None:
    for path in ("/openapi.json", "/docs/swagger-ui-bundle.js"):
        headers, plain = await raw(system, path)
        assert "Content-Encoding" not in headers
        told, body = await raw(system, path, Accept_Encoding=accepted)
        assert (told["Content-Encoding"], told["Vary"], headers["Vary"]) == ("gzip", *["Accept-Encoding"] * 2)
        assert len(body) < len(plain) / 2
        assert gzip.decompress(body) == plain


@pytest.mark.parametrize("accepted", ["", "identity", "br", "gzip;q=0", "gzip; q=0.0", "gzipped"])
async def test_it_is_not_for_others(system: System, accepted: str) -> None:
    headers, body = await raw(system, "/openapi.json", Accept_Encoding=accepted)
    assert "Content-Encoding" not in headers
    assert json.loads(body)


async def test_short_answers_and_streams_are_sent_as_they_are(system: System) -> None:
    id = await system.submit("x", delay=1000)
    await system.post(f"/tasks/{id}/cancel")
    for path in ("/livez", f"/tasks/{id}/events"):
        headers, body = await raw(system, path, Accept_Encoding="gzip")
        assert "Content-Encoding" not in headers
        assert body.startswith((b"{", b"event: "))


async def test_a_stream_too_many_is_refused_until_another_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT", 1000)  # a client's leaving is noticed without having to write
    async with System.open(quick_settings(tmp_path, max_streams=2)) as system:
        id = await system.submit("x", delay=1000)
        first = await system.client.get("/events")
        async with system.client.get(f"/tasks/{id}/events"):
            for path in ("/events", f"/tasks/{id}/events"):
                answer = await system.get(path)
                assert (answer.status, answer.body) == (503, {"error": "too many streams are open"})
                assert int(answer.headers["Retry-After"]) > 0
            assert (await system.get("/tasks")).status == 200
            first.close()

            async def opened() -> bool:
                async with system.client.get("/events") as response:
                    return response.status == 200

            await eventually(opened)
