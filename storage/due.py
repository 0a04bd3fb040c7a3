"""What is due, and how the sweeps went: the part of a transaction that speaks of them.

What leases what is due and what only looks at it ask by the same conditions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, cast

from sqlalchemy import and_, case, func, literal, or_, select
from sqlmodel import SQLModel

from bot.desk.due import Due, DueKind, Queue, SweepName, SweepState
from bot.desk.model import Grant, Key, Link, Notice
from bot.desk.states import KeyState, LinkState
from storage.questions import QuestionStatements
from storage.rows import table
from storage.statements import LIMIT, NOW, Conditions
from storage.tables import DigestRow, RoundRow, SweepRow, TimerRow

DESKS_TURN = (KeyState.REVOKING.value, KeyState.DISABLING.value, KeyState.ENABLING.value)

_GRANTS, _KEYS, _LINKS, _NOTICES = (table(kind) for kind in (Grant, Key, Link, Notice))


def _table(row: type[SQLModel]) -> Any:
    return cast(Any, row).__table__


_ROUNDS, _TIMERS, _SWEEPS, _DIGESTS = (_table(row) for row in (RoundRow, TimerRow, SweepRow, DigestRow))


# ---- when each is due


def stalled_mints(intended_before: datetime) -> tuple[Any, ...]:
    """Minting since before then."""
    return _KEYS.c.state == KeyState.MINTING.value, _KEYS.c.intended_at < intended_before


def overdue_links(now: datetime) -> tuple[Any, ...]:
    """Open past their expiry, or claimed past their lease."""
    unread = and_(_LINKS.c.state == LinkState.OPEN.value, _LINKS.c.expires_at <= now)
    unacknowledged = and_(_LINKS.c.state == LinkState.CLAIMED.value, _LINKS.c.lease_until <= now)
    return (or_(unread, unacknowledged),)


def expired_grants(now: datetime) -> tuple[Any, ...]:
    """Past their end and not over; those of which nobody held a key yet have none."""
    return _GRANTS.c.ended_at.is_(None), _GRANTS.c.held_since.is_not(None), _GRANTS.c.expires_at <= now


def retired_keys(now: datetime) -> tuple[Any, ...]:
    """Those whose place another took, and whose grace is over."""
    return _KEYS.c.state == KeyState.RETIRING.value, _KEYS.c.due_at <= now


def disabled_keys(now: datetime) -> tuple[Any, ...]:
    """Switched off until now."""
    return _KEYS.c.state == KeyState.DISABLED.value, _KEYS.c.due_at <= now


def keys_to_act_on(now: datetime) -> tuple[Any, ...]:
    """To be revoked, or switched off or on."""
    return _KEYS.c.state.in_(DESKS_TURN), _KEYS.c.due_at <= now


def invitations(now: datetime) -> tuple[Any, ...]:
    """To be sent, followed or withdrawn."""
    return (_GRANTS.c.due_at <= now,)


def notices(now: datetime) -> tuple[Any, ...]:
    """Behind what they should show."""
    return _NOTICES.c.shown < _NOTICES.c.wanted, _NOTICES.c.due_at <= now


# ---- what there is to say of each


@dataclass(frozen=True, slots=True)
class _Kind:
    """The columns that tell of one kind, its `conditions`, and which rows wait, due or put off, where they are tried again."""

    rows: Any
    thing: Any
    how: Any
    whose: Any
    since: Any
    conditions: Conditions
    waits: tuple[Any, ...] = ()


def _holder(rows: Any) -> Any:
    return (
        select(_GRANTS.c.holder).where(_GRANTS.c.team == rows.c.team, _GRANTS.c.id == rows.c.grant_id).scalar_subquery()
    )


_WHEN_A_LINK = case((_LINKS.c.state == LinkState.OPEN.value, _LINKS.c.expires_at), else_=_LINKS.c.lease_until)
_KINDS: Mapping[DueKind, _Kind] = {
    DueKind.MINT: _Kind(_KEYS, _KEYS.c.id, _KEYS.c.state, _holder(_KEYS), _KEYS.c.intended_at, stalled_mints),
    DueKind.LINK: _Kind(_LINKS, _LINKS.c.id, _LINKS.c.state, _LINKS.c.holder, _WHEN_A_LINK, overdue_links),
    DueKind.GRANT: _Kind(
        _GRANTS, _GRANTS.c.id, _GRANTS.c.state, _GRANTS.c.holder, _GRANTS.c.expires_at, expired_grants
    ),
    DueKind.MONTH: _Kind(_KEYS, _KEYS.c.id, _KEYS.c.state, _holder(_KEYS), _KEYS.c.due_at, disabled_keys),
    DueKind.GRACE: _Kind(_KEYS, _KEYS.c.id, _KEYS.c.state, _holder(_KEYS), _KEYS.c.due_at, retired_keys),
    DueKind.KEY: _Kind(
        _KEYS,
        _KEYS.c.id,
        _KEYS.c.state,
        _holder(_KEYS),
        _KEYS.c.due_at,
        keys_to_act_on,
        (_KEYS.c.state.in_(DESKS_TURN), _KEYS.c.due_at.is_not(None)),
    ),
    DueKind.INVITATION: _Kind(
        _GRANTS,
        _GRANTS.c.id,
        _GRANTS.c.state,
        _GRANTS.c.holder,
        _GRANTS.c.due_at,
        invitations,
        (_GRANTS.c.due_at.is_not(None),),
    ),
    DueKind.NOTICE: _Kind(
        _NOTICES,
        _NOTICES.c.id,
        _NOTICES.c.kind,
        _NOTICES.c.recipient,
        _NOTICES.c.due_at,
        notices,
        (_NOTICES.c.shown < _NOTICES.c.wanted,),
    ),
    DueKind.ROUND: _Kind(
        _ROUNDS,
        _ROUNDS.c.provider,
        _ROUNDS.c.kind,
        literal(""),
        _ROUNDS.c.due_at,
        lambda now: (_ROUNDS.c.due_at <= now,),
        (_ROUNDS.c.attempts > 0,),
    ),
    DueKind.TIMER: _Kind(
        _TIMERS,
        _TIMERS.c.about,
        _TIMERS.c.kind,
        literal(""),
        _TIMERS.c.due_at,
        lambda now: (_TIMERS.c.due_at <= now,),
        (_TIMERS.c.attempts > 0,),
    ),
    DueKind.DIGEST: _Kind(
        _DIGESTS,
        _DIGESTS.c.member,
        literal("weekly"),
        _DIGESTS.c.member,
        _DIGESTS.c.due_at,
        lambda now: (_DIGESTS.c.due_at <= now,),
        (_DIGESTS.c.attempts > 0,),
    ),
}


@cache
def _telling(kind: DueKind) -> Any:
    of = _KINDS[kind]
    attempts = of.rows.c.attempts if of.waits else literal(0)
    return (
        select(
            of.rows.c.team,
            of.thing.label("thing"),
            of.how.label("how"),
            of.whose.label("whose"),
            of.since.label("since"),
            attempts.label("attempts"),
        )
        .where(*of.conditions(NOW))
        .order_by(of.since)
        .limit(LIMIT)
    )


class DueStatements(QuestionStatements):
    """What a transaction may do about what is due, without doing it."""

    def due(self, kind: DueKind, by: datetime, limit: int) -> Sequence[Due]:
        """What of this kind was due by then, of all teams, the oldest first. Changes nothing."""
        found = self._db.execute(_telling(kind), {"now": by, "limit": limit})
        return [Due(kind=kind, **dict(row)) for row in found.mappings()]

    def queue(self, kind: DueKind, by: datetime, overdue_since: datetime, attempts: int) -> Queue:
        """How much of this kind was due by then, how much before the other time, and how much failed so often."""
        of = _KINDS[kind]
        since = case((of.since <= overdue_since, 1))
        counted = select(
            func.count().label("due"), func.count(since).label("overdue"), func.min(of.since).label("oldest")
        ).select_from(of.rows)
        row = self._db.execute(counted.where(*of.conditions(by))).mappings().one()
        stuck = 0
        if of.waits:
            tried = select(func.count()).select_from(of.rows).where(*of.waits, of.rows.c.attempts >= attempts)
            stuck = int(self._db.execute(tried).scalar_one())
        return Queue(kind, int(row["due"]), int(row["overdue"]), row["oldest"], stuck)

    def sweep_states(self) -> Sequence[SweepState]:
        """How each sweep that ran went, whichever process ran it."""
        return [_state(row) for row in self._db.execute(select(_SWEEPS)).mappings()]

    def put_sweep(self, state: SweepState) -> None:
        """Writes down how a sweep went, in place of what stood there."""
        values = {
            "name": state.name.value,
            "ran_at": state.ran_at,
            "took_ms": _milliseconds(state.took),
            "day": state.day,
            "items": state.items,
            "longest_ms": _milliseconds(state.longest),
            "failures": state.failures,
            "failed_at": state.failed_at,
            "flaw": state.flaw,
        }
        new = self._dialect.insert(_SWEEPS)
        changed = {name: new.excluded[name] for name in values if name != "name"}
        self._db.execute(new.on_conflict_do_update(index_elements=["name"], set_=changed), values)


def _milliseconds(span: timedelta) -> int:
    return round(span.total_seconds() * 1000)


def _state(row: Any) -> SweepState:
    return SweepState(
        name=SweepName(row["name"]),
        ran_at=row["ran_at"],
        took=timedelta(milliseconds=row["took_ms"]),
        day=row["day"],
        items=row["items"],
        longest=timedelta(milliseconds=row["longest_ms"]),
        failures=row["failures"],
        failed_at=row["failed_at"],
        flaw=row["flaw"],
    )
