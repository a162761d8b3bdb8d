"""A program on schema 3, at work: the statements that it runs, in its transactions."""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.integration.store.given import NOON, looking, worker_info

from taskqueue.store.engine.sqlite.connection import Connection, translated_errors

_, *_parts = re.split(
    r"^-- name: (\w+)$", Path(__file__).with_name("schema_3.sql").read_text(), flags=re.MULTILINE
)
STATEMENTS = dict(zip(_parts[::2], _parts[1::2], strict=True))


class OldProgram:
    """Each method is a transaction. Times are Unix milliseconds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: Connection = looking(path)
        self.now = NOON

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with translated_errors(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def _run(self, statement: str, **values: Any) -> list[Any]:
        return self._db.execute(STATEMENTS[statement], {"now": self.now} | values).fetchall()

    def submit(self, id: str, *, published: bool = False, key: str | None = None, **changes: Any) -> None:
        task = {
            "id": id,
            "action": "act",
            "payload": f'{{"id":"{id}"}}',
            "created_at": self.now,
            "run_at": self.now,
            "priority": 4,
            "max_attempts": 3,
            "timeout": None,
            "tags": (),
            "request_id": f"by {id}",
            "dispatch_id": f"{id}.0" if published else None,
            "dispatch_until": self.now + 5_000 if published else None,
        } | changes
        tags = task["tags"]
        with self._transaction():
            if key:
                self._run("keep_answer", key=key, fingerprint="same", answer=f'{{"id":"{id}"}}')
            [row] = self._run("submit", **task | {"tags": json.dumps(tags)})
            for tag in tags:
                self._run("tag", tag=tag, seq=row["seq"])

    def queue(self, id: str, **changes: Any) -> None:
        self.submit(id, published=True, **changes)
        with self._transaction():
            self._run("mark_queued", id=id, dispatch_id=f"{id}.0")

    def start(self, id: str, worker: str = "w") -> None:
        with self._transaction():
            [row] = self._run("claim", id=id, worker=worker)
            attempt = {"seq": row["seq"], "attempt": row["attempt"], "request_id": row["request_id"]}
            self._run("start_attempt", worker=worker, **attempt)

    def end(self, verb: str, id: str, attempt: int = 1, worker: str = "w", **values: Any) -> None:
        outcome = {"complete": "ok", "retry": "error", "fail": "timeout"}[verb]
        error = None if verb == "complete" else '{"type":"Error"}'
        fence = {"id": id, "attempt": attempt, "worker": worker}
        with self._transaction():
            self._run(verb, **fence, error=error, **values)
            self._run("end_attempt", **fence, outcome=outcome, error=error)

    def act(self, statement: str, id: str, **values: Any) -> None:
        """What one statement does."""
        with self._transaction():
            self._run(statement, id=id, **values)

    def beat(self, worker: str = "w") -> None:
        info = worker_info(worker)
        fields = {
            name: getattr(info, name) for name in ("host", "pid", "consumers", "prefetch", "actions", "started_at")
        }
        with self._transaction():
            self._run("beat", worker=worker, **fields)
            self._run("cancels_asked", worker=worker)

    def told(self, id: str) -> dict[str, Any]:
        """The task, with its attempts."""
        with translated_errors(self._path):
            [row] = self._run("get", id=id)
            return dict(row) | {"attempts": [tuple(it) for it in self._run("attempts_of", id=id)]}
