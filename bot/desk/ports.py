"""What the desk needs of the world; the edges implement it.

Errors that cross a port are those of `bot.desk.errors`; an edge translates its vendor's.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from bot.desk.audit import Act, Entry, Head
from bot.desk.model import (
    AccessRequest,
    AppliedLimit,
    Decision,
    Grant,
    Home,
    Key,
    Link,
    Minted,
    Notice,
    Permission,
    Person,
    Project,
    Scope,
    Story,
)
from bot.desk.states import GrantState, KeyState, LinkState, RequestState

T = TypeVar("T")
Moving = TypeVar("Moving", AccessRequest, Grant, Key, Link)

Clock = Callable[[], datetime]
"""Now, aware and in UTC."""

Random = Callable[[int], bytes]
"""So many bytes from the operating system's generator."""


class Transaction(Protocol):
    """What one synchronous transaction may do. No await fits inside, so no network call can."""

    def first_time(self, team: str, delivery: str, at: datetime) -> bool:
        """Whether this delivery of Slack's is seen for the first time; marks it seen as part of the transaction."""

    def add(self, thing: AccessRequest | Decision | Grant | Key | Link | Notice) -> None:
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

    # Each look-up answers None where the team has no such thing.
    def request(self, team: str, request_id: str) -> AccessRequest | None: ...
    def request_from(self, team: str, origin: str) -> AccessRequest | None: ...
    def decision(self, team: str, request_id: str) -> Decision | None: ...
    def grant(self, team: str, grant_id: str) -> Grant | None: ...
    def grant_of(self, team: str, request_id: str) -> Grant | None: ...
    def key(self, team: str, key_id: str) -> Key | None: ...
    def link(self, link_id: str) -> Link | None:
        """By id alone: the URL names no team."""

    def link_of(self, team: str, key_id: str) -> Link | None: ...
    def requests_of(self, team: str, requester: str, limit: int) -> Sequence[AccessRequest]:
        """The requester's, newest first."""

    def pending(self, team: str, limit: int) -> Sequence[AccessRequest]:
        """All pending requests of the team, oldest first."""

    def grants_of(self, team: str, holder: str, limit: int) -> Sequence[Grant]:
        """The holder's, those not over first, then newest first."""

    def keys_of(self, team: str, grant_id: str) -> Sequence[Key]: ...

    # What sweeps ask for, oldest due first, of all teams.
    def stalled_mints(self, intended_before: datetime, limit: int) -> Sequence[Key]: ...
    def overdue_links(self, now: datetime, limit: int) -> Sequence[Link]:
        """Open past their expiry, or claimed past their lease."""

    def expired_grants(self, now: datetime, limit: int) -> Sequence[Grant]:
        """Active past `expires_at`."""

    # Work is claimed as it is listed: its `due_at` moves to `until`, so that no other process takes it before then.
    def lease_keys(self, now: datetime, until: datetime, limit: int) -> Sequence[Key]:
        """Keys to revoke that are due, now leased."""

    def lease_notices(self, now: datetime, until: datetime, limit: int) -> Sequence[Notice]:
        """Notices behind what they should show that are due, now leased."""

    def shown(self, notice: Notice, *, channel: str | None, ts: str | None) -> None:
        """The recipient now sees version `notice.wanted` of it, there. A newer version wanted meanwhile is due now."""

    def put_off(self, notice: Notice, until: datetime) -> None:
        """The notice is due again then, and one attempt older."""

    def know_handle(self, key: Key, handle: str, fingerprint: str, now: datetime) -> None:
        """Writes down a late mint's handle, whatever became of the key meanwhile, and makes it due to be revoked.

        The one move that is not guarded: a key that exists must never be forgotten. A key already VOID goes back to
        REVOKING.
        """

    def redraw(self, team: str, about: str, now: datetime) -> None:
        """Every notice about this request is to be shown anew."""


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


class Provider(Protocol):
    """One vendor that can mint keys. Every call has a time-out and raises only `ProviderError`s."""

    @property
    def name(self) -> str:
        """As policy and storage call it: "openai"."""

    @property
    def label(self) -> str:
        """As people call it: "OpenAI"."""

    @property
    def permissions(self) -> Sequence[Permission]:
        """The presets of what a key may do, widest last."""

    async def projects(self) -> Sequence[Project]:
        """The projects that a key can be minted in; may be up to a minute old."""

    async def mint(self, *, marker: str, scope: Scope, lifetime: timedelta) -> Minted:
        """Creates one key that does no more than `scope`. Raises `OutcomeUnknown` when it may yet exist."""

    async def find(self, *, marker: str, project: str) -> Sequence[str]:
        """Handles of whatever bears the marker."""

    async def revoke(self, *, handle: str, project: str) -> None:
        """Returns only when the provider said the key is gone; one that is not there is gone."""

    def applied_limits(self, *, scope: Scope, lifetime: timedelta) -> tuple[AppliedLimit, ...]:
        """Which limit is really enforced, and where."""

    async def check(self) -> str:
        """Asks the provider who the credential is; the answer is a line for `app.py check`."""

    async def aclose(self) -> None:
        """Gives its connections back; nothing is called after it."""


class Directory(Protocol):
    """Who people are. Raises `Unavailable` when it cannot be asked."""

    async def person(self, member: str, *, fresh: bool = False) -> Person | None:
        """None where the workspace knows no such member. `fresh` asks again; else up to ten minutes old."""

    async def members(self, group: str) -> frozenset[str]:
        """The members of a user group, up to a minute old. Empty where there is no such group."""

    async def manager(self, member: str, profile_field: str) -> str | None:
        """The member that the profile field names."""


class Notifier(Protocol):
    """Everything outbound to people."""

    async def show(self, notice: Notice, story: Story) -> tuple[str, str]:
        """Posts the notice, or brings the posted one up to date; returns where it stands (channel and ts).

        Raises `Undeliverable` when it never can be, `Unavailable` when it may be later.
        """

    async def show_home(self, home: Home) -> None:
        """Publishes the member's Home."""
