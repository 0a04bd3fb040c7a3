"""What is unusual, and what is not: one hour, one day, and years of keys that were written down before it was tried."""

import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from bot.desk.findings import Finding, Like, Measure, Unusual
from bot.desk.model import HourUse
from bot.desk.unusual import Baseline, ModelDay, plain
from tests.desk import habits

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BEGIN = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
WEEKS = 6
NOW = BEGIN + WEEKS * 7 * DAY  # a Monday
PAGE = Path(__file__).parents[2] / "docs" / "unusual.md"


def office(tz: str = "UTC", *, weeks: int = WEEKS) -> Baseline:
    """40 to 44 requests an hour, $0.04 each, from 9 to 18 on workdays, by UTC; all of them with one model."""
    baseline = Baseline(tz)
    for number in range((WEEKS - weeks) * 7, WEEKS * 7):
        day = BEGIN + number * DAY
        if day.weekday() < 5:
            for hour in range(9, 18):
                baseline.add(HourUse("", day + hour * HOUR, 1, 40 + hour % 5, 4000, 1_600_000))
            baseline.add_day(ModelDay(day.date(), "gpt-5-mini", 378, 36_000, 14_400_000))
    return baseline


def hour(baseline: Baseline, at: datetime, requests: int, micros: int = 0) -> list[Finding]:
    baseline.add(HourUse("", at, 1, requests, 0, micros))
    return baseline.hour(at)


def test_an_hour_is_held_against_its_hour_of_the_week() -> None:
    """By day above the busiest hours, too; at night the first use is named besides."""
    (day,) = hour(office(), NOW + 14 * HOUR, 4000)
    assert day == Finding(Unusual.VOLUME, datetime(2026, 4, 13, 14), Measure.REQUESTS, 4000, 40, 44, Like.HOUR_OF_WEEK)
    night = hour(office(), NOW + 26 * HOUR, 4210, 9_000_000)
    assert [(one.kind, one.measure, one.low, one.high) for one in night] == [
        (Unusual.VOLUME, Measure.REQUESTS, 0, 0),
        (Unusual.VOLUME, Measure.COST, 0, 0),
        (Unusual.NIGHT, Measure.REQUESTS, 0, 0),
    ]
    assert hour(office(), NOW + 14 * HOUR, 120, 4_000_000) == []
    assert hour(office(), NOW + 6 * DAY + 14 * HOUR, 70) == []


@pytest.mark.parametrize(("requests", "micros"), [(3, 20_000), (20, 250_000)], ids=["two cents", "the floor itself"])
def test_under_the_floor_nothing_is_unusual(requests: int, micros: int) -> None:
    """At night, where nothing was ever used."""
    assert hour(office(), NOW + 26 * HOUR, requests, micros) == []


def test_a_young_key_has_no_habits() -> None:
    """In its first two weeks, and while it was hardly used."""
    assert hour(office(weeks=1), NOW + 26 * HOUR, 9000) == []
    rare = Baseline("UTC")
    for number in range(10):
        rare.add(HourUse("", BEGIN + number * 3 * DAY, 1, 5, 0, 0))
    assert hour(rare, NOW + 26 * HOUR, 9000) == []


def test_a_key_that_works_at_night_may() -> None:
    """As much as it does, at whatever minute its round comes; four times as much is told."""
    baseline = Baseline("UTC")
    for number in range(WEEKS * 7):
        baseline.add(HourUse("", BEGIN + number * DAY + 2 * HOUR, 1, 3000 + number, 0, 0))
    assert hour(baseline, NOW + 2 * HOUR, 3300) == []
    assert hour(baseline, NOW + DAY + 3 * HOUR, 2500) == []
    assert [one.kind for one in hour(baseline, NOW + 2 * DAY + 2 * HOUR, 13_000)] == [Unusual.VOLUME]


