"""One ask: what somebody wishes for, and what was decided on it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bot.desk.states import RequestState

NEW_PROJECT = "new:"
"""What the id of a project that is still to be made starts with; no provider's own id has a colon."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a key may do. `project` and `permission` are the provider's ids; the budget is per calendar month.

    `models` are the provider's ids; none means whatever project and permission allow. A project that is still to be
    made is `NEW_PROJECT` and its name; the provider's id takes its place when the first key of it is picked up.
    """

    provider: str
    project: str
    permission: str
    monthly_budget_cents: int
    models: tuple[str, ...] = ()

    @property
    def new_project(self) -> str | None:
        """The name of the project that is to be made; None where it is there already."""
        return self.project.removeprefix(NEW_PROJECT) if self.project.startswith(NEW_PROJECT) else None


class Wish(StrEnum):
    """What is asked for."""

    KEY = "key"
    INVITATION = "invitation"  # to the provider's own organisation, instead of a key


@dataclass(frozen=True, slots=True)
class Draft:
    """A parsed ask, not yet submitted. `duration` counts from pick-up.

    The names are what the provider calls the scope's ids. The desk fills them in at submission: what a form says they
    are is not believed, because an approver decides by them.
    """

    scope: Scope
    project_name: str
    duration: timedelta
    reason: str
    provider_name: str = ""
    permission_name: str = ""
    wish: Wish = Wish.KEY


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """One ask. `origin` is the delivery it came from, so that the same modal never submits twice.

    `lapses_at` is when it is over if nobody decided. `extends` is the grant whose key the asked one is to follow.
    """

    team: str
    id: str
    requester: str
    draft: Draft
    rule: str
    state: RequestState
    created_at: datetime
    origin: str
    lapses_at: datetime | None = None
    extends: str | None = None


class Ruling(StrEnum):
    """What a person decided."""

    APPROVE = "approve"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's recorded approve or deny. A denial carries its reason."""

    team: str
    request_id: str
    approver: str
    ruling: Ruling
    reason: str
    at: datetime
