"""How the desk stands with its providers and with its workspace."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from bot.desk.due import SweepName, SweepState


@dataclass(frozen=True, slots=True)
class Silence:
    """The time in which nothing is sent to a team: it has not the desk's app any more. `because` is Slack's word for it."""

    team: str
    since: datetime
    because: str


class RoundKind(StrEnum):
    """What a round that the desk makes at a provider, or at Slack, is about."""

    CREDENTIAL = "credential"  # whether the desk's credential still may do what it needs
    USAGE = "usage"  # what was used, by key, day and model
    INVENTORY = "inventory"  # which keys there are
    HOLDERS = "holders"  # at Slack: whether those who hold keys are still members


@dataclass(frozen=True, slots=True)
class Round:
    """A round that the desk makes at one provider, again and again.

    `due_at` is when it is due next, `attempts` how often it failed since it last came to its end at `ended_at`, `flaw`
    why. `done_to` is the last day whose usage was read.
    """

    team: str
    provider: str
    kind: RoundKind
    due_at: datetime
    attempts: int = 0
    done_to: date | None = None
    ended_at: datetime | None = None
    flaw: str | None = None


@dataclass(frozen=True, slots=True)
class Outsiders:
    """How many keys of a project were made outside the desk, at the last inventory."""

    team: str
    provider: str
    project: str
    project_name: str
    keys: int
    at: datetime


@dataclass(frozen=True, slots=True)
class ProviderState:
    """How the desk stands with one provider, for an admin. `stuck` counts its keys that fail to be revoked or switched."""

    label: str
    said: str
    flaw: str | None
    rounds: tuple[Round, ...] = ()
    outsiders: tuple[Outsiders, ...] = ()
    stuck: int = 0


@dataclass(frozen=True, slots=True)
class DeskState:
    """How the desk stands, for an admin: with its providers, and with its sweeps. `late` are those that should have run by now."""

    providers: tuple[ProviderState, ...]
    sweeps: tuple[SweepState, ...] = ()
    late: frozenset[SweepName] = frozenset()
