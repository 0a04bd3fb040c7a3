"""When keys were used: each read adds what is new once, and nothing that no read enclosed passes for an hour's burst."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest

from bot.desk.errors import ProviderTransient
from bot.desk.growth import Window
from bot.desk.limits import COLLECTED_EVERY
from bot.desk.model import Grant
from bot.desk.usage import HOURS_KEPT
from storage.store import SqlStore
from tests.desk.test_usage import DOLLAR, TODAY, in_use, metered, vendor_of
from tests.desk.world import NOON, TEAM, World

HOUR = COLLECTED_EVERY
DAY = timedelta(days=1)
LAG = timedelta(hours=1)
LONG_AGO = NOON - 300 * DAY
YESTERDAY = TODAY - DAY


def at(clock: str, day: date = TODAY) -> datetime:
    """That time of that day, in UTC."""
    return datetime.fromisoformat(f"{day} {clock}+00:00")


@pytest.mark.parametrize(
    ("since", "until", "day", "hour", "span"),
    [
        (at("11:10"), at("12:10"), TODAY, at("11:00"), 1),
        (at("11:40"), at("12:40"), TODAY, at("12:00"), 1),
        (at("11:00"), at("12:29"), TODAY, at("11:00"), 1),
        (at("11:00"), at("13:10"), TODAY, at("11:00"), 3),
        (at("11:10", YESTERDAY), at("12:10"), TODAY, at("00:00"), 13),
        (at("11:10", YESTERDAY), at("12:10"), YESTERDAY, at("11:00", YESTERDAY), 13),
        (at("23:40", YESTERDAY), at("00:40"), YESTERDAY, at("23:00", YESTERDAY), 1),
        (at("23:40", YESTERDAY), at("00:40"), TODAY, at("00:00"), 1),
        (at("00:40"), at("01:40"), YESTERDAY, at("23:00", YESTERDAY), 1),
        (at("01:40"), at("02:40"), YESTERDAY, at("00:00", YESTERDAY), 24),
        (None, at("12:10"), TODAY, at("00:00"), 13),
        (None, at("12:10"), YESTERDAY, at("00:00", YESTERDAY), 24),
        (at("22:40", YESTERDAY), at("23:40", YESTERDAY), TODAY, at("23:00", YESTERDAY), 1),
    ],
    ids=[
        "the hour that most of it lies in",
        "and the other one",
        "a slow round",
        "a round was missed",
        "after an outage: today",
        "after an outage: what was left of yesterday",
        "over midnight: yesterday's end",
        "over midnight: today's begin",
        "reported late, as usual",
        "corrected when the day was over",
        "the first read: today",
        "the first read: yesterday",
        "the provider's clock is ahead",
    ],
)
def test_the_hours_that_growth_may_belong_to(
    since: datetime | None, until: datetime, day: date, hour: datetime, span: int
) -> None:
    """One hour where two reads enclose it; all that it may have been where they do not."""
    assert Window(since, until, LAG).hours(day, running=False) == (hour, span)


def test_a_running_total_grows_since_the_read_before() -> None:
    """Where a provider reports only totals, today's figure is what was used since then, on whatever day."""
    window = Window(at("11:10", YESTERDAY), at("12:10"), LAG)
    assert window.hours(TODAY, running=True) == (at("11:00", YESTERDAY), 26)
    assert Window(None, at("12:10"), LAG).hours(TODAY, running=True) == (at("00:00"), 13)


# ---- as rounds write it down


@pytest.fixture
async def world(store: SqlStore) -> AsyncIterator[World]:
    """At a vendor that counts, some minutes after the hour."""
    desk = metered(store)
    desk.clock.now = at("11:10")
    yield desk
    await desk.must_hold()


async def hours(world: World, grant: Grant) -> list[tuple[datetime, int, int, int]]:
    """When it was used: hour, span, requests and micros."""
    found = await world.store.read(lambda tx: tx.hours_of(TEAM, grant.id, LONG_AGO))
    return [(one.hour, one.span, one.requests, one.cost_micros) for one in found]


