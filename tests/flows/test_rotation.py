"""The way of a rotation, over the wire: the reminder, a new key beside the old one, and the old one's end once usage shows the switch."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot.desk.limits import next_month
from bot.desk.model import TimerKind
from sandbox.server import Running
from tests.flows.browsing import Browser
from tests.flows.test_time import HOUR, MINUTE, later
from tests.flows.world import POLICY, World, settings_for, world

HOURS_OF_GRACE = 24


@pytest.fixture
async def flow(servers: Running, database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """A desk by HTTP, on both databases; keys may live for a year."""
    policy = POLICY.replace('max_duration = "30d"', 'max_duration = "365d"')
    settings = settings_for(servers, mode="http", database_url=database_url, folder=tmp_path, policy=policy)
    async with world(servers, settings) as running:
        now = running.clock()
        await running.pass_time(next_month(now) + timedelta(days=1, hours=12) - now)
        yield running


async def revealed(flow: World, known: int) -> str:
    """Ben signs in, opens the newest link, and has the key."""
    async with Browser(flow.settings.public_url) as browser:
        await browser.sign_in("U0BEN")
        return await browser.reveal(await flow.link(known))


async def an_hour_later(flow: World) -> None:
    """All is told, an hour passes, and what was used is read."""
    await later(flow, HOUR)
    assert flow.go_round is not None
    await flow.go_round()


async def to_the_next_reminder(flow: World) -> None:
    """Time passes until the desk has something to say about the rotation."""
    assert flow.tick is not None
    await flow.tick()
    (grant,) = await flow.store.read(lambda tx: tx.living_grants_of(flow.team, "U0BEN", 9))
    timer = await flow.store.read(lambda tx: tx.timer(flow.team, TimerKind.ROTATION, grant.id))
    assert timer is not None
    await later(flow, timer.due_at - flow.clock() + MINUTE)


async def test_from_the_reminder_to_the_end_of_the_old_key(flow: World) -> None:
    """Ben puts it off, then rotates; both keys work; he uses the new one alone, and the old one dies at the vendor."""
    assert (await flow.ben.click(await flow.approved(duration="200d", budget="100"), "pick_up")).acknowledged
    old = await revealed(flow, 0)
    assert "It is to be rotated by" in (await flow.ben.home()).plain
    await to_the_next_reminder(flow)
    reminder = await flow.ben.expect_message("Rotate your key")
    assert reminder.buttons == ["rotate", "rotate_later", "revoke"]
    assert (await flow.ben.click(reminder, "rotate_later")).acknowledged
    await flow.ben.expect_message("You are reminded of your key")
    known = len([one for one in await flow.ben.messages() if any("/k/" in url for url in one.urls)])
    assert (await flow.ben.click(await flow.ben.expect_message("Rotate your key"), "rotate")).acknowledged
    new = await revealed(flow, known)
    card = await flow.ben.expect_message("was rotated")
    assert card.buttons == ["switched"]
    assert card.plain.count("no use reported yet") == 2
    assert [(await flow.call(key)).status_code for key in (old, new)] == [200, 200]
    await an_hour_later(flow)
    await flow.ben.expect(
        lambda seen: any(one.plain.count("last used around") == 2 for one in flow.ben.visible(seen)),
    )
    for _ in range(HOURS_OF_GRACE // 2):
        assert (await flow.call(new)).status_code == 200
        await an_hour_later(flow)
        if (await flow.acts()).count("key.revoked"):
            break
    assert [(await flow.call(key)).status_code for key in (old, new)] == [401, 200]
    acts = await flow.acts()
    of_rotation = [act for act in acts if "rotat" in act or act in ("key.retired", "key.revoked")]
    assert of_rotation == [
        "grant.rotation_put_off",
        "grant.rotation_started",
        "grant.rotated",
        "key.retired",
        "key.revoked",
    ]
    await flow.ben.expect_message("was to be rotated")
    over = {"rotate_later", "switched"}
    await flow.ben.expect(lambda seen: not any(over & set(one.buttons) for one in flow.ben.visible(seen)))
    assert (await flow.sandbox.click_as(flow.ben, card, "switched")).acknowledged
    await flow.ben.expect_message("The old key is revoked already")


async def test_an_emergency_is_spelled_as_keyboards_spell_it(flow: World) -> None:
    """Two short dashes come as a long one; a key is named by its end, to `rotate` and to `revoke`; what names none revokes none."""

    async def answer(command: str) -> str:
        known = len(await flow.ben.messages("C0GENERAL"))
        assert (await flow.ben.command(f"/apikey {command}")).acknowledged
        return (await flow.ben.messages("C0GENERAL"))[known].plain

    assert "Which one?" not in await answer("rotate")
    offer = await flow.approved(duration="200d", budget="100")
    key = ""
    for dashes in ("--", "–", "—"):
        known = len([one for one in await flow.ben.messages() if any("/k/" in url for url in one.urls)])
        assert (await flow.ben.click(offer, "pick_up")).acknowledged
        key = await revealed(flow, known)
        assert "and `--now`" in await answer(f"rotate {dashes}now")
        assert "No key of yours is called so" in await answer(f"rotate now {key[-4:]}")
        assert (await flow.call(key)).status_code == 200
        assert "was revoked at once" in await answer(f"rotate {key[-4:]} {dashes}Now")
        await flow.no_key_left()
        offer = await flow.offer(after=offer.ts)
    known = len([one for one in await flow.ben.messages() if any("/k/" in url for url in one.urls)])
    assert (await flow.ben.click(offer, "pick_up")).acknowledged
    key = await revealed(flow, known)
    assert "how the key ends" in await answer("revoke")
    assert "is being revoked" in await answer(f"revoke …{key[-4:]}")
    await flow.no_key_left()
