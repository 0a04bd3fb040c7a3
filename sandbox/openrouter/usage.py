"""What the pretend OpenRouter tells of past use: activity by day, and queries of its analytics."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request

from sandbox.metering import DAY, Meter, Total
from sandbox.openrouter.models import model
from sandbox.openrouter.wire import Fault, invalid, json_body
from sandbox.wire import Handler, Json, iso, moment

ACTIVITY_DAYS = 30
QUERY_DAYS = 365
ROWS = 1000

METRICS: dict[str, Callable[[Total], Any]] = {
    "request_count": lambda total: total.requests,
    "total_usage": lambda total: float(total.cost),
    "tokens_prompt": lambda total: total.asked,
    "tokens_completion": lambda total: total.answered,
}
DIMENSIONS = {"model": "model", "api_key_id": "key", "workspace": "project"}
WIDTHS = {"hour": DAY // 24, "day": DAY}
FORMATS = {"total_usage": "currency"}


class Usage:
    """Answers for past use. `names` gives the present names of keys and workspaces, by hash or id."""

    def __init__(self, meter: Meter, *, now: Callable[[], int], names: Callable[[], dict[str, str]]) -> None:
        self._meter = meter
        self._now = now
        self._names = names
        self.routes: list[tuple[str, str, Handler, int]] = [
            ("GET", "/activity", self._activity, 200),
            ("GET", "/analytics/meta", self._describe, 200),
            ("POST", "/analytics/query", self._query, 200),
        ]

    async def _activity(self, request: Request) -> Json:
        """Of completed days only, by day and model, and by workspace where that is asked for."""
        asked = request.query_params
        today = self._now() // DAY * DAY
        start, end = today - ACTIVITY_DAYS * DAY, today
        if "date" in asked:
            start = _day(asked["date"])
            end = start + DAY
            if not today - ACTIVITY_DAYS * DAY <= start < today:
                raise Fault(400, "Date must be within the last 30 (completed) UTC days")
        if asked.get("group_by", "workspace") != "workspace":
            raise invalid("group_by")
        where: dict[str, Any] = {}
        if "api_key_hash" in asked:
            where["keys"] = {asked["api_key_hash"]}
        if "workspace_id" in asked:
            where["projects"] = {asked["workspace_id"]}
        apart = "group_by" in asked
        sums = self._meter.sums(("model", "project") if apart else ("model",), start=start, end=end, **where)
        return {
            "data": [
                _active(at, group[0], total) | ({"workspace_id": group[1]} if apart else {})
                for at, groups in sums.items()
                for group, total in groups.items()
            ]
        }

    async def _describe(self, request: Request) -> Json:
        return {
            "data": {
                "metrics": [
                    {
                        "name": name,
                        "display_label": name.replace("_", " ").title(),
                        "is_rate": False,
                        "display_format": FORMATS.get(name, "number"),
                    }
                    for name in METRICS
                ],
                "dimensions": [{"name": name, "display_label": name.replace("_", " ").title()} for name in DIMENSIONS],
                "operators": [{"name": "eq", "value_type": "scalar"}, {"name": "in", "value_type": "array"}],
                "granularities": [{"name": name, "display_label": name.title()} for name in WIDTHS],
            }
        }

    async def _query(self, request: Request) -> Json:
        """Today's figures are there, too. Keys and workspaces are shown by their names, and filtered by hash and id."""
        body = await json_body(request)
        metrics, dimensions = body.get("metrics"), body.get("dimensions") or []
        if not _known(metrics, METRICS) or not metrics:
            raise invalid("metrics")
        if not _known(dimensions, DIMENSIONS) or len(dimensions) > 2:
            raise invalid("dimensions")
        granularity = body.get("granularity")
        if granularity is not None and granularity not in WIDTHS:
            raise invalid("granularity")
        start, end = self._range(body.get("time_range"))
        limit = body.get("limit", ROWS)
        if type(limit) is not int or limit < 1:
            raise invalid("limit")
        sums = self._meter.sums(
            tuple(DIMENSIONS[name] for name in dimensions),
            start=start,
            end=end,
            width=end if granularity is None else WIDTHS[granularity],
            **_filtered(body.get("filters") or []),
        )
        names = self._names()
        rows = [
            ({} if granularity is None else {f"date__{granularity}": _stamp(at)})
            | {name: names.get(value, value) for name, value in zip(dimensions, group, strict=True)}
            | {name: METRICS[name](total) for name in metrics}
            for at, groups in sums.items()
            for group, total in groups.items()
        ]
        metadata = {"query_time_ms": 1, "row_count": len(rows[:limit]), "truncated": len(rows) > limit}
        return {"data": {"data": rows[:limit], "metadata": metadata}}

    def _range(self, asked: Any) -> tuple[float, int]:
        if asked is None:
            return self._now() - 7 * DAY, self._now() + 1
        try:
            start, end = (datetime.fromisoformat(asked[name]) for name in ("start", "end"))
            if start >= end or end - start > timedelta(days=QUERY_DAYS):
                raise invalid("time_range")
        except (TypeError, KeyError, ValueError):
            raise invalid("time_range") from None
        return start.timestamp(), int(end.timestamp())


def _known(names: Any, known: Iterable[str]) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) and name in known for name in names)


def _filtered(filters: Any) -> dict[str, Any]:
    where: dict[str, Any] = {}
    try:
        for asked in filters:
            value = asked["value"]
            if asked["operator"] not in ("eq", "in") or (asked["operator"] == "in") != isinstance(value, list):
                raise invalid("filters")
            where[f"{DIMENSIONS[asked['field']]}s"] = set(value) if isinstance(value, list) else {value}
    except (TypeError, KeyError):
        raise invalid("filters") from None
    return where


def _active(at: int, slug: str, total: Total) -> Json:
    used = model(slug)
    return {
        "date": moment(at).date().isoformat(),
        "model": used.slug if used else slug,
        "model_permaslug": slug,
        "endpoint_id": f"endpoint-{slug}",
        "provider_name": used.maker if used else "unknown",
        "usage": float(total.cost),
        "byok_usage_inference": 0,
        "requests": total.requests,
        "prompt_tokens": total.asked,
        "completion_tokens": total.answered,
        "reasoning_tokens": 0,
        "cached_tokens": 0,
    }


def _day(value: str) -> int:
    try:
        return int(datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise invalid("date") from None


def _stamp(at: int) -> str | None:
    return (iso(at) or "").replace("Z", ".000Z")
