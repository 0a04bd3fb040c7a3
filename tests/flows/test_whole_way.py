"""From `/apikey request` to a key in hand, over the wire, on both databases and in both of Slack's modes."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from tests.flows.browsing import Browser
from tests.flows.world import World


async def test_from_request_to_a_key_that_works_until_it_is_revoked(flow: World) -> None:
    """One asks, another approves, the first picks up the key; it works at the provider until it is revoked."""
    outcome = await flow.approved()
    assert await flow.sandbox.openai_keys() == []  # approval mints nothing

    assert (await flow.ben.click(outcome, "pick_up")).acknowledged
    url = await flow.link()
    async with Browser(flow.settings.public_url) as browser:
        await browser.sign_in("U0BEN")
        key = await browser.reveal(url)
    assert (await flow.call(key)).status_code == 200

    listed = await flow.ben.command("/apikey list")
    assert listed.acknowledged
    home = await flow.ben.home()
    assert (await flow.ben.click(home, "revoke")).acknowledged
    await flow.no_key_left()
    assert (await flow.call(key)).status_code == 401
    await flow.over()

    everything = json.dumps(await flow.sandbox.record())
    assert key not in everything
    assert await flow.acts() == [
        "request.submitted",
        "request.approved",
        "grant.pick_up_started",
        "key.minted",
        "link.claimed",
        "link.revealed",
        "grant.revoke_asked",
        "key.revoked",
        "grant.ended",
    ]
    assert key not in repr(await flow.store.audit_chain(flow.team))


async def test_every_copy_of_a_card_is_kept_current(flow: World) -> None:
    """Whoever decides, the other approvers' cards and the channel's say so, and a late click hears who was faster."""
    await flow.ask()
    card = await flow.card(flow.cara)
    late = await flow.card(flow.ana)
    assert (await flow.cara.click(card, "approve")).acknowledged
    for member, channel in ((flow.ana, None), (flow.cara, None), (flow.cara, "C0KEYS")):
        message = await member.expect_message("pproved by", channel)
        assert "approve" not in message.buttons
    assert (await flow.sandbox.click_as(flow.ana, late, "approve")).acknowledged
    told = await flow.ana.expect(lambda seen: next((one for one in flow.ana.visible(seen) if one.ephemeral), None))
    assert "U0CARA" in told.plain or "Cara" in told.plain


async def test_a_decision_costs_slack_no_more_than_it_must(flow: World) -> None:
    """Each copy of a card is updated once and each Home drawn once, though two messages went to who asked."""
    everybody = {"U0ANA", "U0BEN", "U0CARA", "U0DEV"}

    async def since(begin: int, **expected: int) -> Sequence[Any]:
        """The calls from there on, once there are as many of these as are expected."""
        async with asyncio.timeout(20):
            while True:
                calls: Sequence[Any] = (await flow.sandbox.record())["calls"]
                made = Counter(call["method"] for call in calls[begin:])
                if all(made[name.replace("_", ".")] >= count for name, count in expected.items()):
                    return calls[begin:]

    await flow.ask()
    card = await flow.card(flow.ana)
    asked = len(await since(0, chat_postMessage=5, views_publish=4))
    assert (await flow.ana.click(card, "approve")).acknowledged
    calls = await since(asked, chat_postMessage=1, chat_update=5, views_publish=4)
    assert Counter(call["args"]["user_id"] for call in calls if call["method"] == "views.publish") == dict.fromkeys(
        everybody, 1
    )
    assert not [call for call in calls if call["method"] == "conversations.open"]  # it is open since the receipt


async def test_a_denial_says_why(flow: World) -> None:
    """Deny asks for a reason, and the requester reads it, and what to do next."""
    await flow.ask()
    card = await flow.card(flow.ana)
    assert (await flow.ana.click(card, "deny")).acknowledged
    form = await flow.ana.modal()
    assert form is not None
    assert (await flow.ana.submit(form, reason="Use the shared sandbox project")).acknowledged
    message = await flow.ben.expect_message("Use the shared sandbox project")
    assert "pick_up" not in message.buttons
    assert "/apikey request" in message.plain


async def test_what_is_not_opened_dies(flow: World) -> None:
    """After 15 minutes the sealed key is revoked, the holder is told, and can pick up again."""
    url = await flow.picked_up()
    assert len(await flow.sandbox.openai_keys()) == 1
    await flow.pass_time(timedelta(minutes=16))
    await flow.ben.expect_message("15 minutes")
    again = await flow.offer()
    await flow.no_key_left()
    async with Browser(flow.settings.public_url) as browser:
        await browser.sign_in("U0BEN")
        assert (await browser.claim(url)).status_code == 409
        assert (await flow.ben.click(again, "pick_up")).acknowledged
        second = await flow.link(after=1)
        assert (await flow.call(await browser.reveal(second))).status_code == 200


async def test_nobody_else_opens_a_link(flow: World) -> None:
    """A bare GET, another member, and the holder without the seed's token change nothing: the holder still can."""
    url = await flow.picked_up()
    page = await flow.http.get(url, headers={"User-Agent": "Slackbot-LinkExpanding 1.0"})
    assert page.status_code == 200
    async with Browser(flow.settings.public_url) as stranger, Browser(flow.settings.public_url) as holder:
        await stranger.sign_in("U0CARA")
        refused = await stranger.claim(url)
        assert refused.status_code in (403, 404)
        assert "envelope" not in refused.text
        await holder.sign_in("U0BEN")
        wrong = url[:-43] + "A" * 43
        assert (await holder.claim(wrong)).status_code == 403
        key = await holder.reveal(url)
        assert (await flow.call(key)).status_code == 200
        async with Browser(flow.settings.public_url) as other_browser:
            await other_browser.sign_in("U0BEN")
            second = await other_browser.claim(url)
            assert second.status_code == 409
            assert "envelope" not in second.text


async def test_a_redelivered_click_acts_once(flow: World) -> None:
    """Slack's retries of a submission, a decision and a pick-up change nothing, and answer as the first did."""
    await flow.picked_up()
    for delivery in (await flow.sandbox.record())["deliveries"]:
        if delivery["kind"] in ("block_actions", "view_submission"):
            await flow.sandbox.redeliver(delivery["id"])
    await flow.sweep()
    assert len(await flow.sandbox.openai_keys()) == 1
    acts = await flow.acts()
    for once in ("request.submitted", "request.approved", "grant.pick_up_started", "key.minted"):
        assert acts.count(once) == 1, once
