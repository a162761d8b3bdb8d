"""A taskqueue in one process, which is sent whatever there is, and watched meanwhile."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.fuzz.answers import Answer, WrongAnswerError, read_answers
from tests.fuzz.growth import Held
from tests.integration.programs import Program, Programs

#: Short waits, little that stays, and the limits that ship.
SETTINGS = {
    "consumers": 10,
    "request_timeout": 5,
    "max_wait": 0.1,
    "keep_completed": 30,
    "keep_failed": 30,
    "keep_cancelled": 30,
    "keep_events": 30,
    "idempotency_keep": 30,
    "max_backlog": 20_000,
}
#: The last request of a connection: whatever came before, a server that still reads closes after this.
LAST = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
#: Seconds that answers to whole requests may take.
PATIENCE = 30
#: Seconds without a byte, and in all, after which what may have no end is left.
QUIET, LONGEST = 0.3, 1
#: Ids that requests may name.
IDS_KEPT = 200


@dataclass(frozen=True, eq=False)
class Volley:
    """What is sent over one connection."""

    requests: Sequence[bytes]
    #: Whether each is framed as it should be, and ends: then each is answered.
    whole: bool

    @property
    def methods(self) -> list[str]:
        """Of the answers' bodies they only say whether there are any."""
        return ["HEAD" if request.startswith(b"HEAD ") else "GET" for request in self.requests]


@dataclass
class Target:
    """It runs."""

    program: Program
    port: int
    ids: list[bytes] = field(default_factory=list)
    _read: int = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, folder: Path) -> AsyncIterator[Self]:
        """Start one; it is stopped at the end, and must end well."""
        programs = Programs(folder, [])
        try:
            program = await programs.start("taskqueue-embedded", **SETTINGS)
            url = await program.url()
            self = cls(program, int(url.rpartition(":")[2]))
            yield self
            assert await program.stop() == 0, program.errors
            self.check_log()
        finally:
            await programs.end()

    async def send(self, volley: Volley) -> None:
        """Send it, and hold what comes back against what may come.

        Raises:
            WrongAnswerError: it doesn't fit.
        """
        waits = (PATIENCE, PATIENCE) if volley.whole else (QUIET, LONGEST)
        data, closed = await self._exchange(b"".join(volley.requests) + LAST, *waits)
        if not volley.whole:
            # How many requests the parser has seen in it, nobody knows; none is a HEAD.
            read_answers(data, ["GET"] * len(data), closed=closed)
            return
        answers = read_answers(data, [*volley.methods, "GET"], closed=closed)
        for answer in answers:
            self._learn(answer)
        if len(answers) <= len(volley.requests) and not (answers and answers[-1].last):
            unanswered = [*volley.requests, LAST][len(answers)]
            raise WrongAnswerError(f"no answer, and {'the end' if closed else 'no end'}: {unanswered[:1000]!r}")

    async def _exchange(self, data: bytes, quiet: float, longest: float) -> tuple[bytes, bool]:
        """What comes back, and whether the server has closed the connection."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError as error:
            raise WrongAnswerError(f"it takes no connection: {error}") from error
        parts, closed = [], False
        try:
            writer.write(data)
            with contextlib.suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(longest):
                    while not closed:
                        async with asyncio.timeout(quiet):
                            parts.append(await reader.read(1 << 20))
                        closed = not parts[-1]
        finally:
            writer.transport.abort()
        return b"".join(parts), closed

    def _learn(self, answer: Answer) -> None:
        if answer.status == 202 and (path := answer.headers.get("location")):
            self.ids = [*self.ids[-IDS_KEPT:], path.rpartition("/")[2].encode()]

    def check_log(self) -> None:
        """Raise WrongAnswerError if it has logged an error or a traceback since the last look."""
        with (self.program.folder / "stderr").open("rb") as log:
            log.seek(self._read)
            lines = log.read().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()
        self._read += sum(map(len, lines))
        for line in lines:
            if b"Traceback" in line or json.loads(line)["level"] in {"ERROR", "CRITICAL"}:
                raise WrongAnswerError(f"it has logged: {line.decode(errors='replace')}")

    async def at_rest(self) -> Held:
        """What it holds, once the connections are gone."""
        async with asyncio.timeout(PATIENCE):
            held = Held.by(self.program.handle.pid)
            while True:
                # It looks each second whether the clients of its streams are still there.
                await asyncio.sleep(2)
                now = Held.by(self.program.handle.pid)
                if now.files >= held.files:
                    return now
                held = now
