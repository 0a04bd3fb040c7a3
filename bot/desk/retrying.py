"""How long the desk waits before it tries something again."""

from datetime import timedelta

from bot.desk.errors import ProviderRateLimited

FIRST_RETRY = timedelta(seconds=5)
LONGEST_RETRY = timedelta(minutes=15)
STUCK_AFTER = 8
"""Failures in a row, ten minutes from the first to the last: longer than a hiccup of the provider's, and not so long that
a key which should be dead works for an hour before anybody hears of it."""


def wait_before(attempts: int, error: Exception | None = None) -> timedelta:
    """How long until something that failed so many times before is tried again: later and later.

    At least as long as the provider asked for, where it did.
    """
    times: int = 2 ** min(attempts, 10)
    wait = min(FIRST_RETRY * times, LONGEST_RETRY)
    return max(wait, timedelta(seconds=error.retry_after)) if isinstance(error, ProviderRateLimited) else wait
