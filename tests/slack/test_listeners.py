"""What members do in Slack, and what they hear: the listeners over the wire, with the whole desk behind them."""

import logging
from pathlib import Path

import pytest
from pydantic import SecretStr

from sandbox.server import Running
from tests.flows.browsing import Browser
from tests.flows.world import World, settings_for, world
from tests.slack.seeing import acts, approved, asking, card, newer, private, told


@pytest.fixture
def mode() -> str:
    """What is the same in both modes is tried in one of them."""
    return "socket"


class TestAsking:
    """The form."""

    async def test_projects_are_suggested_by_what_is_typed(self, flow: World) -> None:
        """By name or id, whatever the case."""
        await flow.ben.command("/apikey request")
        form = await flow.ben.modal()
        assert form is not None
        everything = await flow.ben.suggest(form, "project")
        assert {option["value"] for option in everything} == {"proj_search", "proj_assist", "proj_lab"}
        assert [option["value"] for option in await flow.ben.suggest(form, "project", "SEARCH")] == ["proj_search"]
        assert [option["value"] for option in await flow.ben.suggest(form, "project", "proj_l")] == ["proj_lab"]
        assert await flow.ben.suggest(form, "project", "nothing like it") == []

    async def test_the_name_of_a_project_is_the_providers(self, flow: World) -> None:
        """Whatever label a client sends beside the id, the approver reads what the provider calls it."""
        await flow.ben.command("/apikey request")
        form = await flow.ben.modal()
        assert form is not None
        forged = {"text": {"type": "plain_text", "text": "lab"}, "value": "proj_search"}
        assert (await flow.sandbox.submit_raw(flow.ben, form, **asking(project=forged))).errors == {}
        assert "key to search-prod" in (await card(flow.ana)).plain

    async def test_a_request_is_taken_back(self, flow: World) -> None:
        """From the list, which shows at once that it is; the cards say so, and a late approval is answered kindly."""
        await flow.ask()
        waiting = await card(flow.cara)
        await flow.ben.command("/apikey list")
        assert (await flow.ben.click(await told(flow.ben), "cancel")).acknowledged
        await flow.ben.expect(
            lambda seen: any("You cancelled it." in one.plain for one in flow.ben.visible(seen, "C0GENERAL"))
        )
        assert "cancel" not in (await told(flow.ben)).buttons
        assert (await flow.cara.expect_message("Cancelled by <@U0BEN>")).ts == waiting.ts
        await flow.sandbox.click_as(flow.cara, waiting, "approve")
        assert "cancelled this request before" in (await flow.cara.expect(private(flow.cara))).plain
        assert "request.approved" not in await acts(flow)

    async def test_home_asks_too(self, flow: World) -> None:
        """Its button opens the same form."""
        home = await flow.ben.home()
        assert (await flow.ben.click(home, "ask")).acknowledged
        form = await flow.ben.modal()
        assert form is not None
        assert form.inputs == ["provider", "project", "permission", "models", "duration", "budget", "reason"]


class TestDeciding:
    """The cards."""

    async def test_all_copies_of_a_card_are_current_and_a_late_press_is_told(self, flow: World) -> None:
        """Who decided, when; the late one changed nothing."""
        await flow.ask()
        late = await card(flow.ana)
        assert (await flow.cara.click(await card(flow.cara), "approve")).acknowledged
        for member, channel in ((flow.ana, None), (flow.cara, None), (flow.cara, "C0KEYS")):
            message = await member.expect_message("Approved by <@U0CARA>", channel)
            assert message.buttons == ["revoke"]
        for press in ("approve", "deny"):
            seen = len(await flow.ana.messages())
            assert (await flow.sandbox.click_as(flow.ana, late, press)).acknowledged
            answer = await flow.ana.expect(newer(flow.ana, seen))
            assert answer.ephemeral
            assert "<@U0CARA> approved this" in answer.plain
        assert (await acts(flow)).count("request.approved") == 1

    async def test_a_denial_needs_a_reason_and_tells_it(self, flow: World) -> None:
        """Whitespace is none; the requester reads the reason."""
        await flow.ask()
        await flow.ana.click(await card(flow.ana), "deny")
        form = await flow.ana.expect_modal("Deny")
        ack = await flow.sandbox.submit_raw(flow.ana, form, reason="   ")
        assert list(ack.errors) == ["reason"]
        assert (await flow.ana.submit(form, reason="Use <the> lab")).acknowledged
        message = await flow.ben.expect_message("denied your request")
        assert "Use &lt;the&gt; lab" in message.plain
        assert message.buttons == []
        assert (await flow.cara.expect_message("Denied by <@U0ANA>")).buttons == []

    async def test_a_denial_that_comes_too_late(self, flow: World) -> None:
        """The dialog says who was faster."""
        await flow.ask()
        await flow.ana.click(await card(flow.ana), "deny")
        form = await flow.ana.expect_modal("Deny")
        await flow.cara.click(await card(flow.cara), "approve")
        ack = await flow.ana.submit(form, reason="No")
        assert ack.response_action == "update"
        assert "<@U0CARA> approved this" in (await flow.ana.expect_modal("did not work")).plain

    async def test_home_decides_too(self, flow: World) -> None:
        """The queue is there, and is empty after the decision."""
        await flow.ask()
        await card(flow.cara)
        home = await flow.cara.home()
        assert (await flow.cara.click(home, "approve")).acknowledged
        await flow.cara.expect(lambda seen: "approve" not in str(seen["home"]["blocks"]))
        assert "request.approved" in await acts(flow)

    async def test_who_may_not_decide_hears_why(self, flow: World) -> None:
        """The requester by a forged press, and a member whom policy does not name: refused, recorded, told."""
        await flow.ask()
        shown = await card(flow.ana, "C0KEYS")
        await flow.sandbox.set_group("S0PLATFORM", ["U0DEV"])
        await flow.sandbox.set_channel("C0KEYS", ["U0ANA", "U0BEN", "U0CARA", "U0KEYDESK"])
        assert (await flow.sandbox.click_as(flow.ben, shown, "approve")).acknowledged
        assert "their own request" in (await flow.ben.expect(private(flow.ben, "C0KEYS"))).plain
        assert await acts(flow) == ["request.submitted", "refused"]


