"""The pretend OpenAI reports what was used, to the token and to the cent, as OpenAI does."""

import json
from decimal import Decimal

import openai
import pytest
from openai.resources.admin.organization import Organization

from sandbox.metering import DAY
from tests.providers.serving import description
from tests.sandbox.openai.world import World

MIDNIGHT = 1_799_971_200  # UTC


def use(world: World, key: str, *, model: str = "gpt-5-mini", answered: int = 1000) -> None:
    """One response to 40 characters, ten tokens."""
    with world.client(key) as client:
        client.responses.create(model=model, input="a" * 40, max_output_tokens=answered)


def test_use_is_counted_by_key_model_and_day(world: World, admin: Organization) -> None:
    """Each answered request counts once, where it belongs; refused ones do not count; nobody's key id is null."""
    first, second = world.key(), world.key("proj_search")
    ids = [key["id"] for key in world.pretend.snapshot()["keys"]]
    use(world, first)
    use(world, first, model="gpt-4.1-mini")
    with world.client(first) as client:
        client.chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": "Hi"}], max_tokens=5)
        client.embeddings.create(model="text-embedding-3-small", input=["a" * 40, "b" * 400])
        with pytest.raises(openai.NotFoundError):
            client.embeddings.create(model="gpt-2", input="Hello")
    world.now += DAY
    use(world, second)
    world.pretend.use(answered=7)
    page = admin.usage.completions(
        start_time=MIDNIGHT, group_by=["api_key_id", "model", "project_id"], limit=31, bucket_width="1d"
    )
    assert not page.has_more
    assert [bucket.start_time for bucket in page.data] == [MIDNIGHT, MIDNIGHT + DAY]
    seen = [
        {(it.project_id, it.api_key_id, it.model): (it.num_model_requests, it.output_tokens) for it in bucket.results}  # type: ignore[union-attr]  # of the kinds of results, this endpoint gives one
        for bucket in page.data
    ]
    assert seen == [
        {("proj_lab", ids[0], "gpt-5-mini"): (2, 1005), ("proj_lab", ids[0], "gpt-4.1-mini"): (1, 1000)},
        {("proj_search", ids[1], "gpt-5-mini"): (1, 1000), ("proj_lab", None, "gpt-5-mini"): (1, 7)},
    ]
    [bucket, _] = admin.usage.embeddings(start_time=MIDNIGHT).data
    [whole] = bucket.results
    assert whole.object == "organization.usage.embeddings.result"
    assert (whole.input_tokens, whole.num_model_requests, whole.api_key_id) == (110, 1, None)


def test_costs_are_what_tokens_cost(world: World, admin: Organization) -> None:
    """By key the sum of its lines, by line the tokens asked and answered at their prices."""
    key = world.key()
    [shown] = world.pretend.snapshot()["keys"]
    use(world, key)
    use(world, key, answered=499_000)
    [bucket] = admin.usage.costs(start_time=MIDNIGHT, group_by=["api_key_id"]).data
    [cost] = bucket.results
    assert cost.object == "organization.costs.result"
    assert cost.amount is not None
    assert (cost.api_key_id, cost.amount.currency, cost.line_item) == (shown["id"], "usd", None)
    assert Decimal(str(cost.amount.value)) == Decimal("0.25") * 20 / 10**6 + Decimal(2) * 500_000 / 10**6
    [lined] = admin.usage.costs(start_time=MIDNIGHT, group_by=["line_item"]).data
    assert [(it.line_item, it.quantity) for it in lined.results] == [  # type: ignore[union-attr]  # as above
        ("gpt-5-mini, input_tokens", 20),
        ("gpt-5-mini, output_tokens", 500_000),
    ]


def test_reports_come_in_pages_of_buckets(world: World, admin: Organization) -> None:
    """Every bucket once, in order, the empty ones too; the cursor leads on with the same question."""
    use(world, world.key())
    world.now += 9 * DAY
    use(world, world.key())
    starts = []
    cursor: str | openai.Omit | None = openai.omit
    while cursor is not None:
        page = admin.usage.completions(start_time=MIDNIGHT + 5, limit=4, page=cursor)
        starts += [(bucket.start_time, len(bucket.results)) for bucket in page.data]
        assert page.has_more == (page.next_page is not None)
        cursor = page.next_page
    assert starts == [(MIDNIGHT + day * DAY, int(day in (0, 9))) for day in range(10)]
    hours = admin.usage.completions(start_time=MIDNIGHT, end_time=MIDNIGHT + DAY, bucket_width="1h")
    assert len(hours.data) == 24
    assert sum(len(bucket.results) for bucket in hours.data) == 1
    assert not any(bucket.results for bucket in admin.usage.images(start_time=MIDNIGHT).data)


