"""What time does, over a year: each thing once, in working hours, in order, and no key past its end.

A failure prints its seed and the story of what it is about: `plan(seed)` tells the same year again.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from storage.store import SqlStore
from tests.promises.chronicle import NOBODY, Chronicle, Entry, What
from tests.promises.referee import Referee
from tests.promises.year import DAY, HOUR, MINUTE, HurriedStore, Year, plan


@pytest.fixture
async def quick(migrated_file: Path, tmp_path: Path) -> AsyncIterator[tuple[SqlStore, str]]:
    """A store on SQLite that hurries, and where it is."""
    path = tmp_path / "keydesk.db"
    shutil.copy(migrated_file, path)
    url = f"sqlite:///{path}"
    store = HurriedStore.open(url)
    yield store, url
    await store.close()


async def test_a_year_of_a_team(quick: tuple[SqlStore, str]) -> None:
    """200 people, their keys, and a year's weather: every promise of time holds, and the audit chain verifies."""
    store, url = quick
    year = Year(plan(1))
    world = year.desk(store)
    await year.live(url)
    verdict = Referee(year.plan, year.chronicle).verdict()
    assert not verdict, verdict
    await world.must_hold()
    assert sum(1 for _ in year.chronicle.all(What.OPENED)) > 400, "hardly anybody got a key"


@pytest.fixture(scope="module")
def played(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Year:
    """Two months of a small team, in which every promise held."""
    path = tmp_path_factory.mktemp("played") / "keydesk.db"
    shutil.copy(migrated_file, path)
    year = Year(plan(2, people=12, asks=30, span=timedelta(days=60)))

    async def play() -> None:
        store = HurriedStore.open(f"sqlite:///{path}")
        year.desk(store)
        await year.live(f"sqlite:///{path}")
        await store.close()

    asyncio.run(play())
    return year


def twice(entries: list[Entry]) -> list[Entry]:
    """Some message is sent once more, an hour later."""
    told = [one for one in entries if one.what is What.TOLD][5]
    return [*entries, replace(told, at=told.at + HOUR, by_desk=told.by_desk + HOUR, number=len(entries))]


def missing(entries: list[Entry]) -> list[Entry]:
    """Some message is never sent."""
    return [one for one in entries if one is not next(each for each in entries if each.what is What.TOLD)]


def late(entries: list[Entry]) -> list[Entry]:
    """Some message is sent a day late."""
    told = [one for one in entries if one.what is What.TOLD][7]
    return [replace(one, by_desk=one.by_desk + DAY) if one is told else one for one in entries]


def outlives(entries: list[Entry]) -> list[Entry]:
    """Some key is revoked two minutes late."""
    death = next(one for one in entries if one.what is What.DIED)
    return [replace(one, by_desk=one.by_desk + 2 * MINUTE) if one is death else one for one in entries]


def never_dies(entries: list[Entry]) -> list[Entry]:
    """Some key lives on."""
    return [one for one in entries if one is not next(each for each in entries if each.what is What.DIED)]


def dies_early(entries: list[Entry]) -> list[Entry]:
    """Some key is revoked an hour before its end."""
    death = next(one for one in entries if one.what is What.DIED)
    return [replace(one, by_desk=one.by_desk - 3 * HOUR) if one is death else one for one in entries]


def after_leaving(entries: list[Entry]) -> list[Entry]:
    """Somebody gets a key after they left."""
    minted = next(one for one in entries if one.what is What.MINTED)
    asked = next(one for one in entries if one.what is What.ASKED and one.ask == minted.ask)
    left = replace(asked, what=What.LEFT, ask=NOBODY)
    return [*entries, left, replace(left, what=What.HEARD, at=minted.at, by_desk=minted.at)]


@pytest.mark.parametrize("wrong", [twice, missing, late, outlives, never_dies, dies_early, after_leaving])
async def test_the_referee_sees_what_is_wrong(played: Year, wrong: Callable[[list[Entry]], list[Entry]]) -> None:
    """Of a year that keeps every promise, told with one thing wrong, the referee says which."""
    assert not Referee(played.plan, played.chronicle).verdict()
    told_wrong = Chronicle()
    for entry in wrong(played.chronicle.entries):
        told_wrong.add(entry)
    verdict = Referee(played.plan, told_wrong).verdict()
    assert f"seed {played.plan.seed}" in verdict
    assert "asked" in verdict, "the story is not told"
