"""What an operator watches, for Prometheus: counted in this process, or looked up in the database when it is asked for.

Labels are names of sweeps, kinds, providers and calls: their number is bounded, and none is a person's, a key's or a team's.
"""

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, cast

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from bot.desk.due import Queue, SweepName
from bot.desk.errors import (
    NotOffered,
    OutcomeUnknown,
    ProviderAuth,
    ProviderError,
    ProviderForbidden,
    ProviderInvalid,
    ProviderNotFound,
    ProviderRateLimited,
    ProviderTransient,
)
from bot.desk.ports import Provider
from bot.desk.providers import Providers
from bot.desk.sweeps import Pass, Sweeps

log = logging.getLogger(__name__)

CONTENT_TYPE = CONTENT_TYPE_LATEST
PATIENCE = 5.0  # seconds for the database; below the ten that Prometheus waits unless it is told otherwise
SECONDS = (0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300)  # from a pass with nothing due to one that reads all usage of a month
KINDS: Mapping[type[ProviderError], str] = {
    ProviderAuth: "auth",
    ProviderForbidden: "forbidden",
    ProviderNotFound: "not_found",
    ProviderInvalid: "invalid",
    ProviderRateLimited: "rate_limited",
    ProviderTransient: "transient",
    OutcomeUnknown: "outcome_unknown",
}


class Metrics:
    """The figures of one process."""

    def __init__(self) -> None:
        # They are a second line for each counter, of which no alarm is made.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it without types
        own = self._registry = CollectorRegistry()
        ProcessCollector(registry=own)
        self._passes = Histogram(
            "keydesk_sweep_seconds", "How long the passes of a sweep took.", ["sweep"], buckets=SECONDS, registry=own
        )
        self._items = Counter("keydesk_sweep_items", "What the passes of a sweep handled.", ["sweep"], registry=own)
        self._failures = Counter(
            "keydesk_sweep_failures",
            "What failed in the passes of a sweep for a reason of the desk's own.",
            ["sweep"],
            registry=own,
        )
        self._last = Gauge(
            "keydesk_sweep_last_timestamp_seconds",
            "When the last pass of a sweep ended; 0 before the first.",
            ["sweep"],
            registry=own,
        )
        for name in SweepName:  # they are there from the start, so that an alarm on them can fire
            for figure in (self._passes, self._items, self._failures, self._last):
                figure.labels(name.value)
        self._calls = Counter(
            "keydesk_provider_calls", "What the desk asked of a provider.", ["provider", "call"], registry=own
        )
        self._errors = Counter(
            "keydesk_provider_errors",
            "What of it did not come to its end, by why.",
            ["provider", "call", "error"],
            registry=own,
        )
        self._flawed = Gauge(
            "keydesk_provider_flawed",
            "Whether the desk cannot work with a provider, as it last found.",
            ["provider"],
            registry=own,
        )
        self._waits = Counter("keydesk_slack_rate_limits", "How often Slack asked the desk to wait.", registry=own)
        self._waited = Counter("keydesk_slack_rate_limit_wait_seconds", "For how long Slack asked it to.", registry=own)
        self._database = Gauge("keydesk_database_up", "Whether the database answers.", registry=own)
        self._due = Gauge("keydesk_due", "How much is due, in the database.", ["kind"], registry=own)
        self._overdue = Gauge(
            "keydesk_overdue", "How much of it has been due for five minutes and more.", ["kind"], registry=own
        )
        self._oldest = Gauge(
            "keydesk_oldest_due_seconds", "For how long the oldest of it has been due.", ["kind"], registry=own
        )
        self._stuck = Gauge(
            "keydesk_stuck",
            "How much keeps failing, whether it is due or waits for its next try.",
            ["kind"],
            registry=own,
        )

    # ---- counting

    def swept(self, one: Pass) -> None:
        """A pass of a sweep ended."""
        self._passes.labels(one.name.value).observe(one.seconds)
        self._items.labels(one.name.value).inc(one.items)
        self._failures.labels(one.name.value).inc(one.failures)
        self._last.labels(one.name.value).set(time.time())

    def waited(self, seconds: float) -> None:
        """Slack asked to wait for so long."""
        self._waits.inc()
        self._waited.inc(seconds)

    def counting(self, adapter: Provider) -> Provider:
        """The same provider, each call of it counted."""
        return cast(Provider, _Counted(adapter, self._call))

    @contextmanager
    def _call(self, provider: str, call: str) -> Iterator[None]:
        self._calls.labels(provider, call).inc()
        try:
            yield
        except NotOffered:
            raise  # an answer, and the one that was to be expected
        except ProviderError as error:
            kind = next((KINDS[known] for known in type(error).__mro__ if known in KINDS), "other")
            self._errors.labels(provider, call, kind).inc()
            raise
        except (TimeoutError, asyncio.CancelledError):
            self._errors.labels(provider, call, "given_up").inc()
            raise
        except Exception:
            self._errors.labels(provider, call, "unforeseen").inc()
            raise

    # ---- telling

    async def page(self, sweeps: Sweeps, providers: Providers, now: Callable[[], datetime]) -> bytes:
        """All figures, in Prometheus' text format. Where the database does not answer, its figures are missing."""
        try:
            async with asyncio.timeout(PATIENCE):
                queues = await sweeps.queues()
        except Exception as error:
            log.warning("the queues cannot be counted: %s", type(error).__name__)
            queues = None
        self._database.set(queues is not None)
        self._count(queues or (), now())
        for name in providers:
            self._flawed.labels(name).set(providers.known(name).flaw is not None)
        return generate_latest(self._registry)

    def _count(self, queues: Sequence[Queue], at: datetime) -> None:
        for figure in (self._due, self._overdue, self._oldest, self._stuck):
            figure.clear()
        for queue in queues:
            age = (at - queue.oldest).total_seconds() if queue.oldest else 0.0
            self._due.labels(queue.kind.value).set(queue.due)
            self._overdue.labels(queue.kind.value).set(queue.overdue)
            self._oldest.labels(queue.kind.value).set(max(age, 0.0))
            self._stuck.labels(queue.kind.value).set(queue.stuck)


class _Counted:
    """Stands for a provider. What it answers by waiting, or page by page, is counted until it came to its end."""

    def __init__(self, adapter: Provider, count: Callable[[str, str], Any]) -> None:
        self._adapter = adapter
        self._count = count

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._adapter, name)
        if not inspect.ismethod(found) or name == "aclose":
            return found

        def call(*what: Any, **how: Any) -> Any:
            answer = found(*what, **how)
            if inspect.isawaitable(answer):
                return self._awaited(name, answer)
            return self._paged(name, answer) if isinstance(answer, AsyncIterator) else answer

        return call

    async def _awaited(self, name: str, answer: Awaitable[Any]) -> Any:
        with self._count(self._adapter.name, name):
            return await answer

    async def _paged(self, name: str, pages: AsyncIterator[Any]) -> AsyncIterator[Any]:
        with self._count(self._adapter.name, name):
            async for page in pages:
                yield page