def test_night_and_weekday_are_the_holders() -> None:
    """09:00 to 18:00 UTC is the evening and the night of Tokyo: such a key may be used at night."""
    found = hour(office("Asia/Tokyo"), NOW + 16 * HOUR, 40)
    assert found == []
    assert [one.kind for one in hour(office("America/Los_Angeles"), NOW + 7 * HOUR, 150)] == []
    found = hour(office("Europe/Berlin"), NOW, 150)
    assert found == [Finding(Unusual.NIGHT, datetime(2026, 4, 13, 2), Measure.REQUESTS, 150)]


def test_when_clocks_change_the_day_stays_where_people_have_it() -> None:
    """A key that is used by Berlin's clock, over the end of March: nothing is found in the weeks after it."""
    baseline = Baseline("Europe/Berlin")
    found: list[Finding] = []
    for number in range(8 * 7):
        day = BEGIN + number * DAY
        summer = day >= datetime(2026, 3, 29, tzinfo=UTC)
        if day.weekday() < 5:
            for clock in range(9, 18):
                found += hour(baseline, day + (clock - (2 if summer else 1)) * HOUR, 400 + clock % 5, 4_000_000)
    assert found == []


def test_when_clocks_change_what_works_by_utc_is_not_first_at_night() -> None:
    """11:00 UTC is six in Chicago's summer, five in its winter. A first use at other hours of the night is told all the same."""
    autumn, changed = datetime(2026, 9, 28, tzinfo=UTC), 34  # clocks are put back in its night
    baseline, thief = Baseline("America/Chicago"), Baseline("America/Chicago")
    for number in range(changed + 7):
        assert hour(baseline, autumn + number * DAY + 11 * HOUR, 400 + number % 5, 4_000_000) == []
        if number < changed:
            hour(thief, autumn + number * DAY + 11 * HOUR, 400 + number % 5, 4_000_000)
    (night,) = hour(thief, autumn + changed * DAY + 9 * HOUR, 400)
    assert (night.kind, night.at) == (Unusual.NIGHT, datetime(2026, 11, 1, 3))


def test_a_new_model_is_told_once_and_a_snapshot_is_none() -> None:
    """After two weeks of history, where it was used for more than a trial."""
    today = NOW.date()
    baseline = office()
    uses = [ModelDay(today, "gpt-5-mini-2026-04-01", 400, 0, 9_000_000), ModelDay(today, "o9", 21, 500, 900_000)]
    for use in [*uses, ModelDay(today, "tried", 3, 30, 2_000)]:
        baseline.add_day(use)
    found = baseline.day([*uses, ModelDay(today, "tried", 3, 30, 2_000)])
    assert [(one.kind, one.model, one.measure, one.found) for one in found] == [
        (Unusual.MODEL, "o9", Measure.COST, 900_000)
    ]
    baseline.know("o9")
    assert baseline.day(uses) == []
    tomorrow = ModelDay(today + DAY, "o9", 500, 0, 900_000)
    baseline.add_day(tomorrow)
    assert baseline.day([tomorrow]) == []
    young = Baseline("UTC")
    for back in (3, 2, 1, 0):
        young.add_day(ModelDay(today - back * DAY, f"model-{back}", 90, 0, 900_000))
    assert young.day([ModelDay(today, "model-0", 90, 0, 900_000)]) == []
    assert [plain(one) for one in ("gpt-5-mini-2025-08-07", "claude-sonnet-4-5@20250929", "o3-2025")] == [
        "gpt-5-mini",
        "claude-sonnet-4-5",
        "o3-2025",
    ]


def test_the_spend_of_a_day_is_held_against_such_days() -> None:
    """Of the same sort, workday or weekend, and beyond twice the dearest of all."""
    for day, cost, expected in (
        (NOW.date(), 28_000_000, []),
        (NOW.date(), 60_000_000, [(14_400_000, 14_400_000, Like.WORKDAYS)]),
        ((NOW + 5 * DAY).date(), 60_000_000, [(0, 0, Like.WEEKENDS)]),
        ((NOW + 5 * DAY).date(), 20_000_000, []),
    ):
        baseline = office()
        use = ModelDay(day, "gpt-5-mini", 100, 0, cost)
        baseline.add_day(use)
        assert [(one.low, one.high, one.like) for one in baseline.day([use])] == expected


