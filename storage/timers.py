"""Timers: the part of a transaction that speaks of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.engine import RowMapping

from bot.desk.errors import Superseded
from bot.desk.model import Timer, TimerKind
from storage import statements
from storage.statements import its
from storage.tables import TimerRow
from storage.usage import UsageStatements

_ROWS: Any = cast(Any, TimerRow).__table__
_THIS = ("team", "kind", "about")
_LEASED = (*_THIS, "due_at", "step")


def _timer(row: RowMapping) -> Timer:
    return Timer(**{**dict(row), "kind": TimerKind(row["kind"])})


class TimerStatements(UsageStatements):
    """What a transaction may do about timers."""

    def set_timer(self, team: str, kind: TimerKind, about: str, due_at: datetime) -> None:
        """It begins anew, and is due then."""
        self.drop_timer(team, kind, about)
        self._insert_new(TimerRow, team=team, kind=kind.value, about=about, due_at=due_at, step=0, attempts=0)

    def drop_timer(self, team: str, kind: TimerKind, about: str) -> None:
        """There is none from here on."""
        self._db.execute(statements.gone(_ROWS, *_THIS), _this(team, kind, about))

    def timer(self, team: str, kind: TimerKind, about: str) -> Timer | None:
        """The one of this kind about this thing, or None."""
        row = self._db.execute(statements.one(_ROWS, *_THIS), _this(team, kind, about)).mappings().first()
        return _timer(row) if row else None

    def lease_timers(self, now: datetime, until: datetime, limit: int) -> Sequence[Timer]:
        """Timers that are due, now leased."""
        query = select(_ROWS).where(_ROWS.c.due_at <= now).order_by(_ROWS.c.due_at).limit(limit)
        found = [_timer(row) for row in self._db.execute(query).mappings()]
        return [self.move_timer(one, due_at=until) for one in found]

    def move_timer(self, timer: Timer, **changes: Any) -> Timer:
        """Guarded by the lease: raises `Superseded` when it ended and another process took the timer over."""
        told = {**changes, **its(**_leased(timer))}
        moved = self._db.execute(statements.moved(_ROWS, *_LEASED), told).mappings().first()
        if moved is None:
            raise Superseded("Another process took the timer over.", found="taken over")
        return _timer(moved)

    def end_timer(self, timer: Timer) -> None:
        """It is over. Guarded as `move_timer` is."""
        if not self._db.execute(statements.gone(_ROWS, *_LEASED), _leased(timer)).rowcount:
            raise Superseded("Another process took the timer over.", found="taken over")


def _this(team: str, kind: TimerKind, about: str) -> dict[str, Any]:
    return {"team": team, "kind": kind.value, "about": about}


def _leased(timer: Timer) -> dict[str, Any]:
    return {**_this(timer.team, timer.kind, timer.about), "due_at": timer.due_at, "step": timer.step}
