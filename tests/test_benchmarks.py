"""What `make bench` wrote is whole, and the page says what the results say."""

from collections import Counter
from dataclasses import fields

import pytest

from benchmarks import __main__ as runner
from benchmarks.figures import Figure, beside


def result(name: str, *, benchmark: str, ours: float, theirs: float, at_most: bool = False) -> runner.Result:
    """An entry as the runner makes it."""
    figure = beside(
        name,
        ours=[ours],
        unit="acts/s",
        against="a peer",
        theirs=[theirs],
        aim=1.0,
        at_most=at_most,
        profile="The disk.",
    )
    return runner.merged([], benchmark, [figure], measured_on="2 cores")[0]


def test_no_two_benchmarks_share_a_name() -> None:
    """`make bench ONLY=name` means one."""
    names = Counter(name for module in runner.MODULES for name in module.BENCHMARKS)
    assert names.keys() == runner.BENCHMARKS.keys()
    assert set(names.values()) == {1}


def test_every_result_is_whole_and_says_which_benchmark_it_came_of() -> None:
    """results.json holds every field of a figure for each, once, and its verdict follows from its ratio and aim."""
    results = runner.load()
    wanted = {field.name for field in fields(Figure)} | {"benchmark", "machine"}
    assert results
    for one in results:
        assert one.keys() == wanted, one["name"]
        assert one["benchmark"] in runner.BENCHMARKS
        assert one["holds"] == (one["ratio"] <= one["aim"] if one["at_most"] else one["ratio"] >= one["aim"])
        assert one["holds"] or one["profile"], f"{one['name']} falls short, and nothing says why"
    assert max(Counter(one["name"] for one in results).values()) == 1


def test_the_page_is_what_the_results_say() -> None:
    """docs/benchmarks.md was rendered from results.json, not written."""
    assert runner.PAGE.read_text(encoding="utf-8") == runner.page(runner.load())


def test_a_run_of_one_benchmark_keeps_the_results_of_the_others() -> None:
    """Its own are replaced, whatever their names were; those of a benchmark that is no more go."""
    kept = [
        result("an old name", benchmark="seal", ours=1, theirs=1),
        result("commit", benchmark="commit", ours=1, theirs=2),
    ]
    kept.append({**kept[0], "name": "gone", "benchmark": "no-such-benchmark"})
    new = beside("seal", ours=[3], unit="envelopes/s", against="a peer", theirs=[1], aim=1.0)
    merged = runner.merged(kept, "seal", [new], measured_on="8 cores")
    assert [(one["name"], one["machine"]) for one in merged] == [("commit", "2 cores"), ("seal", "8 cores")]


@pytest.mark.parametrize(("ours", "at_most", "reached"), [(2.0, False, 2.0), (2.0, True, 0.5), (0.5, True, 2.0)])
def test_the_plot_shows_how_far_the_aim_is_reached_whichever_way_it_points(
    ours: float, at_most: bool, reached: float
) -> None:
    """Above 1 is better than asked, below falls short, for what shall be high and for what shall be low."""
    assert runner.reached(result("x", benchmark="seal", ours=ours, theirs=1, at_most=at_most)) == reached


def test_the_page_tells_where_the_time_goes_in_what_falls_short() -> None:
    """A figure that misses its aim is marked, with its profile; the machine is named."""
    page = runner.page([result("a link", benchmark="seal", ours=1, theirs=2)])
    assert "| a link | 1 acts/s | 2: a peer | 0.5 | at least 1 | **falls short** |" in page
    assert "- **a link** (falls short): The disk." in page
    assert "- 2 cores" in page
