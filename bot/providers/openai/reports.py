"""What OpenAI reports of use: tokens by `/organization/usage/*`, money by `/organization/costs`, both grouped by key.

A project's keys are read in one pass, so that the calls grow with projects and not with keys, and an answer stays small.
Today's figures still grow, and those of the days before may be mended by OpenAI: until `SETTLED` they are estimates.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from bot.desk.errors import ProviderInvalid
from bot.desk.offer import Basis, Usage
from bot.desk.ports import Clock
from bot.providers.calls import Calls
from bot.providers.openai import wire
from bot.providers.openai.projects import Projects
from bot.providers.openai.wire import Report

USAGE = "/organization/usage"
COSTS = "/organization/costs"
COMMON = ("completions", "embeddings")
RARE = ("moderations", "images", "audio_speeches", "audio_transcriptions")
BUCKETS, COST_BUCKETS = 31, 180  # the most days on a page
SETTLED = timedelta(days=3)
NOBODY = ""
MICROS = 10**6

_Place = tuple[str, date, str]  # key, day, model


@dataclass
class _Sum:
    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: Decimal = Decimal(0)

    def count(self, result: wire.UsageResult) -> None:
        self.requests += result.num_model_requests
        self.tokens_in += result.input_tokens
        self.tokens_out += result.output_tokens


_Sums = dict[_Place, _Sum]


class Reports:
    """The organization's use of models."""

    def __init__(self, calls: Calls, projects: Projects, *, clock: Clock) -> None:
        self._calls = calls
        self._projects = projects
        self._clock = clock

    async def usage(self, since: date, until: date) -> AsyncIterator[Sequence[Usage]]:
        """By key, day and model, project by project; at the end what belongs to no key."""
        span: dict[str, str | int] = {
            "start_time": _seconds(since),
            "end_time": _seconds(until + timedelta(days=1)),
            "bucket_width": "1d",
        }
        as_of = self._clock()
        nobodys: _Sums = defaultdict(_Sum)
        rare = await self._rare(span)
        for project in await self._projects.all(archived_too=True):
            sums = rare.pop(project.id, None) or defaultdict(_Sum)
            await self._count(sums, span, project.id)
            yield _told(_taken_from(sums, nobodys), as_of)
        for sums in rare.values():  # of projects that the list of them does not have
            yield _told(_taken_from(sums, nobodys), as_of)
        yield _told(nobodys, as_of)

    async def look(self, at: int) -> None:
        """Reads as little as can be, to see whether the credential may."""
        await self._calls.get(COSTS, Report[wire.CostResult], start_time=at, limit=1)

    async def _rare(self, span: Mapping[str, str | int]) -> dict[str, _Sums]:
        """What few keys do is read of all projects at once."""
        sums: dict[str, _Sums] = defaultdict(lambda: defaultdict(_Sum))
        for kind in RARE:
            by = ["project_id", "api_key_id", "model"]
            async for day, result in self._results(f"{USAGE}/{kind}", wire.UsageResult, span, BUCKETS, group_by=by):
                sums[result.project_id or ""][_place(result.api_key_id, day, result.model)].count(result)
        return sums

    async def _count(self, sums: _Sums, span: Mapping[str, str | int], project: str) -> None:
        own = [project]
        for kind in COMMON:
            async for day, result in self._results(
                f"{USAGE}/{kind}",
                wire.UsageResult,
                span,
                BUCKETS,
                project_ids=own,
                group_by=["api_key_id", "model"],
            ):
                sums[_place(result.api_key_id, day, result.model)].count(result)
        async for day, cost in self._results(
            COSTS, wire.CostResult, span, COST_BUCKETS, project_ids=own, group_by=["api_key_id", "line_item"]
        ):
            if cost.amount.currency.lower() != "usd":
                raise ProviderInvalid("OpenAI bills this organization in another currency than US dollars.")
            # A line is a model and what was counted: "gpt-5-mini, input_tokens".
            model = (cost.line_item or "").partition(", ")[0]
            sums[_place(cost.api_key_id, day, model)].cost += cost.amount.value

    async def _results(
        self, path: str, result: type[wire.Result], span: Mapping[str, str | int], buckets: int, **asked: Sequence[str]
    ) -> AsyncIterator[tuple[date, wire.Result]]:
        def onward(page: Report[wire.Result]) -> Mapping[str, str] | None:
            return {"page": page.next_page} if page.has_more and page.next_page else None

        report: type[Report[wire.Result]] = Report[result]  # type: ignore[valid-type]  # pydantic makes the class here
        async for page in self._calls.pages(path, report, onward, limit=buckets, **span, **asked):
            for bucket in page.data:
                day = datetime.fromtimestamp(bucket.start_time, UTC).date()
                for item in bucket.results:
                    yield day, item


def _place(key: str | None, day: date, model: str | None) -> _Place:
    return key or NOBODY, day, model or ""


def _taken_from(sums: _Sums, nobodys: _Sums) -> _Sums:
    """The sums without those that belong to no key, which are added to nobody's: a day and model have one row there."""
    for place in [place for place in sums if place[0] == NOBODY]:
        sum, other = nobodys[place], sums.pop(place)
        sum.requests += other.requests
        sum.tokens_in += other.tokens_in
        sum.tokens_out += other.tokens_out
        sum.cost += other.cost
    return sums


def _told(sums: _Sums, as_of: datetime) -> Sequence[Usage]:
    settled = as_of.date() - SETTLED
    return [
        Usage(
            meter=key,
            day=day,
            model=model,
            requests=used.requests,
            tokens_in=used.tokens_in,
            tokens_out=used.tokens_out,
            cost_micros=int((used.cost * MICROS).to_integral_value()),
            basis=Basis.BILLED if day < settled else Basis.ESTIMATED,
            as_of=as_of,
        )
        for (key, day, model), used in sums.items()
    ]


def _seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
