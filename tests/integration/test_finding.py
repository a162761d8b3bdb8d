"""`GET /tasks`: filters in the query, and pages that lead from one to the next."""

import asyncio
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

import pytest
from tests.integration.system import System
from yarl import URL

from taskqueue.store import Cursor, Filter, reads
from taskqueue_api.live.holders import ANYBODY
from taskqueue_api.resources import cursors, tasks

LINK = re.compile(r'<(?P<url>[^>]+)>; rel="next"')


async def ids(system: System, query: str) -> list[str]:
    answer = await system.get(URL(f"/tasks?{query}", encoded=True))
    assert answer.status == 200, answer
    assert answer.body["count"] == len(answer.body["tasks"])
    return [task["id"] for task in answer.body["tasks"]]


async def followed(system: System, query: str) -> list[list[str]]:
    """The pages that the Link headers lead to."""
    url: URL | None = URL(f"/tasks?{query}", encoded=True)
    pages = []
    while url is not None:
        answer = await system.get(url)
        pages.append([task["id"] for task in answer.body["tasks"]])
        assert ("next" in answer.body) == ("Link" in answer.headers)
        url = None
        if link := answer.headers.get("Link"):
            match = LINK.fullmatch(link)
            assert match
            url = URL(match["url"], encoded=True)
            assert url.query["cursor"] == answer.body["next"]
    return pages


async def test_several_statuses_are_given_one_by_one_or_with_commas(system: System) -> None:
    waiting = await system.submit("x", delay=1000)
    queued = await system.submit("x")
    cancelled = await system.submit("x", delay=1000)
    await system.post(f"/tasks/{cancelled}/cancel")
    for query in (
        "status=pending&status=cancelled",
        "status=pending,cancelled",
        "status=cancelled,pending,pending",
    ):
        assert await ids(system, query) == [cancelled, waiting]
    for query in ("status=queued", "status=queued,queued", "status=queued&status=failed"):
        assert await ids(system, query) == [queued]
    every = "pending,queued,running,completed,failed,cancelled"
    assert await ids(system, f"status={every}") == [cancelled, queued, waiting]


async def test_all_that_is_given_must_fit(system: System) -> None:
    wanted = await system.submit("resize", tags=["a"])
    await system.submit("resize", tags=["b"])
    await system.submit("other", tags=["a"])
    await system.submit("resize", tags=["a"], delay=1000)
    assert await ids(system, "action=resize&tag=a&status=queued") == [wanted]
    assert len(await ids(system, "action=resize&tag=a")) == 2
    assert len(await ids(system, "action=resize")) == 3
    assert await ids(system, "action=resize&tag=a&status=failed") == []


@pytest.mark.parametrize("name", ["a b", "a&b", "ü", "a,b", "100%", "+", "🙂"])
async def test_actions_and_tags_of_any_characters_are_found(system: System, name: str) -> None:
    id = await system.submit(name, tags=[name])
    await system.submit("x", tags=["x"])
    for parameter in ("action", "tag"):
        answer = await system.get("/tasks", params={parameter: name})
        assert [task["id"] for task in answer.body["tasks"]] == [id]
        pages = await followed(system, str(URL.build(query={parameter: name, "limit": "1"}).raw_query_string))
        assert pages == [[id]]


async def test_times_are_those_that_tasks_tell(system: System) -> None:
    tasks = []
    for _ in range(3):
        tasks.append(await system.task(await system.submit("x")))
        await asyncio.sleep(0.01)  # so that they differ
    oldest, middle, newest = [task["id"] for task in tasks]
    at = tasks[1]["created_at"]
    assert await ids(system, f"created_after={at}") == [newest, middle]
    assert await ids(system, f"created_before={at}") == [oldest]
    assert await ids(system, f"created_after={at}&created_before={at + 0.001:.3f}") == [middle]


async def test_a_filters_times_may_be_in_iso_8601(system: System) -> None:
    id = await system.submit("x")
    at = datetime.fromtimestamp((await system.task(id))["created_at"], UTC)
    there = at.astimezone(timezone(timedelta(hours=5, minutes=30)))
    for time in (at, there):
        after = quote(time.isoformat(timespec="milliseconds"))
        before = quote((time + timedelta(milliseconds=1)).isoformat(timespec="milliseconds"))
        assert await ids(system, f"created_after={after}&created_before={before}") == [id]
        assert await ids(system, f"created_before={after}") == []
    page = await system.get("/tasks", params={"created_after": at.isoformat(), "limit": "1"})
    assert page.status == 200


async def test_a_page_leads_to_the_next_by_its_link_as_it_is(system: System) -> None:
    given = [await system.submit("x", tags=["a b&c"]) for _ in range(7)]
    await system.submit("x")
    pages = await followed(system, "limit=3&tag=a%20b%26c&status=queued,pending&created_after=1")
    assert pages == [given[:3:-1], given[3:0:-1], given[:1]]
    assert await followed(system, "limit=7&tag=a%20b%26c") == [given[::-1]], "no empty page at the end"


