"""What a benchmark answers: a figure beside its peer's, measured in the same run, as machines differ."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One result: `ratio` is `figure / against_figure`, and `holds` says whether it reaches `aim`.

    `aim` is a ratio to stay at or above, or, where `at_most`, at or below. `profile` says in a sentence where the time
    goes; a figure that falls short has one.
    """

    name: str
    figure: float
    unit: str
    against: str
    against_figure: float
    ratio: float
    aim: float
    holds: bool
    at_most: bool = False
    profile: str = ""


def beside(
    name: str,
    *,
    ours: Sequence[float],
    unit: str,
    against: str,
    theirs: Sequence[float],
    aim: float,
    at_most: bool = False,
    profile: str = "",
) -> Figure:
    """The medians of several runs side by side. For an absolute limit, `theirs` is that limit and the aim 1.0."""
    mine, peer = statistics.median(ours), statistics.median(theirs)
    ratio = mine / peer
    holds = ratio <= aim if at_most else ratio >= aim
    return Figure(name, _short(mine), unit, against, _short(peer), round(ratio, 3), aim, holds, at_most, profile)


def _short(value: float) -> float:
    """Three digits behind the point below ten; else one."""
    return round(value, 3 if abs(value) < 10 else 1)
