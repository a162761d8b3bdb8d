"""The pictures of the README: `make pictures` takes them anew; otherwise they are taken, and thrown away."""

import contextlib
import os
import random
import time
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Page, expect
from tests.integration.programs import Client, Programs
from tests.integration.store.given import looking

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: By action: tasks a minute, and the bounds in milliseconds into which attempts fall.
BUSY = {"resize": (40, (153, 193, 302, 378, 593)), "mail": (25, (58, 74, 97)), "uppercase": (8, (1, 3))}


def an_hour_ago_until_now(database: Path) -> None:
    """Counters of an hour that was busy, and in which at last more failed; the pages show no others than these."""
    dice, now = random.Random(7), int(time.time()) // 60
    with contextlib.closing(looking(database)) as connection:
        for minute in range(now - 60, now):
            for action, (rate, bounds) in BUSY.items():
                accepted = int(rate * dice.uniform(0.8, 1.3) * (1.5 if minute % 25 < 4 else 1))
                failed = 7 if action == "resize" and minute > now - 7 else dice.random() < 0.1
                counts = (("accepted", accepted), ("completed", accepted - failed), ("failed", failed))
                for what, tasks in counts:
                    connection.execute(
                        "INSERT INTO minute_counts VALUES (?, ?, ?, ?)", (minute, action, what, tasks)
                    )
                for what, among in (("run", bounds), ("wait", (12, 20, 45, 97))):
                    for bound in among:
                        row = (minute, action, what, bound, dice.randrange(1, 20))
                        connection.execute("INSERT INTO minute_times VALUES (?, ?, ?, ?, ?)", row)


async def test_the_pictures_of_the_readme(page: Page, home: str, programs: Programs, tmp_path: Path) -> None:
    folder = Path(os.environ.get("PICTURES") or tmp_path)
    async with aiohttp.ClientSession() as session:
        client = Client(session)
        final = [await client.submit(home, "uppercase", {"text": f"order {n}"}, tags=["shop"]) for n in range(12)]
        final += [await client.submit(home, "refuse", {}, tags=["shop"]) for _ in range(3)]
        final.append(await client.submit(home, "fail", {"until_attempt": 3}, tags=["album-3"]))
        await client.until_final(home, *final)
        await client.submit(home, "mail", {"order": 7}, delay=3600)
    an_hour_ago_until_now(programs.data / "tasks.db")
    await page.set_viewport_size({"width": 1200, "height": 800})
    await page.emulate_media(color_scheme="light")
    for name, path, text in (
        ("overview", "/ui/overview", "Failed tasks"),
        ("tasks", "/ui/tasks", "refuse"),
        ("task", f"/ui/tasks/{final[-1]}", "Timeline"),
    ):
        await page.goto(path)
        await expect(page.get_by_text(text).first).to_be_visible()
        taken = await page.screenshot(path=folder / f"{name}.png")
        assert len(taken) > 20_000
