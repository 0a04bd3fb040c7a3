"""The store, on both databases: guarded moves, the audit chain, leases, migrations."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlmodel import SQLModel

from bot.desk.audit import Act, Flaw, verify
from bot.desk.errors import Superseded
from bot.desk.model import (
    AccessRequest,
    Cause,
    Decision,
    Draft,
    Grant,
    Key,
    Link,
    Notice,
    NoticeKind,
    Ruling,
    Scope,
)
from bot.desk.ports import Transaction
from bot.desk.states import GrantState, KeyState, LinkState, RequestState
from storage.migrate import engine_url
from storage.store import SqlStore

ROOT = Path(__file__).parents[2]
TEAM = "T0"
NOW = datetime(2026, 3, 29, 1, 59, 59, 123456, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
DRAFT = Draft(
    Scope("openai", "proj_a", "chat", 2500),
    "search-prod",
    timedelta(hours=12),
    "wofür? 🔑",
    "OpenAI",
    "Chat completions",
)
REQUEST = AccessRequest(TEAM, "r_1", "U0BEN", DRAFT, "everyday", RequestState.PENDING, NOW, "V1")
DECISION = Decision(TEAM, "r_1", "U0ANA", Ruling.DENY, "no", NOW)
GRANT = Grant(
    TEAM, "g_1", "r_1", "U0BEN", DRAFT, GrantState.DELIVERING, NOW, "k_1", LATER, LATER, "U0ANA", Cause.REVOKED
)
KEY = Key(
    TEAM, "k_1", "g_1", "openai", "proj_a", "keydesk-k_1", KeyState.REVOKING, NOW, "svc_1", "…abcd", LATER, NOW, 3
)
LINK = Link(
    TEAM, "link", "g_1", "k_1", "U0BEN", LinkState.CLAIMED, b"\x00\xff", b"sealed", NOW, LATER, "s", NOW, Cause.LAPSED
)
NOTICE = Notice(TEAM, "n_1", NoticeKind.APPROVAL, "r_1", "U0ANA", 1, 0, NOW, "D1", "1.2", 2)


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[SqlStore]:
    """A second store on the same database, as a second process would have."""
    opened = SqlStore.open(database_url)
    yield opened
    await opened.close()


def fill(tx: Transaction) -> None:
    for thing in (REQUEST, DECISION, GRANT, KEY, LINK, NOTICE):
        tx.add(thing)


def note(tx: Transaction, subject: str = "r_1", team: str = TEAM) -> None:
    tx.record(team=team, at=NOW, actor="U0BEN", act=Act.SUBMITTED, subject=subject, cents=1, why=None, to=Act.ENDED)


async def test_everything_comes_back_as_it_went_in(store: SqlStore) -> None:
    """Each domain type, with microseconds in UTC, bytes, enums and every optional field."""
    await store.write(fill)
    kept = await store.read(
        lambda tx: (
            tx.request(TEAM, "r_1"),
            tx.decision(TEAM, "r_1"),
            tx.grant_of(TEAM, "r_1"),
            tx.key(TEAM, "k_1"),
            tx.link("link"),
        )
    )
    assert kept == (REQUEST, DECISION, GRANT, KEY, LINK)
    assert await store.write(lambda tx: tx.lease_notices(NOW, LATER, 9)) == [NOTICE]
    assert await store.read(lambda tx: tx.request("T1", "r_1")) is None


async def test_a_transaction_that_raises_leaves_nothing(store: SqlStore) -> None:
    """Neither row nor entry: an act whose entry cannot be written does not happen."""

    def act(tx: Transaction) -> None:
        tx.add(REQUEST)
        note(tx)
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        await store.write(act)
    assert await store.read(lambda tx: tx.request(TEAM, "r_1")) is None
    assert await store.audit_chain(TEAM) == ([], None)


async def test_of_many_who_move_one_thing_one_wins(store: SqlStore, other: SqlStore) -> None:
    """Sixteen decisions at once through two stores: one lands, the others hear what was found."""
    await store.write(lambda tx: tx.add(REQUEST))

    async def decide(number: int) -> str:
        to = RequestState.APPROVED if number % 2 else RequestState.DENIED

        def act(tx: Transaction) -> str:
            tx.move(REQUEST, to)
            note(tx)
            return str(to)

        try:
            return await (store if number % 4 < 2 else other).write(act)
        except Superseded as lost:
            return f"lost to {lost.found}"

    outcomes = await asyncio.gather(*(decide(number) for number in range(16)))
    won = [outcome for outcome in outcomes if not outcome.startswith("lost")]
    assert len(won) == 1
    assert set(outcomes) == {won[0], f"lost to {won[0]}"}
    assert len((await store.audit_chain(TEAM))[0]) == 1


async def test_a_move_that_no_state_machine_lists_is_a_mistake(store: SqlStore) -> None:
    """It is refused before it reaches the database."""
    await store.write(lambda tx: tx.add(REQUEST))
    denied = await store.write(lambda tx: tx.move(REQUEST, RequestState.DENIED))
    with pytest.raises(ValueError, match="no move"):
        await store.write(lambda tx: tx.move(denied, RequestState.APPROVED))


async def test_a_delivery_is_new_once(store: SqlStore, other: SqlStore) -> None:
    """Also to a second process, and only if the act that saw it was committed."""

    def act(tx: Transaction) -> None:
        assert tx.first_time(TEAM, "d1", NOW)
        raise RuntimeError("the act failed")

    with pytest.raises(RuntimeError):
        await store.write(act)
    seen = await asyncio.gather(*(one.write(lambda tx: tx.first_time(TEAM, "d1", NOW)) for one in (store, other) * 4))
    assert sorted(seen) == [False] * 7 + [True]


async def test_work_is_leased_to_one(store: SqlStore, other: SqlStore) -> None:
    """Two processes that look at once share the work, and what is leased is not due."""

    def many(tx: Transaction) -> None:
        fill(tx)
        for number in range(2, 30):
            tx.add(replace(NOTICE, id=f"n_{number}"))

    await store.write(many)
    taken = await asyncio.gather(*(one.write(lambda tx: tx.lease_notices(NOW, LATER, 9)) for one in (store, other) * 3))
    ids = [notice.id for batch in taken for notice in batch]
    assert len(ids) == len(set(ids)) == 29
    assert await store.write(lambda tx: tx.lease_notices(NOW, LATER, 9)) == []
    assert len(await store.write(lambda tx: tx.lease_keys(NOW, LATER, 9))) == 1
    assert await other.write(lambda tx: tx.lease_keys(NOW, LATER, 9)) == []


async def test_a_redraw_leaves_a_lease_alone(store: SqlStore) -> None:
    """A message that is being posted when its story changes is not posted twice: it is due again afterwards."""
    await store.write(fill)
    (leased,) = await store.write(lambda tx: tx.lease_notices(NOW, LATER, 9))
    await store.write(lambda tx: tx.redraw(TEAM, "r_1", NOW))
    assert await store.write(lambda tx: tx.lease_notices(NOW, LATER, 9)) == []
    await store.write(lambda tx: tx.shown(leased, channel="D9", ts="9.9"))
    (again,) = await store.write(lambda tx: tx.lease_notices(NOW, LATER, 9))
    assert (again.channel, again.ts, again.shown, again.wanted) == ("D9", "9.9", 1, 2)


async def test_a_key_that_exists_is_never_forgotten(store: SqlStore) -> None:
    """A late mint's handle is written down even on a key that was given up as void."""

    def given_up(tx: Transaction) -> None:
        fill(tx)
        tx.move(KEY, KeyState.VOID)

    await store.write(given_up)
    await store.write(lambda tx: tx.know_handle(KEY, "svc_late", "…late", NOW))
    (due,) = await store.write(lambda tx: tx.lease_keys(NOW, LATER, 9))
    assert (due.handle, due.state) == ("svc_late", KeyState.REVOKING)


