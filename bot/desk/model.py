"""The desk's things, frozen. Times are aware and in UTC, money is in whole US cents, durations are `timedelta`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NoReturn

from bot.desk.due import SweepName, SweepState
from bot.desk.findings import Finding
from bot.desk.offer import AppliedLimit, Basis, Environment, Making
from bot.desk.states import GrantState, KeyState, LinkState, RequestState

NEW_PROJECT = "new:"
"""What the id of a project that is still to be made starts with; no provider's own id has a colon."""


class Unwritten:
    """What is in memory only: it can be neither pickled nor copied."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is not to be written down, nor copied")


class Secret(Unwritten):
    """A key's value. Hides in `repr` and `str`; lives between mint and seal."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def expose(self) -> str:
        """The value itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class Actor:
    """Whoever acts: a Slack member of a team, or the desk itself (`Actor.system`)."""

    team: str
    id: str

    @classmethod
    def system(cls, team: str) -> "Actor":
        """The desk acting by itself, in a sweep."""
        return cls(team=team, id="system")


@dataclass(frozen=True, slots=True)
class Person:
    """What the directory says of a member now. `team` is the member's home team, `tz` the IANA name of their time zone."""

    id: str
    team: str
    name: str
    bot: bool = False
    deleted: bool = False
    guest: bool = False
    stranger: bool = False
    email: str | None = None
    tz: str = "UTC"


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


class Cause(StrEnum):
    """Why a link was closed unread, or a grant ended."""

    LAPSED = "lapsed"  # nobody opened the link in time
    UNACKNOWLEDGED = "unacknowledged"  # a page took the envelope and never said that it showed the key
    REPLACED = "replaced"  # the holder picked up again
    REVOKED = "revoked"  # the holder gave it back, or an approver took it
    EXPIRED = "expired"  # its time is over
    VANISHED = "vanished"  # somebody removed the key at the provider
    OVERSPENT = "overspent"  # its budget is used up, and policy says so
    LEFT = "left"  # the holder is no member any more
    NOT_PICKED_UP = "not_picked_up"  # its holder did not pick the key up in time
    NOT_BROUGHT = "not_brought"  # nobody brought the key in time
    NOT_ROTATED = "not_rotated"  # its rotation was overdue, and policy says so
    IDLE = "idle"  # nothing used the key, nobody said that it is needed, and policy says so
    SWITCHED_OFF = "switched_off"  # the key that the holder has was switched off, so no other follows it
    ROTATED = "rotated"  # the key was revoked at once, another takes its place


@dataclass(frozen=True, slots=True)
class Grant:
    """The standing right to a key. The clock of `expires_at` starts at pick-up; before it, it is None.

    `lapses_at` is when it is over if its key is not brought, or not picked up; None once its holder has it. `left_at` is when its
    holder left, where others may take the key over until it expires.

    `key_id` is the key that the holder has, or that is on its way to them; `held_since` when they got it, None until they
    held one. While another is on its way to take its place, the grant stays active, and that one is `next_key_id`.
    `rotates_at` is when the key is to be rotated, None where the grant ends before; `overdue_since` when whoever approved
    was told that it was not.

    `invitation` is the provider's handle of an invitation sent instead of a key, to `email`; `due_at` is when the desk next tries
    to send or withdraw it, `attempts` how often it tried.
    """

    team: str
    id: str
    request_id: str
    holder: str
    draft: Draft
    state: GrantState
    created_at: datetime
    key_id: str | None = None
    expires_at: datetime | None = None
    ended_at: datetime | None = None
    ended_by: str | None = None
    ended_because: Cause | None = None
    invitation: str | None = None
    email: str | None = None
    due_at: datetime | None = None
    attempts: int = 0
    lapses_at: datetime | None = None
    next_key_id: str | None = None
    held_since: datetime | None = None
    left_at: datetime | None = None
    rotates_at: datetime | None = None
    overdue_since: datetime | None = None

    @property
    def under_way(self) -> str | None:
        """The key that a pick-up delivers, by its id: beside one that its holder has, the next."""
        return self.next_key_id if self.state is GrantState.ACTIVE else self.key_id


