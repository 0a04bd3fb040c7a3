"""What the pretend Anthropic reports of use and costs: in buckets of time, grouped as asked, page by page.

There is no count of requests in it, and no cost by key: the real one has neither.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from starlette.requests import Request

from sandbox.anthropic.organization import DEFAULT_WORKSPACE, Organization
from sandbox.anthropic.wire import Fault, instant, limit, several
from sandbox.metering import DAY, HOUR, PRICES, Total
from sandbox.wire import Handler, Json, iso

WIDTHS: Mapping[str, tuple[int, int, int]] = {
    # Seconds, buckets on a page where nothing was said, and at most.
    "1m": (60, 60, 1440),
    "1h": (HOUR, 24, 168),
    "1d": (DAY, 7, 31),
}
USAGE_FIELDS = (
    "api_key_id",
    "workspace_id",
    "model",
    "service_tier",
    "context_window",
    "inference_geo",
    "account_id",
    "service_account_id",
)
COST_FIELDS = ("workspace_id", "description")
CENTS = 100

Item = tuple[Any, ...]


@dataclass(frozen=True)
class _Asked:
    start: int
    end: float
    width: int
    buckets: int


class Reports:
    """`/v1/organizations/usage_report/messages` and `/v1/organizations/cost_report`.

    Usage shows up `organization.usage_lag` seconds after it happened.
    """

    def __init__(self, organization: Organization) -> None:
        self._organization = organization

    @property
    def routes(self) -> Sequence[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        return (
            ("GET", "/v1/organizations/usage_report/messages", self._usage),
            ("GET", "/v1/organizations/cost_report", self._costs),
        )

    async def _usage(self, request: Request) -> Json:
        by = _grouping(request, USAGE_FIELDS)
        asked = self._asked(request, WIDTHS)
        where = {
            "keys": several(request, "api_key_ids"),
            "models": several(request, "models"),
            "projects": several(request, "workspace_ids"),
        }
        shown: dict[int, list[Json]] = defaultdict(list)
        for at, groups in self._sums(asked, by, where).items():
            for group, total in groups.items():
                base = {**dict.fromkeys(USAGE_FIELDS), **dict(zip(by, group, strict=True))}
                shown[at].append({**base, **_usage_result(total)})
        return self._page(request, asked, shown)

    async def _costs(self, request: Request) -> Json:
        by = _grouping(request, COST_FIELDS)
        asked = self._asked(request, {"1d": WIDTHS["1d"]})
        described = "description" in by
        fields = [*(["workspace_id"] if "workspace_id" in by else []), *(["model"] if described else [])]
        shown: dict[int, list[Json]] = defaultdict(list)
        for at, groups in self._sums(asked, fields, {}).items():
            for group, total in groups.items():
                known = dict(zip(fields, group, strict=True))
                if not described:
                    shown[at].append(_cost(known.get("workspace_id"), total.cost))
                    continue
                price, model = PRICES[known["model"]], str(known["model"])
                for kind, word, cost in (
                    ("uncached_input_tokens", "Input Tokens", price.of(total.asked, 0)),
                    ("output_tokens", "Output Tokens", price.of(0, total.answered)),
                ):
                    said = {
                        "description": f"{model} Usage - {word}",
                        "model": model,
                        "token_type": kind,
                        "cost_type": "tokens",
                        "context_window": "0-200k",
                        "service_tier": "standard",
                        "inference_geo": "global",
                    }
                    shown[at].append({**_cost(known.get("workspace_id"), cost), **said})
        return self._page(request, asked, shown)

    def _asked(self, request: Request, widths: Mapping[str, tuple[int, int, int]]) -> _Asked:
        named = request.query_params.get("bucket_width", "1d")
        if named not in widths:
            raise Fault(400, "bucket_width: Input should be " + " or ".join(map(repr, widths)))
        width, default, most = widths[named]
        start, end = instant(request, "starting_at"), instant(request, "ending_at")
        if start is None:
            raise Fault(400, "starting_at: Field required")
        end = self._organization.clock() + 1 if end is None else end
        if end <= start:
            raise Fault(400, "ending_at: must be after starting_at")
        return _Asked(int(start - start % width), end, width, limit(request, default, most))

    def _sums(
        self, asked: _Asked, by: Sequence[str], where: Mapping[str, Sequence[str]]
    ) -> dict[int, dict[Item, Total]]:
        reported = self._organization.clock() - self._organization.usage_lag
        uses = self._organization.meter.sums(
            ("project", "key", "model"),
            start=asked.start,
            end=min(asked.end, reported + 1),
            width=asked.width,
            **where,
        )
        grouped: dict[int, dict[Item, Total]] = {}
        for at, groups in uses.items():
            sums: dict[Item, Total] = defaultdict(Total)
            for (workspace, key, model), total in groups.items():
                known = {
                    "api_key_id": key,
                    "workspace_id": None if workspace == DEFAULT_WORKSPACE else workspace,
                    "model": model,
                    "service_tier": "standard",
                    "context_window": "0-200k",
                    "inference_geo": "global",
                }
                sums[tuple(known.get(field) for field in by)] += total
            grouped[at] = dict(sums)
        return grouped

    def _page(self, request: Request, asked: _Asked, shown: Mapping[int, Sequence[Json]]) -> Json:
        cursor = request.query_params.get("page")
        first = asked.start if cursor is None else _place(cursor)
        past = first + asked.buckets * asked.width
        data = []
        for at in range(first, past, asked.width):
            if at >= asked.end:
                break
            data.append({"starting_at": iso(at), "ending_at": iso(at + asked.width), "results": shown.get(at, [])})
        more = past < asked.end
        return {"data": data, "has_more": more, "next_page": f"page_{past}" if more else None}


def _usage_result(total: Total) -> Json:
    return {
        "uncached_input_tokens": total.asked,
        "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
        "cache_read_input_tokens": 0,
        "output_tokens": total.answered,
        "server_tool_use": {"web_search_requests": 0},
    }


def _cost(workspace: str | None, dollars: Decimal) -> Json:
    """Amounts are in cents, as decimal text."""
    return {
        "amount": f"{dollars * CENTS:f}",
        "currency": "USD",
        "workspace_id": workspace,
        **dict.fromkeys(
            ("description", "model", "token_type", "cost_type", "context_window", "service_tier", "inference_geo")
        ),
    }


def _grouping(request: Request, fields: Sequence[str]) -> list[str]:
    by = several(request, "group_by")
    for field in by:
        if field not in fields:
            raise Fault(400, "group_by: Input should be " + " or ".join(map(repr, fields)))
    return list(dict.fromkeys(by))


def _place(cursor: str) -> int:
    place = re.fullmatch(r"page_(\d+)", cursor)
    if place is None:
        raise Fault(400, "page: invalid page token")
    return int(place[1])
