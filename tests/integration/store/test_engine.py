"""What every engine does: writes that gather share a transaction, and each fails and is given up on its own."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.integration.store.given import PATIENCE, until
from tests.integration.store.notes import Notes, Open, adding, on_sqlite

from taskqueue.store import StoreUnavailableError
from taskqueue.store.engine.protocol import Transaction


@pytest.fixture(params=[on_sqlite], ids=["sqlite"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    make: Callable[[Path], Open] = request.param
    return make(tmp_path / "notes.db")


@pytest.fixture
async def notes(opened: Open) -> AsyncIterator[Notes]:
    async with opened(PATIENCE) as notes:
        yield notes


class Counted:
    """Writes, and how often each has been run."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()

    def adds(self, text: str, *, owes: str | None = None) -> Callable[[Transaction], str]:
        def write(tx: Transaction) -> str:
            self.runs[text] += 1
            if owes:
                tx.owed.append(owes)
            return adding(text)(tx)

        return write

    def raises(self, text: str, error: Exception) -> Callable[[Transaction], str]:
        def write(tx: Transaction) -> str:
            self.adds(text)(tx)
            raise error

        return write


@pytest.fixture
def counted() -> Counted:
    return Counted()


async def together(notes: Notes, *writes: Callable[[Transaction], object]) -> list[object]:
    """What came of writes that gathered behind another one."""
    first, let_go = await notes.hold()
    writing = [notes.write(write) for write in writes]
    let_go.set()
    await first
    return await asyncio.gather(*writing, return_exceptions=True)


# What shares a transaction


async def test_a_write_returns_what_its_function_returned_once_that_is_committed(notes: Notes) -> None:
    assert await notes.add("a") == "a"
    assert await notes.texts() == ["a"]


async def test_a_write_is_enqueued_without_being_awaited(notes: Notes) -> None:
    first, second = notes.add("first"), notes.add("second")
    assert await second == "second"
    assert first.done()
    assert await notes.texts() == ["first", "second"]


async def test_writes_that_gather_are_committed_together_and_in_their_order(notes: Notes) -> None:
    inside: list[str] = []
    outside: list[str] = []
    loop = asyncio.get_running_loop()

    def look(tx: Transaction) -> None:
        inside.extend(row["text"] for row in tx.run("texts"))
        outside.extend(asyncio.run_coroutine_threadsafe(notes.texts(), loop).result(PATIENCE))

    names = [str(n) for n in range(50)]
    *returned, _ = await together(notes, *map(adding, names), look)
    assert returned == names
    # Seen from inside their transaction all are there; seen from outside, none.
    assert inside == ["held", *names]
    assert outside == ["held"]
    assert await notes.texts() == ["held", *names]


async def test_any_number_of_writes_is_written(notes: Notes) -> None:
    names = [str(n) for n in range(1_000)]
    assert await asyncio.gather(*map(notes.add, names)) == names
    assert await notes.texts() == names
    assert sum(notes.committed) == 1_000
    assert len(notes.committed) < 10


async def test_time_is_read_in_the_transaction(notes: Notes) -> None:
    first, let_go = await notes.hold()
    times = [notes.write(lambda tx: tx.now) for _ in range(3)]
    let_go.set()
    assert await first is None
    told = [await time for time in times]
    assert told == sorted(told)


# Writes that raise


@pytest.mark.parametrize("error", [ValueError("mine"), KeyError("mine"), RuntimeError("mine")], ids=repr)
async def test_a_write_that_raises_is_undone_alone(notes: Notes, counted: Counted, error: Exception) -> None:
    outcomes = await together(notes, counted.adds("a"), counted.raises("undone", error), counted.adds("b"))
    assert outcomes == ["a", error, "b"]
    assert await notes.texts() == ["held", "a", "b"]


async def test_a_broken_constraint_harms_only_its_write(notes: Notes) -> None:
    def twice(tx: Transaction) -> None:
        tx.change("add", text="undone")
        tx.change("add", text="a")

    a, error, b = await together(notes, adding("a"), twice, adding("b"))
    assert (a, b) == ("a", "b")
    assert "UNIQUE" in str(error)
    assert await notes.texts() == ["held", "a", "b"]


