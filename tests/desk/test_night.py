"""What can wait for its reader's working hours is not posted at night, however late an outage makes it."""

from datetime import timedelta

from bot.desk.errors import Unavailable
from bot.desk.model import NoticeKind
from tests.desk.world import BEN, MINUTE, World, draft

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def test_what_came_due_while_the_desk_was_down_waits_for_the_next_morning(world: World) -> None:
    """A request lapsed on a weekend; the desk was down all Monday, and comes back at night: Ben hears on Tuesday at nine."""
    world.clock.now += 3 * DAY  # a Thursday, at noon
    await world.asked()
    await world.sweep(3 * DAY + MINUTE)  # it lapsed on Sunday, and is told on Monday
    await world.sweep(DAY + 9 * HOUR)
    assert not world.slack.standing(NoticeKind.OUTCOME, BEN), "told at night"
    await world.sweep(12 * HOUR)
    await world.sweep(MINUTE)
    assert len(world.slack.standing(NoticeKind.OUTCOME, BEN)) == 1


async def test_what_slack_did_not_take_in_time_waits_for_the_next_morning(world: World) -> None:
    """A reminder fell due at the end of a day, and Slack was down until the evening: it comes the next morning, once."""
    world.clock.now += 5 * HOUR  # Monday, about five
    await world.approved()
    await world.sweep()
    world.slack.faults = [Unavailable("Slack is down.")]
    await world.sweep(2 * DAY)
    assert not world.slack.faults
    await world.sweep(2 * HOUR)
    assert not world.slack.standing(NoticeKind.PICK_UP, BEN), "told in the evening"
    await world.sweep(14 * HOUR)
    await world.sweep(MINUTE)
    assert len(world.slack.standing(NoticeKind.PICK_UP, BEN)) == 1


async def test_what_would_be_over_by_the_morning_does_not_wait(world: World) -> None:
    """A key's end could not be told in the day: it is told at night, as the key is over before Ben is at work again."""
    world.clock.now -= 4 * HOUR + 30 * MINUTE  # Monday, half past seven
    handover = await world.delivering(await world.approved(what=draft(days=1)))
    await world.claim(handover)
    await world.acknowledge(handover)
    await world.sweep()
    world.slack.faults = [Unavailable("Slack is down.")]
    await world.sweep(9 * HOUR + 30 * MINUTE)  # an hour before the working hours end, which are the last before its end
    assert not world.slack.faults
    assert not world.slack.standing(NoticeKind.EXPIRING, BEN)
    await world.sweep(2 * HOUR)
    assert len(world.slack.standing(NoticeKind.EXPIRING, BEN)) == 1
