"""What time does, over a year: each thing once, in working hours, in order, and no key past its end.

A failure prints its seed and the story of what it is about: `plan(seed)` tells the same year again.
"""

import asyncio
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from storage.store import SqlStore
from tests.promises.chronicle import Chronicle, What
from tests.promises.doctored import FAULTS, Fault
from tests.promises.planning import plan
from tests.promises.referee import Referee
from tests.promises.year import HurriedStore, Year

WHOLE = bool(os.environ.get("KEYDESK_YEAR"))  # `make year`: 200 people with 600 keys on both databases (many minutes)

pytestmark = pytest.mark.timeout(
    4 * 3600 if WHOLE else 900
)  # what it takes on a machine of its own is told in the docs


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    """The log of a year is long, and nobody reads it: what matters of it the chronicle tells."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def played(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Year:
    """A year of one desk on SQLite, and that its audit chain verifies."""
    path = tmp_path_factory.mktemp("year") / "keydesk.db"
    shutil.copy(migrated_file, path)
    year = Year(plan(1, people=200, asks=600) if WHOLE else plan(1, people=25, asks=75))

    async def play() -> None:
        store = HurriedStore.open(f"sqlite:///{path}")
        world = year.desk(store)
        await year.live(f"sqlite:///{path}")
        await world.must_hold()
        await store.close()

    began = time.monotonic()
    asyncio.run(play())
    print(told_of(year, began))
    return year


def told_of(year: Year, began: float) -> str:
    """What there was, for `make year` to show."""
    counted = Counter(entry.what for entry in year.chronicle.entries)
    return (
        f"{len(year.plan.people)} people, {counted[What.MINTED]} keys, {(year.plan.ends - year.plan.begins).days} days: "
        f"{counted[What.TOLD]} messages, {counted[What.DIGEST]} digests, {year.passes.total()} passes of sweeps, "
        f"in {time.monotonic() - began:.0f} s"
    )


def held(year: Year, *, whole: bool = True) -> None:
    """Every promise was kept, and in a `whole` year there was something of each to keep."""
    verdict = Referee(year.plan, year.chronicle, desks=year.desks).verdict()
    assert not verdict, verdict
    told = {entry.note for entry in year.chronicle.all(What.TOLD)}
    assert told >= EVERYTHING or not whole, f"nobody was told of {EVERYTHING - told}"
    assert len(list(year.chronicle.all(What.OPENED))) > len(year.plan.asks) // 2, "hardly anybody got a key"
    assert len(list(year.chronicle.all(What.DIGEST))) > len(year.plan.people), "hardly anybody got a digest"


EVERYTHING = {
    "receipt",
    "approval",
    "reminder",
    "outcome",
    "pick_up",
    "deposit",
    "not_brought",
    "deposited",
    "lapsed",
    "budget",
    "overspent",
    "expiring",
    "idle",
    "unusual",
    "suspected",
    "rotation_due",
    "rotation_overdue",
    "rotated",
    "rotated_at_once",
    "orphaned",
    "ended",
}
"""What people are told in a year; of what hardly happens, nobody need be."""


def test_a_year_of_a_team(played: Year) -> None:
    """A team, its keys, and a year's weather: every promise of time holds; and were one broken, the referee would see it."""
    held(played)
    for fault in FAULTS:
        must_be_seen(fault, played)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_two_desks_share_a_year(database_url: str) -> None:
    """Two desks on one PostgreSQL, one of which is down at times, or by a clock that jumps: the same promises hold."""
    year = Year(plan(1) if WHOLE else plan(1, people=12, asks=36, span=timedelta(days=75)))
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        worlds = []
        for _ in range(2):
            store = SqlStore.open(database_url)
            stack.push_async_callback(store.close)
            worlds.append(year.desk(store))
        await year.live(database_url)
        await worlds[0].must_hold()
    print(told_of(year, began))
    held(year, whole=WHOLE)


# ---- that the referee sees what is wrong


def must_be_seen(fault: Fault, played: Year) -> None:
    """Of a year that keeps every promise, told with one thing wrong, the referee says which."""
    told_wrong = Chronicle()
    for entry in fault(list(played.chronicle.entries), played.plan):
        told_wrong.add(entry)
    assert told_wrong.entries != played.chronicle.entries, fault
    verdict = Referee(played.plan, told_wrong).verdict()
    assert f"seed {played.plan.seed}" in verdict, fault