async def test_the_others_are_run_again_as_one_new_transaction(notes: Notes, counted: Counted) -> None:
    await together(
        notes,
        counted.adds("a", owes="for a"),
        counted.raises("x", ValueError()),
        counted.adds("b", owes="for b"),
        counted.adds("c"),
    )
    # Undone with the second, the first is run again; what comes after was not reached at first.
    assert counted.runs == {"a": 2, "x": 1, "b": 1, "c": 1}
    assert notes.settled == [["for a", "for b"]]
    assert await notes.texts() == ["held", "a", "b", "c", "for a", "for b"]


async def test_many_writes_that_raise_leave_what_the_others_did_once(notes: Notes, counted: Counted) -> None:
    writes = [
        counted.raises(str(n), ValueError(n)) if n % 3 == 1 else counted.adds(str(n), owes=f"for {n}")
        for n in range(30)
    ]
    outcomes = await together(notes, *writes)
    good = [str(n) for n in range(30) if n % 3 != 1]
    assert [outcome for outcome in outcomes if isinstance(outcome, str)] == good
    assert await notes.texts() == ["held", *good, *(f"for {name}" for name in good)]
    assert all(counted.runs[str(n)] == 1 for n in range(30) if n % 3 == 1), "what raised is not run again"


async def test_what_was_committed_is_not_run_again(notes: Notes, counted: Counted) -> None:
    await notes.write(counted.adds("a"))
    await together(notes, counted.adds("b"), counted.raises("x", ValueError()))
    await notes.write(counted.adds("c"))
    assert counted.runs == {"a": 1, "b": 2, "x": 1, "c": 1}
    assert await notes.texts() == ["a", "held", "b", "c"]


async def test_all_of_a_transaction_may_raise(notes: Notes, counted: Counted) -> None:
    errors = [ValueError(n) for n in range(3)]
    assert await together(notes, *(counted.raises(str(e), e) for e in errors)) == errors
    assert await notes.texts() == ["held"]
    assert await notes.add("next") == "next"


async def test_a_wrong_statement_is_refused_and_the_next_write_is_not(notes: Notes) -> None:
    with pytest.raises(StoreUnavailableError):
        await notes.write(lambda tx: tx.change("wrong"))
    assert await notes.add("next") == "next"
    assert await notes.texts() == ["next"]


# What is owed


async def test_what_is_owed_is_settled_once_at_the_end_in_the_order_of_the_writes(
    notes: Notes, counted: Counted
) -> None:
    await together(notes, *(counted.adds(name, owes=f"for {name}") for name in "abc"))
    assert notes.settled == [["for a", "for b", "for c"]]
    assert await notes.texts() == ["held", "a", "b", "c", "for a", "for b", "for c"]


async def test_nothing_owed_is_nothing_settled(notes: Notes) -> None:
    await notes.add("a")
    assert notes.settled == []


async def test_a_settling_that_raises_undoes_all(notes: Notes, counted: Counted) -> None:
    await notes.add("taken")
    outcomes = await together(notes, counted.adds("a"), counted.adds("b", owes="taken"))
    assert all("UNIQUE" in str(outcome) for outcome in outcomes)
    assert await notes.texts() == ["taken", "held"]
    assert await notes.write(counted.adds("next", owes="for next")) == "next"


# Callers that give up


async def test_a_write_cancelled_while_it_waits_is_not_written(notes: Notes) -> None:
    first, let_go = await notes.hold()
    second, third = notes.add("second"), notes.add("third")
    second.cancel()
    let_go.set()
    await first
    await third
    assert second.cancelled()
    assert await notes.texts() == ["held", "third"]


async def test_a_write_already_in_its_transaction_is_committed_for_a_cancelled_caller(notes: Notes) -> None:
    first, let_go = await notes.hold()
    first.cancel()
    let_go.set()
    await notes.add("next")
    assert await notes.texts() == ["held", "next"]


async def test_cancelled_writes_alone_are_no_work(notes: Notes, counted: Counted) -> None:
    first, let_go = await notes.hold()
    for n in range(5):
        notes.write(counted.adds(str(n))).cancel()
    let_go.set()
    await first
    assert await notes.add("next") == "next"
    assert not counted.runs


