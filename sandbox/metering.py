"""What the use of a pretend vendor's models costs, and who used them: each vendor has a meter of its own.

Sums of money are exact decimals, in US dollars. Days and hours are those of UTC, as with the real vendors.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

Json = dict[str, Any]

HOUR = 3600
DAY = 24 * HOUR

_MILLION = 1_000_000


@dataclass(frozen=True)
class Price:
    """Dollars for a million tokens, asked and answered."""

    asked: Decimal
    answered: Decimal

    def of(self, asked: int, answered: int) -> Decimal:
        """What so many tokens cost."""
        return (self.asked * asked + self.answered * answered) / _MILLION


def _price(asked: str, answered: str) -> Price:
    return Price(Decimal(asked), Decimal(answered))


PRICES: Mapping[str, Price] = {
    "gpt-5-mini": _price("0.25", "2"),
    "gpt-4.1-mini": _price("0.40", "1.60"),
    "text-embedding-3-small": _price("0.02", "0"),
    "claude-opus-5-5": _price("5", "25"),
    "claude-sonnet-5-5": _price("3", "15"),
    "claude-sonnet-4-5": _price("3", "15"),
    "claude-haiku-4-5": _price("1", "5"),
}
"""The models that there are, by their bare names, and what they cost."""


@dataclass(frozen=True, kw_only=True)
class Use:
    """Some requests of one key to one model. `key` is None where no key was used: in the vendor's own playground.

    `at` is in seconds since 1970; `kind` is the sort of endpoint, such as "completions" or "embeddings"; `project` is
    whatever the vendor calls the place that the key belongs to.
    """

    at: int
    project: str
    key: str | None
    model: str
    kind: str
    asked: int
    answered: int
    cost: Decimal
    requests: int = 1


@dataclass(frozen=True)
class Total:
    """A sum of uses."""

    requests: int = 0
    asked: int = 0
    answered: int = 0
    cost: Decimal = Decimal(0)

    def __add__(self, use: "Use | Total") -> "Total":
        return Total(
            self.requests + use.requests,
            self.asked + use.asked,
            self.answered + use.answered,
            self.cost + use.cost,
        )


Group = tuple[Any, ...]
"""The values of the fields that a sum was grouped by."""


class Meter:
    """Every use of one vendor's models."""

    def __init__(self) -> None:
        # By project and day, so that a project's figures of a day are not looked for among everybody's of all time.
        self._uses: dict[str, dict[int, list[Use]]] = defaultdict(lambda: defaultdict(list))
        self.added = 0  # how often something was added: as long as it is the same, so are all sums

    def add(self, use: Use) -> None:
        """From now on in every sum."""
        self._uses[use.project][use.at // DAY].append(use)
        self.added += 1

    def uses(
        self,
        *,
        start: float = 0,
        end: float | None = None,
        projects: Collection[str] = (),
        keys: Collection[str | None] = (),
        models: Collection[str] = (),
        kinds: Collection[str] = (),
    ) -> Iterator[Use]:
        """The uses from `start` to before `end`. Nothing said of projects, keys, models or kinds means all of them."""
        for project in list(projects or self._uses):
            for day, uses in list(self._uses.get(project, {}).items()):
                if (day + 1) * DAY <= start or (end is not None and day * DAY >= end):
                    continue
                for use in uses:
                    if (
                        start <= use.at
                        and (end is None or use.at < end)
                        and (not keys or use.key in keys)
                        and (not models or use.model in models)
                        and (not kinds or use.kind in kinds)
                    ):
                        yield use

    def total(self, *, start: float = 0, end: float | None = None, **where: Collection[Any]) -> Total:
        """The sum of what `uses` would give."""
        total = Total()
        for use in self.uses(start=start, end=end, **where):
            total += use
        return total

    def sums(
        self, by: Sequence[str], *, start: float = 0, end: float | None = None, width: int = DAY, **where: Any
    ) -> dict[int, dict[Group, Total]]:
        """Sums of what `uses` would give, by bucket (its start, a multiple of `width` seconds), then by the fields `by`.

        `by` names fields of `Use`. A bucket in which nothing was used is not there.
        """
        buckets: dict[int, dict[Group, Total]] = defaultdict(lambda: defaultdict(Total))
        for use in self.uses(start=start, end=end, **where):
            groups = buckets[use.at - use.at % width]
            group = tuple(getattr(use, field) for field in by)
            groups[group] += use
        return {at: dict(buckets[at]) for at in sorted(buckets)}

    def dump(self) -> list[Json]:
        """All uses, for `load`."""
        return [{**vars(use), "cost": str(use.cost)} for use in self.uses()]

    def load(self, uses: Sequence[Json]) -> None:
        """Takes up what `dump` gave, in the place of what there was."""
        self._uses.clear()
        for use in uses:
            self.add(Use(**{**use, "cost": Decimal(use["cost"])}))
