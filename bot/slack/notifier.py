"""Everything outbound to people. Implements `Notifier`."""

from collections.abc import Awaitable
from typing import Any

from aiohttp import ClientError
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.desk.errors import Unavailable, Undeliverable
from bot.desk.model import Home, Notice, ProviderState, Story
from bot.slack import views
from bot.slack.client import code_of

NEVER = frozenset(
    {
        "cannot_dm_bot",
        "cant_update_message",
        "channel_not_found",
        "edit_window_closed",
        "is_archived",
        "message_not_found",
        "not_in_channel",
        "user_disabled",
        "user_not_found",
        "user_not_visible",
        "users_not_found",
    }
)
"""What Slack answers about a recipient or a message that no later try will reach."""


class SlackNotifier:
    """Posts notices and keeps them current, and publishes Homes."""

    def __init__(self, *, client: AsyncWebClient, team: str) -> None:
        self._client = client
        self._team = team

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
        channel = recipient
        if channel[0] in "UW":
            opened = await _reaching(self._client.conversations_open(users=channel))
            channel = str(opened["channel"]["id"])
        posted = await _reaching(
            self._client.chat_postMessage(
                channel=channel,
                text=message["text"],
                blocks=message["blocks"],
                unfurl_links=False,
                unfurl_media=False,
            )
        )
        return str(posted["channel"]), str(posted["ts"])

    async def warn(self, admin: str, state: ProviderState) -> None:
        """Tells an admin of a provider that does not serve the desk."""
        await self._post(admin, views.provider_flaw(state))

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