async def test_each_read_adds_what_is_new_once(world: World) -> None:
    """However often the same days are read again: two models, a quiet hour, midnight."""
    grant, key = await in_use(world)
    vendor = vendor_of(world)
    await world.round()
    vendor.use(key, DOLLAR)
    vendor.use(key, 1, model="text-embedding-3-small")
    for _ in range(3):
        await world.round(after=HOUR)
    vendor.use(key, 2 * DOLLAR)
    await world.round(after=HOUR)
    expected = [(at("11:00"), 1, 2, DOLLAR + 1), (at("14:00"), 1, 1, 2 * DOLLAR)]
    assert await hours(world, grant) == expected
    last = await world.store.read(lambda tx: tx.last_used(TEAM, [key.id, "k_other"]))
    assert last == {key.id: at("14:00")}
    world.clock.now = at("23:10")
    await world.round()
    vendor.use(key, 3 * DOLLAR)
    world.clock.now = at("00:20", TODAY + DAY)
    vendor.use(key, 4 * DOLLAR)
    await world.round()
    tomorrow = [(at("23:00"), 1, 1, 3 * DOLLAR), (at("00:00", TODAY + DAY), 1, 1, 4 * DOLLAR)]
    assert await hours(world, grant) == expected + tomorrow


async def test_an_outage_is_no_burst(world: World) -> None:
    """What a day's outage hid is known with all its hours; the key may have been used until the last of them."""
    grant, key = await in_use(world)
    vendor = vendor_of(world)
    await world.round()
    world.clock.now = at("12:10", TODAY + DAY)
    for _ in range(40):
        vendor.use(key, DOLLAR)
        vendor.use(key, DOLLAR, day=TODAY)
    await world.round()
    assert await hours(world, grant) == [
        (at("11:00"), 13, 40, 40 * DOLLAR),
        (at("00:00", TODAY + DAY), 13, 40, 40 * DOLLAR),
    ]
    assert await world.store.read(lambda tx: tx.last_used(TEAM, [key.id])) == {key.id: at("12:00", TODAY + DAY)}


async def test_corrections_are_no_burst(world: World) -> None:
    """A figure that shrinks adds nothing; one of a day that is over belongs to no hour of it."""
    grant, key = await in_use(world)
    vendor = vendor_of(world)
    vendor.use(key, 10 * DOLLAR, day=YESTERDAY)
    await world.round()
    vendor.use(key, DOLLAR)
    await world.round(after=HOUR)
    for day, micros in ((TODAY, DOLLAR // 2), (YESTERDAY, 15 * DOLLAR)):
        found = next(one for (_, when, _), one in vendor.used.items() if when == day)
        vendor.used[found.meter, day, found.model] = replace(found, cost_micros=micros)
    await world.round(after=HOUR)
    assert await hours(world, grant) == [
        (at("00:00", YESTERDAY), 24, 1, 15 * DOLLAR),
        (at("11:00"), 1, 1, DOLLAR),
    ]


async def test_a_round_that_breaks_off_counts_no_hour_twice(world: World) -> None:
    """What came before the fault was written with its hours; the round made anew finds no growth in it."""
    grant, key = await in_use(world)
    vendor = vendor_of(world)
    await world.round()
    vendor.use(key, DOLLAR, day=YESTERDAY)
    vendor.use(key, DOLLAR)
    vendor.page_faults = [None, None, ProviderTransient("down")]  # the day before yesterday's and yesterday's page come
    await world.round(after=HOUR)
    await world.round(after=timedelta(seconds=5))
    assert await hours(world, grant) == [(at("00:00", YESTERDAY), 24, 1, DOLLAR), (at("11:00"), 1, 1, DOLLAR)]


async def test_a_running_total_counts_each_hour_once(world: World) -> None:
    """Over midnight, too, where its day is what the days before it leave over."""
    grant, key = await in_use(world)
    vendor = vendor_of(world)
    vendor.running_since = date(2026, 11, 1)
    await world.round()
    vendor.use(key, DOLLAR)
    await world.round(after=HOUR)
    world.clock.now = at("23:10")
    await world.round()
    world.clock.now = at("00:10", TODAY + DAY)
    vendor.use(key, 2 * DOLLAR)
    await world.round()
    vendor.use(key, 3 * DOLLAR)
    await world.round(after=HOUR)
    assert await hours(world, grant) == [
        (at("11:00"), 1, 1, DOLLAR),
        (at("23:00"), 1, 1, 2 * DOLLAR),
        (at("00:00", TODAY + DAY), 1, 1, 3 * DOLLAR),
    ]


async def test_hours_are_forgotten_after_ten_weeks(world: World) -> None:
    """The days they were in stay."""
    grant, key = await in_use(world)
    vendor = vendor_of(world)
    await world.round()
    vendor.use(key, DOLLAR)
    await world.round(after=HOUR)
    await world.round(after=HOURS_KEPT - 2 * HOUR)
    assert await hours(world, grant) == [(at("11:00"), 1, 1, DOLLAR)]
    await world.round(after=HOUR)
    assert await hours(world, grant) == []
    spending = await world.store.read(lambda tx: tx.spending(TEAM, grant.id))
    assert spending is not None
    assert spending.cost_micros == DOLLAR
