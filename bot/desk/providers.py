"""The providers of this desk, and what each said of itself when it was last asked."""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from bot.desk.due import Due, DueKind
from bot.desk.limits import watched
from bot.desk.model import AccessRequest, Scope, Wish
from bot.desk.offer import Ability, AppliedLimit, Probe
from bot.desk.policy import Idle, OnLeaving, Policy, Rotating
from bot.desk.ports import Clock, Provider
from bot.desk.sweeps import failed, handling

log = logging.getLogger(__name__)

SOUND_FOR = timedelta(hours=1)  # how long a probe without a flaw is believed
FLAWED_FOR = timedelta(minutes=1)  # … and one with a flaw: an operator who mends it sees it soon
PATIENCE = 20.0  # seconds, for one probe


def mints(provider: Provider) -> bool:
    """Whether its keys are minted; else a person makes and brings them."""
    return Ability.MINT in provider.abilities


class Providers(Mapping[str, Provider]):
    """By name, as policy and storage call them. `known` answers at once; `refresh` asks those whose answer is old."""

    def __init__(self, adapters: Mapping[str, Provider], *, policy: Policy, clock: Clock) -> None:
        self._adapters = dict(adapters)
        self._policy = policy
        self._clock = clock
        self._probed: dict[str, tuple[datetime, Probe]] = {}

    def __getitem__(self, name: str) -> Provider:
        return self._adapters[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._adapters)

    def __len__(self) -> int:
        return len(self._adapters)

    def known(self, name: str) -> Probe:
        """The newest probe; until the first, what the adapter is built for. An unknown provider can do nothing."""
        if name not in self._adapters:
            return Probe(frozenset(), "", flaw=f"{name} is not set up. Mend: set its credential.")
        if name in self._probed:
            return self._probed[name][1]
        return Probe(self._adapters[name].abilities, f"{self._adapters[name].label} was not asked yet.")

    def can(self, name: str, ability: Ability) -> bool:
        """Whether the provider's last answer was that the desk may do this."""
        return ability in self.known(name).abilities

    def mints(self, name: str) -> bool:
        """Whether keys of it are minted; else a person deposits them. A flaw of the moment changes nothing in that."""
        return name in self._adapters and mints(self._adapters[name])

    def offers(self, name: str, ability: Ability) -> bool:
        """Whether this is there as a rule: what was said without a flaw, else what the adapter is built for."""
        if name not in self._adapters:
            return False
        probe = self.known(name)
        return ability in (self._adapters[name].abilities if probe.flaw else probe.abilities)

    def limits(self, request: AccessRequest) -> tuple[AppliedLimit, ...]:
        """What holds a key of this request to what: the provider's limits, and the desk's own watching."""
        scope = request.draft.scope
        provider = self.get(scope.provider)
        if provider is None or request.draft.wish is Wish.INVITATION:
            return ()
        limits = provider.applied_limits(scope=scope, lifetime=request.draft.duration)
        if not self.offers(scope.provider, Ability.USAGE):
            return limits
        return watched(
            limits,
            over_budget=self._policy.over_budget(request.rule, scope),
            disables=self.offers(scope.provider, Ability.DISABLE),
            usage_lag=provider.usage_lag,
        )

    def idle(self, request: AccessRequest) -> Idle:
        """What the desk does about a key of this request that nothing uses."""
        return self._policy.idle(request.rule, request.draft.scope)

    def on_leaving(self, request: AccessRequest) -> OnLeaving:
        """What becomes of a key of this request when its holder leaves."""
        return self._policy.on_leaving(request.rule, request.draft.scope)

    def rotation(self, scope: Scope) -> Rotating:
        """How keys with this scope follow each other, and what follows when they do not."""
        return self._policy.rotation(scope)

    def meters(self, name: str) -> bool:
        """Whether a budget can mean something there: the provider makes the key, or tells what was used with it."""
        return bool({Ability.MINT, Ability.USAGE} & (self._adapters[name].abilities if name in self else set()))

    async def to_be_asked(self) -> Sequence[Due]:
        """Those that `refresh` would probe now."""
        now = self._clock()
        last = {name: at for name, (at, _) in self._probed.items()}
        return [
            Due(DueKind.PROBE, "", name, "probe", "", last.get(name))
            for name in self._adapters
            if self._is_due(name, now)
        ]

    async def refresh(self) -> None:
        """Probes, all at once, those whose last answer is old or was never given."""
        now = self._clock()
        handling(sum(self._is_due(name, now) for name in self._adapters))
        await asyncio.gather(*(self._probe(name) for name in self._adapters if self._is_due(name, now)))

    def _is_due(self, name: str, now: datetime) -> bool:
        if name not in self._probed:
            return True
        at, probe = self._probed[name]
        return now - at >= (FLAWED_FOR if probe.flaw else SOUND_FOR)

    async def _probe(self, name: str) -> None:
        adapter = self._adapters[name]
        try:
            async with asyncio.timeout(PATIENCE):
                probe = await adapter.probe()
        except TimeoutError:
            probe = Probe(frozenset(), "", flaw=f"{adapter.label} does not answer.")
        except Exception as error:
            log.exception("provider %s cannot be probed", name)
            failed(error)
            probe = Probe(frozenset(), "", flaw=f"{adapter.label} cannot be asked; the log says why.")
        if probe.flaw and probe.flaw != self.known(name).flaw:
            log.warning("provider %s: %s", name, probe.flaw)
        self._probed[name] = self._clock(), probe