async def test_chains_are_contiguous_under_load_and_each_team_has_its_own(store: SqlStore, other: SqlStore) -> None:
    """Sixty entries at once through two stores, for two teams: no gap, no fork."""
    await asyncio.gather(
        *(
            (store if number % 2 else other).write(lambda tx, team=f"T{number % 3 // 2}": note(tx, team=team))  # type: ignore[misc]  # team is bound for each
            for number in range(60)
        )
    )
    assert await store.teams() == ["T0", "T1"]
    for team, size in (("T0", 40), ("T1", 20)):
        entries, head = await store.audit_chain(team)
        assert [entry.index for entry in entries] == list(range(size))
        assert verify(entries, head) is None


@pytest.mark.parametrize(
    ("tampering", "flaw"),
    [
        ("UPDATE audit_entries SET actor = 'U0EVE' WHERE \"index\" = 2", Flaw(2, "was altered")),
        ("UPDATE audit_entries SET detail = '{}' WHERE \"index\" = 3", Flaw(3, "was altered")),
        ('DELETE FROM audit_entries WHERE "index" = 1', Flaw(1, "missing")),
        ('DELETE FROM audit_entries WHERE "index" = 4', Flaw(4, "the chain has 4")),
        ('UPDATE audit_entries SET "index" = 7 - "index" WHERE "index" IN (3, 4)', Flaw(3, "does not carry")),
        ("DELETE FROM audit_heads", Flaw(5, "has no head")),
        ("DELETE FROM audit_entries", Flaw(0, "the chain has 0")),
    ],
)
async def test_the_first_entry_that_does_not_fit_is_named(
    store: SqlStore, database_url: str, tampering: str, flaw: Flaw
) -> None:
    """Whatever somebody with the database does to a chain shows, and where."""
    for number in range(5):
        await store.write(lambda tx, number=number: note(tx, f"r_{number}"))  # type: ignore[misc]  # number is bound for each
    engine = create_engine(engine_url(database_url))
    with engine.begin() as connection:
        if '7 - "index"' in tampering:  # step by step, as the primary key allows no two of a kind in between
            for step in ('= 90 WHERE "index" = 3', '= 3 WHERE "index" = 4', '= 4 WHERE "index" = 90'):
                connection.execute(text(f'UPDATE audit_entries SET "index" {step}'))  # noqa: S608  # no input in it
        else:
            connection.execute(text(tampering))
    engine.dispose()
    found = verify(*await store.audit_chain(TEAM))
    assert found is not None
    assert found.index == flaw.index
    assert flaw.because in found.because


