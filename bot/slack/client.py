"""The client of Slack's Web API, as everything of the desk uses it."""

import logging
import time
from collections.abc import Callable
from typing import Any

from aiohttp import ClientConnectorError, ClientSession, ClientTimeout, DummyCookieJar
from pydantic import SecretStr
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry import HttpRequest, HttpResponse, RetryState
from slack_sdk.http_retry.async_handler import AsyncRetryHandler
from slack_sdk.http_retry.builtin_async_handlers import (
    AsyncConnectionErrorRetryHandler,
    AsyncRateLimitErrorRetryHandler,
)
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.desk.errors import Unavailable

CALL_SECONDS = 10
ONCE = frozenset({"chat.postMessage", "views.open"})  # what repeated does again, where all else does the same again
RATE_LIMIT_RETRIES = 5  # each waits as long as Slack says
GONE = frozenset({"account_inactive", "invalid_auth", "team_access_not_granted", "token_expired", "token_revoked"})
"""What Slack answers, whatever is asked, once the app is not installed any more, or the token is not its own.

docs.slack.dev/reference/methods/users.list names them; `team_access_not_granted` is of an app that an organisation has.
"""
BY_ANOTHER_TOKEN = frozenset({"apps.connections.open"})  # how events come in, by the app's own token

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

# Below this slack-sdk logs whole requests, and the answer to a pick-up holds a link's seed. A filter, beside the level,
# because an operator may set the levels of all loggers.
quiet = logging.getLogger("slack_sdk.keydesk")
quiet.setLevel(logging.WARNING)
quiet.addFilter(lambda record: record.levelno >= logging.WARNING)


def code_of(error: SlackApiError) -> str:
    """Slack's own word for what is wrong; the status where it answers in none, as a proxy before it may."""
    told = error.response.data if isinstance(error.response, AsyncSlackResponse) else error.response
    return str(told.get("error")) if isinstance(told, dict) else f"status {getattr(error.response, 'status_code', '?')}"


class SlackClient(AsyncWebClient):
    """Sends nothing once Slack refuses the bot token, until `try_again` finds it taken."""

    refused: str | None = None
    waited: Callable[[float], None] = staticmethod(lambda seconds: None)
    """Told of each pause that Slack asks for, in seconds."""

    async def api_call(self, api_method: str, **call: Any) -> AsyncSlackResponse:
        """As slack-sdk's. While the desk is refused, it is refused here, and Slack is not called."""
        if api_method in BY_ANOTHER_TOKEN:
            return await super().api_call(api_method, **call)
        if self.refused is not None:
            why = f"The app is not installed any more ({self.refused})."
            raise SlackApiError(why, {"ok": False, "error": self.refused})  # type: ignore[no-untyped-call]  # slack-sdk's
        try:
            return await super().api_call(api_method, **call)
        except SlackApiError as error:
            if code_of(error) in GONE:
                self.refused = code_of(error)
            raise

    async def try_again(self, team: str) -> str | None:
        """How Slack refuses the desk in this team now; None where it takes its token. Raises `Unavailable`.

        `users.list`, because a token of an organisation may live on where one of its workspaces took the app away.
        """
        try:
            await super().api_call("users.list", params={"team_id": team, "limit": 1})
        except SlackApiError as error:
            code = code_of(error)
            if code not in GONE and code != "missing_scope":
                raise Unavailable(f"Slack cannot say whether it takes the token ({code}).") from None
            self.refused = code if code in GONE else None
        except Exception as error:
            raise Unavailable(f"Slack does not answer now ({type(error).__name__}).") from None
        else:
            self.refused = None
        return self.refused


class SlackLine:
    """The way into one workspace. Implements `Line`."""

    def __init__(self, *, client: SlackClient, team: str) -> None:
        self._asked = client
        self._team = team

    @property
    def team(self) -> str:
        """The workspace."""
        return self._team

    @property
    def refused(self) -> str | None:
        """As Slack last said."""
        return self._asked.refused

    def hang_up(self, because: str) -> None:
        """Nothing is sent from here on."""
        self._asked.refused = because

    async def try_again(self) -> str | None:
        """Asks Slack."""
        return await self._asked.try_again(self._team)


class _BrokenConnection(AsyncConnectionErrorRetryHandler):
    """Tries once more where that does no harm: a broken connection does not say whether Slack had acted."""

    async def _can_retry_async(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> bool:
        may_have_acted = not isinstance(error, ClientConnectorError)
        if may_have_acted and request.url.rpartition("/")[2] in ONCE:
            return False
        return await super()._can_retry_async(state=state, request=request, response=response, error=error)


class _RateLimit(AsyncRateLimitErrorRetryHandler):
    """Waits as long as Slack says, and tells for how long it did."""

    def __init__(self, waited: Callable[[float], None]) -> None:
        super().__init__(max_retry_count=RATE_LIMIT_RETRIES)
        self._waited = waited

    async def prepare_for_next_attempt_async(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> None:
        began = time.monotonic()
        try:
            await super().prepare_for_next_attempt_async(state=state, request=request, response=response, error=error)
        finally:  # who gave up in the meantime has waited, too
            self._waited(time.monotonic() - began)


def retry_handlers(waited: Callable[[float], None]) -> list[AsyncRetryHandler]:
    """Waits rate limits out, which slack-sdk does not by itself, and tries broken connections once more."""
    return [_BrokenConnection(), _RateLimit(waited)]


class HearingOfLimits(SlackClient):
    """Another client in one's place, told of a rate limit where that one waits it out: for who has many calls to hold then."""

    def __init__(self, other: SlackClient) -> None:
        super().__init__(
            token=other.token,
            base_url=other.base_url,
            timeout=other.timeout,
            session=other.session,
            retry_handlers=[_BrokenConnection()],
            logger=quiet,
        )
        self._other = other

    @property
    def refused(self) -> str | None:
        """As Slack last said to either: what one hears, both know."""
        return self._other.refused

    @refused.setter
    def refused(self, because: str | None) -> None:
        self._other.refused = because


def open_session() -> ClientSession:
    """Keeps connections to Slack for the next calls. To be closed, and opened where an event loop runs.

    Without one slack-sdk opens a connection for each call, and whoever clicked waits for its TLS handshake.
    """
    return ClientSession(timeout=ClientTimeout(total=CALL_SECONDS), cookie_jar=DummyCookieJar())


def build_client(
    token: SecretStr,
    base_url: str,
    *,
    session: ClientSession | None = None,
    waited: Callable[[float], None] = SlackClient.waited,
) -> SlackClient:
    """A client that shows this bot token at this base URL. Without a session each call has a connection of its own.

    `waited` is told of each pause that Slack asks for, in seconds.
    """
    client = SlackClient(
        token=token.get_secret_value(),
        base_url=base_url,
        timeout=CALL_SECONDS,
        session=session,
        retry_handlers=retry_handlers(waited),
        logger=quiet,
    )
    client.waited = waited
    return client
