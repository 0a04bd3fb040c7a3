"""A vendor that counts what its keys use, lists them, and switches them off and on."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

from bot.desk.model import Key, Minted, Scope
from bot.desk.offer import Ability, AppliedLimit, Basis, Enforcer, KeyStatus, LimitKind, Probe, ProviderKey, Usage
from bot.desk.ports import Clock
from tests.desk.world import Vendor


class MeteredVendor(Vendor):
    """Usage is reported under `meter_…`, a page for each day. Each fault in `page_faults` meets one page, None lets it by.

    With `running_since` it reports running totals, of today alone.
    """

    abilities = frozenset({Ability.MINT, Ability.REVOKE, Ability.LIST, Ability.DISABLE, Ability.USAGE})

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.used: dict[tuple[str, date, str], Usage] = {}
        self.off: set[str] = set()
        self.others: list[ProviderKey] = []
        self.page_faults: list[Exception | None] = []
        self.list_faults: list[Exception] = []
        self.switch_faults: list[Exception] = []
        self.read: list[tuple[date, date]] = []
        self.running_since: date | None = None
        self.flaw: str | None = None
        self.shows_projects = True

    def use(self, key: Key, micros: int, *, day: date | None = None, model: str = "gpt-5-mini") -> None:
        """A call with the key."""
        assert key.handle is not None
        assert key.handle in self.living, "a dead key was used"
        assert key.handle not in self.off, "a key that is off was used"
        self.report(f"meter_{key.handle}", micros, day=day, model=model)

    def report(self, meter: str, micros: int, *, day: date | None = None, model: str = "gpt-5-mini") -> None:
        """Something is used under this meter."""
        day = day or self._clock().date()
        was = self.used.get((meter, day, model))
        requests, cost = (was.requests, was.cost_micros) if was else (0, 0)
        self.used[meter, day, model] = Usage(
            meter,
            day,
            model,
            requests + 1,
            (requests + 1) * 10,
            requests + 1,
            cost + micros,
            Basis.BILLED,
            self._clock(),
        )

    async def mint(self, *, marker: str, scope: Scope, lifetime: timedelta) -> Minted:
        """As others do, with a meter of its own."""
        minted = await super().mint(marker=marker, scope=scope, lifetime=lifetime)
        return replace(minted, meter=f"meter_{minted.handle}")

    async def usage(self, *, since: date, until: date) -> AsyncIterator[Sequence[Usage]]:
        """Day by day; or, as a running total, today's alone."""
        self.read.append((since, until))
        if self.running_since is not None:
            totals: dict[str, Usage] = {}
            for (meter, day, _), one in self.used.items():
                if self.running_since <= day <= until:
                    was = totals.get(meter)
                    totals[meter] = replace(
                        one,
                        day=until,
                        model="",
                        requests=one.requests + (was.requests if was else 0),
                        tokens_in=one.tokens_in + (was.tokens_in if was else 0),
                        tokens_out=one.tokens_out + (was.tokens_out if was else 0),
                        cost_micros=one.cost_micros + (was.cost_micros if was else 0),
                        total_since=self.running_since,
                    )
            yield list(totals.values())
            return
        for number in range((until - since).days + 1):
            fault = self.page_faults.pop(0) if self.page_faults else None
            if fault is not None:
                raise fault
            day = since + timedelta(days=number)
            yield [one for one in self.used.values() if one.day == day]

    async def keys(self) -> AsyncIterator[ProviderKey]:
        """The living, then others; a fault in `list_faults` breaks the list off in the middle."""
        for handle, marker in list(self.living.items()):
            yield self._listed(handle, marker)
        if self.list_faults:
            raise self.list_faults.pop(0)
        for one in self.others:
            yield one

    async def get(self, *, handle: str, project: str) -> ProviderKey | None:
        """As it is now."""
        if handle in self.living:
            return self._listed(handle, self.living[handle])
        return next((one for one in self.others if one.handle == handle), None)

    def _listed(self, handle: str, marker: str) -> ProviderKey:
        status = KeyStatus.DISABLED if handle in self.off else KeyStatus.ACTIVE
        return ProviderKey(handle, marker, "proj_search", status, meter=f"meter_{handle}")

    async def disable(self, *, handle: str, project: str) -> None:
        """Off."""
        if self.switch_faults:
            raise self.switch_faults.pop(0)
        self.off.add(handle)

    async def enable(self, *, handle: str, project: str) -> None:
        """On."""
        if self.switch_faults:
            raise self.switch_faults.pop(0)
        self.off.discard(handle)

    async def revoke(self, *, handle: str, project: str) -> None:
        """Gone, whoever made it."""
        await super().revoke(handle=handle, project=project)
        self.others = [one for one in self.others if one.handle != handle]

    async def probe(self) -> Probe:
        """What the test says."""
        return Probe(frozenset(), "", flaw=self.flaw) if self.flaw else Probe(self.abilities, "Sees search-prod.")

    def applied_limits(self, *, scope: Scope, lifetime: timedelta) -> tuple[AppliedLimit, ...]:
        """It holds a key to no budget."""
        return (AppliedLimit(LimitKind.BUDGET, "$25 a month", Enforcer.NOBODY),)


def key_of_somebody(handle: str, name: str = "my own key", *, since: datetime | None = None) -> ProviderKey:
    """A key as a person made it."""
    return ProviderKey(handle, name, "proj_search", KeyStatus.ACTIVE, created_at=since, meter=f"meter_{handle}")