def test_the_migrations_lead_to_what_the_tables_say(database_url: str) -> None:
    """The schema that migrations make and the one that the rows describe do not differ."""
    engine = create_engine(engine_url(database_url))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        differences: Any = compare_metadata(context, SQLModel.metadata)
    engine.dispose()
    assert differences == []


async def test_processes_may_migrate_at_once(database_url: str, tmp_path: Any) -> None:
    """On an empty database one does it and the others wait; on a migrated one nothing happens."""
    urls = [database_url] * 2
    if database_url.startswith("sqlite"):
        urls += [f"sqlite:///{tmp_path}/empty.db"] * 3
    program = "import sys; from storage.migrate import upgrade; upgrade(sys.argv[1])"
    running = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, url, cwd=ROOT, stderr=asyncio.subprocess.PIPE, env=dict(os.environ)
        )
        for url in urls
    ]
    ended = await asyncio.gather(*(process.communicate() for process in running))
    assert [process.returncode for process in running] == [0] * len(urls), ended
    if database_url.startswith("sqlite"):
        store = SqlStore.open(urls[-1])
        await store.ping()
        await store.close()


async def test_an_old_schema_is_not_ready(tmp_path: Any) -> None:
    """A database that nobody migrated fails the health check with what it has."""
    store = SqlStore.open(f"sqlite:///{tmp_path}/new.db")
    with pytest.raises(Exception, match="missing"):
        await store.ping()
    await store.close()


async def test_sqlite_is_durable_and_strict(store: SqlStore) -> None:
    """WAL, every commit on the disk, foreign keys on; PostgreSQL is so by itself."""

    def settings(tx: Any) -> list[Any]:
        if tx._db.dialect.name != "sqlite":
            return ["wal", 2, 1]
        return [
            tx._db.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]

    assert await store.write(settings) == ["wal", 2, 1]
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        await store.write(lambda tx: tx.add(replace(GRANT, request_id="r_none")))
