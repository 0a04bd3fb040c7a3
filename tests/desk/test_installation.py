"""The app is taken away: nothing is sent any more, what is due is revoked all the same, and it ends when the app is back."""

from datetime import timedelta

import pytest

from bot.desk.audit import Act
from bot.desk.installation import ASKED_EVERY
from bot.desk.model import NoticeKind
from bot.desk.states import GrantState
from tests.desk.world import BEN, TEAM, World

UNINSTALLED = ["app_uninstalled", "tokens_revoked", "team_access_revoked"]


@pytest.mark.parametrize("event", UNINSTALLED)
async def test_nothing_is_sent_and_keys_die_in_their_time(world: World, event: str) -> None:
    """No message, no Home; the key is revoked when its time is up; one entry says since when, and one until when."""
    grant = await world.active()
    await world.sweep()
    shows, homes = world.slack.shows, dict(world.slack.homes)
    world.people.refuses = "account_inactive"
    await world.installation.look(event)
    await world.sweep(grant.draft.duration + timedelta(minutes=1))
    assert (await world.grant(grant)).state is GrantState.ENDED
    assert world.vendor.living == {}
    assert (world.slack.shows, world.slack.homes) == (shows, homes)
    world.people.refuses = None
    await world.sweep(ASKED_EVERY)
    assert len(world.slack.standing(NoticeKind.ENDED, BEN)) == 1
    acts = await world.acts()
    assert (acts.count(Act.APP_REMOVED), acts.count(Act.APP_BACK)) == (1, 1)
    assert (await world.store.read(lambda tx: tx.silence(TEAM))) is None


async def test_an_old_story_silences_nobody(world: World) -> None:
    """The event comes late, and the workspace has the app: it is asked, and nothing happens."""
    await world.approved()
    await world.installation.look("app_uninstalled")
    assert not world.installation.silent
    await world.sweep()
    assert world.slack.standing(NoticeKind.OUTCOME, BEN)
    assert Act.APP_REMOVED not in await world.acts()


async def test_a_workspace_that_cannot_be_asked_is_believed_for_a_while(world: World) -> None:
    """The event is all there is: the desk falls silent, and finds out within a minute that it was wrong."""
    await world.approved()
    world.people.silent = True
    await world.installation.look("app_uninstalled")
    await world.sweep()
    assert world.slack.shows == 0
    world.people.silent = False
    await world.sweep(ASKED_EVERY)
    assert world.slack.standing(NoticeKind.OUTCOME, BEN)


async def test_it_is_found_without_an_event_and_outlives_a_restart(world: World, other: World) -> None:
    """Slack's refusal of any call says it. The next start knows it from the row, while Slack says nothing."""
    await world.approved()
    world.people.refuses = world.line.refused = "invalid_auth"  # what a call was answered by
    await world.sweep()
    world.people.silent = True
    await other.sweep()
    assert other.line.refused == "invalid_auth"
    assert world.slack.shows == 0
    found = await world.store.read(lambda tx: tx.silence(TEAM))
    assert found is not None
    assert (found.because, found.since) == ("invalid_auth", world.clock())
    assert (await world.acts()).count(Act.APP_REMOVED) == 1


async def test_it_is_asked_each_minute_and_not_more_often(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at each beat, and after a jump of the clock too."""
    await world.approved()
    world.people.refuses = "token_revoked"
    await world.installation.look("tokens_revoked")
    asked, try_again = 0, world.line.try_again

    async def counted() -> str | None:
        nonlocal asked
        asked += 1
        return await try_again()

    monkeypatch.setattr(world.line, "try_again", counted)
    for _ in range(9):
        await world.sweep(timedelta(seconds=15))
    assert asked == 3
    await world.sweep(-timedelta(days=1))
    assert asked == 4


async def test_a_process_with_a_dead_token_does_not_silence_the_one_with_the_new(world: World, other: World) -> None:
    """The app is installed again and one desk started with its new token: it sends, whatever the old one still hears."""
    await world.approved()
    world.people.refuses = "account_inactive"
    await world.installation.look("app_uninstalled")
    await other.sweep()
    world.people.refuses = None
    await other.sweep(ASKED_EVERY)
    world.people.refuses = "account_inactive"  # as the other process, with its old token, hears it
    await world.sweep(ASKED_EVERY)
    world.people.refuses = None
    await other.sweep()
    assert not other.installation.silent
    assert other.slack.standing(NoticeKind.OUTCOME, BEN)
    acts = await world.acts()
    assert (acts.count(Act.APP_REMOVED), acts.count(Act.APP_BACK)) == (1, 1)


async def test_taken_away_again_it_is_written_down_again(world: World) -> None:
    """Each time has its two entries."""
    await world.approved()
    for _ in range(2):
        world.people.refuses = "account_inactive"
        await world.installation.look("app_uninstalled")
        world.people.refuses = None
        await world.sweep(ASKED_EVERY)
    acts = await world.acts()
    assert (acts.count(Act.APP_REMOVED), acts.count(Act.APP_BACK)) == (2, 2)
