"""The client of Slack's Web API, as everything of the desk uses it."""

import logging

from pydantic import SecretStr
from slack_sdk.http_retry.async_handler import AsyncRetryHandler
from slack_sdk.http_retry.builtin_async_handlers import (
    AsyncConnectionErrorRetryHandler,
    AsyncRateLimitErrorRetryHandler,
)
from slack_sdk.web.async_client import AsyncWebClient

CALL_SECONDS = 10
RATE_LIMIT_RETRIES = 5  # each waits as long as Slack says

# At its debug level slack-sdk logs whole requests, and the answer to a pick-up holds a link's seed.
quiet = logging.getLogger("slack_sdk.keydesk")
quiet.setLevel(logging.WARNING)


def retry_handlers() -> list[AsyncRetryHandler]:
    """Waits rate limits out, which slack-sdk does not by itself, and tries broken connections once more."""
    return [
        AsyncConnectionErrorRetryHandler(),
        AsyncRateLimitErrorRetryHandler(max_retry_count=RATE_LIMIT_RETRIES),
    ]


def build_client(token: SecretStr, base_url: str) -> AsyncWebClient:
    """A client that shows this bot token at this base URL."""
    return AsyncWebClient(
        token=token.get_secret_value(),
        base_url=base_url,
        timeout=CALL_SECONDS,
        retry_handlers=retry_handlers(),
        logger=quiet,
    )
