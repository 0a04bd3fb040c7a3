"""How long the desk waits for people, and what it sets a timer for. What follows is `lapsing`'s, `expiring`'s and `idling`'s."""

from datetime import datetime, timedelta

from bot.desk.audit import Act, stamp
from bot.desk.model import SYSTEM, AccessRequest, Grant, Key, TimerKind
from bot.desk.ports import Transaction
from bot.desk.states import GrantState

REMIND_APPROVERS_AFTER = timedelta(hours=4)  # of each approver's working hours: half a day
# Of each depositor's working hours: somebody waits for them, and making a key is work.
REMIND_DEPOSITORS_AFTER = timedelta(hours=8)
REMIND_HOLDER_AFTER = timedelta(days=2)  # who was approved may have other things to do first
IDLE_AFTER = timedelta(days=14)
SUCCEEDED_AFTER = timedelta(hours=24)  # how long a key goes on beside the one that extends it, as after a rotation


def for_decision(tx: Transaction, request: AccessRequest) -> None:
    """Nobody decided yet."""
    tx.set_timer(request.team, TimerKind.DECISION, request.id, request.created_at + REMIND_APPROVERS_AFTER)


def for_deposit(tx: Transaction, key: Key) -> None:
    """Nobody brought the key yet."""
    tx.set_timer(key.team, TimerKind.DEPOSIT, key.id, key.intended_at + REMIND_DEPOSITORS_AFTER)


def for_pick_up(tx: Transaction, grant: Grant, now: datetime) -> None:
    """Its holder did not pick the key up yet. Where the time for it is short, half of it passes before they are reminded."""
    lapses_at = grant.lapses_at or now
    tx.set_timer(grant.team, TimerKind.PICK_UP, grant.id, now + min(REMIND_HOLDER_AFTER, (lapses_at - now) / 2))


def held(tx: Transaction, grant: Grant, now: datetime) -> Grant:
    """Its holder has a key, who had none: nothing lapses any more, and its time runs. A key that it extends ends soon."""
    first = grant.held_since is None
    grant = tx.move(grant, GrantState.ACTIVE, held_since=now, lapses_at=None)
    tx.set_timer(grant.team, TimerKind.EXPIRY, grant.id, now)
    tx.set_timer(grant.team, TimerKind.IDLE, grant.id, now + IDLE_AFTER)
    request = tx.request(grant.team, grant.request_id)
    if first and request is not None and request.extends is not None:
        _succeed(tx, grant, request.extends, now)
    return grant


def _succeed(tx: Transaction, grant: Grant, extends: str, now: datetime) -> None:
    old = tx.grant(grant.team, extends)
    # Nor does one go on whose key was revoked at once, and whose holder is to pick up another.
    if old is None or old.state in (GrantState.ENDING, GrantState.ENDED) or old.expires_at is None:
        return
    tx.drop_timer(old.team, TimerKind.EXPIRY, old.id)
    tx.drop_timer(old.team, TimerKind.IDLE, old.id)
    tx.redraw(old.team, old.request_id, now)
    ends = min(old.expires_at, now + SUCCEEDED_AFTER)
    tx.move(old, expires_at=ends)
    tx.record(team=old.team, at=now, actor=SYSTEM, act=Act.SUCCEEDED, subject=old.id, by=grant.id, ends=stamp(ends))
