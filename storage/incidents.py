"""Unusual use: the part of a transaction that speaks of it."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import date, datetime
from typing import Any, cast

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.engine import RowMapping

from bot.desk.errors import Superseded
from bot.desk.findings import Finding, Like, Measure, Unusual
from bot.desk.model import Answer, Grant, Incident, Key, Notice, NoticeKind
from bot.desk.states import GrantState
from bot.desk.unusual import ModelDay
from storage import statements
from storage.due import DueStatements
from storage.rows import plain, table
from storage.tables import IncidentRow, UsageRow

_ROWS: Any = cast(Any, IncidentRow).__table__
_USAGE: Any = cast(Any, UsageRow).__table__


def _finding(written: dict[str, Any]) -> Finding:
    return Finding(
        **{
            **written,
            "kind": Unusual(written["kind"]),
            "at": datetime.fromisoformat(written["at"]),
            "measure": Measure(written["measure"]),
            "like": Like(written["like"]),
        }
    )


def _written(finding: Finding) -> dict[str, Any]:
    values = {field.name: plain(getattr(finding, field.name)) for field in fields(finding)}
    return {**values, "at": finding.at.isoformat()}


def _column(name: str, value: Any) -> Any:
    return [_written(one) for one in value] if name == "findings" else plain(value)


def _incident(row: RowMapping) -> Incident:
    answer = Answer(row["answer"]) if row["answer"] else None
    return Incident(**{**dict(row), "findings": tuple(_finding(one) for one in row["findings"]), "answer": answer})


class IncidentStatements(DueStatements):
    """What a transaction may do about unusual use."""

    def add_incident(self, incident: Incident) -> None:
        """Stores a new one."""
        values = {field.name: _column(field.name, getattr(incident, field.name)) for field in fields(incident)}
        self._db.execute(insert(_ROWS), values)

    def move_incident(self, incident: Incident, **changes: Any) -> Incident:
        """Guarded by its answer: raises `Superseded` when somebody answered it meanwhile."""
        answer = _ROWS.c.answer.is_(None) if incident.answer is None else _ROWS.c.answer == incident.answer.value
        this = (_ROWS.c.team == incident.team, _ROWS.c.id == incident.id, answer)
        values = {name: _column(name, value) for name, value in changes.items()}
        row = self._db.execute(update(_ROWS).where(*this).returning(*_ROWS.c), values).mappings().first()
        if row is None:
            raise Superseded("Somebody answered this already.", found="answered")
        return _incident(row)

    def incident(self, team: str, incident_id: str) -> Incident | None:
        """The team's incident, or None."""
        these = (_ROWS.c.team == team, _ROWS.c.id == incident_id)
        row = self._db.execute(select(_ROWS).where(*these)).mappings().first()
        return _incident(row) if row else None

    def incidents_of(self, team: str, grant_id: str, limit: int) -> Sequence[Incident]:
        """The grant's, newest first."""
        query = statements.many(_ROWS, "team", "grant_id", order=("-opened_at", "id"))
        rows = self._db.execute(query, {"team": team, "grant_id": grant_id, "limit": limit})
        return [_incident(row) for row in rows.mappings()]

    def open_incidents(self, team: str, limit: int, *, holder: str | None = None) -> Sequence[Incident]:
        """Those of grants in use that nobody answered yet, newest first."""
        grants = table(Grant)
        query = select(_ROWS).join(grants, (grants.c.team == _ROWS.c.team) & (grants.c.id == _ROWS.c.grant_id))
        query = query.where(
            _ROWS.c.team == team, _ROWS.c.closed_at.is_(None), grants.c.state == GrantState.ACTIVE.value
        )
        if holder is not None:
            query = query.where(grants.c.holder == holder)
        rows = self._db.execute(query.order_by(_ROWS.c.opened_at.desc(), _ROWS.c.id).limit(limit))
        return [_incident(row) for row in rows.mappings()]

    def model_days_of(self, team: str, grant_id: str, since: date) -> Sequence[ModelDay]:
        """What all keys of the grant together used from that day on, by day and model, oldest first."""
        keys = table(Key)
        its = select(keys.c.id).where(keys.c.team == team, keys.c.grant_id == grant_id)
        query = (
            select(
                _USAGE.c.day,
                _USAGE.c.model,
                func.sum(_USAGE.c.requests).label("requests"),
                func.sum(_USAGE.c.tokens_in + _USAGE.c.tokens_out).label("tokens"),
                func.sum(_USAGE.c.cost_micros).label("cost_micros"),
            )
            .where(_USAGE.c.team == team, _USAGE.c.key_id.in_(its), _USAGE.c.day >= since)
            .group_by(_USAGE.c.day, _USAGE.c.model)
            .order_by(_USAGE.c.day, _USAGE.c.model)
        )
        return [
            ModelDay(row.day, row.model, int(row.requests), int(row.tokens), int(row.cost_micros))
            for row in self._db.execute(query)
        ]

    def let_go(self, team: str, about: str, kinds: Sequence[NoticeKind]) -> None:
        """The messages of these kinds about this request keep what they say from here on."""
        self._db.execute(_dropping(team, about, kinds))

    def drop_unposted(self, team: str, about: str, kinds: Sequence[NoticeKind]) -> None:
        """The messages of these kinds about this request that were not posted yet are not wanted any more."""
        self._db.execute(_dropping(team, about, kinds).where(table(Notice).c.ts.is_(None)))


def _dropping(team: str, about: str, kinds: Sequence[NoticeKind]) -> Any:
    rows = table(Notice)
    these = (rows.c.team == team, rows.c.about == about, rows.c.kind.in_([kind.value for kind in kinds]))
    return delete(rows).where(*these)
