"""What a digest needs of Slack: charts or none, pictures in three steps, metadata in the history, and rate limits."""

from typing import Any

import httpx
import pytest
from slack_sdk.errors import SlackApiError, SlackRequestError
from slack_sdk.web.async_client import AsyncWebClient

from sandbox.blocks import message_problems
from sandbox.client import Sandbox
from sandbox.server import SCOPES, running

Json = dict[str, Any]
DAYS = ["Mon", "Tue", "Wed"]
PNG = b"\x89PNG not looked at"


def series(name: str, *values: float) -> Json:
    return {"name": name, "data": [{"label": day, "value": value} for day, value in zip(DAYS, values, strict=False)]}


def chart(*several: Json, kind: str = "bar", title: str = "Spend") -> Json:
    shown = list(several or (series("This week", 1, 2.5, 0),))
    told = {"type": kind, "series": shown, "axis_config": {"categories": DAYS, "y_label": "US dollars"}}
    return {"type": "data_visualization", "title": title, "chart": told}


PIE = {"type": "data_visualization", "title": "x", "chart": {"type": "pie", "segments": [{"label": "a", "value": 1}]}}


@pytest.mark.parametrize("kind", ["bar", "line", "area"])
def test_charts_that_are_fine(kind: str) -> None:
    """Up to twelve series over up to twenty categories, two charts in a message."""
    assert message_problems([chart(kind=kind), PIE]) == []
    assert message_problems([chart(*(series(f"s{number}", 1, -2, 3) for number in range(12)), kind=kind)]) == []


@pytest.mark.parametrize(
    ("blocks", "says"),
    [
        ([chart(title="x" * 51)], "must be less than 51 characters"),
        ([chart(series("x" * 21, 1, 2, 3))], "must be less than 21 characters"),
        ([chart(series("a", 1, 2, 3), series("a", 1, 2, 3))], "must be unique"),
        ([chart(series("a", 1, 2))], "labels must match the categories"),
        ([chart(series("a", 1, 2, float("inf")))], "must be finite"),
        ([chart(series("a", 1, 2, True))], "must be of type: number"),
        ([chart(kind="doughnut")], "unsupported type of chart"),
        ([chart(*(series(f"s{number}", 1, 2, 3) for number in range(13)))], "no more than 12 items"),
        ([chart(), PIE, PIE], "no more than 2 items of type data_visualization"),
    ],
)
def test_charts_that_are_not(blocks: list[Json], says: str) -> None:
    """Each problem by name."""
    assert any(says in problem for problem in message_problems(blocks)), message_problems(blocks)


async def refused(call: Any) -> str:
    with pytest.raises(SlackApiError) as caught:
        await call
    return str(caught.value.response["error"])


async def test_a_workspace_without_charts_takes_no_block_of_that_kind(client: AsyncWebClient, sandbox: Sandbox) -> None:
    """It refuses the whole message, and posts nothing."""
    await sandbox.features(charts=False)
    assert await refused(client.chat_postMessage(channel="U0BEN", text="x", blocks=[chart()])) == "invalid_blocks"
    await sandbox.features(charts=True)
    posted = await client.chat_postMessage(channel="U0BEN", text="x", blocks=[chart()])
    assert len((await client.conversations_history(channel=posted["channel"]))["messages"]) == 1


async def test_a_picture_takes_three_steps_and_is_seen_in_a_message(client: AsyncWebClient, sandbox: Sandbox) -> None:
    """By the SDK's way; a file that is none, or that Slack has not looked at yet, is refused."""
    done = await client.files_upload_v2(content=PNG, filename="week.png", title="Week", alt_txt="Bars")
    picture = {"type": "image", "slack_file": {"id": done["file"]["id"]}, "alt_text": "Bars"}
    posted = await client.chat_postMessage(channel="U0BEN", text="x", blocks=[picture])
    (shown,) = posted["message"]["blocks"]
    async with httpx.AsyncClient() as http:
        assert (await http.get(shown["slack_file"]["url"])).content == PNG
    nobodys = {**picture, "slack_file": {"id": "F0NONE"}}
    assert await refused(client.chat_postMessage(channel="U0BEN", text="x", blocks=[nobodys])) == "invalid_blocks"
    await sandbox.features(looks=1)
    done = await client.files_upload_v2(content=PNG, filename="week.png")
    picture["slack_file"] = {"id": done["file"]["id"]}
    assert await refused(client.chat_postMessage(channel="U0BEN", text="x", blocks=[picture])) == "invalid_blocks"
    await client.chat_postMessage(channel="U0BEN", text="x", blocks=[picture])
    await sandbox.features(files=False)
    assert await refused(client.files_upload_v2(content=PNG, filename="week.png")) == "file_uploads_disabled"


async def test_a_picture_has_the_length_that_was_said(client: AsyncWebClient) -> None:
    """Else its upload is refused, and it is no file."""
    begun = await client.files_getUploadURLExternal(filename="week.png", length=3)
    async with httpx.AsyncClient() as http:
        assert (await http.post(begun["upload_url"], content=PNG)).status_code == 400
    assert await refused(client.files_completeUploadExternal(files=[{"id": begun["file_id"]}])) == "file_not_found"
    with pytest.raises(SlackRequestError):
        await client.files_upload_v2(filename="week.png")


async def test_history_tells_what_was_posted_with_its_metadata(client: AsyncWebClient) -> None:
    """Newest first, page by page, from a time on; metadata only where it is asked for, and only with the scope."""
    known_by = {"event_type": "keydesk_digest", "event_payload": {"week": "2026-11-23"}}
    first = await client.chat_postMessage(channel="U0BEN", text="one", metadata=known_by)
    await client.chat_postMessage(channel="U0BEN", text="two")
    channel = first["channel"]
    page = await client.conversations_history(channel=channel, limit=1, include_all_metadata=True)
    assert [message["text"] for message in page["messages"]] == ["two"]
    cursor = page["response_metadata"]["next_cursor"]
    rest = await client.conversations_history(channel=channel, limit=1, cursor=cursor, include_all_metadata=True)
    assert [message["metadata"] for message in rest["messages"]] == [known_by]
    assert "metadata" not in (await client.conversations_history(channel=channel))["messages"][1]
    later = await client.conversations_history(channel=channel, oldest=first["ts"])
    assert [message["text"] for message in later["messages"]] == ["two"]
    bad = {"event_type": "keydesk_digest"}
    assert await refused(client.chat_postMessage(channel="U0BEN", text="x", metadata=bad)) == "invalid_metadata_format"
    with running(scopes=[scope for scope in SCOPES if scope != "im:history"]) as servers:
        lacking = AsyncWebClient(token=servers.bot_token, base_url=servers.api_url)
        assert await refused(lacking.conversations_history(channel="D0BEN")) == "missing_scope"


async def test_rate_limits_once_they_are_set(client: AsyncWebClient, sandbox: Sandbox) -> None:
    """A few at once, then 429 with the seconds to wait; by channel, each has its own."""
    await sandbox.limits(**{"chat.postMessage": [{"a_minute": 60, "burst": 1, "by": "channel"}]})
    await client.chat_postMessage(channel="U0BEN", text="x")
    await client.chat_postMessage(channel="U0CARA", text="x")
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel="U0BEN", text="x")
    assert caught.value.response.status_code == 429
    assert caught.value.response["error"] == "ratelimited"
    assert caught.value.response.headers["retry-after"] == "1"
    await sandbox.limits()
    await client.chat_postMessage(channel="U0BEN", text="x")
