"""`make bench`, or `make bench ONLY=name`: runs the benchmarks and writes benchmarks/results.json.

Each figure stands beside its peer's, measured in the same run by turns; the ratio of the medians is what counts, as
machines differ.
"""

import argparse
import asyncio
import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bot.desk import envelope
from bot.desk.audit import Act
from bot.desk.model import AccessRequest, Context, Draft, Scope, Secret
from bot.desk.ports import Transaction
from bot.desk.states import RequestState
from storage.migrate import upgrade
from storage.store import SqlStore

RESULTS = Path(__file__).with_name("results.json")
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Figure:
    """One result. `ratio` is `figure / against_figure`; `holds` says whether it reaches `aim`."""

    name: str
    figure: float
    unit: str
    against: str
    against_figure: float
    ratio: float
    aim: float
    holds: bool


def figure(name: str, *, ours: list[float], unit: str, against: str, theirs: list[float], aim: float) -> Figure:
    """The medians side by side."""
    mine, peer = statistics.median(ours), statistics.median(theirs)
    return Figure(name, round(mine, 1), unit, against, round(peer, 1), round(mine / peer, 3), aim, mine / peer >= aim)


async def commit() -> Figure:
    """A request stored with its audit entry through the store, against one bare INSERT; SQLite, synchronous FULL."""
    acts = 400
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
                for number in range(acts):
                    await store.write(_submit(f"{round_number}-{number}"))
                ours.append(acts / (time.perf_counter() - start))
                start = time.perf_counter()
                for number in range(acts):
                    bare.execute("INSERT INTO t VALUES (?, ?, ?)", (str(number), "x" * 200, "y" * 200))
                theirs.append(acts / (time.perf_counter() - start))
        finally:
            bare.close()
            await store.close()
    against = "one bare INSERT per commit, sqlite3"
    return figure("commit", ours=ours, unit="acts/s", against=against, theirs=theirs, aim=0.2)


def _submit(number: str) -> Callable[[Transaction], None]:
    now = datetime.now(UTC)
    draft = Draft(Scope("openai", "proj", "chat", 2500), "search-prod", timedelta(days=7), "a benchmark's reason")
    request = AccessRequest("T0", f"r_{number}", "U0BEN", draft, "rule", RequestState.PENDING, now, f"V{number}")

    def act(tx: Transaction) -> None:
        tx.add(request)
        tx.record(team="T0", at=now, actor="U0BEN", act=Act.SUBMITTED, subject=request.id)

    return act


async def seal() -> Figure:
    """Sealing a key, with three derivations and a commitment, against AES-GCM alone."""
    times = 3000
    context = Context("T0", "U0BEN", "g_1", "k_1", "link", "2026-01-01T00:00:00.000000Z")
    secret, raw = Secret("sk-" + "x" * 160), b"sk-" + b"x" * 160
    ours, theirs = [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(times):
            envelope.seal(secret, seed=os.urandom(32), nonce=os.urandom(12), context=context)
        ours.append(times / (time.perf_counter() - start))
        start = time.perf_counter()
        for _ in range(times):
            AESGCM(os.urandom(32)).encrypt(os.urandom(12), raw, envelope.bound_to(context))
        theirs.append(times / (time.perf_counter() - start))
    return figure("seal", ours=ours, unit="envelopes/s", against="AES-256-GCM alone", theirs=theirs, aim=0.1)


BENCHMARKS: dict[str, Callable[[], Awaitable[Figure]]] = {"commit": commit, "seal": seal}


async def main() -> None:
    """Runs what was chosen, prints a table, and keeps the other results as they were."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("only", nargs="?", choices=sorted(BENCHMARKS), help="one of them")
    chosen = parser.parse_args().only
    kept = {one["name"]: one for one in json.loads(RESULTS.read_text())} if RESULTS.exists() else {}
    for name in [chosen] if chosen else list(BENCHMARKS):
        result = await BENCHMARKS[name]()
        kept[name] = asdict(result)
        verdict = "holds" if result.holds else "falls short"
        print(
            f"{name:10} {result.figure:>10} {result.unit}, {result.ratio} of {result.against} "
            f"({result.against_figure}); aim {result.aim}: {verdict}"
        )
    RESULTS.write_text(json.dumps([kept[name] for name in sorted(kept)], indent=2) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