# On a thread of its own


async def test_a_writer_on_another_thread_commits_each_write(notes: Notes, counted: Counted) -> None:
    def work() -> tuple[str, str]:
        with notes.engine.writer() as writer:
            first = writer.write(counted.adds("a", owes="for a"))
            with pytest.raises(ValueError, match="mine"):
                writer.write(counted.raises("x", ValueError("mine")))
            return first, writer.write(counted.adds("b"))

    assert await asyncio.to_thread(work) == ("a", "b")
    assert notes.settled == [["for a"]]
    assert await notes.texts() == ["a", "for a", "b"]


async def test_a_writer_goes_on_while_the_loop_is_blocked(notes: Notes) -> None:
    done = threading.Event()

    def work() -> None:
        with notes.engine.writer() as writer:
            writer.write(adding("a"))
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert done.wait(PATIENCE), "blocking the loop is the point"
    thread.join()
    assert await notes.texts() == ["a"]


# Closing


async def test_closing_writes_what_waits(opened: Open) -> None:
    async with opened(PATIENCE) as notes:
        first, let_go = await notes.hold()
        others = [notes.add(str(n)) for n in range(5)]
        asyncio.get_running_loop().call_later(0.05, let_go.set)
    assert first.done()
    assert [other.result() for other in others] == ["0", "1", "2", "3", "4"]
    async with opened(PATIENCE) as notes:
        assert await notes.texts() == ["held", "0", "1", "2", "3", "4"]


async def test_what_comes_while_it_closes_is_refused(opened: Open) -> None:
    async with opened(PATIENCE) as notes:
        await notes.add("a")
    with pytest.raises(StoreUnavailableError, match="closing"):
        await notes.add("b")
    async with opened(PATIENCE) as notes:
        assert await notes.texts() == ["a"]


async def test_it_closes_although_its_user_is_cancelled(opened: Open) -> None:
    opening = asyncio.Event()

    async def use() -> None:
        async with opened(PATIENCE) as notes:
            await notes.add("a")
            opening.set()
            await asyncio.Event().wait()

    using = asyncio.create_task(use())
    async with asyncio.timeout(PATIENCE):
        await opening.wait()
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using
    await until(lambda: not [it for it in threading.enumerate() if it.name.startswith("store-writer")])


async def test_what_waits_is_settled_although_its_user_is_cancelled_again_while_it_closes(opened: Open) -> None:
    held: list[tuple[asyncio.Future[None], threading.Event]] = []
    others: list[asyncio.Future[str]] = []

    async def use() -> None:
        async with opened(PATIENCE) as notes:
            held.append(await notes.hold())
            others.extend(notes.add(str(n)) for n in range(3))
            await asyncio.Event().wait()

    using = asyncio.create_task(use())
    await until(lambda: len(others) == 3)
    using.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    threading.Timer(0.05, held[0][1].set).start()
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using
    await held[0][0]
    async with asyncio.timeout(PATIENCE):
        outcomes = await asyncio.gather(*others, return_exceptions=True)
    async with opened(PATIENCE) as notes:
        stored = [str(n) for n, outcome in enumerate(outcomes) if outcome == str(n)]
        assert await notes.texts() == ["held", *stored]


# Reads


async def test_a_read_sees_what_was_written_before(notes: Notes) -> None:
    for n in range(20):
        await notes.add(str(n))
        assert len(await notes.texts()) == n + 1


async def test_reads_do_not_wait_for_a_writer(notes: Notes) -> None:
    first, let_go = await notes.hold()
    async with asyncio.timeout(PATIENCE / 4):
        assert await notes.texts() == []
        assert await notes.engine.search("SELECT text FROM notes", {}) == []
        assert await notes.engine.count("SELECT count(*) AS n FROM notes", {})
        assert await notes.engine.survey("texts") == []
    let_go.set()
    await first


async def test_a_cancelled_read_does_not_harm_the_next(notes: Notes) -> None:
    for _ in range(20):
        reading = asyncio.create_task(notes.texts())
        await asyncio.sleep(0)
        reading.cancel()
    assert await notes.texts() == []
