"""Everything outbound to people. Implements `Notifier`."""

from collections.abc import Awaitable
from typing import Any

from aiohttp import ClientError
from slack_sdk.errors import SlackApiError

from bot.desk.errors import Unavailable, Undeliverable
from bot.desk.model import Home, Notice, ProviderState, Round, Story
from bot.desk.week import Digest
from bot.slack import views
from bot.slack.client import NEVER, SlackClient, code_of
from bot.slack.digests import DigestPost


class SlackNotifier:
    """Posts notices and keeps them current, and publishes Homes."""

    def __init__(self, *, client: SlackClient, team: str) -> None:
        self._client = client
        self._team = team
        self._digests = DigestPost(client=client)
        # The conversation with each member: Slack opens the same one, however often it is asked.
        self._direct: dict[str, str] = {}

    async def show(self, notice: Notice, story: Story) -> tuple[str, str]:
        """Posts the notice, or brings the posted one up to date; returns where it stands."""
        if notice.team != self._team:
            raise Undeliverable(f"team {notice.team} is not served here")
        message = views.notice(notice.kind, story)
        if notice.channel and notice.ts:
            await _reaching(
                self._client.chat_update(
                    channel=notice.channel, ts=notice.ts, text=message["text"], blocks=message["blocks"]
                )
            )
            return notice.channel, notice.ts
        return await self._post(notice.recipient, message)

    async def _post(self, recipient: str, message: views.Message) -> tuple[str, str]:
        channel = recipient if recipient[0] not in "UW" else await self._conversation(recipient)
        try:
            posted = await _reaching(
                self._client.chat_postMessage(
                    channel=channel,
                    text=message["text"],
                    blocks=message["blocks"],
                    unfurl_links=False,
                    unfurl_media=False,
                )
            )
        except Undeliverable:
            self._direct.pop(recipient, None)  # should it be another by now, the next message finds out
            raise
        return str(posted["channel"]), str(posted["ts"])

    async def _conversation(self, member: str) -> str:
        if member not in self._direct:
            opened = await _reaching(self._client.conversations_open(users=member))
            self._direct[member] = str(opened["channel"]["id"])
        return self._direct[member]

    async def send_digest(self, digest: Digest, *, again: bool) -> None:
        """Posts a digest to its member, unless it stands there already; see `DigestPost`."""
        if digest.team != self._team:
            raise Undeliverable(f"team {digest.team} is not served here")
        await self._digests.send(digest, again=again)

    async def warn(self, admin: str, about: ProviderState | Round) -> None:
        """Tells an admin of a provider that does not serve the desk, or of a round's flaw."""
        await self._post(admin, views.round_flaw(about) if isinstance(about, Round) else views.provider_flaw(about))

    async def show_home(self, home: Home) -> None:
        """Publishes the member's Home."""
        await _reaching(self._client.views_publish(user_id=home.member, view=views.home(home)))


async def _reaching(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except SlackApiError as error:
        why = code_of(error)
        if why in NEVER:
            raise Undeliverable(why) from None
        raise Unavailable(f"Slack did not take it ({why}).") from None
    except (ClientError, TimeoutError) as error:
        raise Unavailable(f"Slack does not answer ({type(error).__name__}).") from None
