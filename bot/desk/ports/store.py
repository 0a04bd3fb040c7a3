"""Where everything rests."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Protocol, TypeVar

from bot.desk.audit import Act, Entry, Head
from bot.desk.due import Due, DueKind, Queue, SweepState
from bot.desk.model import (
    AccessRequest,
    DayUse,
    Decision,
    Deposit,
    Grant,
    HourUse,
    Incident,
    Key,
    Link,
    Notice,
    NoticeKind,
    Outsiders,
    Round,
    RoundKind,
    Silence,
    Spending,
    Timer,
    TimerKind,
)
from bot.desk.offer import Usage
from bot.desk.states import GrantState, KeyState, LinkState, RequestState
from bot.desk.unusual import ModelDay
from bot.desk.week import Days, ProjectWeek, Say, Spent, Subscription, TeamKey

T = TypeVar("T")
Moving = TypeVar("Moving", AccessRequest, Grant, Key, Link)


class Transaction(Protocol):
    """What one synchronous transaction may do. No await fits inside, so no network call can.

    A look-up answers None where the team has no such thing. What leases work claims it as it lists it: its `due_at` moves to
    `until`, so that no other process takes it before then.
    """

    def first_time(self, team: str, delivery: str, at: datetime) -> bool:
        """Whether this delivery of Slack's is seen for the first time; marks it seen as part of the transaction.

        Whatever else is to happen once is marked in the same way, by a name that holds a blank, as no delivery's does
        but a press's.
        """

    def add(self, thing: AccessRequest | Decision | Deposit | Grant | Key | Link | Notice) -> None:
        """Stores a new row."""

    def move(
        self, thing: Moving, to: RequestState | GrantState | KeyState | LinkState | None = None, **changes: Any
    ) -> Moving:
        """Guarded update: changes the row only if it still is in the state of `thing`, and returns it as it is now.

        Without `to`, the state stays. Raises `Superseded` when another was faster, `ValueError` for a move that
        `states.MOVES` does not list.
        """

    def record(self, *, team: str, at: datetime, actor: str, act: Act, subject: str, **detail: Any) -> Entry:
        """Appends one entry to the team's audit chain, under its lock."""

    # Requests, and what was decided on them.
    def request(self, team: str, request_id: str) -> AccessRequest | None: ...
    def request_from(self, team: str, origin: str) -> AccessRequest | None: ...
    def extension_of(self, team: str, grant_id: str) -> AccessRequest | None:
        """The newest that asks to extend this grant."""

    def requests_of(self, team: str, requester: str, limit: int) -> Sequence[AccessRequest]:
        """The requester's, newest first."""

    def pending(self, team: str, limit: int) -> Sequence[AccessRequest]:
        """All pending requests of the team, oldest first."""

    def pending_of(self, team: str, requester: str, limit: int) -> Sequence[AccessRequest]:
        """The requester's that nobody decided on, oldest first."""

    def decision(self, team: str, request_id: str) -> Decision | None: ...

    # Grants and links.
    def grant(self, team: str, grant_id: str) -> Grant | None: ...
    def grant_of(self, team: str, request_id: str) -> Grant | None: ...
    def grants_of(self, team: str, holder: str, limit: int) -> Sequence[Grant]:
        """The holder's, those not over first, then newest first."""

    def living_grants_of(self, team: str, holder: str, limit: int) -> Sequence[Grant]:
        """The holder's that are neither ending nor ended, nor offered to others since they left; oldest first."""

    def holders(self, team: str) -> frozenset[str]:
        """Whoever has a grant that is neither ending nor ended, nor offered to others, or a pending request."""

    def link(self, link_id: str) -> Link | None:
        """By id alone: the URL names no team."""

    def link_of(self, team: str, key_id: str) -> Link | None:
        """The newest that delivers the key."""

    def lease_invitations(self, now: datetime, until: datetime, limit: int) -> Sequence[Grant]:
        """Grants whose invitation is to be sent or withdrawn and due, now leased."""

    # Keys.
    def key(self, team: str, key_id: str) -> Key | None: ...
    def keys_of(self, team: str, grant_id: str) -> Sequence[Key]: ...
    def keys_metered(self, team: str, provider: str, meter: str) -> Sequence[Key]:
        """Those whose usage the provider reports under this id."""

    def keys_by_meter(self, team: str, provider: str, meters: Iterable[str]) -> Mapping[str, str]:
        """The ids of the keys whose usage is reported under these; a few hundred at a time."""

    def keys_of_teams(self, ids: Iterable[tuple[str, str]]) -> Sequence[Key]:
        """Those of these keys, each by team and id, that there are; a few hundred at a time."""

    def keys_at(self, team: str, provider: str, states: Iterable[KeyState], after: str, limit: int) -> Sequence[Key]:
        """The team's keys there in these states, in the order of their ids, those after `after`."""

    def retiring_keys(self, team: str, provider: str, limit: int) -> Sequence[Key]:
        """The team's keys there whose place another took, and whose grace goes on."""

    def stuck_keys(self, team: str, provider: str, attempts: int) -> int:
        """How many keys there failed at least so often to be revoked or switched."""

    def keys_by_hand(self, team: str) -> int:
        """How many keys wait for a person to revoke them."""

    def know_meter(self, key: Key, meter: str) -> None:
        """Writes down what a key's usage is reported under, where that was not known."""

    def know_handle(self, key: Key, handle: str, fingerprint: str, now: datetime) -> None:
        """Writes down a late mint's handle, whatever became of the key meanwhile, and makes it due to be revoked.

        The one move that is not guarded: a key that exists must never be forgotten. A key already VOID goes back to
        REVOKING.
        """

    def lease_keys(self, now: datetime, until: datetime, limit: int) -> Sequence[Key]:
        """Keys to revoke, to disable or to enable that are due, now leased."""

    # Keys that a person brings.
    def deposit(self, team: str, key_id: str) -> Deposit | None: ...
    def destroy_deposit(self, team: str, key_id: str) -> None:
        """The deposited value is gone from here on. One that is not there is gone."""

    def deposits_beside(self, keks: Collection[str], limit: int) -> Sequence[Deposit]:
        """Deposits of all teams that none of these KEKs wraps."""

    def rewrap(self, deposit: Deposit, *, sealed: bytes, kek: str) -> bool:
        """Replaces the wrapping, unless the deposit was rewrapped or destroyed meanwhile; whether it was replaced."""

    # What people are asked.
    def questions(self, team: str, after: str, limit: int) -> Sequence[str]:
        """The ids, after `after` and in their order, of requests about which the desk waits for somebody's answer.

        To decide, to bring the key, or to say that they revoked it by hand.
        """

    def asked(self, team: str, member: str) -> Sequence[str]:
        """Those of them about which this member was asked."""

    # Who acknowledged how to keep a key safe.
    def lesson(self, team: str, member: str) -> datetime | None:
        """When this member last did; None where they never did."""

    def learn(self, team: str, member: str, at: datetime) -> None:
        """This member does so now."""

    # Messages.
    def notices(self, team: str, about: str) -> Sequence[Notice]:
        """All about this request."""

    def redraw(self, team: str, about: str, now: datetime) -> None:
        """Every notice about this request is to be shown anew."""

    def let_go(self, team: str, about: str, kinds: Sequence[NoticeKind]) -> None:
        """The messages of these kinds about this request keep what they say from here on."""

    def drop_unposted(self, team: str, about: str, kinds: Sequence[NoticeKind]) -> None:
        """The messages of these kinds about this request that were not posted yet are not wanted any more."""

    def shown(self, notice: Notice, *, channel: str | None, ts: str | None) -> None:
        """The recipient now sees version `notice.wanted` of it, there. A newer version wanted meanwhile is due now."""

    def put_off(self, notice: Notice, until: datetime, *, failed: bool = True) -> None:
        """The notice is due again then; where it `failed`, one attempt older."""

    def lease_notices(self, now: datetime, until: datetime, limit: int) -> Sequence[Notice]:
        """Notices behind what they should show that are due, now leased."""

    # What sweeps ask for, oldest due first, of all teams.
    def stalled_mints(self, intended_before: datetime, limit: int) -> Sequence[Key]: ...
    def overdue_links(self, now: datetime, limit: int) -> Sequence[Link]:
        """Open past their expiry, or claimed past their lease."""

    def expired_grants(self, now: datetime, limit: int) -> Sequence[Grant]:
        """Those of which a holder had a key, and that are past `expires_at` and not over."""

    def retired_keys(self, now: datetime, limit: int) -> Sequence[Key]:
        """Those whose grace ended until now, of all teams."""

    def disabled_keys(self, now: datetime, limit: int) -> Sequence[Key]:
        """Switched off until now, of all teams."""

    # What time does next about one thing.
    def set_timer(self, team: str, kind: TimerKind, about: str, due_at: datetime) -> None:
        """It begins anew, at step 0, and is due then."""

    def drop_timer(self, team: str, kind: TimerKind, about: str) -> None:
        """There is none from here on."""

    def timer(self, team: str, kind: TimerKind, about: str) -> Timer | None: ...
    def lease_timers(self, now: datetime, until: datetime, limit: int) -> Sequence[Timer]:
        """Timers that are due, now leased."""

    def move_timer(self, timer: Timer, **changes: Any) -> Timer:
        """Moves a leased timer on. Raises `Superseded` when its lease ended and another took it over, or it is gone."""

    def end_timer(self, timer: Timer) -> None:
        """It is over. Raises as `move_timer` does."""

    # Whether the team still has the app.
    def silence(self, team: str) -> Silence | None: ...
    def begin_silence(self, silence: Silence) -> bool:
        """Nothing is sent to the team from here on. Whether anything was until now."""

    def end_silence(self, team: str) -> bool:
        """The team has the app again. Whether it had not until now."""

    # What is due, without doing it, and how the sweeps went.
    def due(self, kind: DueKind, by: datetime, limit: int) -> Sequence[Due]:
        """What of this kind was due by then, of all teams, the oldest first. Changes nothing."""

    def queue(self, kind: DueKind, by: datetime, overdue_since: datetime, attempts: int) -> Queue:
        """How much of this kind was due by then, how much before the other time, and how much failed so often."""

    def sweep_states(self) -> Sequence[SweepState]:
        """How each sweep that ran went, whichever process ran it."""

    def put_sweep(self, state: SweepState) -> None:
        """Writes down how a sweep went, in place of what stood there."""

    # Rounds, and what they find.
    def begin_round(self, team: str, provider: str, kind: RoundKind, due_at: datetime) -> None:
        """The round is made from now on; one that is made already stays as it is."""

    def lease_rounds(self, now: datetime, until: datetime, limit: int) -> Sequence[Round]:
        """Rounds that are due, now leased."""

    def move_round(self, of: Round, **changes: Any) -> Round:
        """Writes down how far a leased round came. Raises `Superseded` when its lease ended and another took it over."""

    def rounds(self, team: str) -> Sequence[Round]: ...
    def put_outsiders(self, team: str, provider: str, found: Sequence[Outsiders]) -> None:
        """These are all there are at this provider."""

    def outsiders(self, team: str) -> Sequence[Outsiders]:
        """The team's, the most first."""

    # What was used.
    def put_usage(self, team: str, figures: Sequence[tuple[str, Usage]]) -> None:
        """Writes down what these keys, by id, used; what was written of the same key, day and model is replaced."""

    def known_usage(
        self, team: str, key_ids: Iterable[str], days: Iterable[date]
    ) -> Mapping[tuple[str, date, str], Usage]:
        """What was written down of these keys on these days, by key, day and model; a few hundred keys at a time."""

    def used_before(self, team: str, key_ids: Iterable[str], since: date, before: date) -> Mapping[str, Usage]:
        """What each of these keys used from `since` on until the day before `before`: the sums, as one figure."""

    def used_by(self, team: str, holder: str, since: date) -> Sequence[DayUse]:
        """What the holder's keys used since that day: by grant and day."""

    def spending(self, team: str, grant_id: str) -> Spending | None:
        """What the grant's keys used in the last month in which they used anything; None where they never did."""

    def spent(self, team: str, key_ids: Iterable[str], since: date, percent: int) -> Sequence[tuple[Grant, int]]:
        """The active grants of these keys that used so much of their budget since that day, and how many micros."""

    def add_hours(self, team: str, uses: Sequence[HourUse]) -> None:
        """This was used besides what is known of these keys and hours."""

    def hours_of(self, team: str, grant_id: str, since: datetime) -> Sequence[HourUse]:
        """What all keys of the grant together used from that hour on, oldest first; `key_id` is empty."""

    def model_days_of(self, team: str, grant_id: str, since: date) -> Sequence[ModelDay]:
        """What all keys of the grant together used from that day on, by day and model, oldest first."""

    def last_used(self, team: str, key_ids: Iterable[str]) -> Mapping[str, datetime]:
        """The last hour in which each of these keys can have been used; without those of which no hour is kept."""

    def forget_hours(self, before: datetime, limit: int) -> int:
        """Forgets hours before then, of all teams; how many, at most `limit` at a time."""

    # Unusual use.
    def add_incident(self, incident: Incident) -> None:
        """Stores a new one."""

    def move_incident(self, incident: Incident, **changes: Any) -> Incident:
        """Changes an incident and returns it as it is now. Raises `Superseded` when it was answered meanwhile."""

    def incident(self, team: str, incident_id: str) -> Incident | None: ...
    def incidents_of(self, team: str, grant_id: str, limit: int) -> Sequence[Incident]:
        """The grant's, newest first."""

    def open_incidents(self, team: str, limit: int, *, holder: str | None = None) -> Sequence[Incident]:
        """Those of active grants, of this holder or of all, that nobody answered yet; newest first."""

    # Digests: whose is due, and what they tell.
    def subscribe(self, team: str, members: Iterable[str], at: datetime) -> None:
        """These have a digest from now on; who has one already keeps theirs."""

    def unsubscribed(self, limit: int) -> Sequence[tuple[str, str]]:
        """Holders of living grants, and who approved them, of all teams, without a subscription: team and member."""

    def subscription(self, team: str, member: str) -> Subscription | None: ...
    def put_subscription(self, subscription: Subscription) -> None:
        """It is so from now on, whatever it was."""

    def lease_subscriptions(self, now: datetime, until: datetime, sender: str, limit: int) -> Sequence[Subscription]:
        """Those that are due, leased to this sender, `attempts` as before. None while another sender has some."""

    def move_subscription(self, subscription: Subscription, **changes: Any) -> None:
        """Changes a leased one. Raises `Superseded` when its lease ended and another took it over."""

    def models_used(self, team: str, holder: str, since: date) -> Mapping[str, frozenset[str]]:
        """Which models each of the holder's grants used since that day."""

    def lapsed_links(self, team: str, holder: str, since: datetime) -> int:
        """How many links to the holder's keys lapsed unopened since then."""

    def asked_of(self, team: str, approver: str, limit: int) -> Sequence[str]:
        """The ids of pending requests that this member was asked to decide, oldest first."""

    def approved_for(self, team: str, approver: str, rules: Collection[str]) -> Sequence[str]:
        """The holders of living grants that this member approved by these rules."""

    def team_spent(self, say: Say, days: Days, top: int) -> tuple[Spent, Sequence[TeamKey]]:
        """What the keys spent that an approver has a say in: whole, and those that spent the most."""

    def team_living(self, say: Say) -> int:
        """How many grants that an approver has a say in are neither ending nor over."""

    def team_idle(
        self, say: Say, providers: Collection[str], unused_since: datetime, limit: int
    ) -> tuple[int, Sequence[TeamKey]]:
        """The living keys of these, at these providers, older than that and unused since: how many, and some."""

    def team_overdue(self, say: Say, now: datetime, limit: int) -> tuple[int, Sequence[TeamKey]]:
        """The keys that an approver has a say in and that were to be rotated by now: how many, and some, the latest last."""

    def overdue_rotations(self, team: str, now: datetime) -> int:
        """How many keys were to be rotated by now."""

    def spent_by_project(self, team: str, days: Days, limit: int) -> tuple[Spent, Sequence[ProjectWeek], int]:
        """What all keys spent: whole, by project, the most first, and how many projects more there are."""

    def unusual_since(self, team: str, since: datetime, limit: int) -> tuple[int, Sequence[tuple[str, str]]]:
        """The incidents opened since then: how many, and of the newest the ids of request and incident."""


class Store(Protocol):
    """Where everything rests. Transactions are plain functions, run on the store's own executor."""

    async def write(self, act: Callable[[Transaction], T]) -> T:
        """Runs `act` in one durable transaction: all of it, or, when it raises, nothing.

        Raises `Unavailable` when the database fails; where it failed while it committed, the act may have happened.
        """

    async def read(self, look: Callable[[Transaction], T]) -> T:
        """Runs `look` against one consistent snapshot; it must change nothing. Raises `Unavailable`."""

    async def audit_chain(self, team: str) -> tuple[Sequence[Entry], Head | None]:
        """The team's whole chain and its head, of one moment."""

    async def teams(self) -> Sequence[str]:
        """Every team that has an audit chain."""