class TestKeys:
    """Pick up, list, revoke."""

    async def test_an_approver_takes_a_key_back_from_the_card(self, flow: World) -> None:
        """The card's button revokes; the holder hears who did."""
        outcome = await approved(flow)
        await flow.ben.click(outcome, "pick_up")
        await flow.ben.expect(private(flow.ben))
        decided = await flow.ana.expect_message("Its link waits")
        assert (await flow.ana.click(decided, "revoke")).acknowledged
        assert "Revoked by <@U0ANA>" in (await flow.ben.expect_message("is over")).plain
        await flow.ana.expect_message("calls with it are refused")
        assert await flow.sandbox.openai_keys() == []

    async def test_an_old_button_of_a_key_that_is_over_is_answered(self, flow: World) -> None:
        """A card that Slack did not bring up to date yet: who presses hears, for them alone, that it is done."""
        outcome = await approved(flow)
        await flow.ben.click(outcome, "pick_up")
        await flow.ben.expect(private(flow.ben))
        card = await flow.ana.expect_message("Its link waits")
        assert (await flow.ben.click(await flow.ben.expect_message("Your link waits"), "revoke")).acknowledged
        await flow.ana.expect_message("calls with it are refused")
        assert (await flow.sandbox.click_as(flow.ana, card, "revoke")).acknowledged
        told = await flow.ana.expect_message("Done: a key to search-prod at OpenAI is over.")
        assert told.ephemeral

    async def test_revoke_by_name_and_from_the_list(self, flow: World) -> None:
        """`revoke` alone shows the list; with an id it acts; with a wrong one it says so; again is harmless."""
        await approved(flow)
        await flow.ben.command("/apikey revoke")
        listed = await told(flow.ben)
        assert "revoke" in listed.buttons
        [grant_id] = [word.strip("`") for word in listed.plain.split() if word.startswith("`g_")]
        await flow.ben.command("/apikey revoke g_nothing")
        wrong = await told(flow.ben)
        assert "No key of yours is called so" in wrong.plain
        assert "revoke" in wrong.buttons
        await flow.cara.command(f"/apikey revoke {grant_id}")
        await flow.ben.command(f"/apikey revoke `{grant_id}`")
        assert "Done" in (await told(flow.ben)).plain
        assert (await acts(flow)).count("grant.revoke_asked") == 1

    async def test_what_a_list_shows(self, flow: World) -> None:
        """Nothing yet; then what waits; and what is over, without buttons."""
        await flow.ben.command("/apikey list")
        assert "None yet" in (await told(flow.ben)).plain
        await flow.ask()
        await flow.ben.command("/apikey list")
        assert (await told(flow.ben)).buttons == ["cancel"]
        await flow.ana.click(await card(flow.ana), "deny")
        await flow.ana.submit(await flow.ana.expect_modal("Deny"), reason="Ask for the lab")
        await flow.ben.command("/apikey list")
        listed = await told(flow.ben)
        assert (listed.buttons, "Earlier" in listed.plain) == ([], True)
        assert "Ask for the lab" in listed.plain

    async def test_a_key_of_somebody_else(self, flow: World) -> None:
        """A forged press on another's button is refused, privately."""
        await approved(flow)
        home = await flow.ben.home()
        assert (await flow.sandbox.click_as(flow.cara, home, "pick_up")).acknowledged
        assert "somebody else" in (await flow.cara.expect_modal("did not work")).plain
        assert "key.minted" not in await acts(flow)


