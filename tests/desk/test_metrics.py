"""The figures for Prometheus: what they say of queues, sweeps and providers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot.desk import errors
from bot.desk.due import DueKind, SweepName
from bot.desk.errors import ProviderError, ProviderNotFound, ProviderRateLimited, Unavailable
from bot.desk.offer import KeyStatus, ProviderKey
from bot.desk.sweeps import Sweeps
from bot.metrics import KINDS, Metrics
from bot.sweeping import _TO_DO
from tests.desk.world import BEN, MINUTE, Vendor, World

Figures = dict[tuple[str, ...], float]


async def figures(metrics: Metrics, world: World) -> Figures:
    """Each by its name and the values of its labels, in the order of their names."""
    page = await metrics.page(world.watch.sweeps, world.providers, world.clock)
    return read(page)


def read(page: bytes) -> Figures:
    """As Prometheus reads them."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


async def test_the_queues_are_those_of_the_database(world: World, other: World) -> None:
    """Each kind has its figures from the start, and two processes tell the same."""
    metrics = Metrics()
    await world.grants.revoke(BEN, (await world.active()).id)
    await world.sweep()
    told = await figures(metrics, world)
    for kind in set(DueKind) - {DueKind.PROBE}:
        for name in ("keydesk_due", "keydesk_overdue", "keydesk_oldest_due_seconds", "keydesk_stuck"):
            assert told[name, kind] == 0, (name, kind)
    await world.grants.revoke(BEN, (await world.active()).id)
    world.clock.now += 7 * MINUTE
    for metrics_of, seen_by in ((metrics, world), (Metrics(), other)):
        told = await figures(metrics_of, seen_by)
        assert (told["keydesk_due", "key"], told["keydesk_overdue", "key"]) == (1, 1)
        assert told["keydesk_oldest_due_seconds", "key"] == 7 * 60
        assert told["keydesk_database_up",] == 1


async def test_a_database_that_is_gone_is_told_and_leaves_the_rest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its figures are missing instead of zero, so that no alarm takes an outage for an empty queue."""
    metrics = Metrics()
    await figures(metrics, world)

    async def gone(_: Any) -> Any:
        raise Unavailable("gone")

    with monkeypatch.context() as now:
        now.setattr(world.store, "read", gone)
        told = await figures(metrics, world)
    assert told["keydesk_database_up",] == 0
    assert not [name for name, *_ in told if name in ("keydesk_due", "keydesk_overdue", "keydesk_stuck")]
    assert ("keydesk_sweep_failures_total", "retire") in told


async def test_passes_are_counted_by_sweep(world: World) -> None:
    """How long, how much, and what failed; those that never ran are there with nothing."""
    metrics = Metrics()
    sweeps = world.watch.sweeps
    heard = Sweeps(*sweeps.values(), store=world.store, clock=world.clock, heard=metrics.swept)
    told = await figures(metrics, world)
    for name in SweepName:
        assert told["keydesk_sweep_seconds_count", name] == told["keydesk_sweep_failures_total", name] == 0
        assert told["keydesk_sweep_last_timestamp_seconds", name] == 0
    await world.grants.revoke(BEN, (await world.active()).id)
    world.vendor.revoke_faults.append(ZeroDivisionError())
    await heard.run(SweepName.RETIRE)
    await heard.run(SweepName.RETIRE)
    told = await figures(metrics, world)
    assert told["keydesk_sweep_seconds_count", "retire"] == 2
    assert told["keydesk_sweep_items_total", "retire"] == told["keydesk_sweep_failures_total", "retire"] == 1
    assert told["keydesk_sweep_last_timestamp_seconds", "retire"] > 0


LISTED = ProviderKey("svc_1", "somebody's", "proj_search", KeyStatus.ACTIVE)


class Paged(Vendor):
    """One with a list of keys that breaks after its first page, and a call that never ends."""

    async def keys(self) -> AsyncIterator[ProviderKey]:
        yield LISTED
        raise ProviderRateLimited("slow down", retry_after=1)

    async def get(self, *, handle: str, project: str) -> Any:
        await asyncio.Event().wait()


async def test_calls_of_a_provider_are_counted_by_how_they_ended(world: World) -> None:
    """Also one that comes in pages, one that is given up, and one that fails unforeseen. All else passes unchanged."""
    metrics, vendor = Metrics(), Paged()
    counted = metrics.counting(vendor)
    assert (counted.name, counted.permissions, counted.making("p")) == (
        vendor.name,
        vendor.permissions,
        vendor.making("p"),
    )
    assert await counted.find(marker="m", project="p") == []
    vendor.revoke_faults += [ProviderNotFound("no"), ZeroDivisionError()]
    with pytest.raises(ProviderNotFound):
        await counted.revoke(handle="h", project="p")
    with pytest.raises(ZeroDivisionError):
        await counted.revoke(handle="h", project="p")
    pages = counted.keys()
    assert await anext(pages) == LISTED
    with pytest.raises(ProviderRateLimited):
        await anext(pages)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(counted.get(handle="h", project="p"), 0.01)
    with pytest.raises(errors.NotOffered):
        await counted.disable(handle="h", project="p")
    told = await figures(metrics, world)
    assert {name[1:]: value for name, value in told.items() if name[0] == "keydesk_provider_calls_total"} == {
        ("find", "openai"): 1,
        ("revoke", "openai"): 2,
        ("keys", "openai"): 1,
        ("get", "openai"): 1,
        ("disable", "openai"): 1,
    }
    assert {name[1:]: value for name, value in told.items() if name[0] == "keydesk_provider_errors_total"} == {
        ("revoke", "not_found", "openai"): 1,
        ("revoke", "unforeseen", "openai"): 1,
        ("keys", "rate_limited", "openai"): 1,
        ("get", "given_up", "openai"): 1,
    }
    assert told["keydesk_provider_flawed", "openai"] == 0


def test_every_kind_of_error_and_of_work_has_its_word() -> None:
    """A new kind of provider's error, or of what is due, is not forgotten here nor on the command line."""
    assert set(KINDS) == set(ProviderError.__subclasses__())
    assert set(_TO_DO) == set(DueKind)