def test_what_was_accepted_is_usual_and_what_was_not_is_no_measure() -> None:
    """Half as much again, for half a year; use that nobody owned up to raises no ceiling."""
    theft = HourUse("", NOW + 26 * HOUR, 1, 4000, 0, 0)
    accepted, left_out = office(), office()
    for baseline in (accepted, left_out):
        baseline.add(theft)
    for finding in accepted.hour(theft.hour):
        accepted.accept(finding)
    left_out.leave_out(theft.hour, theft.hour + HOUR)
    later = NOW + 2 * DAY + 2 * HOUR
    assert hour(accepted, later, 5500) == []
    assert [one.kind for one in hour(accepted, later + HOUR, 9000)] == [Unusual.VOLUME]
    assert [one.kind for one in hour(left_out, later, 4000)] == [Unusual.VOLUME, Unusual.NIGHT]
    much_later = Baseline("UTC")
    for number in range(400):
        much_later.add(HourUse("", BEGIN + number * DAY + 10 * HOUR, 1, 50, 0, 0))
    much_later.accept(Finding(Unusual.VOLUME, datetime(2026, 4, 1), Measure.REQUESTS, 4000))
    assert hour(much_later, BEGIN + 150 * DAY + 14 * HOUR, 5500) == []
    assert hour(much_later, BEGIN + 300 * DAY + 14 * HOUR, 5500) != []


def test_hours_that_are_not_known_are_neither_use_nor_none() -> None:
    """A span of an outage is not judged, and hides nothing of what was measured around it."""
    baseline = office()
    baseline.add(HourUse("", NOW + 9 * HOUR, 9, 40_000, 0, 90_000_000))
    assert baseline.hour(NOW + 9 * HOUR) == []
    assert hour(baseline, NOW + DAY + 14 * HOUR, 4000) != []


def test_years_of_normal_use_and_thefts_among_it() -> None:
    """Of every tenth key and theft; docs/unusual.md states all of them, `python -m tests.desk.habits` makes it anew."""
    years, thefts = habits.normal(part=10), habits.stolen(part=4)
    alarms = Counter(dict.fromkeys(habits.CHARACTERS, 0))
    for year in years:
        alarms[year.character] += year.alarms
    assert sum(alarms.values()) <= 5 * len(years), alarms
    assert alarms["growing service"] + alarms["checks and builds"] <= 4, alarms
    caught = [year.caught_after for year in thefts if year.caught_after is not None]
    missed = Counter(f"{year.theft}, {year.character}" for year in thefts if year.caught_after is None)
    assert len(caught) >= 0.8 * len(thefts), missed
    assert sorted(caught)[len(caught) // 2] <= 3 * HOUR
    asleep = [year for year in thefts if year.theft == "bulk at night" and year.character == "office hours"]
    assert asleep
    assert all(year.caught_after is not None and year.caught_after <= 3 * HOUR for year in asleep)


def test_the_page_states_what_the_years_came_to() -> None:
    """The rows of those that were tried here stand on the page as they are: it was made by this code."""
    page = PAGE.read_text(encoding="utf-8")
    years = [habits.lived(number, "month's end") for number in range(habits.CHARACTERS["month's end"][0])]
    alarms = [year.alarms for year in years]
    row = re.search(r"^\| (\d+) \| month's end \| (\d+) \| ([\d.]+) \| (\d+) \|$", page, flags=re.MULTILINE)
    assert row is not None
    told = (len(alarms), sum(alarms), max(alarms))
    assert (int(row[1]), int(row[2]), int(row[4])) == told
    assert date(2026, 1, 5) == habits.BEGIN.date()
