"""Silences: the part of a transaction that speaks of them."""

from typing import Any, cast

from sqlalchemy import delete, select

from bot.desk.model import Silence
from storage.tables import SilenceRow
from storage.timers import TimerStatements

_ROWS: Any = cast(Any, SilenceRow).__table__


class SilenceStatements(TimerStatements):
    """What a transaction may do about silences."""

    def silence(self, team: str) -> Silence | None:
        """The team's, or None where it has the app."""
        row = self._db.execute(select(_ROWS).where(_ROWS.c.team == team)).mappings().first()
        return Silence(**row) if row else None

    def begin_silence(self, silence: Silence) -> bool:
        """One that began before stays as it is."""
        return self._insert_new(SilenceRow, team=silence.team, since=silence.since, because=silence.because)

    def end_silence(self, team: str) -> bool:
        """Whether there was one."""
        return bool(self._db.execute(delete(_ROWS).where(_ROWS.c.team == team)).rowcount)