async def test_tasks_that_come_and_go_between_two_pages_shift_nothing(system: System) -> None:
    given = [await system.submit("x", delay=1000) for _ in range(6)]
    answer = await system.get("/tasks?limit=2")
    for _ in range(3):
        await system.submit("x")
    gone = given[3]
    await system.post(f"/tasks/{gone}/cancel")
    async with system.client.delete(f"/tasks/{gone}") as response:
        assert response.status == 204
    rest = await ids(system, f"cursor={answer.body['next']}")
    assert rest == [given[2], given[1], given[0]]


async def test_a_page_of_large_tasks_is_cut_by_its_bytes_and_leaves_nothing_out(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "PAGE_BYTES", 30_000)
    given = [await system.submit("x", {"text": "ü" * 4_000}) for _ in range(10)]
    huge = await system.submit("x", {"text": "x" * 100_000})
    given.append(huge)
    pages = await followed(system, "limit=1000")
    assert [id for page in pages for id in page] == given[::-1]
    assert [len(page) for page in pages] == [1, 3, 3, 3, 1]


async def test_errors_count_as_bytes_of_a_page_too(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "PAGE_BYTES", 3_000)
    async with system.worker():
        for _ in range(3):
            id = await system.submit("fail", {"message": "x" * 1_500}, max_attempts=1)
            await system.until(id)
    assert [len(page) for page in await followed(system, "status=failed")] == [1, 1, 1]


async def test_a_cursor_outlives_what_it_was_made_of(system: System) -> None:
    given: list[str] = [await system.submit("x", delay=1000) for _ in range(4)]
    cursor: Any = (await system.get("/tasks?limit=2")).body["next"]
    answer = await system.post("/tasks/cancel", json={"status": ["pending"]})
    assert answer.body["count"] == 4
    assert await ids(system, f"cursor={cursor}") == [given[1], given[0]]
    assert (await system.post("/tasks/delete", json={"status": ["cancelled"]})).body["count"] == 4
    assert await ids(system, f"cursor={cursor}") == []


@pytest.mark.parametrize("place", ["99999999999999999999999.0", "-5.0", "5.-1", "4611686018427387905.0"])
async def test_a_cursor_to_nowhere_is_refused_also_with_the_right_mark(system: System, place: str) -> None:
    before, _, floor = place.partition(".")
    cursor = cursors.encode(Cursor(int(before), int(floor)), Filter(), ANYBODY)
    answer = await system.get(f"/tasks?cursor={cursor}")
    assert (answer.status, answer.body) == (400, {"error": cursors.NOT_A_CURSOR})


async def test_tags_are_told_by_how_they_begin(system: System) -> None:
    for n in range(30):
        await system.submit("x", tags=["red", f"team-{n:02}"], delay=1000)
    await system.submit("x", tags=["ümlaut", "100%"], delay=1000)

    async def tags(query: str) -> list[str]:
        return list((await system.get(f"/tags{query}")).body["tags"])

    assert await tags("?limit=3") == ["100%", "red", "team-00"]
    assert await tags("?prefix=team-2&limit=100") == [f"team-2{n}" for n in range(10)]
    assert len(await tags("?prefix=team")) == 20
    assert await tags("?prefix=%C3%BC") == ["ümlaut"]
    assert await tags("?prefix=nothing") == []
    await system.post("/tasks/cancel", json={"tag": "red"})
    await system.post("/tasks/delete", json={"tag": "red"})
    assert await tags("") == ["100%", "ümlaut"]
    for query in ("?limit=0", "?limit=101", "?tag=x"):
        assert (await system.get(f"/tags{query}")).status == 400


async def test_text_is_looked_for_in_id_action_tags_and_error(system: System) -> None:
    async with system.worker():
        failed = await system.submit("fail", {"message": "no such file: 100%_ready.PNG"}, max_attempts=1)
        await system.until(failed)
        tagged = await system.submit("uppercase", {"text": "failed is in the data only"}, tags=["Fails-often"])
        await system.until(tagged)
    assert await ids(system, "q=FAIL") == [tagged, failed]
    assert await ids(system, f"q={failed}") == [failed]
    assert await ids(system, "q=100%25_READY") == [failed]
    assert await ids(system, "q=100%25x") == []
    assert await ids(system, "q=often&action=fail") == []
    assert await ids(system, "error=no%20such%20FILE") == [failed]
    assert await ids(system, "error=often") == []
    assert (await system.get("/tasks", params={"q": ""})).status == 400


async def test_a_search_leads_on_where_it_has_found_nothing_yet(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "SEARCHED", 2)
    wanted = await system.submit("x", tags=["rare"], delay=1000)
    for _ in range(5):
        await system.submit("x", delay=1000)
    assert await followed(system, "q=rare") == [[], [], [wanted]]
