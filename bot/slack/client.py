"""The client of Slack's Web API, as everything of the desk uses it."""

import logging

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

CALL_SECONDS = 10
ONCE = frozenset({"chat.postMessage", "views.open"})  # what repeated does again, where all else does the same again
RATE_LIMIT_RETRIES = 5  # each waits as long as Slack says

# Below this slack-sdk logs whole requests, and the answer to a pick-up holds a link's seed. A filter, beside the level,
# because an operator may set the levels of all loggers.
quiet = logging.getLogger("slack_sdk.keydesk")
quiet.setLevel(logging.WARNING)
quiet.addFilter(lambda record: record.levelno >= logging.WARNING)


def code_of(error: SlackApiError) -> str:
    """Slack's own word for what is wrong; the status where it answers in none, as a proxy before it may."""
    told = error.response.data if isinstance(error.response, AsyncSlackResponse) else error.response
    return str(told.get("error")) if isinstance(told, dict) else f"status {getattr(error.response, 'status_code', '?')}"


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


def retry_handlers() -> list[AsyncRetryHandler]:
    """Waits rate limits out, which slack-sdk does not by itself, and tries broken connections once more."""
    return [
        _BrokenConnection(),
        AsyncRateLimitErrorRetryHandler(max_retry_count=RATE_LIMIT_RETRIES),
    ]


def open_session() -> ClientSession:
    """Keeps connections to Slack for the next calls. To be closed, and opened where an event loop runs.

    Without one slack-sdk opens a connection for each call, and whoever clicked waits for its TLS handshake.
    """
    return ClientSession(timeout=ClientTimeout(total=CALL_SECONDS), cookie_jar=DummyCookieJar())


def build_client(token: SecretStr, base_url: str, *, session: ClientSession | None = None) -> AsyncWebClient:
    """A client that shows this bot token at this base URL. Without a session each call has a connection of its own."""
    return AsyncWebClient(
        token=token.get_secret_value(),
        base_url=base_url,
        timeout=CALL_SECONDS,
        session=session,
        retry_handlers=retry_handlers(),
        logger=quiet,
    )
