"""The first pick-up: how to keep a key safe, then the key, by the button in the message and by the one on Home."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.flows.browsing import Browser
from tests.flows.world import World
from tests.lessons import LONG_AGO, read


@pytest.mark.parametrize("place", ["message", "home"])
async def test_the_first_pick_up_teaches_and_then_gives(flow: World, place: str) -> None:
    """Dismissed, nothing is made and the button stays; acknowledged, the same dialog brings the link. The next asks nothing."""
    await read(flow.store, "U0BEN", datetime.now(UTC) - LONG_AGO)
    offer = await flow.approved()
    for _ in range(2):
        pressed = offer if place == "message" else await flow.ben.home("pick_up")
        assert (await flow.ben.click(pressed, "pick_up")).acknowledged
        lesson = await flow.ben.expect_modal("yours alone")
        assert lesson.title == "Keep this key safe"
        assert [str(number) in lesson.plain for number in range(1, 5)] == [True] * 4
        await flow.ben.close(lesson)
    assert await flow.acts() == ["request.submitted", "request.approved"]
    assert await flow.sandbox.openai_keys() == []
    assert "pick_up" in (await flow.offer()).buttons

    pressed = offer if place == "message" else await flow.ben.home("pick_up")
    assert (await flow.ben.click(pressed, "pick_up")).acknowledged
    ack = await flow.ben.submit(await flow.ben.expect_modal("yours alone"))
    assert ack.acknowledged
    assert ack.response_action == "update"
    [url] = (await flow.ben.expect_modal("is ready")).urls
    async with Browser(flow.settings.public_url) as browser:
        await browser.sign_in("U0BEN")
        assert (await flow.call(await browser.reveal(url))).status_code == 200
    assert (await flow.acts())[2:5] == ["lesson.acknowledged", "grant.pick_up_started", "key.minted"]

    await flow.ben.close(await flow.ben.expect_modal("is ready"), all=True)
    assert (await flow.ben.click(await flow.approved(), "pick_up")).acknowledged
    await flow.link()
    assert (await flow.acts()).count("lesson.acknowledged") == 1


async def test_what_came_between_reading_and_acknowledging_is_said(flow: World) -> None:
    """Revoked meanwhile: the dialog says so, and nothing is made. A form that Slack brings twice acts once."""
    await read(flow.store, "U0BEN", datetime.now(UTC) - LONG_AGO)
    offer = await flow.approved()
    await flow.ben.click(offer, "pick_up")
    lesson = await flow.ben.expect_modal("yours alone")
    await flow.ana.click(await flow.ana.expect_message("pproved by"), "revoke")
    await flow.over()
    assert (await flow.ben.submit(lesson)).response_action == "update"
    assert "is over" in (await flow.ben.expect_modal("did not work")).plain
    assert "lesson.acknowledged" not in await flow.acts()
    await flow.ben.close(await flow.ben.expect_modal("did not work"), all=True)

    await flow.ben.click(await flow.approved(), "pick_up")
    await flow.ben.submit(await flow.ben.expect_modal("yours alone"))
    await flow.ben.expect_modal("is ready")
    [form] = [
        one
        for one in (await flow.sandbox.record())["deliveries"]
        if one["kind"] == "view_submission" and "yours alone" in str(one)
    ][-1:]
    assert (await flow.sandbox.redeliver(form["id"])).acknowledged
    assert (await flow.acts()).count("grant.pick_up_started") == 1
    await flow.pass_time(timedelta(minutes=1))
    assert len([key for key in await flow.sandbox.openai_keys() if key["status"] == "active"]) == 1
