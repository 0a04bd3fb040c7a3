"""Working hours: when a message that can wait is sent."""

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.desk.hours import after_working, next_working, zone

BERLIN, KOLKATA, NEW_YORK, LORD_HOWE = "Europe/Berlin", "Asia/Kolkata", "America/New_York", "Australia/Lord_Howe"
ZONES = st.sampled_from([BERLIN, KOLKATA, NEW_YORK, LORD_HOWE, "Pacific/Kiritimati", "UTC", "Nowhere/At_All"])
MOMENTS = st.datetimes(min_value=datetime(2026, 1, 1), max_value=datetime(2027, 12, 31), timezones=st.just(UTC))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "tz", "then"),
    [
        pytest.param("2026-11-23T10:00", BERLIN, "2026-11-23T10:00", id="in working hours: now"),
        pytest.param("2026-11-23T05:00", BERLIN, "2026-11-23T08:00", id="before: at nine"),
        pytest.param("2026-11-23T17:00", BERLIN, "2026-11-24T08:00", id="at six in the evening: the next morning"),
        pytest.param("2026-11-27T20:00", BERLIN, "2026-11-30T08:00", id="on Friday evening: on Monday"),
        pytest.param("2026-11-28T10:00", BERLIN, "2026-11-30T08:00", id="on Saturday: on Monday"),
        pytest.param("2026-11-22T22:00", KOLKATA, "2026-11-23T03:30", id="half an hour beside the full one"),
        pytest.param("2026-03-06T23:00", NEW_YORK, "2026-03-09T13:00", id="the clocks go forward meanwhile"),
        pytest.param("2026-10-23T23:00", BERLIN, "2026-10-26T08:00", id="the clocks go back meanwhile"),
        pytest.param("2026-11-23T07:00", "Nowhere/At_All", "2026-11-23T09:00", id="an unknown zone is UTC"),
        pytest.param("2026-11-23T07:00", "../etc/passwd", "2026-11-23T09:00", id="no name of a zone is a path"),
    ],
)
def test_a_message_waits_for_its_recipients_working_hours(now: str, tz: str, then: str) -> None:
    """Monday to Friday, nine to six, by the clock on their wall."""
    assert next_working(utc(now), tz) == utc(then)


@given(MOMENTS, ZONES)
def test_whatever_the_moment_it_is_in_working_hours_and_soon(now: datetime, tz: str) -> None:
    """Never in the past, never at night or on a weekend, never later than the next workday's morning."""
    then = next_working(now, tz)
    local = then.astimezone(zone(tz))
    assert now <= then <= now + timedelta(days=3)
    assert local.weekday() < 5
    assert time(9) <= local.time() < time(18)
    assert next_working(then, tz) == then


@pytest.mark.parametrize(
    ("start", "hours", "then"),
    [
        pytest.param("2026-11-23T09:00", 4, "2026-11-23T13:00", id="within a day"),
        pytest.param("2026-11-23T15:00", 4, "2026-11-24T10:00", id="over night"),
        pytest.param("2026-11-27T15:00", 4, "2026-11-30T10:00", id="over a weekend"),
        pytest.param("2026-11-28T03:00", 4, "2026-11-30T12:00", id="asked on a Saturday"),
        pytest.param("2026-11-23T08:00", 9, "2026-11-23T17:00", id="a whole day, to its last moment"),
        pytest.param("2026-11-23T08:00", 45, "2026-11-27T17:00", id="a whole week"),
    ],
)
def test_hours_count_only_while_somebody_works(start: str, hours: int, then: str) -> None:
    """Four working hours after Friday at four are on Monday at eleven."""
    assert after_working(utc(start), timedelta(hours=hours), BERLIN) == utc(then)
