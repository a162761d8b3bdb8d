"""What a process holds, before and after: it must not hold more for what it was asked."""

from dataclasses import dataclass
from typing import Self

from bench.processes import open_files, resident
from tests.fuzz.answers import WrongAnswerError

#: Bytes by which memory may grow: a million inputs that leave the smallest Python object behind (some 48 bytes
#: with its place in a list or dict) exceed it, and the allocator's own ups and downs don't.
MEMORY = 40 * 2**20
#: Files by which the open ones may differ: connections of a pool are opened as they are needed.
FILES = 4


@dataclass(frozen=True)
class Held:
    """By a process at rest."""

    memory: int
    files: int

    @classmethod
    def by(cls, pid: int) -> Self:
        return cls(resident(pid), open_files(pid))

    def must_not_exceed(self, before: "Held") -> None:
        """Raise WrongAnswerError if it is more than before, beyond the bounds."""
        if self.memory > before.memory + MEMORY or self.files > before.files + FILES:
            raise WrongAnswerError(f"it holds more than before: {before}, then {self}")

    def __str__(self) -> str:
        return f"{self.memory / 2**20:.1f} MiB, {self.files} files"
