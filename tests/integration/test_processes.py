"""Handlers in child processes: what they get and tell, how they are stopped, and what becomes of all others."""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.waiting import PATIENCE, eventually
from tests.integration.programs import Client, Programs, is_running
from tests.integration.system import System, quick_settings

from taskqueue.actions import middlewares, registry
from taskqueue.message import Message, encode
from taskqueue.process import FatalError
from taskqueue.task import Claim, Outcome, Status
from taskqueue.testing.queue import Queue
from taskqueue_worker.children import child
from taskqueue_worker.children.pool import Children

HANDLERS = "tests.integration.process_actions"


@pytest.fixture(autouse=True)
def actions_of_their_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Other tests' workers in this process need no children."""
    monkeypatch.setattr(registry, "ACTIONS", {})
    monkeypatch.setattr(middlewares, "MIDDLEWARE", [])
    yield
    sys.modules.pop(HANDLERS, None)


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with System.open(quick_settings(tmp_path, handlers=HANDLERS, consumers=2, processes=2)) as system:
        yield system


async def marked(folder: Path, id: str, attempt: int = 1) -> list[int]:
    """Wait until `hold` has begun; its process, and that of the program that it has started."""
    file = folder / f"{id}.{attempt}"
    await eventually(file.exists)
    return [int(pid) for pid in file.read_text().split()]


async def gone(*pids: int) -> None:
    await eventually(lambda: not any(map(is_running, pids)))


def block_until(file: Path) -> None:
    patience = time.monotonic() + PATIENCE
    while not file.exists():
        assert time.monotonic() < patience
        time.sleep(0.01)


#: Processes that were there before, and are others': a browser's driver lives as long as the tests.
_OTHERS: set[int] = set()


@pytest.fixture(autouse=True, scope="module")
def others_children() -> None:
    _OTHERS.update(children())


def children() -> list[int]:
    """All processes that this one has started since, zombies included."""
    return [
        int(pid)
        for task in Path("/proc/self/task").iterdir()
        for pid in (task / "children").read_text().split()
        if int(pid) not in _OTHERS
    ]


