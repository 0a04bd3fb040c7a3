"""A chart, in both ways in which Slack shows one: its own block, or a picture."""

import asyncio
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.slack.text import plain
from bot.slack.views.kit import Block

BLOCK_ID = "digest chart"
TITLE, LABEL, AXIS = 50, 20, 50  # characters that Slack's block takes
CATEGORIES = 20
COLOURS = ("#b9c2cc", "#2f6fd0")  # what is past is pale; both readable on white and in print
INK, PAPER = "#3a4149", "#ffffff"
WIDTH, HEIGHT, DENSITY = 7.2, 3.0, 150  # inches and dots per inch: sharp at the width that Slack shows

_drawing = asyncio.Lock()  # matplotlib is not for several threads at once


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars side by side: for each category one of each series. `unit` is what the values count."""

    title: str
    unit: str
    categories: tuple[str, ...]
    series: tuple[tuple[str, tuple[float, ...]], ...]

    @property
    def said(self) -> str:
        """In a sentence, for who does not see it."""
        named = "; ".join(
            f"{name}: {', '.join(f'{category} {value:.2f}' for category, value in zip(self.categories, values, strict=True))}"
            for name, values in self.series
        )
        return f"{self.title}, in {self.unit}. {named}."


def block(chart: Chart) -> Block:
    """Slack's own chart: https://docs.slack.dev/reference/block-kit/blocks/data-visualization-block"""
    labels = _labels(chart.categories)
    series = [
        {
            "name": plain(name, LABEL),
            "data": [{"label": label, "value": round(value, 2)} for label, value in zip(labels, values, strict=True)],
        }
        for name, values in chart.series
    ]
    return {
        "type": "data_visualization",
        "block_id": BLOCK_ID,
        "title": plain(chart.title, TITLE),
        "chart": {
            "type": "bar",
            "series": series,
            "axis_config": {"categories": labels, "y_label": plain(chart.unit, AXIS)},
        },
    }


def image(chart: Chart, file_id: str) -> Block:
    """The picture of it, once it is a file of Slack's."""
    return {
        "type": "image",
        "block_id": BLOCK_ID,
        "slack_file": {"id": file_id},
        "alt_text": plain(chart.said, 2000),
    }


def kept(blocks: Any) -> Block | None:
    """The chart among a message's blocks, as it is to be sent again: of a file Slack tells more than it takes.

    The blocks are what a press came with, so they may be of any shape.
    """
    for one in blocks if isinstance(blocks, list) else ():
        if not isinstance(one, dict) or one.get("block_id") != BLOCK_ID:
            continue
        if one.get("type") == "data_visualization":
            return dict(one)
        held = one.get("slack_file")
        if one.get("type") == "image" and isinstance(held, dict) and held.get("id"):
            alt = str(one.get("alt_text") or "")
            return {"type": "image", "block_id": BLOCK_ID, "slack_file": {"id": str(held["id"])}, "alt_text": alt}
    return None


async def picture(chart: Chart) -> bytes:
    """The chart as a PNG, drawn beside the event loop."""
    async with _drawing:
        return await asyncio.to_thread(_draw, chart)


def _draw(chart: Chart) -> bytes:
    # Here, as it takes half a second and much memory, and a workspace that has Slack's own charts never needs it. Figure and
    # canvas by themselves: pyplot would keep every figure, and ask for a screen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  # for the reason above
    from matplotlib.figure import Figure  # noqa: PLC0415  # as above

    figure: Any = Figure(figsize=(WIDTH, HEIGHT), dpi=DENSITY, facecolor=PAPER, layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    width = 0.8 / len(chart.series)
    for number, (name, values) in enumerate(chart.series):
        left = (number - (len(chart.series) - 1) / 2) * width
        places = [place + left for place in range(len(values))]
        axes.bar(places, values, width * 0.92, label=name, color=COLOURS[number % len(COLOURS)])
    axes.set_xticks(range(len(chart.categories)), _labels(chart.categories))
    axes.set_ylabel(chart.unit, color=INK)
    axes.set_title(chart.title, color=INK, loc="left", fontsize=11)
    axes.tick_params(colors=INK, length=0)
    axes.grid(axis="y", color="#e6e9ec")
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    if len(chart.series) > 1:
        # Below the plot, where it can cover no bar.
        figure.legend(frameon=False, labelcolor=INK, ncols=len(chart.series), loc="outside lower left", fontsize=9)
    written = io.BytesIO()
    canvas.print_png(written)
    return written.getvalue()


def _labels(categories: Sequence[str]) -> list[str]:
    """Each short enough, and each once, as Slack wants them."""
    labels: list[str] = []
    for category in categories[:CATEGORIES]:
        label, number = plain(category, LABEL), 2
        while label in labels:
            mark = f" {number}"
            label, number = f"{plain(category, LABEL - len(mark))}{mark}", number + 1
        labels.append(label)
    return labels
