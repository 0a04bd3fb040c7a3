"""What becomes of a grant's keys inside a transaction: which one is delivered next, which are put away."""

from datetime import datetime
from typing import Any

from bot.desk.audit import Act
from bot.desk.errors import Superseded
from bot.desk.ids import new_id
from bot.desk.limits import MICROS_IN_A_CENT
from bot.desk.model import SYSTEM, Cause, Grant, Key
from bot.desk.offer import Enforcer, LimitKind
from bot.desk.ports import Random, Transaction
from bot.desk.providers import Providers
from bot.desk.states import GrantState, KeyState, LinkState

ALIVE = (
    KeyState.AWAITED,
    KeyState.DEPOSITED,
    KeyState.MINTING,
    KeyState.SEALED,
    KeyState.LIVE,
    KeyState.RETIRING,
    KeyState.DISABLING,
    KeyState.DISABLED,
    KeyState.ENABLING,
)
"""The states of which a key that is put away has to be ended."""
OLD_KEYS_AT_MOST = 3  # of one grant that work on beside the one that took their place
_RESTS_AGAIN = (Cause.REPLACED, Cause.LAPSED, Cause.UNACKNOWLEDGED, Cause.SWITCHED_OFF)


def new_key(grant: Grant, state: KeyState, now: datetime, random: Random) -> Key:
    """A key that is intended: its marker, which is to be its name at the provider, bears its id."""
    key_id = new_id("k", random)
    return Key(
        team=grant.team,
        id=key_id,
        grant_id=grant.id,
        provider=grant.draft.scope.provider,
        project=grant.draft.scope.project,
        marker=f"keydesk-{key_id}",
        state=state,
        intended_at=now,
    )


def off_until_rotated(key: Key) -> bool:
    """Whether the key is off for no other reason than that its rotation is overdue: who rotates needs nobody's leave."""
    for_its_budget_too = key.state is KeyState.DISABLED and key.due_at is not None  # until the month is over
    off = key.state in (KeyState.DISABLING, KeyState.DISABLED)
    return off and not for_its_budget_too and key.paused_by == SYSTEM


def still_theirs(grant: Grant) -> None:
    """Raises `Superseded` where its holder left and is back: what they had is offered to others."""
    if grant.left_at is not None:
        raise Superseded(
            "You had left, and this key is for whoever takes it over. `/apikey request` asks for one of your own.",
            found="offered",
        )


def may_follow(tx: Transaction, grant: Grant) -> None:
    """Raises `Superseded` where no pick-up can deliver a key that is to follow the one that the holder has."""
    key = tx.key(grant.team, grant.key_id) if grant.key_id else None
    coming = tx.key(grant.team, grant.next_key_id) if grant.next_key_id else None
    if key is None or key.state is not KeyState.LIVE:
        raise Superseded(
            "This key is switched off, so no other can take its place. An approver can switch it on; `/apikey revoke` ends it.",
            found=key.state if key else "gone",
        )
    if coming is not None and coming.state is KeyState.MINTING:
        raise Superseded("Your new key is being made right now. Its link follows in a moment.", found=coming.state)
    if coming is not None and coming.state is KeyState.AWAITED:
        raise Superseded(
            "Somebody still has to bring your new key. You hear here when it can be picked up; the one that you have works on.",
            found=coming.state,
        )
    if sum(one.state is KeyState.RETIRING for one in tx.keys_of(grant.team, grant.id)) >= OLD_KEYS_AT_MOST:
        raise Superseded(
            f"{OLD_KEYS_AT_MOST} old keys of this grant still work. Say *Switched* once nothing uses them, or wait until their time is over.",
            found="retiring",
        )


def budget_used_up(tx: Transaction, grant: Grant, now: datetime, providers: Providers) -> bool:
    """Whether this month's budget is used up, where the provider holds each key to one of its own.

    Where the desk, a project or nobody does, what all keys of the grant use counts together: another changes nothing.
    """
    request, spending = tx.request(grant.team, grant.request_id), tx.spending(grant.team, grant.id)
    if request is None or spending is None or spending.month != now.date().replace(day=1):
        return False
    budget = grant.draft.scope.monthly_budget_cents * MICROS_IN_A_CENT
    limits = providers.limits(request)
    own = any((limit.kind, limit.enforcer) == (LimitKind.BUDGET, Enforcer.KEY) for limit in limits)
    return own and 0 < budget <= spending.cost_micros


def within_budget(tx: Transaction, grant: Grant, now: datetime, providers: Providers) -> None:
    """Raises `Superseded` where another key would bring another budget, and this month's is used up."""
    if budget_used_up(tx, grant, now, providers):
        raise Superseded(
            "This month's budget is used up, and a new key would bring a new one. Try again from the 1st on, or ask for "
            "another key: `/apikey request`.",
            found="used up",
        )


