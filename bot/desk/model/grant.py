"""What came of an approved ask: the right to a key, its keys over time, and how each is brought and handed over."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from bot.desk.model.request import Draft
from bot.desk.states import GrantState, KeyState, LinkState


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
