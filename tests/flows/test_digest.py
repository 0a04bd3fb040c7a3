"""The weekly digest over the wire: a chart of Slack's own or a picture, buttons that act, and never a second one."""

import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sandbox.client import Member, Message
from sandbox.server import Running
from tests.flows.browsing import Browser
from tests.flows.world import POLICY, World, settings_for, world

Json = dict[str, Any]
LONG = POLICY.replace('max_duration = "30d"', 'max_duration = "90d"').replace(
    "version = 1", 'version = 1\nadmins = ["U0ANA"]'
)


@pytest.fixture
async def flow(servers: Running, migrated_file: Path, tmp_path: Path) -> AsyncIterator[World]:
    """A desk by HTTP; everybody lives in UTC, and it is a Wednesday in the middle of a month.

    On SQLite alone: tests/desk/test_digest.py tells the same stories on both databases.
    """
    database_url = f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'desk.db')}"
    settings = settings_for(servers, mode="http", database_url=database_url, folder=tmp_path, policy=LONG)
    async with world(servers, settings) as running:
        for member in ("U0ANA", "U0BEN", "U0CARA", "U0DEV"):
            await running.sandbox.patch_member(member, tz="UTC")
        now = running.clock()
        day = now.replace(hour=12, minute=0) + timedelta(days=1)
        while not (day.weekday() == 2 and 12 <= day.day <= 18):
            day += timedelta(days=1)
        await running.pass_time(day - now)
        yield running


async def holding(flow: World) -> None:
    """Ben has a key that lives on for weeks, and used it."""
    assert (await flow.ben.click(await flow.approved(duration="60d", budget="100"), "pick_up")).acknowledged
    async with Browser(flow.settings.public_url) as browser:
        await browser.sign_in("U0BEN")
        key = await browser.reveal(await flow.link())
    assert (await flow.call(key, tokens=1_000_000)).status_code == 200
    await flow.an_hour_later()
    await flow.an_hour_later()
    await flow.digest()


async def monday(flow: World) -> None:
    """The next Monday, a minute past nine."""
    now = flow.clock()
    at = now.astimezone(UTC).replace(hour=9, minute=1, second=0) + timedelta(days=-now.weekday() % 7)
    await flow.pass_time((at if at > now else at + timedelta(days=7)) - now)
    await flow.digest()


async def digests(member: Member) -> list[Message]:
    """What came, oldest first."""
    return [one for one in await member.messages(f"D{member.id[1:]}") if one.text.startswith("Your week")]


def chart_in(message: Message) -> Json | None:
    """The chart in it, whichever way."""
    return next((block for block in message.blocks if block["type"] in ("data_visualization", "image")), None)


async def test_each_monday_with_slacks_own_chart_and_buttons_that_act(flow: World) -> None:
    """Holder, approver and admin have one each; a press acts, and the digest is brought up to date in its place."""
    await holding(flow)
    await monday(flow)
    await monday(flow)
    first, second = await digests(flow.ben)
    chart = chart_in(first)
    assert chart is not None
    assert chart["type"] == "data_visualization"
    assert sum(point["value"] for point in chart["chart"]["series"][1]["data"]) == 2.0
    assert "You spent $2.00" in first.plain
    assert "You spent nothing" in second.plain
    assert "Tip of the week: " in first.plain
    (team, _) = await digests(flow.ana)
    assert "Your team spent $2.00" in team.plain
    assert "The whole desk spent $2.00" in team.plain
    assert [len(await digests(who)) for who in (flow.cara, flow.sandbox.member("U0DEV"))] == [2, 2]

    await flow.ask()
    assert (await flow.cara.command("/apikey digest", "C0GENERAL")).acknowledged
    shown = await flow.cara.expect_message("1 request waits for your decision", "D0CARA")
    assert (await flow.cara.click(shown, "approve")).acknowledged
    await flow.cara.expect(
        lambda seen: next(
            (one for one in flow.cara.visible(seen, "D0CARA") if one.ts == shown.ts and "approve" not in one.buttons),
            None,
        )
    )
    assert len(await digests(flow.cara)) == 2


async def test_a_picture_where_slack_has_no_charts_and_words_where_it_takes_no_files(flow: World) -> None:
    """The numbers are there as text in any case; nothing is posted twice on the way."""
    await holding(flow)
    await flow.sandbox.features(charts=False, looks=1)
    await monday(flow)
    (first,) = await digests(flow.ben)
    chart = chart_in(first)
    assert chart is not None
    assert chart["type"] == "image"
    assert "This week: " in chart["alt_text"]
    picture = await flow.http.get(chart["slack_file"]["url"])
    assert picture.content.startswith(b"\x89PNG")
    assert "$2.00" in first.plain
    await flow.sandbox.features(files=False)
    assert (await flow.ben.command("/apikey digest", "C0GENERAL")).acknowledged
    told = await flow.ben.expect_message("The last seven days", "D0BEN")
    assert chart_in(told) is None
    assert "The week before: " in told.plain


async def test_a_lost_answer_is_looked_for_and_limits_are_waited_out(flow: World) -> None:
    """Slack posts it and its answer is cut off: the desk finds it there. Slack asks for a pause: it is kept."""
    await holding(flow)
    await flow.sandbox.fault("slack", "chat.postMessage", times=2, cut=True, acts=True)
    await monday(flow)
    await flow.pass_time(timedelta(minutes=10))
    await flow.sandbox.limits(**{"chat.postMessage": {"a_minute": 180, "burst": 1}})
    await flow.digest()
    await flow.pass_time(timedelta(minutes=10))
    await flow.digest()
    people = (flow.ana, flow.ben, flow.cara, flow.sandbox.member("U0DEV"))
    assert [len(await digests(who)) for who in people] == [1, 1, 1, 1]
    calls = [call["method"] for call in (await flow.sandbox.record())["calls"]]
    assert calls.count("conversations.history") >= 2
    await monday(flow)
    assert [len(await digests(who)) for who in people] == [2, 2, 2, 2]


async def test_it_is_moved_and_switched_off_in_a_form(flow: World) -> None:
    """A day and an hour, or not at all; what was chosen stands in the form the next time."""
    await holding(flow)
    assert (await flow.ben.command("/apikey settings", "C0GENERAL")).acknowledged
    form = await flow.ben.expect_modal("Your weekly digest")
    ack = await flow.ben.submit(form, weekday="1", hour="15", comes="on")
    assert ack.errors == {}
    assert "on Tuesdays at 15:00" in (await flow.ben.expect_modal("Your weekly digest")).plain
    await monday(flow)
    assert await digests(flow.ben) == []
    now = flow.clock()
    tuesday = datetime.combine((now + timedelta(days=1)).date(), now.time(), UTC).replace(hour=15, minute=1)
    await flow.pass_time(tuesday - now)
    await flow.digest()
    (came,) = await digests(flow.ben)
    assert (await flow.ben.click(came, "set_digest")).acknowledged
    form = await flow.ben.expect_modal("Your weekly digest")
    chosen = {
        block["block_id"]: block["element"]["initial_option"]["value"] for block in form.blocks if "element" in block
    }
    assert chosen == {"comes": "on", "weekday": "1", "hour": "15"}
    assert (await flow.ben.submit(form, weekday="1", hour="15", comes="off")).errors == {}
    await flow.pass_time(timedelta(days=7))
    await flow.digest()
    assert len(await digests(flow.ben)) == 1
