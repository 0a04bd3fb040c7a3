"""What was used, and the rounds that find it out: the part of a transaction that speaks of them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import date, datetime, timedelta
from typing import Any, cast

from sqlalchemy import Connection, bindparam, case, delete, func, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import RowMapping
from sqlmodel import SQLModel

from bot.desk.errors import Superseded
from bot.desk.model import DayUse, Grant, HourUse, Key, Outsiders, Round, RoundKind, Spending
from bot.desk.offer import Basis, Usage
from bot.desk.states import GrantState, KeyState
from storage import statements
from storage.rows import plain, table, to_domain
from storage.tables import OutsiderRow, RoundRow, UsageHourRow, UsageRow

MICROS_IN_A_CENT = 10_000
HOURLY = ("requests", "tokens", "cost_micros")
FIGURES = ("requests", "tokens_in", "tokens_out", "cost_micros")


def _table(row: type[SQLModel]) -> Any:
    return cast(Any, row).__table__


def _round(row: RowMapping) -> Round:
    return Round(**{**dict(row), "kind": RoundKind(row["kind"])})


def _estimated(rows: Any) -> Any:
    return func.max(case((rows.c.basis == Basis.BILLED.value, 0), else_=1)).label("estimated")


_KEYS, _USED = table(Key), _table(UsageRow)
_BY_GRANT = (
    _USED.c.team == bindparam("team"),
    _USED.c.key_id.in_(
        select(_KEYS.c.id).where(_KEYS.c.team == bindparam("team"), _KEYS.c.grant_id == bindparam("grant_id"))
    ),
)
_LAST_DAY = select(func.max(_USED.c.day)).where(*_BY_GRANT)
_SPENT_SINCE = select(
    *(func.sum(_USED.c[name]).label(name) for name in FIGURES),
    func.max(_USED.c.as_of).label("as_of"),
    _estimated(_USED),
).where(*_BY_GRANT, _USED.c.day >= bindparam("since"))


class UsageStatements:
    """What a transaction may do about usage, rounds and outsiders; the base of `SqlTransaction`."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._dialect = postgresql if connection.dialect.name == "postgresql" else sqlite

    # ---- rounds

    def begin_round(self, team: str, provider: str, kind: RoundKind, due_at: datetime) -> None:
        """The round is made from now on; one that is made already stays as it is."""
        self._insert_new(RoundRow, team=team, provider=provider, kind=kind.value, due_at=due_at, attempts=0)

    def lease_rounds(self, now: datetime, until: datetime, limit: int) -> Sequence[Round]:
        """Rounds that are due, now leased."""
        rows = _table(RoundRow)
        query = select(rows).where(rows.c.due_at <= now).order_by(rows.c.due_at).limit(limit)
        found = [_round(row) for row in self._db.execute(query).mappings()]
        return [self.move_round(one, due_at=until) for one in found]

    def move_round(self, of: Round, **changes: Any) -> Round:
        """Guarded by the lease: raises `Superseded` when it ended and another process took the round over."""
        rows = _table(RoundRow)
        mine = (rows.c.team == of.team, rows.c.provider == of.provider, rows.c.kind == of.kind.value)
        moved = self._db.execute(
            update(rows).where(*mine, rows.c.due_at == of.due_at).returning(*rows.c),
            {name: plain(value) for name, value in changes.items()},
        ).mappings()
        row = moved.first()
        if row is None:
            raise Superseded("Another process makes this round.", found="taken over")
        return _round(row)

    def rounds(self, team: str) -> Sequence[Round]:
        """All rounds of the team, by provider."""
        rows = _table(RoundRow)
        query = select(rows).where(rows.c.team == team).order_by(rows.c.provider, rows.c.kind)
        return [_round(row) for row in self._db.execute(query).mappings()]

    # ---- keys, as a provider calls them

    def keys_by_meter(self, team: str, provider: str, meters: Iterable[str]) -> Mapping[str, str]:
        """The ids of the keys whose usage is reported under these."""
        rows = table(Key)
        query = select(rows.c.meter, rows.c.id).where(
            rows.c.team == team, rows.c.provider == provider, rows.c.meter.in_(list(meters))
        )
        return {row.meter: row.id for row in self._db.execute(query)}

    def keys_of_teams(self, ids: Iterable[tuple[str, str]]) -> Sequence[Key]:
        """Those of these keys, each by team and id, that there are."""
        rows = table(Key)
        query = select(rows).where(tuple_(rows.c.team, rows.c.id).in_(list(ids)))
        return [to_domain(Key, row) for row in self._db.execute(query).mappings()]

    def know_meter(self, key: Key, meter: str) -> None:
        """Writes down what a key's usage is reported under, where that was not known."""
        rows = table(Key)
        this = (rows.c.team == key.team, rows.c.id == key.id, rows.c.meter.is_(None))
        self._db.execute(update(rows).where(*this), {"meter": meter})

    def keys_at(self, team: str, provider: str, states: Iterable[KeyState], after: str, limit: int) -> Sequence[Key]:
        """The team's keys there in these states, in the order of their ids, those after `after`."""
        rows = table(Key)
        these = (rows.c.team == team, rows.c.provider == provider, rows.c.id > after)
        query = select(rows).where(*these, rows.c.state.in_([state.value for state in states]))
        return [to_domain(Key, row) for row in self._db.execute(query.order_by(rows.c.id).limit(limit)).mappings()]

    def retiring_keys(self, team: str, provider: str, limit: int) -> Sequence[Key]:
        """The team's keys there whose place another took, and whose grace goes on."""
        rows = table(Key)
        # `due_at` has an index of the few that have one; the index by provider would have all.
        these = (rows.c.team == team, rows.c.provider == provider, rows.c.due_at.is_not(None))
        query = select(rows).where(*these, rows.c.state == KeyState.RETIRING.value).order_by(rows.c.due_at)
        return [to_domain(Key, row) for row in self._db.execute(query.limit(limit)).mappings()]

    def stuck_keys(self, team: str, provider: str, attempts: int) -> int:
        """How many keys there failed at least so often to be revoked or switched."""
        rows = table(Key)
        these = (rows.c.team == team, rows.c.provider == provider, rows.c.due_at.is_not(None))
        query = select(func.count()).select_from(rows)
        turn = (KeyState.REVOKING, KeyState.DISABLING, KeyState.ENABLING)
        mine = rows.c.state.in_([state.value for state in turn])
        return int(self._db.execute(query.where(*these, mine, rows.c.attempts >= attempts)).scalar_one())

    # ---- usage

    def put_usage(self, team: str, figures: Sequence[tuple[str, Usage]]) -> None:
        """Writes down what these keys used; what was written of the same key, day and model before is replaced."""
        if not figures:
            return
        rows = _table(UsageRow)
        new = self._dialect.insert(rows)
        replaced = {name: new.excluded[name] for name in (*FIGURES, "currency", "basis", "as_of")}
        self._db.execute(
            new.on_conflict_do_update(index_elements=["team", "key_id", "day", "model"], set_=replaced),
            [
                {
                    "team": team,
                    "key_id": key_id,
                    "day": one.day,
                    "model": one.model,
                    **{name: getattr(one, name) for name in FIGURES},
                    "currency": "USD",
                    "basis": one.basis.value,
                    "as_of": one.as_of,
                }
                for key_id, one in figures
            ],
        )

    def used_before(self, team: str, key_ids: Iterable[str], since: date, before: date) -> Mapping[str, Usage]:
        """What each of these keys used from `since` on until the day before `before`: the sums, as one figure."""
        rows = _table(UsageRow)
        sums = [func.sum(rows.c[name]).label(name) for name in FIGURES]
        query = (
            select(rows.c.key_id, *sums, func.max(rows.c.as_of).label("as_of"))
            .where(rows.c.team == team, rows.c.key_id.in_(list(key_ids)), rows.c.day >= since, rows.c.day < before)
            .group_by(rows.c.key_id)
        )
        return {
            row["key_id"]: Usage(
                meter="",
                day=before,
                model="",
                **{name: int(row[name]) for name in FIGURES},
                basis=Basis.ESTIMATED,
                as_of=row["as_of"],
                total_since=since,
            )
            for row in self._db.execute(query).mappings()
        }

    def known_usage(
        self, team: str, key_ids: Iterable[str], days: Iterable[date]
    ) -> Mapping[tuple[str, date, str], Usage]:
        """What was written down of these keys on these days, by key, day and model."""
        rows = _table(UsageRow)
        these = (rows.c.team == team, rows.c.key_id.in_(list(key_ids)), rows.c.day.in_(list(days)))
        query = select(rows.c.key_id, rows.c.day, rows.c.model, *(rows.c[name] for name in FIGURES), rows.c.as_of)
        return {
            (row.key_id, row.day, row.model): Usage(
                meter="",
                day=row.day,
                model=row.model,
                requests=row.requests,
                tokens_in=row.tokens_in,
                tokens_out=row.tokens_out,
                cost_micros=row.cost_micros,
                basis=Basis.ESTIMATED,
                as_of=row.as_of,
            )
            for row in self._db.execute(query.where(*these))
        }

    def add_hours(self, team: str, uses: Sequence[HourUse]) -> None:
        """This was used besides what is known of these keys and hours."""
        if not uses:
            return
        rows = _table(UsageHourRow)
        new = self._dialect.insert(rows)
        sums = {name: rows.c[name] + new.excluded[name] for name in HOURLY}
        self._db.execute(
            new.on_conflict_do_update(index_elements=["team", "key_id", "hour", "span"], set_=sums),
            [{"team": team, **{field.name: getattr(one, field.name) for field in fields(one)}} for one in uses],
        )

    def hours_of(self, team: str, grant_id: str, since: datetime) -> Sequence[HourUse]:
        """What all keys of the grant together used from that hour on, oldest first."""
        keys, rows = table(Key), _table(UsageHourRow)
        its = select(keys.c.id).where(keys.c.team == team, keys.c.grant_id == grant_id)
        query = (
            select(rows.c.hour, rows.c.span, *(func.sum(rows.c[name]).label(name) for name in HOURLY))
            .where(rows.c.team == team, rows.c.key_id.in_(its), rows.c.hour >= since)
            .group_by(rows.c.hour, rows.c.span)
            .order_by(rows.c.hour, rows.c.span)
        )
        return [
            HourUse("", row["hour"], row["span"], **{name: int(row[name]) for name in HOURLY})
            for row in self._db.execute(query).mappings()
        ]

    def last_used(self, team: str, key_ids: Iterable[str]) -> Mapping[str, datetime]:
        """The last hour in which each of these keys can have been used; without those of which no hour is kept."""
        rows = _table(UsageHourRow)
        query = (
            select(rows.c.key_id, rows.c.span, func.max(rows.c.hour).label("hour"))
            .where(rows.c.team == team, rows.c.key_id.in_(list(key_ids)))
            .group_by(rows.c.key_id, rows.c.span)
        )
        found: dict[str, datetime] = {}
        for row in self._db.execute(query):
            last = row.hour + (row.span - 1) * timedelta(hours=1)
            found[row.key_id] = max(last, found.get(row.key_id, last))
        return found

    def forget_hours(self, before: datetime, limit: int) -> int:
        """Forgets hours before then, of all teams; how many, at most `limit` at a time."""
        rows = _table(UsageHourRow)
        names = tuple(rows.primary_key.columns)
        old = select(*names).where(rows.c.hour < before).order_by(rows.c.hour).limit(limit)
        return int(self._db.execute(delete(rows).where(tuple_(*names).in_(old))).rowcount)

    def spending(self, team: str, grant_id: str) -> Spending | None:
        """What the grant's keys used in the last month in which they used anything; None where they never did."""
        these = {"team": team, "grant_id": grant_id}
        last: date | None = self._db.execute(_LAST_DAY, these).scalar()
        if last is None:
            return None
        month = last.replace(day=1)
        found = self._db.execute(_SPENT_SINCE, {**these, "since": month}).mappings().one()
        return Spending(
            month=month,
            last_day=last,
            basis=Basis.ESTIMATED if found["estimated"] else Basis.BILLED,
            as_of=found["as_of"],
            **{name: int(found[name]) for name in FIGURES},
        )

    def spent(self, team: str, key_ids: Iterable[str], since: date, percent: int) -> Sequence[tuple[Grant, int]]:
        """The active grants of these keys that used at least so much of their budget since that day, and how much.

        In millionths of a US dollar, all keys of the grant together.
        """
        # Step by step, each by an index: in one statement, or with a DISTINCT, SQLite reads all of the team for each piece.
        keys, grants, rows = table(Key), table(Grant), _table(UsageRow)
        named = (keys.c.team == team, keys.c.id.in_(list(key_ids)))
        touched = sorted(set(self._db.execute(select(keys.c.grant_id).where(*named)).scalars()))
        active = (
            grants.c.team == team,
            grants.c.id.in_(touched),
            grants.c.state == GrantState.ACTIVE.value,
            grants.c.monthly_budget_cents > 0,  # where nobody agreed on a budget, none is used up
        )
        budgets = {
            row.id: row.monthly_budget_cents * MICROS_IN_A_CENT
            for row in self._db.execute(select(grants.c.id, grants.c.monthly_budget_cents).where(*active))
        }
        its = (keys.c.team == team, keys.c.grant_id.in_(list(budgets)))
        grant_of = {row.id: row.grant_id for row in self._db.execute(select(keys.c.id, keys.c.grant_id).where(*its))}
        cost = func.sum(rows.c.cost_micros).label("cost")
        month = (rows.c.team == team, rows.c.key_id.in_(list(grant_of)), rows.c.day >= since)
        found: Counter[str] = Counter()
        for row in self._db.execute(select(rows.c.key_id, cost).where(*month).group_by(rows.c.key_id)):
            found[grant_of[row.key_id]] += int(row.cost)
        much = sorted(id for id, micros in found.items() if micros * 100 >= budgets[id] * percent)
        if not much:
            return []
        these = select(grants).where(grants.c.team == team, grants.c.id.in_(much)).order_by(grants.c.id)
        return [(to_domain(Grant, row), found[row["id"]]) for row in self._db.execute(these).mappings()]

    def keys_held(self, team: str, holder: str) -> Mapping[str, str]:
        """The keys of the holder's grants, living and dead, each with its grant."""
        keys, grants = table(Key), table(Grant)
        held = select(grants.c.id).where(grants.c.team == team, grants.c.holder == holder)
        its = (keys.c.team == team, keys.c.grant_id.in_(list(self._db.execute(held).scalars())))
        return {row.id: row.grant_id for row in self._db.execute(select(keys.c.id, keys.c.grant_id).where(*its))}

    def used_by(self, team: str, holder: str, since: date) -> Sequence[DayUse]:
        """What the holder's keys used since that day: by grant and day."""
        keys, rows = table(Key), _table(UsageRow)
        # Which keys first: in one statement SQLite reads all of the team's usage to find one holder's.
        mine = (rows.c.team == team, rows.c.key_id.in_(list(self.keys_held(team, holder))), rows.c.day >= since)
        query = (
            select(
                keys.c.grant_id,
                rows.c.day,
                *(func.sum(rows.c[name]).label(name) for name in FIGURES),
                _estimated(rows),
                func.max(rows.c.as_of).label("as_of"),
            )
            .join(keys, (keys.c.team == rows.c.team) & (keys.c.id == rows.c.key_id))
            .where(*mine)
            .group_by(keys.c.grant_id, rows.c.day)
            .order_by(rows.c.day)
        )
        return [
            DayUse(
                grant_id=row["grant_id"],
                day=row["day"],
                estimated=bool(row["estimated"]),
                as_of=row["as_of"],
                **{name: int(row[name]) for name in FIGURES},
            )
            for row in self._db.execute(query).mappings()
        ]

    # ---- outsiders

    def put_outsiders(self, team: str, provider: str, found: Sequence[Outsiders]) -> None:
        """These are all there are at this provider."""
        rows = _table(OutsiderRow)
        self._db.execute(delete(rows).where(rows.c.team == team, rows.c.provider == provider))
        if found:
            values = [{field.name: getattr(one, field.name) for field in fields(one)} for one in found]
            self._db.execute(insert(rows), values)

    def outsiders(self, team: str) -> Sequence[Outsiders]:
        """The team's, the most first."""
        rows = _table(OutsiderRow)
        query = select(rows).where(rows.c.team == team).order_by(rows.c["keys"].desc(), rows.c.project)
        return [Outsiders(**dict(row)) for row in self._db.execute(query).mappings()]

    # ----

    def _insert_new(self, row: type[SQLModel], **values: Any) -> bool:
        """Inserts unless it is there; whether it was inserted."""
        rows = _table(row)
        return self._db.execute(statements.new_unless_there(rows, self._dialect.insert), values).first() is not None