def deliver_next(tx: Transaction, grant: Grant, now: datetime, random: Random) -> Key:
    """The key that a pick-up delivers: the deposited one that rests, or a new one whose mint is intended.

    One that waits behind a link is put away first. While a key of the grant is in its holder's hands, the one that is
    delivered is to follow it (`next_key_id`), and the grant stays active: a rotation.
    """
    key = tx.key(grant.team, grant.under_way) if grant.under_way else None
    if key is not None and key.state is KeyState.SEALED:
        put_away(tx, grant, key, now, because=Cause.REPLACED)
        key = tx.key(grant.team, key.id)
    if key is not None and key.state is KeyState.DEPOSITED:
        if grant.state is GrantState.DELIVERING:
            tx.move(grant, GrantState.READY)
        return key
    key = new_key(grant, KeyState.MINTING, now, random)
    tx.add(key)
    if grant.state is GrantState.ACTIVE:
        tx.move(grant, next_key_id=key.id)
    else:
        tx.move(grant, GrantState.ISSUING, key_id=key.id)
    return key


def begin_delivery(
    tx: Transaction, grant: Grant, key: Key, now: datetime, *, by: str, recorded_as: Act, **detail: Any
) -> Key:
    """A pick-up or a rotation begins, which is to deliver this key: it is told and recorded."""
    tx.redraw(grant.team, grant.request_id, now)
    tx.record(
        team=grant.team, at=now, actor=by, act=recorded_as, subject=grant.id, key=key.id, marker=key.marker, **detail
    )
    return key


def not_delivered(tx: Transaction, key: Key) -> Grant | None:
    """A key did not come into its holder's hands: its grant goes back to where they can pick up, or rotate, again.

    To be called when what becomes of the key is stored: one that was brought rests again.
    """
    grant = tx.grant(key.team, key.grant_id)
    if grant is None or grant.under_way != key.id:
        return grant
    found = tx.key(key.team, key.id)
    if grant.state is GrantState.ACTIVE:
        rests = found is not None and found.state is KeyState.DEPOSITED
        return grant if rests else tx.move(grant, next_key_id=None)
    if grant.state in (GrantState.ISSUING, GrantState.DELIVERING):
        # Until somebody held a key of it, no clock runs.
        return tx.move(grant, GrantState.READY, expires_at=grant.expires_at if grant.held_since else None)
    return grant


def break_off_rotation(tx: Transaction, grant: Grant, now: datetime, *, because: Cause) -> Grant:
    """The key that is being minted, or waits behind a link, does not follow the current one; one that was brought rests."""
    key = tx.key(grant.team, grant.next_key_id) if grant.next_key_id else None
    if key is None or key.state not in (KeyState.MINTING, KeyState.SEALED):
        return grant
    put_away(tx, grant, key, now, because=because)
    return not_delivered(tx, key) or grant


def retire(tx: Transaction, key: Key, now: datetime, *, by: str, because: str) -> None:
    """A key that another took the place of is to be revoked from here on. Raises `Superseded` when it moved on."""
    tx.move(key, KeyState.REVOKING, due_at=now, attempts=0)
    tx.record(team=key.team, at=now, actor=by, act=Act.RETIRED, subject=key.id, grant=key.grant_id, because=because)


def put_away(tx: Transaction, grant: Grant, key: Key, now: datetime, *, because: Cause) -> None:
    """The key is to be revoked, and its link closed with the envelope destroyed.

    A deposited key that its holder may still pick up goes back to rest: only their own session can have read it.
    """
    if key.state not in ALIVE:
        return
    if key.state is KeyState.AWAITED:
        tx.move(key, KeyState.VOID)
        tx.record(team=key.team, at=now, actor=SYSTEM, act=Act.VOIDED, subject=key.id, grant=grant.id, handle="")
    elif because in _RESTS_AGAIN and tx.deposit(key.team, key.id) is not None:
        tx.move(key, KeyState.DEPOSITED, expires_at=None)
    else:
        tx.move(key, KeyState.REVOKING, due_at=now, attempts=0)
        tx.destroy_deposit(key.team, key.id)
    link = tx.link_of(key.team, key.id)
    if link is not None and link.state in (LinkState.OPEN, LinkState.CLAIMED):
        tx.move(link, LinkState.CLOSED, envelope=None, closed_because=because)
        tx.record(
            team=link.team,
            at=now,
            actor=SYSTEM,
            act=Act.LINK_CLOSED,
            subject=link.id,
            key=key.id,
            because=because,
        )
