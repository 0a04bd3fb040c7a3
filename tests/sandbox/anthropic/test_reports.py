"""The pretend Anthropic reports what was used, to the token and to the cent, as Anthropic does."""

from decimal import Decimal

from sandbox.metering import DAY
from tests.sandbox.anthropic.world import World

MIDNIGHT, START = 1_799_971_200, "2027-01-15T00:00:00Z"


def ask(world: World, value: str, most: int, model: str = "claude-haiku-4-5") -> int:
    """Asks with a key; how many tokens the question had."""
    with world.client(value) as client:
        message = client.messages.create(
            model=model, max_tokens=most, messages=[{"role": "user", "content": "Hello"}], timeout=10
        )
    assert message.usage.output_tokens == most
    return message.usage.input_tokens


def test_use_is_reported_by_key_model_workspace_and_day(world: World) -> None:
    """Each answered request counts where it belongs; the Workbench has no key, the default workspace no id."""
    (first, value), (second, other) = world.key(), world.key(workspace="wrkspc_default")
    asked = ask(world, value, 100)
    ask(world, value, 50)
    ask(world, value, 7, "claude-sonnet-5-5")
    world.now += DAY
    ask(world, other, 9)
    world.pretend.use(answered=3)
    report = world.report(
        "usage_report/messages", starting_at=START, **{"group_by[]": ["api_key_id", "model", "workspace_id"]}
    )
    assert (report["has_more"], report["next_page"]) == (False, None)
    assert [bucket["starting_at"] for bucket in report["data"]] == [START, "2027-01-16T00:00:00Z"]
    seen = [
        {(it["workspace_id"], it["api_key_id"], it["model"]): it["output_tokens"] for it in bucket["results"]}
        for bucket in report["data"]
    ]
    assert seen == [
        {("wrkspc_lab", first, "claude-haiku-4-5"): 150, ("wrkspc_lab", first, "claude-sonnet-5-5"): 7},
        {(None, second, "claude-haiku-4-5"): 9, ("wrkspc_lab", None, "claude-haiku-4-5"): 3},
    ]
    [whole] = world.report("usage_report/messages", starting_at=START, ending_at="2027-01-16T00:00:00Z")["data"]
    [result] = whole["results"]
    assert (result["uncached_input_tokens"], result["api_key_id"], result["model"]) == (3 * asked, None, None)
    narrowed = world.report("usage_report/messages", starting_at=START, **{"api_key_ids[]": [second]})["data"]
    assert [len(bucket["results"]) for bucket in narrowed] == [0, 1]


def test_costs_are_in_cents_by_workspace_and_description(world: World) -> None:
    """What tokens cost, as decimal text; grouped by description, what was asked and what was answered apart."""
    _, value = world.key()
    asked = ask(world, value, 100_000)
    [bucket] = world.report("cost_report", starting_at=START)["data"]
    [cost] = bucket["results"]
    cents = (Decimal(1) * asked + Decimal(5) * 100_000) / 10**6 * 100
    assert (Decimal(cost["amount"]), cost["currency"], cost["workspace_id"]) == (cents, "USD", None)
    [bucket] = world.report("cost_report", starting_at=START, **{"group_by[]": ["workspace_id", "description"]})["data"]
    assert [(it["workspace_id"], it["model"], it["token_type"], Decimal(it["amount"])) for it in bucket["results"]] == [
        ("wrkspc_lab", "claude-haiku-4-5", "uncached_input_tokens", Decimal(asked) / 10_000),
        ("wrkspc_lab", "claude-haiku-4-5", "output_tokens", Decimal(50)),
    ]


def test_reports_come_in_pages_of_buckets(world: World) -> None:
    """Every bucket once, in order, the empty ones too."""
    _, value = world.key()
    ask(world, value, 1)
    world.now += 9 * DAY
    ask(world, value, 1)
    seen: list[int] = []
    more: dict[str, str | None] = {}
    for _ in range(3):
        page = world.report("usage_report/messages", starting_at=START, limit=4, **more)
        seen += [len(bucket["results"]) for bucket in page["data"]]
        more = {"page": page["next_page"]}
    assert (seen, more) == ([1, 0, 0, 0, 0, 0, 0, 0, 0, 1], {"page": None})
    hours = world.report(
        "usage_report/messages", starting_at=START, ending_at="2027-01-16T00:00:00Z", bucket_width="1h"
    )
    assert [len(bucket["results"]) for bucket in hours["data"]] == [0] * 8 + [1] + [0] * 15


def test_use_is_reported_late_where_the_sandbox_is_told_so(world: World) -> None:
    """What was used within the lag is in no report yet; later it is, on the day that it happened."""
    world.pretend.rule(usage_lag=3600)
    _, value = world.key()
    world.now = MIDNIGHT + DAY - 1
    ask(world, value, 1)
    for path in ("usage_report/messages", "cost_report"):
        assert [len(bucket["results"]) for bucket in world.report(path, starting_at=START)["data"]] == [0]
    world.now += 3600
    for path in ("usage_report/messages", "cost_report"):
        assert [len(bucket["results"]) for bucket in world.report(path, starting_at=START)["data"]] == [1, 0]


def test_a_report_that_makes_no_sense_is_refused(world: World) -> None:
    """Wrong groupings, widths, limits, times and cursors."""
    wrongs: list[dict[str, object]] = [
        {"starting_at": "soon"},
        {"ending_at": START},
        {"group_by[]": "colour"},
        {"bucket_width": "1y"},
        {"limit": 32},
        {"page": "next"},
    ]
    for wrong in wrongs:
        assert world.report("usage_report/messages", **{"starting_at": START, **wrong}) == 400
    assert world.report("usage_report/messages") == 400
    assert world.report("cost_report", starting_at=START, bucket_width="1h") == 400
    assert world.report("cost_report", starting_at=START, **{"group_by[]": "api_key_id"}) == 400
