"""What sweeps find due, and how the sweeps go."""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum


class SweepName(StrEnum):
    """The sweeps: what the desk does by itself, again and again."""

    RECONCILE = "reconcile"  # puts right what a crash, or time, left
    TIMERS = "timers"  # does what time has come for
    RETIRE = "retire"  # revokes keys, and switches them off and on
    INVITE = "invite"  # sends, follows and withdraws invitations
    DELIVER = "deliver"  # posts messages and keeps them current
    DIGEST = "digest"  # sends the weekly digests
    PROBE = "probe"  # asks providers what the desk's credentials may do
    ROUNDS = "rounds"  # makes the rounds at the providers


class DueKind(StrEnum):
    """What a sweep finds due."""

    MINT = "mint"  # a mint that never came to its end
    LINK = "link"  # a link that nobody opened, or whose key nobody was shown
    GRANT = "grant"  # a grant whose time is over
    MONTH = "month"  # a key that was switched off until the month is over
    GRACE = "grace"  # a key whose place another took, and whose grace is over
    KEY = "key"  # a key to revoke, or to switch off or on
    INVITATION = "invitation"  # an invitation to send, to follow or to withdraw
    NOTICE = "notice"  # a message that is behind what it should show
    ROUND = "round"  # a round at a provider
    TIMER = "timer"  # something that time does
    DIGEST = "digest"  # somebody's weekly digest, or a look at when it is due
    PROBE = "probe"  # a provider whose last answer is old


@dataclass(frozen=True, slots=True)
class Due:
    """One thing that a sweep finds to do. `how` is its state or kind; `whose` a member or channel, empty where it is nobody's.

    `since` is when it fell due, of what was put off when it did so again; None where it was never done.
    """

    kind: DueKind
    team: str
    thing: str
    how: str
    whose: str
    since: datetime | None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Queue:
    """How much of one kind waits. `overdue` is part of `due`; `stuck` counts what keeps failing, due or put off."""

    kind: DueKind
    due: int
    overdue: int
    oldest: datetime | None
    stuck: int


@dataclass(frozen=True, slots=True)
class SweepState:
    """How a sweep went, whichever process ran it: its last pass, and on `day` (UTC) all passes together.

    `items` is what it handled that day, `longest` its longest pass, `failures` what failed for a reason of the desk's own.
    """

    name: SweepName
    ran_at: datetime
    took: timedelta
    day: date
    items: int = 0
    longest: timedelta = timedelta()
    failures: int = 0
    failed_at: datetime | None = None
    flaw: str | None = None


def added(before: SweepState | None, since: SweepState) -> SweepState:
    """Both together: the last pass of the later one, the sums of its day."""
    if before is None:
        return since
    last, other = (since, before) if since.ran_at >= before.ran_at else (before, since)
    same_day = last.day == other.day
    failed = other if last.failed_at is None or (other.failed_at or last.failed_at) > last.failed_at else last
    return replace(
        last,
        items=last.items + (other.items if same_day else 0),
        longest=max(last.longest, other.longest) if same_day else last.longest,
        failures=last.failures + (other.failures if same_day else 0),
        failed_at=failed.failed_at,
        flaw=failed.flaw,
    )
