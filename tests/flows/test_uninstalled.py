"""The app is taken away, over the wire: Slack hears nothing more, keys die in their time, and it goes on when it is back."""

from datetime import timedelta
from pathlib import Path

import pytest

from app import running
from bot.desk.audit import Act
from bot.desk.hands import AT_ONCE
from bot.serving import CannotStart
from sandbox.client import Sandbox
from sandbox.server import Running
from tests.flows.world import World, installed, settings_for, world

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # what differs is Slack's
WEEK = timedelta(days=7, minutes=1)
THE_WAY_IN = {"apps.connections.open"}  # of a socket, by another token


@pytest.fixture(params=["http"])
def mode(request: pytest.FixtureRequest) -> str:
    """What is refused is refused in either mode; a start differs."""
    return str(request.param)


async def calls(flow: World) -> list[tuple[str, str]]:
    """What the desk asked of Slack by the bot's token, and how it was refused."""
    made = (await flow.sandbox.record())["calls"]
    return [(one["method"], one["response"].get("error", "")) for one in made if one["method"] not in THE_WAY_IN]


async def key_in_hand(flow: World) -> None:
    """Ben picked up, and his link waits."""
    await flow.picked_up()
    assert len(await flow.sandbox.openai_keys()) == 1


async def silence_kept(flow: World, before: int) -> None:
    """The key's time passes: it is revoked, and Slack was asked nothing but whether the app is back."""
    await flow.pass_time(WEEK)
    await flow.no_key_left()
    assert {one for one in (await calls(flow))[before:] if one[0] != "users.list"} == set()


async def test_slack_says_that_the_app_is_gone(flow: World) -> None:
    """Its two last events: from then on nothing is sent, the key dies in its time; back again, its holder is told."""
    await key_in_hand(flow)
    await flow.sandbox.uninstall()
    acts = await flow.acts()
    assert acts[-1] == Act.APP_REMOVED
    before = len(await calls(flow))
    await silence_kept(flow, before)
    ready = await flow.http.get(f"{flow.settings.public_url}/readyz")
    assert ready.status_code == 503
    await flow.sandbox.install()
    flow.clock.ahead += timedelta(minutes=1)
    assert flow.tick is not None
    await flow.tick()
    await flow.ben.expect_message("was not opened")
    assert (await flow.http.get(f"{flow.settings.public_url}/readyz")).status_code == 200
    acts = await flow.acts()
    assert (acts.count(Act.APP_REMOVED), acts.count(Act.APP_BACK)) == (1, 1)


@SQLITE
@pytest.mark.parametrize("refusal", ["token_revoked", "invalid_auth"])
async def test_nobody_says_it(servers: Running, database_url: str, tmp_path: Path, refusal: str) -> None:
    """One call that is refused says it: but for what was under way there is no second one."""
    settings = settings_for(servers, mode="http", database_url=database_url, folder=tmp_path)
    async with world(servers, settings) as flow:
        await key_in_hand(flow)
        await flow.sandbox.uninstall(refusal, told=False)
        for _ in range(3):
            await flow.ben.command("/apikey request")  # a form that Slack has to open
        heard = [method for method, error in await calls(flow) if error == refusal and method != "users.list"]
        assert 1 <= len(heard) <= 1 + 2 * AT_ONCE, "messages and Homes that were under way, and no more"
        await silence_kept(flow, len(await calls(flow)))


@SQLITE
async def test_other_peoples_tokens_and_teams_are_none_of_ours(flow: World) -> None:
    """A member's own token of their sign-in, and another workspace of the organisation: nothing happens."""
    await key_in_hand(flow)
    before = await flow.acts()
    for event in (
        {"type": "tokens_revoked", "tokens": {"oauth": ["U0BEN"]}},
        {"type": "team_access_revoked", "team_ids": ["T0OTHER"]},
    ):
        assert (await flow.sandbox.event(event)).acknowledged
    assert await flow.acts() == before
    assert not [one for one in await calls(flow) if one[0] == "users.list"]


@SQLITE
async def test_a_workspace_of_an_organisation_takes_the_app_away(flow: World) -> None:
    """The token lives on elsewhere; here every call is refused."""
    await key_in_hand(flow)
    await flow.sandbox.uninstall("team_access_not_granted", told=False)
    event = {"type": "team_access_revoked", "team_ids": ["T0OTHER", flow.team]}
    assert (await flow.sandbox.event(event)).acknowledged
    assert (await flow.acts())[-1] == Act.APP_REMOVED


@SQLITE
@pytest.mark.parametrize("mode", ["socket", "http"], indirect=True)
async def test_a_start_with_a_dead_token_revokes_what_is_due(
    servers: Running, mode: str, database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It starts, says loudly that it serves nobody, and the key dies in its time. On an empty database it does not."""
    settings = settings_for(servers, mode=mode, database_url=database_url, folder=tmp_path)
    async with Sandbox(servers.base_url) as sandbox:
        await installed(sandbox, [settings])
        await sandbox.uninstall(told=False)
        with pytest.raises(CannotStart, match="SLACK_BOT_TOKEN is refused by Slack"):
            async with running(settings):
                pass
        await sandbox.install()
        async with world(servers, settings) as flow:
            await key_in_hand(flow)
        await sandbox.uninstall(told=False)
        async with world(servers, settings) as flow:
            assert "SLACK_BOT_TOKEN is refused by Slack (account_inactive)" in caplog.text
            await flow.pass_time(WEEK)
            await flow.no_key_left()
