"""Who has read how to keep a key safe: in most tests everybody has, lately, so that a pick-up is a pick-up.

What the desk does with those who have not is told by `tests/desk/test_lessons.py` and `tests/flows/test_lessons.py`.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, create_engine

from storage.migrate import engine_url
from storage.store import SqlStore
from storage.transaction import SqlTransaction

TEAM = "T0ACME"
MEMBERS = ("U0ANA", "U0BEN", "U0CARA", "U0DEV")
NEVER_AGAIN = datetime(2100, 1, 1, tzinfo=UTC)
LONG_AGO = timedelta(days=366)


def everybody_read(url: str) -> None:
    """The members have acknowledged it, and however far a test moves its clock, they need not again."""
    engine = create_engine(engine_url(url))
    with engine.begin() as connection:
        learn(connection)
    engine.dispose()


def learn(connection: Connection) -> None:
    """The same, on a connection that is there."""
    for member in MEMBERS:
        SqlTransaction(connection).learn(TEAM, member, NEVER_AGAIN)


async def read(store: SqlStore, member: str, at: datetime) -> None:
    """This member acknowledged it then."""
    await store.write(lambda tx: tx.learn(TEAM, member, at))