def local_sockets() -> int:
    """How many Unix sockets this process has open."""
    there = {f"socket:[{line.split()[6]}]" for line in Path("/proc/net/unix").read_text().splitlines()[1:]}
    files = [str(file.readlink()) for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
    return len([file for file in files if file in there])


# What a handler gets, and what comes back


async def test_a_handler_runs_in_a_process_of_its_own_which_is_used_again(system: System) -> None:
    async with system.worker(processes=1):
        ids = [await system.submit(action) for action in ("tell", "tell_async", "tell", "here")]
        tasks = [await system.until(id) for id in ids]
        [worker] = (await system.get("/workers")).body["workers"]
    *told, here = [task["result"] for task in tasks]
    assert here["pid"] == os.getpid()
    assert (worker["executors"]["tell"], worker["executors"]["here"]) == ("process", "async")
    [pid] = {result["pid"] for result in told}
    assert pid != os.getpid()
    assert (told[0]["parent"], told[0]["session"]) == (os.getpid(), pid)
    for id, action, result in zip(ids, ("tell", "tell_async", "tell"), told, strict=False):
        assert result["task"] == [id, action, 1]


async def test_what_is_wrong_with_data_or_result_is_told_as_of_any_handler(system: System) -> None:
    async with system.worker(processes=1, max_result_bytes=1000):
        for action, data, error, message in (
            ("tell", {"value": -1}, "InvalidArguments", "value: Input should be greater than or equal to 0"),
            ("give_a_set", {}, "InvalidResult", "set"),
            ("give", {"value": "x" * 1000}, "ResultTooLarge", "TASKQUEUE_MAX_RESULT_BYTES is 1000"),
        ):
            task = await system.until(await system.submit(action, data))
            assert (task["status"], task["failures"], task["error"]["type"]) == ("failed", 1, error)
            assert message in task["error"]["message"]


async def test_what_a_handler_raises_arrives_as_what_it_is(system: System) -> None:
    async with system.worker(processes=1):
        again = await system.submit("fail", {"how": "retry"})
        later = await system.submit("fail", {"how": "snooze"}, max_attempts=1)
        refused = await system.submit("fail", {"how": "reject"})
        ended = await system.submit("fail", {"how": "exit"}, max_attempts=1)
        failed = await system.submit("fail", {"how": "error"}, max_attempts=2)

        await eventually(lambda: system.attempts_ended(again, 1))
        task = await system.task(again)
        assert (task["status"], task["error"]["message"]) == ("pending", "not there yet")
        assert 20 < task["run_at"] - task["attempts"][0]["ended_at"] < 40

        await eventually(lambda: system.attempts_ended(later, 1))
        task = await system.task(later)
        assert (task["status"], task["failures"], task["attempts"][0]["outcome"]) == ("pending", 0, "snoozed")
        assert 20 < task["run_at"] - task["attempts"][0]["ended_at"] < 40

        task = await system.until(refused)
        assert (task["failures"], task["error"]["type"]) == (1, "Reject")
        assert (await system.until(ended))["error"]["message"] == "the handler raised SystemExit"
        task = await system.until(failed)
        assert (task["failures"], task["error"]["type"]) == (2, "LookupError")
        assert "in fail" in task["error"]["traceback"]


async def test_progress_comes_through_and_none_of_an_earlier_task_in_the_same_process(
    system: System, tmp_path: Path
) -> None:
    async with system.worker(processes=1):
        task = await system.until(await system.submit("report", {"fractions": [0.1, 0.5, 0.75]}))
        assert task["progress"] == {"fraction": 0.75, "message": "at 0.75"}
        await system.until(await system.submit("report_later", {"marks": str(tmp_path)}))
        id = await system.submit("hold", {"marks": str(tmp_path)})
        await marked(tmp_path, id)
        (tmp_path / "late").touch()
        await eventually((tmp_path / "told").exists)
        (tmp_path / "go").touch()
        assert (await system.until(id))["progress"] is None


async def test_logs_come_through_with_level_fields_and_traceback(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with system.worker(processes=1):
        id = await system.submit("write_logs")
        request = (await system.until(id))["attempts"][0]["request_id"]
    records: list[Any] = [record for record in caplog.records if record.name == "tests.process_actions"]
    assert [(it.levelname, it.getMessage()) for it in records] == [
        ("INFO", "about something"),
        ("ERROR", "it went wrong"),
    ]
    assert not [record for record in caplog.records if record.name == "a_library"]
    assert (records[0].customer, records[0].path) == ({"id": 7}, "a.png")
    for it in records:
        assert (it.task_id, it.action, it.attempt, it.request_id) == (id, "write_logs", 1, request)
    assert "in write_logs" in records[1].exc_text
    assert "ValueError: invalid literal" in records[1].exc_text


async def test_who_logs_and_prints_much_holds_up_nobody(
    system: System, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with system.worker():
        flooding = await system.submit("flood", {"marks": str(tmp_path)})
        await eventually(lambda: "line 100" in caplog.messages)
        assert (await system.until(await system.submit("here")))["status"] == "completed"
        (tmp_path / "go").touch()
        lines = (await system.until(flooding))["result"]["lines"]
    assert [line for line in caplog.messages if line.startswith("line ")] == [f"line {n}" for n in range(lines)]


async def test_who_tells_much_at_once_takes_turns_with_all_others(tmp_path: Path) -> None:
    times = 100
    told: list[int] = []
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    payload = encode(Message("7", "tell_at_once", {"marks": str(tmp_path), "times": times}, 0))
    claim = Claim(1, "7", 1, "worker", "tell_at_once", payload, 0, max_attempts=1, timeout=None, started_at=0)
    async with Children(quick_settings(tmp_path, handlers=HANDLERS, processes=1)) as children:
        begun = asyncio.Event()
        counting = asyncio.create_task(count_turns())
        running = asyncio.create_task(children.run(claim, lambda text: told.append(turns), begun.set))
        await begun.wait()
        block_until(tmp_path / "told")  # nothing is heard until then
        await eventually(lambda: len(told) == times)
        counting.cancel()
        (tmp_path / "go").touch()
        await running
    assert len(set(told)) > times / 2


async def test_a_child_that_has_died_while_idle_costs_the_next_task_nothing(tmp_path: Path) -> None:
    payload = encode(Message("7", "tell", {}, 0))
    claim = Claim(1, "7", 1, "worker", "tell", payload, 0, max_attempts=1, timeout=None, started_at=0)
    async with Children(quick_settings(tmp_path, handlers=HANDLERS, processes=1)) as pool:
        [pid] = children()
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222  # the loop is to hear nothing of it
        ending = await pool.run(claim, lambda text: None, lambda: None)
    assert ending.outcome is Outcome.OK


async def test_a_stop_while_children_start_leaves_none_behind(tmp_path: Path) -> None:
    before = set(children())
    starting = asyncio.create_task(Children(quick_settings(tmp_path, handlers=HANDLERS, processes=2)).__aenter__())
    await eventually(lambda: len(set(children()) - before) == 2)
    starting.cancel()
    await asyncio.wait({starting})
    assert starting.cancelled()
    assert set(children()) == before


# Resources and middleware


async def test_resources_and_middleware_are_those_of_the_process(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with system.worker(processes=1):
        ids = [await system.submit("borrow") for _ in range(2)]
        first, second = sorted([(await system.until(id))["result"] for id in ids], key=lambda it: len(it["pool"]))
    pid = first["pid"]
    assert pid != os.getpid()
    assert first["around"] == second["around"] == second["pid"] == pid
    assert len(first["pool"]) == 1
    assert sorted(second["pool"]) == sorted([*ids, "given back"])
    told = [record.getMessage() for record in caplog.records if record.name == "tests.pool"]
    assert told == [f"opened in {pid}", f"closed in {pid}"]


async def test_what_a_process_submits_is_stored_with_its_completion(system: System) -> None:
    async with system.worker():
        task = await system.until(await system.submit("spread", {"times": 2}))
        children = [await system.until(id) for id in task["children"]]
    assert task["result"] == {"ids": task["children"]}
    assert [(child["parent"], child["priority"], child["status"]) for child in children] == [
        (task["id"], "low", "completed")
    ] * 2


async def test_what_a_process_submits_that_dies_is_not_stored(system: System) -> None:
    async with system.worker():
        task = await system.until(await system.submit("spread", {"times": 2, "how": "kill"}, max_attempts=1))
    assert (task["status"], await system.count()) == ("failed", 1)


# Processes that die


async def test_a_process_that_dies_is_an_error_of_its_attempt_and_is_replaced(
    system: System, tmp_path: Path
) -> None:
    async with system.worker():
        neighbour = await system.submit("hold", {"marks": str(tmp_path)})
        [pid, _] = await marked(tmp_path, neighbour)
        for how, why in (
            ("kill", "was killed by SIGKILL"),
            ("segfault", "was killed by SIGSEGV"),
            ("signal", "was killed by signal 40"),
            ("exit", "ended with exit code 3"),
            ("fork", "ended with exit code 3"),
            ("program", "ended with exit code 3"),
        ):
            task = await system.until(await system.submit("die", {"how": how}, max_attempts=1))
            assert (task["status"], task["failures"]) == ("failed", 1)
            assert (task["error"]["type"], task["error"]["message"]) == ("ProcessDied", f"the child process {why}")
        task = await system.until(await system.submit("die_first"))
        assert [attempt["outcome"] for attempt in task["attempts"]] == ["error", "ok"]
        (tmp_path / "go").touch()
        task = await system.until(neighbour)
        assert (task["result"], task["attempt"]) == ({"pid": pid}, 1)


async def test_a_process_that_dies_while_it_is_idle_costs_no_attempt(system: System) -> None:
    async with system.worker(processes=1):
        pid = (await system.until(await system.submit("tell")))["result"]["pid"]
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: pid not in children())
        task = await system.until(await system.submit("tell"))
    assert (task["status"], task["attempt"]) == ("completed", 1)
    assert task["result"]["pid"] != pid


async def test_a_process_is_replaced_after_so_many_tasks(system: System) -> None:
    async with system.worker(processes=1, process_tasks=2):
        tasks = [await system.until(await system.submit("tell")) for _ in range(3)]
        pids = [task["result"]["pid"] for task in tasks]
        await eventually(lambda: pids[0] not in children())
    assert pids[0] == pids[1] != pids[2]


async def test_a_process_that_cannot_be_started_is_an_error_of_the_attempt(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with system.worker(processes=1, process_tasks=1):
        await system.until(await system.submit("tell"))
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "/no/such/python")
            task = await system.until(await system.submit("tell", max_attempts=1))
        assert (task["status"], task["error"]["type"]) == ("failed", "ProcessDied")
        assert "can't be started" in task["error"]["message"]
        assert (await system.until(await system.submit("tell")))["status"] == "completed"


async def test_what_the_processes_had_open_is_closed_when_the_worker_stops(system: System, tmp_path: Path) -> None:
    async with system.worker(processes=1):
        await system.until(await system.submit("tell"))
    before = local_sockets()
    assert not children()
    async with system.worker(process_tasks=2):
        for action, data in (("tell", {}), ("die", {"how": "kill"}), ("tell", {}), ("tell", {})):
            await system.until(await system.submit(action, data, max_attempts=1))
        await system.until(await system.submit("hold", {"marks": str(tmp_path)}, timeout=0.1, max_attempts=1))
    assert local_sockets() == before
    assert not children()


# Processes that are told to stop


async def test_a_task_out_of_time_is_killed_with_the_programs_that_it_started(
    system: System, tmp_path: Path
) -> None:
    async with system.worker():
        neighbour = await system.submit("hold", {"marks": str(tmp_path)})
        await marked(tmp_path, neighbour)
        id = await system.submit("hold", {"marks": str(tmp_path)}, timeout=2, max_attempts=1)
        pids = await marked(tmp_path, id)
        task = await system.until(id)
        assert (task["status"], task["error"]["type"]) == ("failed", "Timeout")
        await gone(*pids)
        assert (await system.until(await system.submit("tell")))["status"] == "completed"
        (tmp_path / "go").touch()
        assert (await system.until(neighbour))["attempt"] == 1


async def test_a_cancelled_task_is_killed_whatever_its_handler_does(system: System, tmp_path: Path) -> None:
    async with system.worker():
        ids = [await system.submit(action, {"marks": str(tmp_path)}) for action in ("hold", "hold_the_lock")]
        pids = [pid for id in ids for pid in await marked(tmp_path, id)]
        for id in ids:
            assert (await system.post(f"/tasks/{id}/cancel")).status == 202
        assert [(await system.until(id))["status"] for id in ids] == ["cancelled"] * 2
        await gone(*pids)
        assert (await system.until(await system.submit("tell")))["status"] == "completed"


async def test_a_stopping_worker_kills_what_does_not_end_in_time_at_no_cost(
    system: System, tmp_path: Path
) -> None:
    async with system.worker(processes=1, drain_timeout=0.1) as worker:
        id = await system.submit("hold", {"marks": str(tmp_path)}, max_attempts=1)
        pids = await marked(tmp_path, id)
        await worker.stop()
        assert not any(map(is_running, pids))
    task = await system.task(id)
    assert (task["status"], task["failures"]) == ("pending", 0)
    assert [attempt["outcome"] for attempt in task["attempts"]] == ["shutdown"]
    assert not children()


async def test_a_signal_to_all_processes_lets_the_worker_finish_what_its_children_run(
    system: System, tmp_path: Path
) -> None:
    async with system.worker(processes=1) as worker:
        id = await system.submit("hold", {"marks": str(tmp_path)})
        [pid, _] = await marked(tmp_path, id)
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(pid, number)
        stopping = asyncio.create_task(worker.stop())
        await system.beats(1)
        (tmp_path / "go").touch()
        await stopping
    task = await system.task(id)
    assert (task["status"], task["result"], task["attempt"]) == ("completed", {"pid": pid}, 1)


async def test_a_program_that_a_handler_starts_can_be_told_to_stop(system: System) -> None:
    async with system.worker(processes=1):
        task = await system.until(await system.submit("stops_of_a_program"))
    assert task["result"] == {"code": -signal.SIGTERM}


async def test_to_wait_for_a_process_costs_no_time_and_can_be_cancelled(system: System, tmp_path: Path) -> None:
    async with system.worker(consumers=3, processes=1):
        first = await system.submit("hold", {"marks": str(tmp_path)})
        await marked(tmp_path, first)
        second, third = [await system.submit("tell", timeout=1) for _ in range(2)]
        for id in (second, third):
            await system.until(id, Status.RUNNING)
        assert (await system.post(f"/tasks/{third}/cancel")).status == 202
        assert (await system.until(third))["status"] == "cancelled"
        await system.beats(7)  # more than a second
        task = await system.task(second)
        assert (task["status"], task["attempt"]) == ("running", 1)
        (tmp_path / "go").touch()
        task = await system.until(second)
        assert task["status"] == "completed"
        assert 0 < task["result"]["left"] <= 1


# The queue of a user's test


@pytest.fixture
def taskqueue_settings() -> dict[str, Any]:
    return {"handlers": HANDLERS, "consumers": 1}


async def test_a_queue_in_a_test_whose_settings_name_the_module_has_processes(taskqueue: Queue) -> None:
    task = await taskqueue.submit("tell", timeout=30)
    taskqueue.advance(3600)
    await taskqueue.drain()
    result = await task.result()
    assert result["pid"] != os.getpid()
    assert 0 < result["left"] <= 30
    assert not children()


# Workers that end


async def test_a_process_that_does_not_leave_by_itself_is_killed(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_END", 0.1)
    async with system.worker(processes=1):
        await system.until(await system.submit("linger"))
    assert not children()


@pytest.mark.parametrize(
    ("where", "what", "told"),
    [
        (
            "module",
            "raise LookupError('no such file')",
            "in a child process: handlers 'own_handlers'.*LookupError: no such file",
        ),
        ("module", "import time; time.sleep(600)", "a child process was not ready within 0.5 s"),
        (
            "resource",
            "raise LookupError('no such file')",
            "in a child process: resource 'pool' can't be opened: LookupError: no such file",
        ),
    ],
    ids=["they fail", "they hang", "their resource fails"],
)
async def test_a_worker_whose_processes_cannot_load_the_handlers_does_not_start(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, what: str, told: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(child, "_START", 0.5 if "sleep" in what else 60)
    (tmp_path / "own_handlers.py").write_text(
        "import os\n"
        "from typing import Annotated\n"
        "from taskqueue import Depends, action\n"
        f"if os.getpid() != {os.getpid()} and {where == 'module'}: {what}\n"
        "def pool() -> None:\n"
        f"    {what}\n"
        "@action(executor='process')\n"
        "def act(pool: Annotated[None, Depends(pool)]) -> dict: return {}\n"
    )
    async with system.worker(handlers="own_handlers") as worker:
        with pytest.raises(FatalError, match=told):
            await worker.running
    sys.modules.pop("own_handlers", None)
    assert await system.store.reads.worker_beats() == {}
    assert not children()


async def test_processes_load_what_the_worker_does_where_no_setting_names_it(
    programs: Programs, client: Client
) -> None:
    (programs.folder / "handlers.py").write_text(
        "import os\n"
        "from taskqueue import action\n"
        "@action(executor='process')\n"
        "def own() -> int: return os.getpid()\n"
    )
    program = await programs.start("taskqueue-embedded", processes=1)
    url = await program.url()
    [task] = await client.until_final(url, await client.submit(url, "own"))
    assert task["status"] == "completed", task
    assert task["result"] != program.handle.pid


async def test_killed_itself_a_worker_leaves_no_process_behind(programs: Programs, client: Client) -> None:
    program = await programs.start("taskqueue-embedded", handlers=HANDLERS, processes=2)
    url = await program.url()
    data = {"marks": str(programs.folder)}
    ids = [await client.submit(url, action, data) for action in ("hold", "hold_the_lock")]
    pids = [pid for id in ids for pid in await marked(programs.folder, id)]
    assert all(map(is_running, pids))
    await program.kill()
    await gone(*pids)


async def test_a_handler_that_cannot_run_where_it_should_is_told_in_one_line(programs: Programs) -> None:
    (programs.folder / "broken.py").write_text(
        "from taskqueue import action\n@action(executor='thread')\nasync def act() -> dict: return {}\n"
    )
    assert "action 'act': the executor" in await programs.refused("taskqueue-embedded", handlers="broken")
