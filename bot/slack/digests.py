"""Sending digests through Slack: no faster than it takes them, never twice, and with a chart in the way it can show one."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from datetime import time as wall_time
from typing import Any

from aiohttp import ClientError
from slack_sdk.errors import SlackApiError, SlackRequestError

from bot.desk.errors import Unavailable, Undeliverable
from bot.desk.hours import zone
from bot.desk.week import Digest
from bot.slack import chart, views
from bot.slack.client import NEVER, HearingOfLimits, SlackClient, code_of

log = logging.getLogger(__name__)

POST, OPEN, HISTORY, UPLOAD = "chat.postMessage", "conversations.open", "conversations.history", "files.upload"
A_MINUTE: Mapping[str, float] = {POST: 270, OPEN: 45, HISTORY: 45, UPLOAD: 90}
"""How many calls of a method the desk makes a minute for digests, a tenth below what Slack takes.

Slack takes "several hundred" messages a minute from an app in a workspace, here 300; 50 calls of tier 3 and 100 of tier 4. What is
left is for messages that cannot wait. https://docs.slack.dev/apis/web-api/rate-limits
"""
EVENT = "keydesk_digest"
"""The metadata by which a digest is known again, with the week."""
NATIVE_AGAIN = 86_400.0  # seconds after which a workspace that had no charts of its own is tried again
PICTURE_PAUSES = (1.0, 2.0, 4.0)  # seconds: Slack takes a picture in a message only once it has looked at the file
PAGE, PAGES = 200, 10  # of a conversation, looked through for a digest
INVALID = "invalid_blocks"
CANNOT_TELL = frozenset({"missing_scope", "not_allowed_token_type"})


class Pace:
    """Calls of one method, evenly spaced; when Slack asks for a pause, all of them wait for its end."""

    def __init__(self, a_minute: float) -> None:
        self._gap = 60 / a_minute
        self._free_at = 0.0

    async def turn(self) -> None:
        """Returns when the next call may be made."""
        while (wait := self._free_at - time.monotonic()) > 0:  # noqa: ASYNC110  # it waits for a time, not for an event
            await asyncio.sleep(wait)
        self._free_at = time.monotonic() + self._gap

    def hold(self, seconds: float) -> None:
        """No call for so long."""
        self._free_at = max(self._free_at, time.monotonic() + seconds)


class _Invalid(Unavailable):
    """Slack does not take these blocks."""


class _NotTold(Unavailable):
    """The app may not see it."""


class DigestPost:
    """Posts digests to their members."""

    def __init__(self, *, client: SlackClient) -> None:
        self._client = HearingOfLimits(client)
        self._waited = client.waited
        self._paces = {method: Pace(most) for method, most in A_MINUTE.items()}
        self._no_charts_since: float | None = None

    async def send(self, digest: Digest, *, again: bool) -> None:
        """Posts it, unless it stands there. Raises `Undeliverable` when it never can be, `Unavailable` when it may be later."""
        if again and digest.week is not None and await self._stands(digest):
            return
        drawn = views.chart_of(digest)
        if drawn is None:
            await self._post(digest, views.digest(digest))
        elif not self._has_charts():
            await self._post_with_picture(digest, drawn)
        else:
            try:
                await self._post(digest, views.digest(digest, chart=chart.block(drawn)))
            except _Invalid:
                # A post that is refused posts nothing. Where the same is taken without the block, the workspace lacks it.
                await self._post_with_picture(digest, drawn)
                self._no_charts_since = time.monotonic()
                log.info("this workspace shows no charts of Slack's own: pictures are sent, for a day")

    def _has_charts(self) -> bool:
        since = self._no_charts_since
        return since is None or time.monotonic() - since > NATIVE_AGAIN

    async def _post_with_picture(self, digest: Digest, drawn: chart.Chart) -> None:
        """With the chart as a picture; without one where Slack takes none: what it shows is told in words, too."""
        file_id = await self._uploaded(drawn)
        for pause in PICTURE_PAUSES if file_id else ():
            try:
                await self._post(digest, views.digest(digest, chart=chart.image(drawn, file_id)))
            except _Invalid:
                await asyncio.sleep(pause)
            else:
                return
        await self._post(digest, views.digest(digest))

    async def _uploaded(self, drawn: chart.Chart) -> str:
        """The picture as a file of Slack's, its id; empty where Slack takes no files."""
        picture = await chart.picture(drawn)
        try:
            done = await self._paced(
                UPLOAD,
                lambda: self._client.files_upload_v2(
                    content=picture, filename="digest.png", title=drawn.title, alt_txt=drawn.said[:1000]
                ),
            )
        except (Unavailable, Undeliverable, SlackRequestError) as error:
            log.warning("the chart of a digest could not be uploaded, and it goes without: %s", error)
            return ""
        return str(done["file"]["id"])

    async def _post(self, digest: Digest, message: views.Message) -> None:
        known_by = {"event_type": EVENT, "event_payload": {"week": digest.week.isoformat()}} if digest.week else None
        await self._paced(
            POST,
            # To the member by their id, which is their direct message with the desk: to open that is a call of its own.
            lambda: self._client.chat_postMessage(
                channel=digest.member,
                text=message["text"],
                blocks=message["blocks"],
                metadata=known_by,
                unfurl_links=False,
                unfurl_media=False,
            ),
        )

    async def _stands(self, digest: Digest) -> bool:
        """Whether the digest of this week is among the member's messages. Where Slack does not say: as if it were.

        Raises `Unavailable`.
        """
        if digest.week is None:
            return False
        opened = await self._paced(OPEN, lambda: self._client.conversations_open(users=digest.member))
        since = datetime.combine(digest.week, wall_time(), zone(digest.tz)) - timedelta(days=1)
        cursor = ""
        for _ in range(PAGES):
            page = cursor
            try:
                told = await self._paced(
                    HISTORY,
                    lambda page=page: self._client.conversations_history(  # type: ignore[misc]  # binds the page of this turn
                        channel=opened["channel"]["id"],
                        oldest=f"{since.timestamp():.6f}",
                        include_all_metadata=True,
                        limit=PAGE,
                        cursor=page,
                    ),
                )
            except _NotTold:
                log.warning("whether %s has a digest cannot be seen: the app lacks im:history", digest.member)
                return True
            if any(_is_of(message, digest) for message in told["messages"]):
                return True
            cursor = str((told.get("response_metadata") or {}).get("next_cursor") or "")
            if not cursor:
                break
        return False

    async def _paced(self, method: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """The answer, once it is this call's turn. A pause that Slack asks for holds every call of the method."""
        pace = self._paces[method]
        while True:
            await pace.turn()
            try:
                return await call()
            except SlackApiError as error:
                code = code_of(error)
                if code == "ratelimited":
                    pause = _pause(error)
                    self._waited(pause)
                    pace.hold(pause)
                    continue
                raise _known(code) from None
            except (ClientError, TimeoutError) as error:
                raise Unavailable(f"Slack does not answer ({type(error).__name__}).") from None


def _known(code: str) -> Exception:
    if code == INVALID:
        return _Invalid(f"Slack did not take it ({code}).")
    if code in CANNOT_TELL:
        return _NotTold(f"Slack does not tell ({code}).")
    return Undeliverable(code) if code in NEVER else Unavailable(f"Slack did not take it ({code}).")


def _pause(error: SlackApiError) -> float:
    """For how long Slack asks to wait, in seconds."""
    headers = getattr(error.response, "headers", None) or {}
    told = {str(name).lower(): value for name, value in headers.items()}.get("retry-after", "1")
    try:
        return float(told[0] if isinstance(told, list) else told)
    except ValueError:
        return 1.0


def _is_of(message: Mapping[str, Any], digest: Digest) -> bool:
    known_by = message.get("metadata") or {}
    week = (known_by.get("event_payload") or {}).get("week")
    return known_by.get("event_type") == EVENT and digest.week is not None and week == digest.week.isoformat()
