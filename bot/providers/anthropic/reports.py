"""What Anthropic reports of use: tokens by key, money by workspace and kind of token, and requests not at all.

So what a key cost is its share, by tokens, of what the same tokens cost in its workspace on that day: an estimate that
adds up to the bill. What costs money and has no tokens belongs to no key.
Source: Anthropic's Usage and Cost API.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from bot.desk.errors import ProviderInvalid
from bot.desk.offer import Basis, Usage
from bot.desk.ports import Clock
from bot.providers.anthropic import wire
from bot.providers.anthropic.wire import COSTS, USAGE, Report
from bot.providers.calls import Calls

BUCKETS = 31  # the most days on a page
NOBODY = ""
MICROS_OF_A_CENT = 10_000

_Tokens = tuple[str | None, str | None, str | None, str | None, str | None]
"""Workspace, model, tier and context window, and the type of token: what shares one price."""


@dataclass
class _Sum:
    tokens_in: int = 0
    tokens_out: int = 0
    cents: Decimal = Decimal(0)


class Reports:
    """The organization's use of models."""

    def __init__(self, calls: Calls, *, clock: Clock) -> None:
        self._calls = calls
        self._clock = clock

    async def look(self) -> None:
        """Reads as little as can be, to see whether the credential may."""
        await self._calls.get(COSTS, Report[wire.Cost], starting_at=_text(self._clock().date()), limit=1)

    async def usage(self, since: date, until: date) -> AsyncIterator[Sequence[Usage]]:
        """By key, day and model, all keys of a day in one pass."""
        as_of = self._clock()
        span = {"starting_at": _text(since), "ending_at": _text(until + timedelta(days=1)), "bucket_width": "1d"}
        billed = await self._billed(span)
        by = ["api_key_id", "workspace_id", "model", "service_tier", "context_window"]
        async for page in self._calls.pages(
            USAGE, Report[wire.Used], _onward, **{**span, "group_by[]": by, "limit": "1"}
        ):
            for bucket in page.data:
                day = bucket.starting_at.astimezone(UTC).date()
                yield _told(day, bucket.results, billed.pop(day, {}), as_of)
        for day, costs in billed.items():
            yield _told(day, (), costs, as_of)

    async def _billed(self, span: Mapping[str, str]) -> dict[date, dict[_Tokens, Decimal]]:
        days: dict[date, dict[_Tokens, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
        by = ["workspace_id", "description"]
        async for page in self._calls.pages(
            COSTS, Report[wire.Cost], _onward, **{**span, "group_by[]": by, "limit": str(BUCKETS)}
        ):
            for bucket in page.data:
                for cost in bucket.results:
                    if cost.currency != "USD":
                        raise ProviderInvalid("Anthropic bills this organization in another currency than US dollars.")
                    tokens = (cost.workspace_id, cost.model, cost.service_tier, cost.context_window, cost.token_type)
                    days[bucket.starting_at.astimezone(UTC).date()][tokens] += cost.amount
        return days


def _told(day: date, used: Sequence[wire.Used], billed: Mapping[_Tokens, Decimal], as_of: datetime) -> Sequence[Usage]:
    totals: dict[_Tokens, int] = defaultdict(int)
    for use in used:
        for kind, count in use.tokens.items():
            totals[_tokens(use, kind)] += count
    sums: dict[tuple[str, str], _Sum] = defaultdict(_Sum)
    for use in used:
        sum = sums[use.api_key_id or NOBODY, use.model or ""]
        for kind, count in use.tokens.items():
            if kind == "output_tokens":
                sum.tokens_out += count
            else:
                sum.tokens_in += count
            tokens = _tokens(use, kind)
            if count:
                sum.cents += billed.get(tokens, Decimal(0)) * count / totals[tokens]
    for tokens, cents in billed.items():
        if not totals.get(tokens):
            sums[NOBODY, tokens[1] or ""].cents += cents
    return [
        Usage(
            meter=key,
            day=day,
            model=model,
            requests=0,
            tokens_in=sum.tokens_in,
            tokens_out=sum.tokens_out,
            cost_micros=int((sum.cents * MICROS_OF_A_CENT).to_integral_value()),
            basis=Basis.ESTIMATED,
            as_of=as_of,
        )
        for (key, model), sum in sums.items()
        if sum.tokens_in or sum.tokens_out or sum.cents
    ]


def _tokens(use: wire.Used, kind: str) -> _Tokens:
    return use.workspace_id, use.model, use.service_tier, use.context_window, kind


def _onward(page: Report[wire.Used] | Report[wire.Cost]) -> Mapping[str, str] | None:
    return {"page": page.next_page} if page.has_more and page.next_page else None


def _text(day: date) -> str:
    return datetime.combine(day, time(), UTC).isoformat().replace("+00:00", "Z")
