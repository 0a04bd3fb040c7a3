"""What a provider offers, makes and reports. Money here is in millionths of a US dollar, as usage comes in fractions
of a cent; times are aware and in UTC; days are the provider's, in UTC.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum


class Ability(StrEnum):
    """What a provider can do for the desk. The form, the policy and the cards follow from it."""

    MINT = "mint"  # keys are created by API; without it a person deposits them
    LIST = "list"  # its keys can be listed, looked at, and found by marker
    REVOKE = "revoke"  # a key can be killed by API; without it a person does, and says so
    DISABLE = "disable"  # a key can be switched off and on again
    MODELS = "models"  # a key, or a new project, can be held to a list of models
    NEW_PROJECT = "new_project"  # projects can be created, and limits be set on them
    USAGE = "usage"  # requests, tokens and cost are reported for each key
    INVITE = "invite"  # people can be invited to the provider's own organisation


@dataclass(frozen=True, slots=True)
class Probe:
    """What a provider said when it was asked what the desk's credential may do there.

    `said` is a line for people. `flaw` is None while all is well; else what is wrong, with the mend.
    """

    abilities: frozenset[Ability]
    said: str
    flaw: str | None = None


@dataclass(frozen=True, slots=True)
class Permission:
    """A preset of what a key may do at a provider, in people's words."""

    id: str
    label: str


@dataclass(frozen=True, slots=True)
class Project:
    """A provider's project, as the modal lists it."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Making:
    """How people make a key at a provider whose keys are not minted: what a depositor is told.

    `steps` are in the provider's, or the operator's, own words; `url` is the page where keys are made; `prefix` is what
    the keys there start with. `rotation` is how often such a key is to be made anew.
    """

    steps: str = ""
    url: str = ""
    prefix: str = ""
    rotation: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """How programs are told of a key: `variable` is what the provider's own libraries read it from.

    `beside` is what they need besides, by name, and is no secret: the address of a proxy.
    """

    variable: str = "API_KEY"
    beside: tuple[tuple[str, str], ...] = ()


class KeyStatus(StrEnum):
    """Whether calls with a key are answered."""

    ACTIVE = "active"
    DISABLED = "disabled"
    GONE = "gone"  # listed, and dead for good: archived, expired


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """A key as the provider lists it. `name` holds the marker of those that the desk made."""

    handle: str
    name: str
    project: str
    status: KeyStatus
    created_at: datetime | None = None
    meter: str = ""
    fingerprint: str | None = None


class Basis(StrEnum):
    """How sure a cost is."""

    ESTIMATED = "estimated"  # from tokens and prices, or still growing
    BILLED = "billed"  # what the provider puts on the bill


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used with one key on one day with one model, as far as known at `as_of`.

    Reported anew it replaces what was reported before. `total_since` is set where a provider reports only a running
    total: then the figures are those of all days since that one, whatever the model, and the desk takes off what it
    has counted on the days before. `meter` is empty for what the provider assigns to no key.
    """

    meter: str
    day: date
    model: str
    requests: int
    tokens_in: int
    tokens_out: int
    cost_micros: int
    basis: Basis
    as_of: datetime
    total_since: date | None = None


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation to the provider's own organisation. `handle` is what withdraws it, or the membership it became.

    An empty handle: they were in the project before, so nothing of the desk's is there to withdraw. `pending` while it
    waits to be accepted.
    """

    handle: str
    email: str
    pending: bool = False


class Enforcer(StrEnum):
    """Who holds a key to a limit."""

    KEY = "key"  # the provider, on the key itself
    PROJECT = "project"  # the provider, on the whole project
    DESK = "desk"  # the desk, by watching and revoking
    NOBODY = "nobody"  # agreed between people, held by nobody


class LimitKind(StrEnum):
    """What a limit is about."""

    EXPIRY = "expiry"
    PERMISSION = "permission"
    MODELS = "models"
    BUDGET = "budget"
    RATE = "rate"


@dataclass(frozen=True, slots=True)
class AppliedLimit:
    """One limit in plain words ("expires 22 Dec", "$50 a month") and who really enforces it.

    `lag` is how late the limit may bite: the desk's watching follows the provider's reports.
    """

    kind: LimitKind
    what: str
    enforcer: Enforcer
    note: str = ""
    lag: timedelta | None = None
