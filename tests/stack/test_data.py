"""What stays: over `down` and `up`, and from a backup."""

from pathlib import Path

import pytest
from tests.stack.documents import blocks
from tests.stack.stack import ROOT, Stack

pytestmark = pytest.mark.docker


def test_all_data_is_there_after_down_and_up(disturbed: Stack) -> None:
    ids = [disturbed.submit("sum", {"numbers": [number, 1]}) for number in range(20)]
    before = disturbed.completed(ids)
    # Queued in the broker, with nobody to run it.
    disturbed.run("stop", "worker")
    waiting = disturbed.submit("uppercase", {"text": "still here"})
    later = disturbed.submit("uppercase", {"text": "later"}, delay=3600)

    disturbed.run("down")
    assert not disturbed.containers("api")
    disturbed.up()

    assert [disturbed.task(id) for id in ids] == before
    assert disturbed.task(later)["status"] == "pending"
    (task,) = disturbed.completed([waiting])
    assert task["result"] == {"output": "STILL HERE"}
    assert [attempt["outcome"] for attempt in task["attempts"]] == ["ok"]


def test_backup_and_restore_as_documented(disturbed: Stack, tmp_path: Path) -> None:
    backup, restore = blocks(ROOT / "docs/operations.md", "Backup and restore")
    kept = disturbed.submit("uppercase", {"text": "kept"})
    disturbed.completed([kept])

    disturbed.shell(backup, tmp_path)
    disturbed.shell(backup, tmp_path)  # and again, as the next day
    assert (tmp_path / "backup.db").read_bytes().startswith(b"SQLite format 3")
    before = disturbed.task(kept)
    lost = disturbed.submit("uppercase", {"text": "after the backup"})
    disturbed.completed([lost])
    disturbed.shell(restore, tmp_path)

    disturbed.up()
    assert disturbed.task(kept) == before
    assert disturbed.request("GET", f"/tasks/{lost}").status == 404
    disturbed.completed([disturbed.submit("sum", {"numbers": [1]})])