class TestTrouble:
    """What goes wrong, and how it is told."""

    @pytest.mark.parametrize("member", ["U0GUS", "U0UMA"])
    async def test_a_guest_sees_why_not(self, flow: World, member: str) -> None:
        """On Home and in answer to each command, with no button."""
        guest = flow.sandbox.member(member)
        home = await guest.home()
        assert "Guests cannot hold" in home.plain
        assert home.buttons == []

    async def test_a_provider_that_refuses_the_credential(
        self, servers: Running, database_url: str, tmp_path: Path
    ) -> None:
        """The form says so while it is open, the menu is honestly empty, and a pick-up leaves nothing lost."""
        settings = settings_for(servers, mode="socket", database_url=database_url, folder=tmp_path)
        async with world(servers, settings) as flow:
            await approved(flow)
        settings = settings.model_copy(update={"openai_admin_key": SecretStr("sk-admin-wrong")})
        async with world(servers, settings) as flow:
            await flow.ben.command("/apikey request")
            form = await flow.ben.expect_modal("does not accept the desk's credential")
            assert await flow.ben.suggest(form, "project") == []
            await flow.ben.close(form)
            home = await flow.ben.home()
            assert (await flow.ben.click(home, "pick_up")).acknowledged
            problem = await flow.ben.expect_modal("did not work")
            assert "does not accept the desk's credential" in problem.plain
            assert "you can pick up again" in problem.plain
            assert "pick_up" in (await flow.ben.expect_message("Ready for you")).buttons

    async def test_a_new_key_that_the_provider_refuses(
        self, servers: Running, database_url: str, tmp_path: Path
    ) -> None:
        """Who rotated is told to rotate again: there is nothing to pick up, and the key that they have works on."""
        settings = settings_for(servers, mode="socket", database_url=database_url, folder=tmp_path)
        async with world(servers, settings) as flow:
            assert (await flow.ben.click(await approved(flow), "pick_up")).acknowledged
            async with Browser(flow.settings.public_url) as browser:
                await browser.sign_in("U0BEN")
                await browser.reveal(await flow.link())
        settings = settings.model_copy(update={"openai_admin_key": SecretStr("sk-admin-wrong")})
        async with world(servers, settings) as flow:
            assert (await flow.ben.click(await flow.ben.home(), "rotate")).acknowledged
            problem = await flow.ben.expect_modal("did not work")
            assert "you can rotate again" in problem.plain
            assert "rotate" in (await flow.ben.home()).buttons

    async def test_rate_limits_are_waited_out(self, flow: World) -> None:
        """Slack's 429 delays a card, and loses none."""
        await flow.sandbox.ratelimit("chat.postMessage", times=2, retry_after=0)
        await flow.ask()
        assert (await card(flow.ana)).buttons == ["approve", "deny"]
        assert (await card(flow.cara)).buttons == ["approve", "deny"]

    async def test_noise_is_acknowledged(self, flow: World) -> None:
        """Events that the desk has no use for, and the other tab of its Home."""
        for event in (
            {"type": "app_home_opened", "user": "U0BEN", "channel": "D0BEN", "tab": "messages", "event_ts": "1.1"},
            {"type": "user_change", "user": {"id": "U0BEN"}, "event_ts": "1.2"},
            {"type": "message", "channel": "D0BEN", "user": "U0BEN", "text": "hello", "ts": "1.3", "event_ts": "1.3"},
        ):
            assert (await flow.sandbox.event(event)).acknowledged
        assert (await flow.ben.state())["home"] is None

    async def test_a_links_seed_is_in_no_log(self, flow: World, caplog: pytest.LogCaptureFixture) -> None:
        """Not at any level, of any library; nor is the bot's token."""
        caplog.set_level(logging.DEBUG)
        await flow.ben.click(await approved(flow), "pick_up")
        [first] = (await flow.ben.expect(private(flow.ben))).urls
        await flow.ben.click(await flow.ben.home(), "pick_up")
        [second] = (await flow.ben.expect_modal("is ready")).urls
        assert caplog.records
        for secret in (first.partition("#")[2], second.partition("#")[2], flow.servers.bot_token):
            assert len(secret) > 20
            assert secret not in caplog.text
