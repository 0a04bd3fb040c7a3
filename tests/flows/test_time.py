"""What time does, over the wire: a request lapses, and a key is extended by another before it ends."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot.desk.due import DueKind
from bot.desk.hands import LEASE
from bot.desk.hours import WORKDAYS
from sandbox.server import Running
from tests.flows.browsing import Browser
from tests.flows.world import World, settings_for, world

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
async def flow(servers: Running, database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """A desk by HTTP, on both databases. It is Monday, noon in Berlin, where everybody lives."""
    settings = settings_for(servers, mode="http", database_url=database_url, folder=tmp_path)
    async with world(servers, settings) as running:
        now = running.clock()
        monday = (now + (7 - now.weekday()) * DAY).replace(hour=10, minute=30, second=0, microsecond=0)
        assert monday.weekday() == WORKDAYS[0]
        await running.pass_time(monday - now)
        yield running


async def later(flow: World, by: timedelta) -> None:
    """What is to be told is told, then time passes, and what it brings is done."""
    patience = time.monotonic() + 10
    while await flow.store.read(lambda tx: tx.due(DueKind.NOTICE, flow.clock() + LEASE, 1)):
        assert time.monotonic() < patience, "some message is not told"
        await asyncio.sleep(0.02)  # a message in hand when the clock jumps may be posted twice
    await flow.pass_time(by)
    assert flow.tick is not None
    await flow.tick()


async def revealed(flow: World, browser: Browser, after: int = 0) -> str:
    """Ben picks up what is offered, and opens it: the key."""
    known = len([one for one in await flow.ben.messages() if one.ephemeral])
    assert (await flow.ben.click(await flow.offer(), "pick_up")).acknowledged
    return await browser.reveal(await flow.link(after or known))


async def test_a_request_that_nobody_decides_is_reminded_of_and_lapses(flow: World) -> None:
    """Ana hears again after four hours of work; after three days her card has no buttons, and Ben knows what to do."""
    await flow.ask()
    await flow.card(flow.ana)
    await later(flow, 4 * HOUR)
    reminder = await flow.ana.expect_message("Still waiting for a decision")
    assert reminder.buttons == ["approve", "deny"]
    await later(flow, 3 * DAY)
    told = await flow.ben.expect_message("lapsed: nobody decided in time")
    assert "/apikey request" in told.plain
    await flow.ana.expect(lambda seen: not any("approve" in one.buttons for one in flow.ana.visible(seen)))
    assert (await flow.sandbox.click_as(flow.ana, reminder, "approve")).acknowledged
    await flow.ana.expect_message("Nobody decided on this in time")
    assert (await flow.acts())[-1] == "request.lapsed"
    assert await flow.sandbox.openai_keys() == []


async def test_a_key_is_extended_by_another_and_ends(flow: World) -> None:
    """Ben hears before the end, asks for two weeks more, Ana sees what it extends; both keys work for a day, then one."""
    await flow.ask()
    assert (await flow.ana.click(await flow.card(flow.ana), "approve")).acknowledged
    async with Browser(flow.settings.public_url) as browser:
        await browser.sign_in("U0BEN")
        old = await revealed(flow, browser)
        await later(flow, 4 * DAY + 5 * HOUR + 30 * MINUTE)  # Friday afternoon; it ends on Monday
        notice = await flow.ben.expect_message("expires")
        assert notice.buttons == ["rotate", "extend", "revoke"]
        assert (await flow.ben.click(notice, "extend")).acknowledged
        form = await flow.ben.expect_modal("Extend this key")
        refused = await flow.ben.submit(form, duration="a while", reason="The evals go on")
        assert set(refused.errors) == {"duration"}
        assert (await flow.ben.submit(form, duration="14 days", reason="The evals go on")).acknowledged
        card = await flow.card(flow.ana)
        assert "It extends a key that ends" in card.plain
        assert "The evals go on" in card.plain
        assert (await flow.ana.click(card, "approve")).acknowledged
        await flow.ben.expect_message("Extending it is approved")
        new = await revealed(flow, browser)
    assert [(await flow.call(key)).status_code for key in (old, new)] == [200, 200]
    await flow.ben.expect_message("the key that follows it: use that one")
    await later(flow, DAY + MINUTE)
    await flow.ben.expect(lambda seen: len([key for key in seen["openai"]["keys"] if key["status"] == "active"]) == 1)
    assert [(await flow.call(key)).status_code for key in (old, new)] == [401, 200]
    await flow.ben.expect_message("The key is dead")  # the desk has written down what the provider did
    acts = await flow.acts()
    assert "grant.succeeded" in acts
    assert acts[-3:] == ["grant.expired", "key.revoked", "grant.ended"]