@dataclass(frozen=True, slots=True)
class Key:
    """A provider-side key, known by handle and fingerprint, never by value.

    `handle` is what the provider revokes by, or what was found by the marker; None while nothing is known. `intended_at` is when
    the intention was stored. `due_at` is when the desk next acts on it at the provider, `attempts` how often it tried.
    Of one that is retiring `due_at` is when its grace ends.
    `meter` is the id that its usage is reported under, `paused_by` who had it switched off until somebody wants it on.
    """

    team: str
    id: str
    grant_id: str
    provider: str
    project: str
    marker: str
    state: KeyState
    intended_at: datetime
    handle: str | None = None
    fingerprint: str | None = None
    expires_at: datetime | None = None
    due_at: datetime | None = None
    attempts: int = 0
    meter: str | None = None
    paused_by: str | None = None

    @property
    def mint_ended(self) -> bool:
        """Whether the mint's own answer came, with the value's fingerprint: nothing more of it can land."""
        return self.fingerprint is not None


@dataclass(frozen=True, slots=True)
class Link:
    """The one-time delivery of a key. `envelope` is None once destroyed; `session` holds the lease when claimed."""

    team: str
    id: str
    grant_id: str
    key_id: str
    holder: str
    state: LinkState
    token_hash: bytes
    envelope: bytes | None
    created_at: datetime
    expires_at: datetime
    session: str | None = None
    lease_until: datetime | None = None
    closed_because: Cause | None = None


@dataclass(frozen=True, slots=True)
class Deposit:
    """The value of a key that a person brought, at rest until its holder picks it up, and then destroyed.

    `sealed` is ciphertext under a data key of its own, which the KEK named `kek` wraps.
    """

    team: str
    key_id: str
    depositor: str
    sealed: bytes = field(repr=False)
    kek: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser: who it is, and which of their browsers."""

    actor: Actor
    id: str


class NoticeKind(StrEnum):
    """What a message tells. Its text is made from what its subject is now, each time it is shown."""

    APPROVAL = "approval"  # to approvers: a request to decide
    RECEIPT = "receipt"  # to the requester: asked, and who moves next
    OUTCOME = "outcome"  # to the requester: decided, by whom, and what happens next
    LAPSED = "lapsed"  # to the holder: a sealed key was not opened in time and is being revoked
    UNACKNOWLEDGED = "unacknowledged"  # to the holder: a page took the key and never showed it; it is being revoked
    UNFINISHED = "unfinished"  # to the holder: a pick-up broke off, nothing is lost
    ENDED = "ended"  # to the holder: the grant is over
    DEPOSIT = "deposit"  # to depositors: a key to make at the provider, and to bring
    DEPOSITED = "deposited"  # to the holder: the key that somebody was to bring is here
    BY_HAND = "by_hand"  # to depositors: a key that only a person can revoke
    STUCK = "stuck"  # to whoever can see to it: a key that fails to be revoked
    STRANDED = "stranded"  # to the requester: nobody is left who may decide on it, or bring the key
    NOBODY = "nobody"  # to admins: the same
    BUDGET = "budget"  # to the holder: how much of a month's budget is used, and what follows
    OVERSPENT = "overspent"  # to who approved: a month's budget is used up, and what follows
    UNUSUAL = "unusual"  # to the holder: their key is used as it never was
    SUSPECTED = "suspected"  # to who approved: the same
    REMINDER = "reminder"  # to an approver: nobody decided on a request yet
    PICK_UP = "pick_up"  # to the holder: a key waits to be picked up
    NOT_BROUGHT = "not_brought"  # to a depositor: nobody brought a key yet
    EXPIRING = "expiring"  # to the holder: a key's time is almost over
    IDLE = "idle"  # to the holder: nothing uses a key; keep it, or give it back?
    ROTATED = "rotated"  # to the holder: another key took the place of the one before, and what becomes of that
    ROTATION_DUE = "rotation_due"  # to the holder: a key is to be rotated, or should have been
    ROTATION_OVERDUE = "rotation_overdue"  # to who approved: a key was not rotated in time
    NOT_ROTATED = "not_rotated"  # to the holder: the key that was to follow did not come, or was not picked up
    ROTATED_AT_ONCE = "rotated_at_once"  # to the holder: the key was revoked, and another is to be picked up
    ORPHANED = "orphaned"  # to who approved: the holder of a key left; who takes it over?


@dataclass(frozen=True, slots=True)
class Notice:
    """A message the desk owes to somebody and keeps current: due while `shown` is behind `wanted`.

    `about` is the request it tells of; `recipient` is a member or a channel. `waits`: it is posted in its recipient's
    working hours alone, however late an outage makes it.
    """

    team: str
    id: str
    kind: NoticeKind
    about: str
    recipient: str
    wanted: int
    shown: int
    due_at: datetime
    channel: str | None = None
    ts: str | None = None
    attempts: int = 0
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Spending:
    """What the keys of one grant used in a calendar month (UTC), as far as their provider has reported it.

    `month` is its first day, `cost_micros` in millionths of a US dollar; `basis` is billed only where all of it is.
    """

    month: date
    cost_micros: int
    requests: int
    tokens_in: int
    tokens_out: int
    last_day: date
    basis: Basis
    as_of: datetime


class Answer(StrEnum):
    """How an incident was closed."""

    MINE = "mine"  # somebody said that it was theirs
    PAUSED = "paused"  # somebody had the key switched off
    QUIET = "quiet"  # nobody answered, and nothing unusual came after it
    OVER = "over"  # its grant ended


@dataclass(frozen=True, slots=True)
class Incident:
    """Unusual use of a grant's keys, told once; open until it is answered, or quiet for a while.

    `seen_at` is until when use was unusual. `findings` holds the most of each kind.
    """

    team: str
    id: str
    grant_id: str
    opened_at: datetime
    seen_at: datetime
    findings: tuple[Finding, ...]
    closed_at: datetime | None = None
    answer: Answer | None = None
    answered_by: str | None = None


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


class TimerKind(StrEnum):
    """What a timer is about, and what `about` names."""

    DECISION = "decision"  # a request: nobody decided on it yet
    PICK_UP = "pick_up"  # a grant: its holder did not pick up yet
    DEPOSIT = "deposit"  # a key: nobody brought it yet
    UNUSUAL = "unusual"  # a grant: whether its keys are used as they never were
    QUIET = "quiet"  # an incident: whether it is over, as nobody answered it
    EXPIRY = "expiry"  # a grant: its time runs out
    IDLE = "idle"  # a grant: whether its key is used
    ROTATION = "rotation"  # a grant: its key is to be rotated
    ROTATE_LATER = "rotate_later"  # a grant: its holder wants to be reminded of that again
    ASKED = "asked"  # a request: whether those who were asked about it can still answer
    HOLDERS = "holders"  # an admin: the nightly check of the holders has a flaw


@dataclass(frozen=True, slots=True)
class Timer:
    """When time next does something about one thing: one timer of a kind for each thing, which `about` names.

    `step` is how far it came, `attempts` how often it failed since it last came further.
    """

    team: str
    kind: TimerKind
    about: str
    due_at: datetime
    step: int = 0
    attempts: int = 0


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


@dataclass(frozen=True, slots=True)
class DayUse:
    """What a grant's keys used on one day, whatever the model. Cost in millionths of a US dollar."""

    grant_id: str
    day: date
    cost_micros: int
    requests: int
    tokens_in: int
    tokens_out: int
    estimated: bool
    as_of: datetime


