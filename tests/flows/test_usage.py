"""What keys use is counted to the cent whatever breaks, and a budget that the desk enforces stops a key, over the wire."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot.desk.limits import next_month
from sandbox.server import Running
from tests.flows.browsing import Browser
from tests.flows.world import POLICY, World, settings_for, world


@pytest.fixture
async def flow(servers: Running, database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """A desk by HTTP, on both databases, that stops a key whose budget is used up; Ana is its admin."""
    policy = POLICY.replace("default_monthly_budget = 25", 'default_monthly_budget = 25\nover_budget = "disable"')
    policy = policy.replace("version = 1", 'version = 1\nadmins = ["U0ANA"]')
    settings = settings_for(servers, mode="http", database_url=database_url, folder=tmp_path, policy=policy)
    async with world(servers, settings) as running:
        now = running.clock()
        # These stories take some hours, and must not meet the end of a month.
        await running.pass_time(next_month(now) + timedelta(days=9, hours=12) - now)
        yield running


async def key_of_ben(flow: World, budget: str) -> str:
    """Asked, approved, picked up, revealed."""
    await flow.ask(budget=budget)
    card = await flow.card(flow.ana)
    assert "Keydesk watches what is spent" in card.plain
    assert "up to 2 hours late" in card.plain
    assert (await flow.ana.click(card, "approve")).acknowledged
    assert (await flow.ben.click(await flow.offer(), "pick_up")).acknowledged
    async with Browser(flow.settings.public_url) as browser:
        await browser.sign_in("U0BEN")
        return await browser.reveal(await flow.link())


async def used(flow: World) -> str:
    """The answer to `/apikey usage`."""
    assert (await flow.ben.command("/apikey usage", "C0GENERAL")).acknowledged
    return (await flow.ben.expect_message("Used in", "C0GENERAL")).plain


async def test_figures_are_what_was_used_after_faults_and_repeated_rounds(flow: World) -> None:
    """A day of calls, with OpenAI failing in the middle of the desk's reading: the sum is the vendor's own, to the cent."""
    key = await key_of_ben(flow, "100")
    for tokens in (499_000, 123_456, 7):
        assert (await flow.call(key, tokens=tokens)).status_code == 200
    await flow.sandbox.fault("openai", "GET */organization/costs*", times=2, status=500)
    await flow.an_hour_later()
    await flow.sandbox.fault("openai", "GET */organization/usage/*", times=3, cut=True)
    for _ in range(3):
        await flow.an_hour_later()
    assert (await flow.call(key, tokens=250_000)).status_code == 200
    for _ in range(3):
        await flow.an_hour_later()
    cost = sum(2 * tokens for tokens in (499_000, 123_456, 7, 250_000)) / 1_000_000
    (listed,) = await flow.sandbox.openai_keys()
    plain = await used(flow)
    assert f"${cost:.2f} (estimate) of $100" in plain
    assert "4 requests" in plain
    assert listed["status"] == "active"
    home = await flow.ana.home()
    assert "Usage read" in home.plain
    assert "Usage read" not in (await flow.ben.home()).plain


async def test_a_budget_that_the_desk_enforces_stops_the_key(flow: World) -> None:
    """$1, told at each step; from outside the key is seen to be refused once the desk has read what was used."""
    key = await key_of_ben(flow, "1")
    assert (await flow.call(key, tokens=300_000)).status_code == 200
    await flow.an_hour_later()
    await flow.ben.expect_message("used 60% of its $1")
    assert (await flow.call(key, tokens=250_000)).status_code == 200
    await flow.an_hour_later()
    await flow.ana.expect_message("used 110% of its $1")
    await flow.no_key_left()
    assert (await flow.call(key, tokens=1)).status_code == 401
    await flow.ben.expect_message("budget for the month was used up")
    acts = await flow.acts()
    assert acts[-4:] == ["grant.overspent", "grant.budget_warned", "key.revoked", "grant.ended"]
    assert "$1.10" in await used(flow)
    await flow.pass_time(timedelta(minutes=1))
    assert (await flow.acts()) == acts
