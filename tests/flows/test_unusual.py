"""A key that somebody else uses at night: told at once, paused from the message, and refused from outside, over the wire."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest

from bot.desk.ports import Transaction
from sandbox.server import Running
from tests.desk.test_incidents import used_before
from tests.flows.test_providers import HEAD, RULE, revealed
from tests.flows.world import World, settings_for, world

DAY = timedelta(days=1)
BERLIN = "Europe/Berlin"  # where the pretend Slack has its people


@pytest.fixture
async def flow(servers: Running, database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """A desk by HTTP, on both databases, with a provider that can switch keys off; Ana is its admin."""
    settings = settings_for(
        servers,
        mode="http",
        database_url=database_url,
        folder=tmp_path,
        policy=HEAD + 'admins = ["U0ANA"]\n' + "".join(RULE.format(provider=name) for name in ("openai", "openrouter")),
        openrouter_management_key=servers.openrouter_management_key,
        openrouter_base_url=servers.openrouter_url,
    )
    async with world(servers, settings) as running:
        yield running


async def test_a_stolen_key_is_noticed_paused_and_taken_up_again(flow: World) -> None:
    """Four weeks of office hours, then a call that costs half a dollar at two at night of Ben's clock."""
    snapshot = (await flow.sandbox.state("U0ANA"))["openrouter"]
    lab = next(it["id"] for it in snapshot["projects"] if it["name"] == "lab")
    key = await revealed(flow, await flow.approved(provider="openrouter", project=lab, permission="all"))

    async def call(tokens: int) -> httpx.Response:
        return await flow.http.post(
            f"{flow.servers.openrouter_url}/chat/completions",
            headers={"Authorization": f"Bearer {key}"},
            json={
                "model": "openai/gpt-5-mini",
                "max_tokens": tokens,
                "messages": [{"role": "user", "content": "Say hello."}],
            },
        )

    now = flow.clock()
    night = datetime.combine(now + 2 * DAY, time(2, 10), ZoneInfo(BERLIN)).astimezone(UTC)

    def history(tx: Transaction) -> None:
        (grant,) = tx.grants_of("T0ACME", "U0BEN", 9)
        (held,) = tx.keys_of("T0ACME", grant.id)
        used_before(tx, held, now.date(), begin=9)

    await flow.store.write(history)
    await flow.pass_time(night - timedelta(hours=1) - now)
    await flow.an_hour_later()
    assert (await call(250_000)).status_code == 200
    await flow.an_hour_later()
    assert flow.tick is not None
    await flow.tick()

    told = await flow.ben.expect_message("Unusual use of your key to lab at OpenRouter")
    assert "by your clock; the key was never used between midnight and 06:00" in told.plain
    theirs = await flow.ana.expect_message("Unusual use of")
    assert "by the holder's clock" in theirs.plain
    assert "Unusual use that nobody answered" in (await flow.ana.home()).plain

    await flow.sandbox.click_as(flow.cara, told, "pause")
    assert (await call(1)).status_code == 200
    assert (await flow.ben.click(told, "pause")).acknowledged
    await flow.ben.expect_message("paused it. *The key is switched off*")
    assert (await call(1)).status_code in (401, 403)
    assert "nobody answered" not in (await flow.ana.home()).plain

    paused = await flow.ben.expect_message("Unusual use of your key")
    assert (await flow.ben.click(paused, "switch_on")).acknowledged
    await flow.ben.expect_message("It was switched on again")
    assert (await call(1)).status_code == 200
    assert (await flow.ben.click(await flow.ben.expect_message("It was switched on again"), "that_was_me")).acknowledged
    await flow.ana.expect_message("said that this was theirs")
    acts = [act for act in await flow.acts() if act.startswith(("incident", "key.dis", "key.en"))]
    assert acts == [
        "incident.opened",
        "key.disable_asked",
        "incident.closed",
        "key.disabled",
        "key.enable_asked",
        "key.enabled",
        "incident.explained",
    ]