@dataclass(frozen=True, slots=True)
class HourUse:
    """What a key used in the `span` hours from `hour` on (UTC); measured where that is one, else in some of them."""

    key_id: str
    hour: datetime
    span: int
    requests: int
    tokens: int
    cost_micros: int


@dataclass(frozen=True, slots=True)
class KeyUse:
    """What a member's key used: this month, and day by day lately (`trend`, oldest first, ending today)."""

    story: Story
    cost_micros: int
    requests: int
    tokens_in: int
    tokens_out: int
    last_day: date | None
    trend: tuple[int, ...]
    estimated: bool


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


@dataclass(frozen=True, slots=True)
class Minted:
    """What a mint left: the handle to revoke by, the fingerprint to show, and the value, to be sealed at once.

    `meter` is the id that the provider reports the key's usage under; empty where that is the handle.
    """

    handle: str
    fingerprint: str
    secret: Secret
    meter: str = ""


@dataclass(frozen=True, slots=True)
class Sealed:
    """What one session receives at a claim: the envelope and the context that it is bound to."""

    envelope: bytes
    context: "Context"
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class Context:
    """What an envelope is bound to besides its key (additional data of AES-GCM); `expires` in RFC 3339, UTC."""

    team: str
    holder: str
    grant: str
    key: str
    link: str
    expires: str


@dataclass(frozen=True, slots=True)
class Handover(Unwritten):
    """A pick-up done: the one URL that opens the link. It is handed out once and kept nowhere."""

    url: str = field(repr=False)
    expires_at: datetime
    grant: Grant
