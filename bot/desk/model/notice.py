"""The messages that the desk owes to people."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


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
