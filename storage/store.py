"""The store: transactions as plain functions, on SQLite and on PostgreSQL.

Writing transactions run one after the other: on SQLite by its nature, on PostgreSQL under an advisory lock, whichever
process they come from. So each sees all that was written before it, no two wait for each other's rows, and of two that
look before they write the second sees what the first did. Both databases run the same statements.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Engine, create_engine, event, func, select
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bot.desk.audit import Entry, Head
from bot.desk.errors import Unavailable
from bot.desk.ports import Transaction
from storage.migrate import engine_url, require_head
from storage.tables import AuditEntryRow, AuditHeadRow
from storage.transaction import SqlTransaction

log = logging.getLogger(__name__)

T = TypeVar("T")

LOCK = 0x6B657973  # "keys": the advisory lock of PostgreSQL's writers
LOCKED_MILLISECONDS = 2_000  # a writer waits so long for another process's; who pressed, and Slack, wait for the answer
FROZEN_MILLISECONDS = 10_000  # a replica that froze with the lock in hand stops the others no longer than this
THREADS = 8
PATIENCE: dict[str, Any] = {
    "connect_timeout": 5,  # seconds, as the next three; a server that vanished is noticed within about 20
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "tcp_user_timeout": 20_000,  # milliseconds
}


class SqlStore:
    """Implements `bot.desk.ports.Store` on SQLite and PostgreSQL."""

    def __init__(self, *, writing: Engine, reading: Engine) -> None:
        self._writing = writing
        self._reading = reading
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._reader = ThreadPoolExecutor(THREADS, thread_name_prefix="store-read")

    @classmethod
    def open(cls, url: str) -> "SqlStore":
        """A store on the database behind `sqlite:///…` or `postgresql://…`; connects when it is first used."""
        if url.startswith("sqlite"):
            return cls(writing=_sqlite(url, "BEGIN IMMEDIATE"), reading=_sqlite(url, "BEGIN"))
        pool: dict[str, Any] = {"pool_size": THREADS, "max_overflow": 0, "pool_pre_ping": True, "hide_parameters": True}
        # What runs after the lock must see what was committed before it: a snapshot for each statement, not an older one.
        waits = {"lock_timeout": LOCKED_MILLISECONDS, "idle_in_transaction_session_timeout": FROZEN_MILLISECONDS}
        writes = PATIENCE | {"options": " ".join(f"-c {name}={wait}" for name, wait in waits.items())}
        writing = create_engine(engine_url(url), isolation_level="READ COMMITTED", connect_args=writes, **pool)
        event.listen(writing, "begin", lambda connection: connection.execute(select(func.pg_advisory_xact_lock(LOCK))))
        snapshot = create_engine(
            engine_url(url),
            isolation_level="REPEATABLE READ",
            execution_options={"postgresql_readonly": True},
            connect_args=PATIENCE,
            **pool,
        )
        return cls(writing=writing, reading=snapshot)

    async def write(self, act: Callable[[Transaction], T]) -> T:
        """Runs `act` in one durable transaction: all of it, or, when it raises, nothing."""
        return await _run(self._writer, self._writing, lambda connection: act(SqlTransaction(connection)))

    async def read(self, look: Callable[[Transaction], T]) -> T:
        """Runs `look` against one consistent snapshot."""
        return await self._look(lambda connection: look(SqlTransaction(connection)))

    async def _look(self, look: Callable[[Connection], T]) -> T:
        return await _run(self._reader, self._reading, look)

    async def audit_chain(self, team: str) -> tuple[Sequence[Entry], Head | None]:
        """The team's whole chain and its head, of one moment."""
        entries, heads = cast(Any, AuditEntryRow).__table__, cast(Any, AuditHeadRow).__table__

        def look(connection: Connection) -> tuple[Sequence[Entry], Head | None]:
            head = connection.execute(select(heads.c.size, heads.c.leaf).where(heads.c.team == team)).mappings().first()
            chain = connection.execute(select(entries).where(entries.c.team == team).order_by(entries.c.index))
            return [Entry(**dict(row)) for row in chain.mappings()], Head(**dict(head)) if head else None

        return await self._look(look)

    async def teams(self) -> Sequence[str]:
        """Every team that has entries or a head: a chain whose head was taken away is still looked at."""
        heads, entries = cast(Any, AuditHeadRow).__table__, cast(Any, AuditEntryRow).__table__
        query = select(heads.c.team).union(select(entries.c.team))
        return await self._look(lambda connection: sorted(connection.execute(query).scalars()))

    async def ping(self) -> None:
        """Raises unless the database answers and has the newest schema."""
        await self._look(require_head)

    async def close(self) -> None:
        """Ends the threads and closes the connections."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writer.shutdown()
        self._reader.shutdown()
        self._writing.dispose()
        self._reading.dispose()


async def _run(executor: ThreadPoolExecutor, engine: Engine, work: Callable[[Connection], T]) -> T:
    """Runs `work` in a transaction on a thread of the executor. Raises `Unavailable` when the database fails."""

    def run() -> T:
        try:
            with engine.begin() as connection:
                return work(connection)
        except (DBAPIError, PoolTimeout) as error:
            # Gone, locked, full, read-only: what an operator mends, and nothing that was asked of it is wrong. PostgreSQL
            # calls a session that it ended because this process froze an internal error.
            failed = isinstance(error, OperationalError | InterfaceError | PoolTimeout) or error.connection_invalidated
            if not failed:
                raise
            log.error("the database failed: %s", " ".join(str(getattr(error, "orig", error)).split()))
            raise Unavailable(
                "The desk's database does not answer now. Nothing is lost: try again in a minute."
            ) from None

    # With the context of who asks: what is logged on the thread is logged under their reference, too.
    return await asyncio.get_running_loop().run_in_executor(executor, copy_context().run, run)


def _sqlite(url: str, begin: str) -> Engine:
    """An engine that begins its transactions itself: the driver's own way would begin late, at the first write."""
    engine = create_engine(
        engine_url(url), connect_args={"timeout": LOCKED_MILLISECONDS / 1000}, pool_size=THREADS, hide_parameters=True
    )

    def connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        for setting in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            f"busy_timeout = {LOCKED_MILLISECONDS}",
        ):
            connection.execute(f"PRAGMA {setting}").close()

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", start)
    return engine
