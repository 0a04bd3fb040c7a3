"""What one act costs: its commit with its audit entry, and the sealing of a key."""

import os
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks import sampler
from benchmarks.figures import Figure, beside
from bot.desk import envelope
from bot.desk.audit import Act
from bot.desk.model import AccessRequest, Context, Draft, Scope, Secret
from bot.desk.ports import Transaction
from bot.desk.states import RequestState
from storage.migrate import upgrade
from storage.store import SqlStore

ROUNDS = 5
ACTS = 400  # in each round
ENVELOPES = 3000


async def commit() -> list[Figure]:
    """A request stored with its audit entry through the store, against one bare INSERT; SQLite, synchronous FULL."""
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/desk.db"
        upgrade(url)
        store = SqlStore.open(url)
        bare = sqlite3.connect(f"{folder}/bare.db", isolation_level=None)
        bare.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (a TEXT, b TEXT, c TEXT)")
        try:
            for round_number in range(ROUNDS):
                start = time.perf_counter()
                for number in range(ACTS):
                    await store.write(_submit(f"{round_number}-{number}"))
                ours.append(ACTS / (time.perf_counter() - start))
                start = time.perf_counter()
                for number in range(ACTS):
                    bare.execute("INSERT INTO t VALUES (?, ?, ?)", (str(number), "x" * 200, "y" * 200))
                theirs.append(ACTS / (time.perf_counter() - start))
            looking = sampler.Sampler()
            for number in range(ACTS):
                await store.write(_submit(f"looked-at-{number}"))
            where = sampler.told(looking.stop())
        finally:
            bare.close()
            await store.close()
    against = "one bare INSERT per commit, sqlite3"
    profile = (
        f"An act is five statements and a commit where the peer runs one of both. While acts follow each other, {where}"
    )
    figure = beside("commit", ours=ours, unit="acts/s", against=against, theirs=theirs, aim=0.2, profile=profile)
    return [figure]


def _submit(number: str) -> Callable[[Transaction], None]:
    now = datetime.now(UTC)
    draft = Draft(Scope("openai", "proj", "chat", 2500), "search-prod", timedelta(days=7), "a benchmark's reason")
    request = AccessRequest("T0", f"r_{number}", "U0BEN", draft, "rule", RequestState.PENDING, now, f"V{number}")

    def act(tx: Transaction) -> None:
        tx.add(request)
        tx.record(team="T0", at=now, actor="U0BEN", act=Act.SUBMITTED, subject=request.id)

    return act


async def seal() -> list[Figure]:
    """Sealing a key, with three derivations and a commitment, against AES-GCM alone."""
    context = Context("T0", "U0BEN", "g_1", "k_1", "link", "2026-01-01T00:00:00.000000Z")
    secret, raw = Secret("sk-" + "x" * 160), b"sk-" + b"x" * 160
    ours, theirs = [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(ENVELOPES):
            envelope.seal(secret, seed=os.urandom(32), nonce=os.urandom(12), context=context)
        ours.append(ENVELOPES / (time.perf_counter() - start))
        start = time.perf_counter()
        for _ in range(ENVELOPES):
            AESGCM(os.urandom(32)).encrypt(os.urandom(12), raw, envelope.bound_to(context))
        theirs.append(ENVELOPES / (time.perf_counter() - start))
    return [beside("seal", ours=ours, unit="envelopes/s", against="AES-256-GCM alone", theirs=theirs, aim=0.1)]


BENCHMARKS: dict[str, Callable[[], Awaitable[list[Figure]]]] = {"commit": commit, "seal": seal}
