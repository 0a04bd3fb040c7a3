"""What the pretend OpenAI reports of use and costs: in buckets of time, grouped as asked, page by page."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from sandbox.metering import DAY, HOUR, PRICES, Total
from sandbox.openai.organization import Organization
from sandbox.openai.wire import Fault, limit, missing_parameter, several
from sandbox.wire import Handler, Json

WIDTHS: Mapping[str, tuple[int, int, int]] = {
    # Seconds, buckets on a page where nothing was said, and at most.
    "1m": (60, 60, 1440),
    "1h": (HOUR, 24, 168),
    "1d": (DAY, 7, 31),
}
COSTS_MOST = 180

QUIET = (
    "audio_speeches",
    "audio_transcriptions",
    "code_interpreter_sessions",
    "file_search_calls",
    "images",
    "moderations",
    "vector_stores",
    "web_search_calls",
)
"""What the real OpenAI reports as well, and no endpoint of the pretend one can be used for."""

Item = tuple[Any, ...]


@dataclass(frozen=True)
class _Asked:
    start: int
    end: int
    width: int
    buckets: int


class UsageReports:
    """The endpoints below `/organization/usage`, and `/organization/costs`.

    Usage shows up `organization.usage_lag` seconds after it happened.
    """

    def __init__(self, organization: Organization) -> None:
        self._organization = organization

    @property
    def routes(self) -> Sequence[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        quiet = [("GET", f"/organization/usage/{kind}", self._nothing) for kind in QUIET]
        return (
            ("GET", "/organization/usage/completions", self._completions),
            ("GET", "/organization/usage/embeddings", self._embeddings),
            ("GET", "/organization/costs", self._costs),
            *quiet,
        )

    async def _completions(self, request: Request) -> Json:
        return self._usage(request, "completions", _completions_result, ("batch", "service_tier"))

    async def _embeddings(self, request: Request) -> Json:
        return self._usage(request, "embeddings", _embeddings_result)

    async def _nothing(self, request: Request) -> Json:
        return self._page(request, self._asked(request, WIDTHS), {})

    def _usage(
        self, request: Request, kind: str, result: Callable[[Total], Json], more_fields: Sequence[str] = ()
    ) -> Json:
        fields = ("project_id", "user_id", "api_key_id", "model", *more_fields)
        by = _grouping(request, fields)
        asked = self._asked(request, WIDTHS)
        where = {name: several(request, f"{name}_ids") for name in ("project", "user", "api_key")}
        sums = self._sums(asked, by, {**where, "model": several(request, "models")}, kinds=[kind])
        shown = {
            at: [{**dict.fromkeys(fields), **dict(zip(by, group, strict=True)), **result(total)} for group, total in it]
            for at, it in sums.items()
        }
        return self._page(request, asked, shown)

    async def _costs(self, request: Request) -> Json:
        fields = ("project_id", "line_item", "api_key_id")
        by = _grouping(request, fields)
        asked = self._asked(request, {"1d": (DAY, 7, COSTS_MOST)})
        where = {name: several(request, f"{name}_ids") for name in ("project", "api_key")}
        lined = "line_item" in by
        # What a line costs follows from its model, and whether its tokens were asked or answered.
        own = [field for field in by if field != "line_item"]
        shown: dict[int, list[Json]] = defaultdict(list)
        for at, groups in self._sums(asked, [*own, "model"] if lined else own, where).items():
            for group, total in groups:
                base = {**dict.fromkeys(fields), **dict(zip(own, group, strict=False))}
                if not lined:
                    shown[at].append(_cost(base, total))
                    continue
                model = str(group[-1])
                for side, part in _sides(model, total):
                    if part.asked + part.answered:
                        item = {"line_item": f"{model}, {side}", "quantity_unit": "tokens"}
                        shown[at].append(_cost({**base, **item, "quantity": part.asked + part.answered}, part))
        return self._page(request, asked, shown)

    def _asked(self, request: Request, widths: Mapping[str, tuple[int, int, int]]) -> _Asked:
        named = request.query_params.get("bucket_width", "1d")
        if named not in widths:
            raise Fault(400, f"Invalid value for 'bucket_width': {named!r}.", param="bucket_width")
        width, default, most = widths[named]
        start, end = _seconds(request, "start_time"), _seconds(request, "end_time")
        if start is None:
            raise missing_parameter("start_time")
        end = self._organization.now() + 1 if end is None else end
        if end < start:
            raise Fault(400, "'end_time' must not be before 'start_time'.", param="end_time")
        return _Asked(start - start % width, end, width, limit(request, default, most))

    def _sums(
        self, asked: _Asked, by: Sequence[str], where: Mapping[str, Sequence[str]], kinds: Sequence[str] = ()
    ) -> dict[int, list[tuple[Item, Total]]]:
        """By bucket, what was used by whom; `where` and `by` speak of project, user, api_key and model."""
        reported = self._organization.clock() - self._organization.usage_lag
        uses = self._organization.meter.sums(
            ("project", "key", "model"),
            start=asked.start,
            end=min(asked.end, reported + 1),
            width=asked.width,
            projects=where.get("project", ()),
            keys=where.get("api_key", ()),
            models=where.get("model", ()),
            kinds=kinds,
        )
        users = where.get("user", ())
        grouped: dict[int, list[tuple[Item, Total]]] = {}
        for at, groups in uses.items():
            sums: dict[Item, Total] = defaultdict(Total)
            for (project, key, model), total in groups.items():
                user = self._user(key)
                if not users or user in users:
                    known = {"project_id": project, "user_id": user, "api_key_id": key, "model": model}
                    sums[tuple(known.get(field) for field in by)] += total
            grouped[at] = list(sums.items())
        return grouped

    def _user(self, key: str | None) -> str | None:
        owner = self._organization.keys[key].owner if key is not None else None
        return owner if owner in self._organization.people else None

    def _page(self, request: Request, asked: _Asked, shown: Mapping[int, Sequence[Json]]) -> Json:
        cursor = request.query_params.get("page")
        first = asked.start if cursor is None else _place(cursor)
        past = first + asked.buckets * asked.width
        data = [
            {"object": "bucket", "start_time": at, "end_time": at + asked.width, "results": list(shown.get(at, ()))}
            for at in range(first, min(past, asked.end), asked.width)
        ]
        more = past < asked.end
        return {"object": "page", "data": data, "has_more": more, "next_page": f"page_{past}" if more else None}


def _completions_result(total: Total) -> Json:
    return {
        "object": "organization.usage.completions.result",
        "input_tokens": total.asked,
        "input_cached_tokens": 0,
        "input_audio_tokens": 0,
        "output_tokens": total.answered,
        "output_audio_tokens": 0,
        "num_model_requests": total.requests,
    }


def _embeddings_result(total: Total) -> Json:
    return {
        "object": "organization.usage.embeddings.result",
        "input_tokens": total.asked,
        "num_model_requests": total.requests,
    }


def _sides(model: str, total: Total) -> tuple[tuple[str, Total], tuple[str, Total]]:
    price = PRICES[model]
    return (
        ("input_tokens", Total(asked=total.asked, cost=price.of(total.asked, 0))),
        ("output_tokens", Total(answered=total.answered, cost=price.of(0, total.answered))),
    )


def _cost(shown: Json, total: Total) -> Json:
    amount = {"value": float(total.cost), "currency": "usd"}
    return {"quantity": None, "quantity_unit": None, **shown, "object": "organization.costs.result", "amount": amount}


def _grouping(request: Request, fields: Sequence[str]) -> list[str]:
    by = several(request, "group_by")
    for field in by:
        if field not in fields:
            raise Fault(400, f"Invalid value for 'group_by': {field!r}.", param="group_by")
    return list(dict.fromkeys(by))


def _seconds(request: Request, name: str) -> int | None:
    said = request.query_params.get(name)
    if said is None:
        return None
    if not said.isdecimal():
        raise Fault(400, f"'{name}' must be in Unix seconds.", code="invalid_type", param=name)
    return int(said)


def _place(cursor: str) -> int:
    number = cursor.removeprefix("page_")
    if not number.isdecimal():
        raise Fault(400, "'page' is no cursor of this list.", param="page")
    return int(number)
