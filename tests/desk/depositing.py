"""A desk whose policy lets people bring keys, and a provider at which only people make them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from bot.desk.ids import new_id
from bot.desk.linting import kinds
from bot.desk.model import Actor, Draft, Grant, Handover, Key, Ruling, Scope, Secret, Session, Story
from bot.desk.offer import Ability, AppliedLimit, KeyStatus, Making, Permission, Probe, Project, ProviderKey
from bot.desk.ports import Provider
from bot.desk.vault import Recipient
from bot.providers import deposit
from storage.store import SqlStore
from tests.desk.world import BEN, CARA, CHANNEL, TEAM, World

FIRST, SECOND = ("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=")
"""base64 of 32 bytes each."""
LEADS = """
[[rule]]
name = "brought by leads"
requesters = ["everyone"]
provider = "console"
projects = ["*"]
permissions = ["*"]
approvers = ["U0CARA"]
depositors = ["S0LEADS"]
max_duration = "30d"
max_monthly_budget = 200
"""
POLICY = f"""\
version = 1
approval_channel = "{CHANNEL}"

[[deposit]]
id = "mapbox"
name = "Mapbox"
instructions = "Account, Access tokens."
rotation_interval = "30d"

[[rule]]
name = "brought by who approved"
requesters = ["everyone"]
provider = "deposit"
projects = ["mapbox"]
permissions = ["use"]
approvers = ["U0ANA", "U0CARA"]
max_duration = "30d"
max_monthly_budget = 200
"""


class Console(Provider):
    """A provider whose keys are made by people, who see each value once. What it may do is the test's to say."""

    name = "console"
    label = "Console"
    permissions = (Permission("all", "Everything"),)
    abilities: frozenset[Ability] = frozenset({Ability.LIST, Ability.REVOKE})

    def __init__(self) -> None:
        self.keys_by_value: dict[str, ProviderKey] = {}
        self.faults: list[Exception] = []
        self.revoked: list[str] = []
        self.recognises = True

    async def projects(self) -> Sequence[Project]:
        """One."""
        return (Project("wrk_1", "research"),)

    def making(self, project: str) -> Making:
        """Where and how."""
        return Making(steps="Settings, API keys.", url="https://console.example/keys", prefix="con-")

    def made(self, name: str) -> str:
        """A person makes a key of this name; its value."""
        value = f"con-{len(self.keys_by_value)}-0123456789-abcdefghijklmnopqrstuvwxyz"
        self.keys_by_value[value] = ProviderKey(f"key_{len(self.keys_by_value)}", name, "wrk_1", KeyStatus.ACTIVE)
        return value

    async def recognise(self, *, secret: Secret, marker: str, project: str) -> ProviderKey | None:
        """By its value."""
        if self.faults:
            raise self.faults.pop(0)
        return self.keys_by_value.get(secret.expose()) if self.recognises else None

    async def find(self, *, marker: str, project: str) -> Sequence[str]:
        """By name."""
        return [
            key.handle for key in self.keys_by_value.values() if key.name == marker and key.status is KeyStatus.ACTIVE
        ]

    async def get(self, *, handle: str, project: str) -> ProviderKey | None:
        """As it is now."""
        return next((key for key in self.keys_by_value.values() if key.handle == handle), None)

    async def revoke(self, *, handle: str, project: str) -> None:
        """Gone."""
        if self.faults:
            raise self.faults.pop(0)
        self.revoked.append(handle)
        self.keys_by_value = {
            value: replace(key, status=KeyStatus.GONE) if key.handle == handle else key
            for value, key in self.keys_by_value.items()
        }

    def applied_limits(self, *, scope: Scope, lifetime: timedelta) -> tuple[AppliedLimit, ...]:
        """None."""
        return ()

    async def probe(self) -> Probe:
        """Fine."""
        return Probe(self.abilities, "ok")

    async def aclose(self) -> None:
        """Nothing to close."""


@dataclass
class Keks:
    """The operator's KEKs, as text."""

    text: str = FIRST

    async def __call__(self) -> Secret:
        return Secret(self.text)


class Depositing(World):
    """The desk, with keys that people bring."""

    def __init__(self, store: SqlStore, *, beside: "Depositing | None" = None, console: bool = True) -> None:
        self.console: Console = beside.console if beside else Console()
        self.keks: Keks = beside.keks if beside else Keks()
        others = {"console": self.console, **deposit.from_policy(kinds(POLICY))}
        if not console:
            del others["console"]
        policy = POLICY + LEADS if console else POLICY
        super().__init__(store, beside=beside, policy=policy, others=others, kek=self.keks)

    async def awaited(
        self,
        provider: str = "console",
        by: Actor = BEN,
        approver: Actor = CARA,
        duration: timedelta = timedelta(days=7),
    ) -> Key:
        """A key that somebody is to bring."""
        project, permission = ("wrk_1", "all") if provider == "console" else ("mapbox", "use")
        draft = Draft(Scope(provider, project, permission, 2500), "", duration, "Maps")
        story = await self.requests.submit(by, draft, origin=new_id("v", os.urandom))
        story = await self.requests.decide(approver, story.request.id, Ruling.APPROVE)
        assert story.key is not None
        return story.key

    async def bring(self, key: Key, value: str, *, by: Actor = CARA) -> Story:
        """As the page does."""
        session = Session(by, "laptop")
        task = await self.deposits.look(session, key.id)
        assert task.recipient is not None
        return await self.deposits.deposit(session, key.id, sealed(value, task.recipient), task.recipient.kek)

    async def rested(
        self, provider: str = "console", *, named: bool = True, duration: timedelta = timedelta(days=7)
    ) -> tuple[Key, str]:
        """A key that was brought, and its value."""
        key = await self.awaited(provider, duration=duration)
        value = self.console.made(key.marker if named else "my key")
        await self.bring(key, value)
        return await self.key(key.id), value

    async def grant_of(self, key: Key) -> Grant:
        """As stored."""
        found = await self.store.read(lambda tx: tx.grant(TEAM, key.grant_id))
        assert found is not None
        return found

    async def link_to(self, key: Key) -> Handover:
        """Its holder picks it up."""
        return await self.delivering(await self.grant_of(key))

    async def at_rest(self, key: Key) -> bool:
        """Whether its value is still there."""
        return await self.store.read(lambda tx: tx.deposit(TEAM, key.id)) is not None


def sealed(value: str, recipient: Recipient) -> bytes:
    """By the library; the page has a program of its own."""
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), recipient.public_key)
    return Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM).encrypt(value.encode(), public, info=recipient.info)
