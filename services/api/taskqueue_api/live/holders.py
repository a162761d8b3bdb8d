"""Whose request it is, and which tasks are theirs."""

from collections.abc import Iterable
from dataclasses import dataclass

from taskqueue.contract.keys import Role


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a key; or anybody, where no keys are asked for."""

    #: The key's id.
    key: str | None
    label: str
    role: Role
    #: The actions that the key is bound to; None: it is bound to none.
    actions: frozenset[str] | None = None
    #: What a tag of their tasks begins with; None: whatever.
    tag_prefix: str | None = None
    #: When the session that they show ends, in Unix milliseconds; None: they show the key itself.
    session_ends: int | None = None

    @property
    def is_bound(self) -> bool:
        """Whether not all tasks are theirs."""
        return self.actions is not None or self.tag_prefix is not None

    def owns(self, action: str | None, tags: Iterable[str]) -> bool:
        """Whether a task is theirs. It never changes: a task keeps its action and its tags."""
        return (self.actions is None or action in self.actions) and (
            self.tag_prefix is None or any(tag.startswith(self.tag_prefix) for tag in tags)
        )

    def hindrance(self, action: str, tags: list[str]) -> str | None:
        """Why they may not submit such a task; None where they may."""
        if self.actions is not None and action not in self.actions:
            return f"the key is not for the action {action!r}"
        if self.tag_prefix is not None and not (tags and all(tag.startswith(self.tag_prefix) for tag in tags)):
            # All: by another's tag it would be among another's tasks.
            return f"the key is for tasks whose tags all begin with {self.tag_prefix!r}, and that have one"
        return None


#: Where whoever reaches the API may do all.
ANYBODY = Holder(None, "", Role.ADMIN)
