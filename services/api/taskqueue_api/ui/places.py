"""The pages that the navigation leads to, in its order, and whom each is for."""

from dataclasses import dataclass

from taskqueue.contract.keys import Role
from taskqueue_api.live.holders import Holder


@dataclass(frozen=True, slots=True)
class Place:
    """A page that the navigation leads to."""

    #: Below the API's own root.
    path: str
    title: str
    template: str
    #: Which its reader needs, or one above it.
    role: Role
    #: Whether it is for keys that are bound to some tasks, too.
    narrows: bool = False

    def is_for(self, holder: Holder) -> bool:
        """Whether they may read it, by what the API lets them do."""
        return holder.role.includes(self.role) and (self.narrows or not holder.is_bound)


TASKS = Place("ui/tasks", "Tasks", "tasks.html", Role.READ, narrows=True)

PLACES = [
    Place("ui/overview", "Overview", "overview.html", Role.READ),
    TASKS,
    Place("ui/errors", "Errors", "errors.html", Role.READ, narrows=True),
    Place("ui/submit", "Submit", "submit.html", Role.SUBMIT, narrows=True),
    Place("ui/workers", "Workers", "workers.html", Role.READ),
    Place("ui/dead", "Dead letters", "dead.html", Role.READ),
    Place("ui/keys", "Keys", "keys.html", Role.ADMIN),
    Place("ui/audit", "Audit", "audit.html", Role.ADMIN),
]
