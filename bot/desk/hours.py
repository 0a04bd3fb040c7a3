"""Working hours: when a message that can wait is sent to a person, by the clock on that person's wall."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

OPENS, CLOSES = time(9), time(18)
WORKDAYS = range(5)  # Monday to Friday
ONE_DAY = timedelta(days=1)
LAST_HOUR = timedelta(hours=1)  # what is said at the very end of a day helps nobody that day


def zone(tz: str) -> ZoneInfo:
    """The zone of this IANA name; UTC where no such zone is known here."""
    try:
        return ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def next_working(now: datetime, tz: str) -> datetime:
    """`now` where it lies in the working hours of that zone; else when they next begin. In UTC."""
    opens, closes = _hours(now.astimezone(zone(tz)), zone(tz))
    while not now < closes:
        opens, closes = _hours(opens.astimezone(zone(tz)) + ONE_DAY, zone(tz))
    return max(now, opens)


def after_working(start: datetime, worked: timedelta, tz: str) -> datetime:
    """When so many working hours of that zone have passed since `start`. In UTC."""
    left = worked
    while True:
        start = next_working(start, tz)
        _, closes = _hours(start.astimezone(zone(tz)), zone(tz))
        if start + left <= closes:
            return start + left
        left -= closes - start
        start = closes


def last_working(at: datetime, tz: str) -> datetime:
    """`at` where it lies in the working hours of that zone; else an hour before they ended last. In UTC."""
    where = zone(tz)
    day = at.astimezone(where)
    while True:
        if day.weekday() in WORKDAYS:
            opens, closes = _hours(day, where)
            if opens <= at < closes:
                return at
            if closes <= at:
                return closes - LAST_HOUR
        day -= ONE_DAY


def _hours(local: datetime, where: ZoneInfo) -> tuple[datetime, datetime]:
    """Begin and end of the working hours of that day; of the next workday where it is none."""
    day = local.date()
    while day.weekday() not in WORKDAYS:
        day += ONE_DAY
    opens, closes = (datetime.combine(day, hour, where).astimezone(UTC) for hour in (OPENS, CLOSES))
    return opens, closes
