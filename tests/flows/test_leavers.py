"""People who leave, over the wire: Slack tells of it, once, twice, late, or while it cannot be asked."""

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.desk.audit import Act
from bot.desk.ports import Transaction
from sandbox.server import Running
from tests.flows.browsing import Browser
from tests.flows.world import POLICY, World, settings_for, world


def changed(**flags: bool) -> dict[str, Any]:
    """Slack's event about Ben."""
    return {"type": "user_change", "user": {"id": "U0BEN", "team_id": "T0ACME", **flags}, "event_ts": "1.1"}


@pytest.mark.parametrize("flag", ["deleted", "is_restricted"])
async def test_who_leaves_loses_key_and_request(flow: World, flag: str) -> None:
    """The key dies at the provider, the card says why there is nothing to decide; the event again changes nothing."""
    await flow.picked_up()
    await flow.ask()
    await flow.card(flow.ana)
    await flow.sandbox.patch_member("U0BEN", **{flag: True})
    assert (await flow.sandbox.event(changed(**{flag: True}))).acknowledged
    await flow.ana.expect_message("no full member of this workspace any more")
    await flow.no_key_left()
    assert (await flow.sandbox.event(changed(**{flag: True}))).acknowledged
    acts = await flow.acts()
    assert (acts.count(Act.HOLDER_LEFT), acts.count(Act.REQUESTER_LEFT)) == (1, 1)


async def test_a_key_is_handed_over(servers: Running, migrated_file: Path, tmp_path: Path) -> None:
    """Who approved takes the leaver's key over by a button: a form, another's decision, a key of their own that follows it."""
    database = f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'desk.db')}"
    policy = POLICY.replace("max_monthly_budget", 'on_leaving = "hand_over"\nmax_monthly_budget', 1)
    settings = settings_for(servers, mode="socket", database_url=database, folder=tmp_path, policy=policy)
    async with world(servers, settings) as flow, Browser(settings.public_url) as browser:
        link = await flow.picked_up()
        await browser.sign_in("U0BEN")
        await browser.reveal(link)
        await flow.sandbox.patch_member("U0BEN", deleted=True)
        assert (await flow.sandbox.event(changed(deleted=True))).acknowledged
        await flow.pass_time(timedelta(days=3, hours=-1))  # whenever this runs, her day has begun by then
        offered = await flow.ana.expect_message("left, and their key")
        assert offered.buttons == ["extend", "revoke"]
        assert len(await flow.sandbox.openai_keys()) == 1
        assert (await flow.ana.click(offered, "extend")).acknowledged
        form = await flow.ana.expect_modal("Take this key over")
        assert (await flow.ana.submit(form, duration="3d", reason="The evaluation is mine now")).acknowledged
        card = await flow.card(flow.cara)
        assert "asks to take over" in card.plain
        assert (await flow.cara.click(card, "approve")).acknowledged
        await flow.ana.expect_message("approved your key")
        await flow.pass_time(timedelta(hours=1))
        await flow.no_key_left()
        assert (await flow.acts()).count(Act.HOLDER_LEFT) == 1


async def test_an_event_out_of_order_takes_nothing(flow: World) -> None:
    """One that says "deactivated" and comes when its member is back: the directory of this moment is believed."""
    await flow.picked_up()
    before = await flow.acts()
    assert (await flow.sandbox.event(changed(deleted=True))).acknowledged
    assert len(await flow.sandbox.openai_keys()) == 1
    assert await flow.acts() == before


async def test_an_event_that_cannot_be_checked_is_not_taken(flow: World) -> None:
    """Slack says who left and then cannot be asked: nothing is revoked, and its retry of the event does it."""
    await flow.picked_up()
    await flow.sandbox.patch_member("U0BEN", deleted=True)
    await flow.sandbox.fault("slack", "users.info", status=500)
    assert not (await flow.sandbox.event(changed(deleted=True))).acknowledged
    assert Act.HOLDER_LEFT not in await flow.acts()
    assert len(await flow.sandbox.openai_keys()) == 1
    delivery = (await flow.sandbox.record())["deliveries"][-1]["id"]
    assert (await flow.sandbox.redeliver(delivery)).acknowledged
    await flow.no_key_left()
    assert (await flow.acts()).count(Act.HOLDER_LEFT) == 1


async def test_a_night_finds_who_left_without_a_word(flow: World) -> None:
    """No event came: Slack's list says it. An approver who left the group is replaced by one who came."""
    await flow.approved()
    await flow.ask()
    await flow.card(flow.cara)
    assert flow.go_round is not None
    await flow.go_round()
    await flow.sandbox.patch_member("U0BEN", deleted=True)
    await flow.sandbox.set_group("S0PLATFORM", ["U0DEV"])
    await flow.pass_time(timedelta(days=1))
    await flow.go_round()
    await flow.ana.expect_message("no full member of this workspace any more")
    acts = await flow.acts()
    assert (acts.count(Act.HOLDER_LEFT), acts.count(Act.REQUESTER_LEFT)) == (1, 1)


async def test_an_approver_who_left_the_group_is_replaced(flow: World) -> None:
    """Slack tells that the group changed; who came into it gets the card, and can decide by it."""
    await flow.sandbox.set_group("S0PLATFORM", ["U0CARA"])
    await flow.ask()
    await flow.card(flow.cara)
    await flow.sandbox.set_group("S0PLATFORM", ["U0DEV"])
    changed = {"type": "subteam_members_changed", "subteam_id": "S0PLATFORM", "team_id": "T0ACME", "event_ts": "1.1"}
    assert (await flow.sandbox.event(changed)).acknowledged
    flow.clock.ahead += timedelta(minutes=2)
    assert flow.tick is not None
    await flow.tick()
    due = await flow.store.read(
        lambda tx: [one for one in tx.notices(flow.team, _only(tx)) if one.recipient == "U0DEV"]
    )
    assert len(due) == 1
    flow.clock.ahead += max(timedelta(), due[0].due_at - flow.clock())
    await flow.sweep()
    dev = flow.sandbox.member("U0DEV")
    card = await flow.card(dev)
    assert (await dev.click(card, "approve")).acknowledged
    await flow.offer()


def _only(tx: Transaction) -> str:
    """The one request that is open."""
    (request_id,) = tx.questions("T0ACME", "", 2)
    return request_id