def test_filters_narrow_a_report(world: World, admin: Organization) -> None:
    """By project, key, person and model."""
    use(world, world.key("proj_lab"))
    use(world, world.key("proj_search"), model="gpt-4.1-mini")
    use(world, world.pretend.make_personal_key("proj_search", name="notebook"))
    keys = [key["id"] for key in world.pretend.snapshot()["keys"]]

    def requests(**where: list[str]) -> int:
        [bucket] = admin.usage.completions(start_time=MIDNIGHT, **where).data  # type: ignore[arg-type]  # a table
        return sum(it.num_model_requests for it in bucket.results)  # type: ignore[union-attr, misc]  # as above

    assert requests() == 3
    assert requests(project_ids=["proj_search"]) == 2
    assert requests(project_ids=["proj_search"], models=["gpt-5-mini"]) == 1
    assert requests(api_key_ids=keys[:2]) == 2
    assert requests(user_ids=["user_ana"]) == 1
    [bucket] = admin.usage.completions(start_time=MIDNIGHT, group_by=["user_id"]).data
    assert [it.user_id for it in bucket.results] == [None, "user_ana"]  # type: ignore[union-attr]  # as above


def test_use_is_reported_late_where_the_sandbox_is_told_so(world: World, admin: Organization) -> None:
    """What was used within the lag is not in a report yet; later it is, on the day that it happened."""
    world.pretend.organization.usage_lag = 3600
    world.now = MIDNIGHT + DAY - 1
    use(world, world.key())
    assert not any(bucket.results for bucket in admin.usage.completions(start_time=MIDNIGHT).data)
    assert not any(bucket.results for bucket in admin.usage.costs(start_time=MIDNIGHT).data)
    world.now += 3600
    assert [len(bucket.results) for bucket in admin.usage.completions(start_time=MIDNIGHT).data] == [1, 0]


def test_a_report_that_makes_no_sense_is_refused(world: World, admin: Organization) -> None:
    """Wrong groupings, widths, limits, times and cursors are named."""
    wrongs: list[tuple[dict[str, object], str]] = [
        ({"group_by": ["colour"]}, "group_by"),
        ({"bucket_width": "1y"}, "bucket_width"),
        ({"limit": 32}, "limit"),
        ({"start_time": "soon"}, "start_time"),
        ({"end_time": 1}, "end_time"),
        ({"page": "next"}, "page"),
    ]
    for wrong, param in wrongs:
        with pytest.raises(openai.BadRequestError) as refusal:
            admin.usage.completions(**{"start_time": MIDNIGHT, **wrong})  # type: ignore[arg-type]  # wrong on purpose
        assert refusal.value.param == param
    with pytest.raises(openai.BadRequestError):
        admin.usage.costs(start_time=MIDNIGHT, bucket_width="1h")  # type: ignore[arg-type]  # as above


def test_reports_outlive_a_restart(world: World, admin: Organization) -> None:
    """What was used is kept with the rest of the state."""
    use(world, world.key())
    reborn = world.make()
    reborn.load(json.loads(json.dumps(world.pretend.dump())))
    assert reborn.organization.meter.total() == world.pretend.organization.meter.total()
    assert reborn.organization.meter.total().requests == 1


def test_all_that_passes_is_as_openai_describes_it(world: World, admin: Organization) -> None:
    """Requests of the SDK and answers of the sandbox fit OpenAI's published schemas, errors included."""
    described = description()
    key = world.key()
    use(world, key)
    with world.client(key) as client:
        client.embeddings.create(model="text-embedding-3-small", input="Hello")
    world.served.exchanges.clear()
    admin.usage.completions(start_time=MIDNIGHT, group_by=["project_id", "api_key_id", "model"], limit=31)
    admin.usage.embeddings(start_time=MIDNIGHT, api_key_ids=["key_1"], models=["a"], project_ids=["b"])
    admin.usage.moderations(start_time=MIDNIGHT)
    admin.usage.costs(start_time=MIDNIGHT, end_time=MIDNIGHT + DAY, limit=180, bucket_width="1d")
    admin.usage.costs(start_time=MIDNIGHT, group_by=["line_item", "project_id"], project_ids=["proj_lab"])
    with pytest.raises(openai.BadRequestError):
        admin.usage.costs(start_time=MIDNIGHT, page="next")
    assert len(world.served.exchanges) == 6
    for exchange in world.served.exchanges:
        described.check(exchange)
