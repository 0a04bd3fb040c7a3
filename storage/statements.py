"""Statements that are built once, and what they look for beside them.

Building a statement anew, and finding out that it is one that was compiled before, costs SQLAlchemy twice what running
it costs. So whatever many acts run is built when it is first run, and kept. What it looks for is told when it runs, under the
columns' names: `{"team": …, "id": …}`. An UPDATE is told the new values under these names, and what it looks for under the
same with `its_` before them.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from sqlalchemy import Integer, Table, bindparam, delete, insert, select, update

from storage.tables import UtcTime

Conditions = Callable[[Any], tuple[Any, ...]]
"""What makes a row due, from the time: `bot.desk.due` tells of each kind."""

LIMIT = bindparam("limit", type_=Integer())
NOW = bindparam("now", type_=UtcTime())


def its(**values: Any) -> dict[str, Any]:
    """What an UPDATE looks for, as it is told it."""
    return {f"its_{name}": value for name, value in values.items()}


@cache
def one(rows: Table, *names: str) -> Any:
    """The row in which these columns hold what is told."""
    return select(rows).where(*(rows.c[name] == bindparam(name) for name in names))


@cache
def many(rows: Table, *names: str, order: tuple[str, ...]) -> Any:
    """Such rows in an order of columns, "-" before one means descending; `limit` of them."""
    by = (rows.c[name[1:]].desc() if name[0] == "-" else rows.c[name] for name in order)
    return one(rows, *names).order_by(*by).limit(LIMIT)


@cache
def leased(rows: Table, conditions: Conditions) -> Any:
    """The rows that are due `now`, `limit` of them."""
    return select(rows).where(*conditions(NOW)).order_by(rows.c.due_at).limit(LIMIT)


@cache
def new(rows: Table) -> Any:
    """A row with these values."""
    return insert(rows)


@cache
def new_unless_there(rows: Table, insert: Callable[[Table], Any]) -> Any:
    """The same, where there is none of its key; answers with a row where it was inserted. `insert` is the dialect's."""
    return insert(rows).on_conflict_do_nothing().returning(rows.c.team)


@cache
def changed(rows: Table, *names: str) -> Any:
    """New values for the row in which these columns hold what is told."""
    return update(rows).where(*(rows.c[name] == bindparam(f"its_{name}") for name in names))


@cache
def moved(rows: Table, *names: str) -> Any:
    """The same, and answers with the row as it is then."""
    return changed(rows, *names).returning(*rows.c)


@cache
def gone(rows: Table, *names: str) -> Any:
    """Deletes the row in which these columns hold what is told."""
    return delete(rows).where(*(rows.c[name] == bindparam(name) for name in names))
