"""What messages and views tell: all there is to say of one ask, of one member, of what a member used."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from bot.desk.model.grant import Grant, Key, Link
from bot.desk.model.request import AccessRequest, Decision
from bot.desk.model.standing import DeskState
from bot.desk.model.usage import Incident, Spending
from bot.desk.offer import AppliedLimit, Environment, Making
from bot.desk.states import KeyState


@dataclass(frozen=True, slots=True)
class Reminded:
    """What its holder was told of the rotation of a key.

    `again_at`: when they are told again, as they wished. `disables`: whether policy has an overdue key switched off;
    `off_at` when, at the earliest, once it is overdue.
    """

    again_at: datetime | None = None
    disables: bool = False
    off_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """All that a message or view about one request may tell: the ask, who decided, and how far the grant is.

    `others` are the grant's other keys that are not gone: the one that is to take the place of `key`, those that retire or are
    being revoked. `link` delivers the one under way. `making` is there where a person makes the key and brings it, `deposit_url`
    while that is awaited. `by_hand`: only a person can revoke it. `environment` is how programs are told of the key. `used`: by
    key, the last hour in which it can have been used; kept while one retires.
    """

    request: AccessRequest
    decision: Decision | None = None
    grant: Grant | None = None
    key: Key | None = None
    others: tuple[Key, ...] = ()
    link: Link | None = None
    limits: tuple[AppliedLimit, ...] = ()
    making: Making | None = None
    deposit_url: str = ""
    by_hand: bool = False
    stuck: tuple[Key, ...] = ()  # keys of it that keep failing to be revoked
    environment: Environment = field(default_factory=Environment)
    extended: Grant | None = None  # the grant that the request asks to extend
    extension: AccessRequest | None = None  # the newest request that asks to extend its grant,
    successor: Grant | None = None  # … and what was granted by it
    asked_idle: bool = False  # whether its holder was asked if it is still needed, and did not answer;
    idle_revokes: bool = False  # … whether the grant ends without an answer
    spending: Spending | None = None  # of the last month in which anything was used
    incident: Incident | None = None  # the newest
    pausable: bool = False  # whether the provider can switch a key off and on
    used: Mapping[str, datetime] = field(default_factory=dict, hash=False)
    rotation: Reminded | None = None  # there once the holder was told that the key is to be rotated, until it is

    @property
    def next_key(self) -> Key | None:
        """The key that is to take the place of the one that the holder has."""
        next_id = self.grant.next_key_id if self.grant else None
        return next((key for key in self.others if key.id == next_id), None)

    @property
    def under_way(self) -> Key | None:
        """The key that a pick-up delivers, or delivered last."""
        return self.next_key or self.key

    @property
    def retiring(self) -> tuple[Key, ...]:
        """The keys whose place another took, and that still work; the oldest first."""
        return tuple(key for key in self.others if key.state is KeyState.RETIRING)


@dataclass(frozen=True, slots=True)
class Home:
    """What a member sees of the desk: their own stories, and those that wait for their decision.

    `unwelcome` says why, to whom the desk does not serve.
    """

    member: str
    unwelcome: str | None = None
    mine: tuple[Story, ...] = ()
    queue: tuple[Story, ...] = ()
    overview: "DeskState | None" = None  # for an admin alone
    unusual: tuple[Story, ...] = ()  # for an admin alone: keys whose unusual use nobody answered yet


@dataclass(frozen=True, slots=True)
class KeyUse:
    """What a member's key used: this month, and day by day lately (`trend`, oldest first, ending today).

    `reported`: its provider tells the desk of its use; else all of this says nothing.
    """

    story: Story
    cost_micros: int
    requests: int
    tokens_in: int
    tokens_out: int
    last_day: date | None
    trend: tuple[int, ...]
    estimated: bool
    reported: bool = True


@dataclass(frozen=True, slots=True)
class ReportedBy:
    """How a provider's figures came: `as_of` is None until they first did, `lag` is how late it reports as a rule."""

    label: str
    as_of: datetime | None
    lag: timedelta
    reports: bool = True


@dataclass(frozen=True, slots=True)
class MyUsage:
    """What a member used this month (`month` is its first day, UTC), whole and by key."""

    month: date
    cost_micros: int
    keys: tuple[KeyUse, ...]
    sources: tuple[ReportedBy, ...]
    more: int = 0  # keys that are not shown
