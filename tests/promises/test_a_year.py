"""What time does, over a year: each thing once, in working hours, in order, and no key past its end.

A failure prints its seed and the story of what it is about: `plan(seed)` tells the same year again.
"""

import asyncio
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from storage.store import SqlStore
from tests.promises.chronicle import NOBODY, Chronicle, Entry, What
from tests.promises.planning import DAY, HOUR, MINUTE, Plan, plan
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
    verdict = Referee(year.plan, year.chronicle).verdict()
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


Entries = list[Entry]
Fault = Callable[[Entries, Plan], Entries]


def _told(entries: Entries, kind: str) -> Entry:
    return next(one for one in entries if one.what is What.TOLD and one.note == kind)


def _of(entries: Entries, what: What) -> Entry:
    return next(one for one in entries if one.what is what)


def _instead(entries: Entries, one: Entry, other: Entry | None) -> Entries:
    return [each for each in (other if entry is one else entry for entry in entries) if each is not None]


def _later(one: Entry, by: timedelta) -> Entry:
    return replace(one, at=one.at + by, by_desk=one.by_desk + by)


def _again(entries: Entries, one: Entry, after: timedelta = MINUTE) -> Entries:
    return [*entries, replace(_later(one, after), number=len(entries))]


def a_reminder_comes_twice(entries: Entries, _: Plan) -> Entries:
    """An hour after the first."""
    return _again(entries, _told(entries, "reminder"), HOUR)


def a_notice_of_the_end_comes_twice(entries: Entries, _: Plan) -> Entries:
    """In the same minute."""
    return _again(entries, _told(entries, "expiring"))


def a_rotation_is_told_twice(entries: Entries, _: Plan) -> Entries:
    """An hour after the first."""
    return _again(entries, _told(entries, "rotation_due"), HOUR)


def an_old_key_outlives_its_grace(entries: Entries, _: Plan) -> Entries:
    """By a minute."""
    rotated = _told(entries, "rotated")
    minted = next(one for one in entries if one.what is What.MINTED and one.ask == rotated.ask)
    death = next(one for one in entries if one.what is What.DIED and one.marker == minted.marker)
    late = rotated.at + DAY + MINUTE
    return _instead(entries, death, replace(death, at=late, by_desk=late))


def a_reminder_comes_at_night(entries: Entries, plan: Plan) -> Entries:
    """Twelve hours late."""
    reminder = _told(entries, "reminder")
    return _instead(entries, reminder, _later(reminder, 12 * HOUR))


def no_reminder(entries: Entries, _: Plan) -> Entries:
    """Whoever was to pick up hears nothing."""
    return _instead(entries, _told(entries, "pick_up"), None)


def no_notice_of_the_end(entries: Entries, _: Plan) -> Entries:
    """A key ends, and its holder did not hear before."""
    return _instead(entries, _told(entries, "expiring"), None)


def an_answer_comes_late(entries: Entries, _: Plan) -> Entries:
    """Who asked hears what was decided an hour later."""
    outcome = _told(entries, "outcome")
    return _instead(entries, outcome, _later(outcome, HOUR))


def wrong_order(entries: Entries, _: Plan) -> Entries:
    """That a grant is over is told, and then that it soon will be."""
    ended = next(
        one
        for one in entries
        if one.note == "ended" and any((other.ask, other.note) == (one.ask, "expiring") for other in entries)
    )
    expiring = next(one for one in entries if (one.ask, one.note) == (ended.ask, "expiring"))
    return [
        replace(one, number=ended.number)
        if one is expiring
        else replace(one, number=expiring.number)
        if one is ended
        else one
        for one in entries
    ]


def a_key_outlives_its_end(entries: Entries, _: Plan) -> Entries:
    """By two minutes."""
    death = _of(entries, What.DIED)
    return _instead(entries, death, _later(death, 2 * MINUTE))


def a_key_never_dies(entries: Entries, _: Plan) -> Entries:
    """Its expiry is skipped."""
    return _instead(entries, _of(entries, What.DIED), None)


def a_key_dies_early(entries: Entries, _: Plan) -> Entries:
    """Three hours before its end."""
    death = _of(entries, What.DIED)
    return _instead(entries, death, _later(death, -3 * HOUR))


def a_key_for_nobody(entries: Entries, _: Plan) -> Entries:
    """A key comes to be that belongs to no ask."""
    return _again(entries, replace(_of(entries, What.MINTED), ask=NOBODY, marker="keydesk-k_orphan"))


def a_leaver_keeps_a_key(entries: Entries, _: Plan) -> Entries:
    """Somebody left when they had one, the desk heard of it, and the key lived on."""
    opened = _of(entries, What.OPENED)
    left = replace(_later(opened, MINUTE), what=What.LEFT, ask=NOBODY, marker="")
    return [*entries, left, replace(left, what=What.HEARD)]


def a_key_is_made_for_a_leaver(entries: Entries, _: Plan) -> Entries:
    """Somebody gets a key after they left."""
    minted = _of(entries, What.MINTED)
    asked = next(one for one in entries if one.what is What.ASKED and one.ask == minted.ask)
    left = replace(asked, what=What.LEFT, ask=NOBODY)
    return [*entries, left, replace(left, what=What.HEARD, at=minted.at, by_desk=minted.at)]


def a_digest_comes_twice(entries: Entries, _: Plan) -> Entries:
    """In the same week."""
    return _again(entries, _of(entries, What.DIGEST))


def a_digest_is_lost(entries: Entries, _: Plan) -> Entries:
    """Somebody with a key has none of a week in the middle."""
    digests = [one for one in entries if one.what is What.DIGEST and one.who == _of(entries, What.OPENED).who]
    return _instead(entries, digests[len(digests) // 2], None)


def a_digest_comes_at_night(entries: Entries, _: Plan) -> Entries:
    """Twelve hours late."""
    digest = _of(entries, What.DIGEST)
    return _instead(entries, digest, _later(digest, 12 * HOUR))


def a_digest_comes_on_tuesday(entries: Entries, _: Plan) -> Entries:
    """A day late, in working hours."""
    digest = _of(entries, What.DIGEST)
    return _instead(entries, digest, _later(digest, DAY))


FAULTS: tuple[Fault, ...] = (
    a_reminder_comes_twice,
    a_notice_of_the_end_comes_twice,
    a_rotation_is_told_twice,
    an_old_key_outlives_its_grace,
    a_reminder_comes_at_night,
    no_reminder,
    no_notice_of_the_end,
    an_answer_comes_late,
    wrong_order,
    a_key_outlives_its_end,
    a_key_never_dies,
    a_key_dies_early,
    a_key_for_nobody,
    a_leaver_keeps_a_key,
    a_key_is_made_for_a_leaver,
    a_digest_comes_twice,
    a_digest_is_lost,
    a_digest_comes_at_night,
    a_digest_comes_on_tuesday,
)


def must_be_seen(fault: Fault, played: Year) -> None:
    """Of a year that keeps every promise, told with one thing wrong, the referee says which."""
    told_wrong = Chronicle()
    for entry in fault(list(played.chronicle.entries), played.plan):
        told_wrong.add(entry)
    assert told_wrong.entries != played.chronicle.entries, fault
    verdict = Referee(played.plan, told_wrong).verdict()
    assert f"seed {played.plan.seed}" in verdict, fault
