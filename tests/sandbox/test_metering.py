"""The meter of the pretend vendors: sums are exact, and outlive a restart."""

import json
from decimal import Decimal

import pytest

from sandbox.inference import Unheard, complete_chat, embed, respond
from sandbox.metering import DAY, HOUR, PRICES, Meter, Total, Use

MIDNIGHT = 20_000 * DAY


def use(
    at: int = MIDNIGHT,
    *,
    project: str = "lab",
    key: str | None = "k1",
    model: str = "gpt-5-mini",
    asked: int = 1000,
    answered: int = 100,
) -> Use:
    cost = PRICES[model].of(asked, answered)
    return Use(
        at=at,
        project=project,
        key=key,
        model=model,
        kind="embeddings" if model.startswith("text") else "completions",
        asked=asked,
        answered=answered,
        cost=cost,
    )


def test_prices_are_exact() -> None:
    """A single token costs its share of a cent, and a million single tokens cost what a million does."""
    assert PRICES["text-embedding-3-small"].of(1, 0) == Decimal("0.00000002")
    meter = Meter()
    for _ in range(1000):
        meter.add(use(asked=1, answered=1))
    assert meter.total().cost * 1000 == PRICES["gpt-5-mini"].of(1_000_000, 1_000_000) == Decimal("2.25")


def test_sums_are_grouped_by_bucket_and_by_field() -> None:
    """A use counts in the bucket that it happened in, from the bucket's first second to before the next one's."""
    meter = Meter()
    meter.add(use(MIDNIGHT - 1))
    meter.add(use(MIDNIGHT, asked=2000))
    meter.add(use(MIDNIGHT + HOUR, key=None))
    meter.add(use(MIDNIGHT + DAY - 1, project="prod", model="text-embedding-3-small", answered=0))
    assert meter.sums(["key", "model"]) == {
        MIDNIGHT - DAY: {("k1", "gpt-5-mini"): Total(1, 1000, 100, Decimal("0.00045"))},
        MIDNIGHT: {
            ("k1", "gpt-5-mini"): Total(1, 2000, 100, Decimal("0.0007")),
            (None, "gpt-5-mini"): Total(1, 1000, 100, Decimal("0.00045")),
            ("k1", "text-embedding-3-small"): Total(1, 1000, 0, Decimal("0.00002")),
        },
    }
    assert list(meter.sums([], width=HOUR, start=MIDNIGHT)) == [MIDNIGHT, MIDNIGHT + HOUR, MIDNIGHT + DAY - HOUR]
    assert meter.sums(["project"], kinds=["embeddings"]) == {
        MIDNIGHT: {("prod",): Total(1, 1000, 0, Decimal("0.00002"))}
    }


@pytest.mark.parametrize(
    ("where", "requests"),
    [
        ({}, 4),
        ({"start": MIDNIGHT}, 3),
        ({"end": MIDNIGHT}, 1),
        ({"start": MIDNIGHT + 1, "end": MIDNIGHT + HOUR}, 0),
        ({"start": MIDNIGHT + 1, "end": MIDNIGHT + HOUR + 1}, 1),
        ({"projects": ["lab"]}, 3),
        ({"projects": ["elsewhere"]}, 0),
        ({"keys": ["k1"]}, 2),
        ({"keys": [None]}, 1),
        ({"models": ["gpt-5-mini"], "keys": ["k2"]}, 0),
        ({"kinds": ["embeddings"]}, 1),
    ],
)
def test_totals_are_of_what_was_asked_for(where: dict[str, object], requests: int) -> None:
    """Nothing said means all; what is said narrows the sum."""
    meter = Meter()
    meter.add(use(MIDNIGHT - 1))
    meter.add(use(MIDNIGHT))
    meter.add(use(MIDNIGHT + HOUR, key=None))
    meter.add(use(MIDNIGHT + DAY, project="prod", key="k2", model="text-embedding-3-small"))
    assert meter.total(**where).requests == requests  # type: ignore[arg-type]  # a table of keyword arguments


def test_uses_outlive_a_restart() -> None:
    """What is dumped can be written as JSON, and loaded with nothing lost and nothing doubled."""
    meter = Meter()
    meter.add(use())
    meter.add(use(key=None, project="prod"))
    kept = json.loads(json.dumps(meter.dump()))
    reborn = Meter()
    reborn.add(use(project="forgotten"))
    reborn.load(kept)
    assert list(reborn.uses()) == list(meter.uses())


def test_a_pretend_model_uses_up_what_it_is_allowed() -> None:
    """The most that a request allows is what it counts; without it, the tokens of the sentence."""
    chat = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    assert complete_chat(chat, 0).answered == len("A pretend m heard you.") // 4
    assert complete_chat({**chat, "max_tokens": 500_000}, 0).answered == 500_000
    response = respond({"model": "m", "input": "Hello", "max_output_tokens": 7}, 0)
    assert (response.answered, response.body["usage"]["output_tokens"]) == (7, 7)
    assert embed({"model": "m", "input": ["a" * 40, "b" * 40]}, 0).asked == 20
    wrongs: list[dict[str, object]] = [{"max_tokens": 0}, {"max_tokens": True}, {"stream": True}, {"messages": []}]
    for wrong in wrongs:
        with pytest.raises(Unheard) as unheard:
            complete_chat({**chat, **wrong}, 0)
        assert unheard.value.param == next(iter(wrong))
