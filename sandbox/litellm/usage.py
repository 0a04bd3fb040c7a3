"""What the pretend LiteLLM tells of past use: by day, model and key, and request by request."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request

from sandbox.litellm.wire import count, flag, page, raised
from sandbox.metering import DAY, Meter, Total, Use
from sandbox.wire import Handler, Json, iso, moment

PAGE_DEFAULT, PAGE_MOST = 50, 1000


@dataclass(frozen=True)
class Row:
    """What one key used of one model on one day."""

    day: int
    key: str
    model: str
    total: Total


@dataclass
class Breakdown:
    """A sum, and the sums of each key in it."""

    total: Total = field(default_factory=Total)
    keys: dict[str, Total] = field(default_factory=lambda: defaultdict(Total))

    def add(self, row: Row) -> None:
        """Counts a row."""
        self.total += row.total
        self.keys[row.key] += row.total


class Usage:
    """Answers for past use. `key_of` says alias and team of a key that may be gone, by its token."""

    def __init__(self, meter: Meter, *, key_of: Callable[[str], Json]) -> None:
        self._meter = meter
        self._key_of = key_of
        self._found: tuple[Any, Sequence[Row]] = (None, ())  # the rows of the last question: its pages follow
        self.routes: list[tuple[str, str, Handler]] = [
            ("GET", "/user/daily/activity", self._of_users),
            ("GET", "/team/daily/activity", self._of_teams),
            ("GET", "/spend/logs", self._logs),
        ]

    async def _of_users(self, request: Request) -> Json:
        return self._activity(request)

    async def _of_teams(self, request: Request) -> Json:
        teams = [it for it in request.query_params.get("team_ids", "").split(",") if it]
        return self._activity(request, projects=set(teams))

    def _activity(self, request: Request, **where: Any) -> Json:
        """Pages are of rows, the sums of a page those of its rows: a day may be on two of them."""
        start, end = _range(request)
        number, size = count(request, "page", 1), count(request, "page_size", PAGE_DEFAULT, most=PAGE_MOST)
        asked = request.query_params
        if "api_key" in asked:
            where["keys"] = {asked["api_key"]}
        if "model" in asked:
            where["models"] = {asked["model"]}
        question = (self._meter.added, start, end, where)
        if self._found[0] != question:
            sums = self._meter.sums(("key", "model"), start=start, end=end, **where)
            days = sorted(sums, reverse=True)
            self._found = (
                question,
                [Row(day, key, model, total) for day in days for (key, model), total in sums[day].items()],
            )
        shown, pages = page(self._found[1], number, size)
        whole = sum((row.total for row in shown), Total())
        return {
            "results": [self._day(day, [row for row in shown if row.day == day]) for day in _days(shown)],
            "metadata": {
                **{f"total_{name}": value for name, value in _metrics(whole).items()},
                "page": number,
                "total_pages": pages,
                "has_more": number < pages,
            },
        }

    def _day(self, day: int, rows: Sequence[Row]) -> Json:
        models: dict[str, Breakdown] = defaultdict(Breakdown)
        everything = Breakdown()
        for row in rows:
            models[row.model].add(row)
            everything.add(row)
        return {
            "date": moment(day).date().isoformat(),
            "metrics": _metrics(everything.total),
            "breakdown": {
                "models": {
                    name: {
                        "metrics": _metrics(it.total),
                        "metadata": {},
                        "api_key_breakdown": self._by_key(it.keys),
                    }
                    for name, it in models.items()
                },
                "api_keys": self._by_key(everything.keys),
            },
        }

    def _by_key(self, sums: dict[str, Total]) -> Json:
        return {key: {"metrics": _metrics(total), "metadata": self._key_of(key)} for key, total in sums.items()}

    async def _logs(self, request: Request) -> list[Json]:
        """Request by request, or, as LiteLLM does where nothing else is said, by day."""
        asked = request.query_params
        where: dict[str, Any] = {"keys": {asked["api_key"]}} if "api_key" in asked else {}
        if "start_date" in asked and (flag(request, "summarize") or "summarize" not in asked):
            start, end = _range(request)
            sums = self._meter.sums(("model",), start=start, end=end, **where)
            return [
                {
                    "startTime": moment(day).date().isoformat(),
                    "spend": float(sum(total.cost for total in models.values())),
                    "models": {name: float(total.cost) for (name,), total in models.items()},
                }
                for day, models in sums.items()
            ]
        start, end = _range(request) if "start_date" in asked else (0, None)
        return [_log(number, use) for number, use in enumerate(self._meter.uses(start=start, end=end, **where))]


def _range(request: Request) -> tuple[int, int | None]:
    try:
        start, end = (
            int(datetime.strptime(request.query_params[name], "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
            for name in ("start_date", "end_date")
        )
    except KeyError:
        raise raised(400, "Please provide start_date and end_date") from None
    except ValueError:
        raise raised(400, "Dates are written YYYY-MM-DD") from None
    return start, end + DAY


def _days(rows: Iterable[Row]) -> list[int]:
    return list(dict.fromkeys(row.day for row in rows))


def _metrics(total: Total) -> Json:
    return {
        "spend": float(total.cost),
        "prompt_tokens": total.asked,
        "completion_tokens": total.answered,
        "total_tokens": total.asked + total.answered,
        "successful_requests": total.requests,
        "failed_requests": 0,
        "api_requests": total.requests,
    }


def _log(number: int, use: Use) -> Json:
    return {
        "request_id": f"req-{use.at}-{number}",
        "api_key": use.key or "",
        "call_type": "aembedding" if use.kind == "embeddings" else "acompletion",
        "model": use.model,
        "spend": float(use.cost),
        "prompt_tokens": use.asked,
        "completion_tokens": use.answered,
        "total_tokens": use.asked + use.answered,
        "startTime": iso(use.at),
        "endTime": iso(use.at),
        "metadata": {},
        "messages": None,
        "response": None,
    }
