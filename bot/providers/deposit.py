"""Deposits: for whatever has no provider here. Its projects are the policy's [[deposit]] tables; people make the keys.

Nothing is called: what such a key may do, and until when, is between people. The desk knows whom it handed which key to,
and asks for it to be revoked when its time is over.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from bot.desk.model import Scope
from bot.desk.offer import (
    Ability,
    AppliedLimit,
    Enforcer,
    Environment,
    LimitKind,
    Making,
    Permission,
    Probe,
    Project,
)
from bot.desk.policy import DEPOSIT, DepositKind, parse_duration
from bot.desk.ports import Provider


class Deposits(Provider):
    """The desk's `Provider` of keys that nothing but people can make and revoke."""

    name = DEPOSIT
    label = "Something else"
    abilities: frozenset[Ability] = frozenset()
    permissions: Sequence[Permission] = (Permission("use", "Whatever this key may do"),)

    def __init__(self, kinds: Sequence[DepositKind]) -> None:
        self._kinds = {kind.id: kind for kind in kinds}

    async def projects(self) -> Sequence[Project]:
        """The kinds of keys that policy names."""
        return [Project(kind.id, kind.name) for kind in self._kinds.values()]

    def making(self, project: str) -> Making:
        """The operator's instructions. A kind that policy names no more has none."""
        kind = self._kinds.get(project)
        if kind is None:
            return Making()
        return Making(steps=kind.instructions, rotation=parse_duration(kind.rotation_interval))

    def environment(self, project: str) -> Environment:
        """After the kind: "mapbox" is read from MAPBOX_API_KEY. Names of variables begin with no digit."""
        name = project.upper().replace("-", "_")
        return Environment(f"{'KEY_' if name[:1].isdigit() else ''}{name}_API_KEY")

    def applied_limits(self, *, scope: Scope, lifetime: timedelta) -> tuple[AppliedLimit, ...]:
        """None is enforced by anybody."""
        return (
            AppliedLimit(
                LimitKind.EXPIRY,
                "its time",
                Enforcer.NOBODY,
                "Keydesk then asks a person to revoke it by hand, and waits until they say so.",
            ),
            AppliedLimit(
                LimitKind.PERMISSION, "what it may do", Enforcer.NOBODY, "Whoever makes the key decides that."
            ),
            AppliedLimit(LimitKind.BUDGET, "its budget", Enforcer.NOBODY, "Keydesk does not see what it spends."),
        )

    async def aclose(self) -> None:
        """There is nothing to give back."""

    async def probe(self) -> Probe:
        """There is nothing to ask."""
        return Probe(self.abilities, f"People bring keys for {', '.join(kind.name for kind in self._kinds.values())}.")


def from_policy(kinds: Sequence[DepositKind]) -> Mapping[str, Provider]:
    """The adapter that the policy describes, by name; none where it has no such table."""
    return {DEPOSIT: Deposits(kinds)} if kinds else {}
