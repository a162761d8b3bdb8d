"""Stores that hold many tasks already: some thousands are run by taskqueue itself, and then their rows multiplied.

It goes by what the tables look like, since their names and columns differ between states of the code; the API must
then count as many tasks as there should be.
"""

import os
from contextlib import closing
from pathlib import Path
from typing import Any

from bench.load import flood
from bench.ours import Code, Embedded
from bench.processes import FailedError
from bench.sqlite import sqlite3
from bench.system import BATCH, SUBMIT_BATCH, until_final

#: Tasks that are run; the others are their copies.
_RUN = 10_000
#: What columns are called that name a task, or count tasks or attempts.
_TASK_SEQ, _COUNTS = {"task_seq", "task"}, {"tasks", "attempts", "count"}


async def fill(code: Code, folder: Path, tasks: int) -> None:
    """Make a store with so many completed tasks in `folder`.

    Args:
        tasks: a multiple of 10,000.

    Raises:
        FailedError: the API counts another number afterwards.
    """
    embedded = Embedded(code, consumers=10)
    async with embedded.on(folder) as system:
        await flood(system.port, SUBMIT_BATCH, connections=2, seconds=600, most=_RUN // BATCH)
        await until_final(system, _RUN)
    with closing(sqlite3.connect(system.database, isolation_level=None)) as database:
        _multiply(database, tasks // _RUN - 1)
    with system.database.open("rb") as file:
        os.fsync(file.fileno())  # gigabytes that the kernel would write during the measurement
    async with embedded.on(folder) as system:
        if (count := await system.count_final()) != tasks:
            raise FailedError(f"a store that was filled with {tasks} tasks tells {count}")


def _multiply(database: sqlite3.Connection, copies: int) -> None:
    """Add so many copies of all tasks, and of what belongs to them."""
    # If it fails, the store is thrown away.
    [(journal,)] = database.execute("PRAGMA journal_mode").fetchall()
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -1000000"):
        database.execute(f"PRAGMA {pragma}")
    triggers = database.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    database.execute("BEGIN")
    for name, _ in triggers:
        database.execute(f"DROP TRIGGER {name}")
    tables = {
        name: [row[1] for row in database.execute(f"PRAGMA table_info({name})")]
        for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    }
    of_tasks = "task" if "task" in tables else "tasks"
    [(last, start)] = database.execute(f"SELECT max(seq), min(substr(id, 1, 8)) FROM {of_tasks}").fetchall()
    copying = [
        statement
        for name, columns in tables.items()
        if (statement := _copying(database, name, columns, last, is_tasks=name == of_tasks))
    ]
    for copy in range(1, copies + 1):
        # Copies have ids of some time before; `start` is the Unix time of the first one, in units of 65,536 ms.
        prefix = f"{int(start, 16) - copy:08x}"
        for statement in copying:
            database.execute(statement, {"copy": copy, "prefix": prefix})
    for name, columns in tables.items():
        if name != of_tasks and not _TASK_SEQ & set(columns):
            for column in _COUNTS & set(columns):
                database.execute(f"UPDATE {name} SET {column} = {column} * {copies + 1}")
        if {"range", "first", "last"} <= set(columns):
            database.execute(f"DELETE FROM {name}")
            database.execute(
                f"INSERT INTO {name} (range, first, last) "
                f"SELECT seq / 1000, min(created_at), max(created_at) FROM {of_tasks} GROUP BY seq / 1000"
            )
    for _, sql in triggers:
        database.execute(sql)
    database.execute("COMMIT")
    database.execute(f"PRAGMA journal_mode = {journal}")


def _copying(
    database: sqlite3.Connection, table: str, columns: list[str], last: int, *, is_tasks: bool
) -> str | None:
    """The statement that copies the rows of the table once; None if they belong to no task."""
    task = next((column for column in columns if column in _TASK_SEQ), None)
    id = "id" if is_tasks else "task_id"
    if not (is_tasks or task or id in columns):
        return None
    new: dict[str, Any] = {}
    if "seq" in columns:
        [(own_last,)] = database.execute(f"SELECT coalesce(max(seq), 0) FROM {table}").fetchall()
        new["seq"] = f"seq + :copy * {own_last}"
    if task:
        new[task] = f"{task} + :copy * {last}"
    if id in columns:
        new[id] = f":prefix || substr({id}, 9)"
    which = f"seq <= {own_last}" if "seq" in columns else f"{task} <= {last}"
    values = ", ".join(new.get(column, column) for column in columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table} WHERE {which}"
