"""Whose request it is."""

from dataclasses import dataclass

from taskqueue.contract.keys import Role


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a key; or anybody, where no keys are asked for."""

    #: The key's id.
    key: str | None
    label: str
    role: Role


#: Where whoever reaches the API may do all.
ANYBODY = Holder(None, "", Role.ADMIN)
