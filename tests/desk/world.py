"""The desk, composed on a real store. Only what lies beyond the process is played: people, a vendor, Slack, the time."""

import asyncio
import base64
import os
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from bot.desk import envelope
from bot.desk.assembly import assemble
from bot.desk.audit import Entry, verify
from bot.desk.errors import Unavailable
from bot.desk.ids import new_id
from bot.desk.linting import load
from bot.desk.model import (
    Actor,
    Draft,
    Grant,
    Handover,
    Home,
    Key,
    Link,
    Minted,
    Notice,
    NoticeKind,
    Person,
    ProviderState,
    Round,
    Ruling,
    Scope,
    Sealed,
    Secret,
    Session,
    Story,
    Wish,
)
from bot.desk.offer import Ability, AppliedLimit, Enforcer, Invitation, LimitKind, Permission, Probe, Project
from bot.desk.ports import Provider
from bot.desk.states import KeyState
from bot.desk.vault import KekSource
from bot.desk.week import Digest
from storage.store import SqlStore

TEAM = "T0ACME"
ANA, BEN, CARA, DEV = (Actor(TEAM, who) for who in ("U0ANA", "U0BEN", "U0CARA", "U0DEV"))
GUEST, BOT, GONE, STRANGER, NOBODY = (Actor(TEAM, who) for who in ("U0GUS", "U0BOT", "U0OLD", "U0XAV", "U0NOBODY"))
CHANNEL = "C0KEYS"
LEADS = "S0LEADS"
NOON = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
POLICY = f"""\
version = 1
approval_channel = "{CHANNEL}"
manager_field = "Xf0MANAGER"

[[rule]]
name = "everyday keys"
requesters = ["everyone"]
provider = "openai"
projects = ["*"]
permissions = ["chat"]
approvers = ["{LEADS}", "manager"]
max_duration = "30d"
max_monthly_budget = 200
new_projects = true
invitations = true

[[rule]]
name = "all of it"
requesters = ["{LEADS}"]
provider = "openai"
projects = ["*"]
permissions = ["all"]
approvers = ["U0ANA"]
max_duration = "1d"
max_monthly_budget = 50
"""


class SetClock:
    """The time that the test says it is."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


class Workspace:
    """The directory: Ana is Ben's manager, Cara and Dev are leads, and some whom the desk does not serve.

    It `refuses` the desk by a word of Slack's, or is `silent`.
    """

    def __init__(self) -> None:
        self.people = {
            person.id: person
            for person in (
                Person(ANA.id, TEAM, "Ana Ruiz"),
                Person(BEN.id, TEAM, "Ben Okafor", email="ben@acme.example"),
                Person(CARA.id, TEAM, "Cara Lindqvist"),
                Person(DEV.id, TEAM, "Dev Patel"),
                Person(GUEST.id, TEAM, "Gus Guest", guest=True),
                Person(BOT.id, TEAM, "buildbot", bot=True),
                Person(GONE.id, TEAM, "Old Timer", deleted=True),
                Person(STRANGER.id, "T0OTHER", "Xavier Stranger", stranger=True),
            )
        }
        self.groups = {LEADS: {CARA.id, DEV.id}}
        self.managers = {BEN.id: ANA.id}
        self.refuses: str | None = None
        self.silent = False
        self.unlisted: set[str] = set()
        self.breaks_after: int | None = None

    async def person(self, member: str, *, fresh: bool = False) -> Person | None:
        """As known now, while the workspace is not silent."""
        if self.silent:
            raise Unavailable("Slack does not answer now.")
        return self.people.get(member)

    def remembered(self, member: str) -> Person | None:
        """Everybody was known once."""
        return self.people.get(member)

    async def know_everybody(self) -> None:
        """Everybody is known already, while the workspace is not silent."""
        if self.silent:
            raise Unavailable("Slack does not answer now.")

    async def members(self, group: str) -> frozenset[str]:
        """As known now."""
        return frozenset(self.groups.get(group, ()))

    async def manager(self, member: str, profile_field: str) -> str | None:
        """As known now."""
        return self.managers.get(member)

    async def everybody(self) -> AsyncIterator[Sequence[Person]]:
        """Two at a time; those not `unlisted`. Breaks off after `breaks_after` pages."""
        listed = [person for person in self.people.values() if person.id not in self.unlisted]
        for number, at in enumerate(range(0, len(listed), 2)):
            if self.silent or number == self.breaks_after:
                raise Unavailable("Slack does not answer now.")
            yield listed[at : at + 2]


class Line:
    """One process's way into the workspace."""

    team = TEAM

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.refused: str | None = None

    def hang_up(self, because: str) -> None:
        """Nothing passes."""
        self.refused = because

    async def try_again(self) -> str | None:
        """What the workspace says now."""
        if self._workspace.silent:
            raise Unavailable("Slack does not answer now.")
        self.refused = self._workspace.refuses
        return self.refused


class Gate:
    """Stops whoever passes while it is shut, and says that somebody waits there."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()

    def shut(self) -> None:
        """The next to come waits."""
        self.reached.clear()
        self._open.clear()

    def open(self) -> None:
        """Whoever waits goes on."""
        self._open.set()

    async def passed(self) -> None:
        """Returns once the gate is open."""
        self.reached.set()
        await self._open.wait()


class Vendor(Provider):
    """A provider whose keys are kept in memory: handle to marker, of the living; and who is invited, to which project.

    Each fault in `mint_faults`, `revoke_faults` and `invite_faults` meets one call; what `lands` is done all the same.
    """

    name = "openai"
    label = "OpenAI"
    abilities = frozenset({Ability.MINT, Ability.REVOKE, Ability.MODELS, Ability.NEW_PROJECT, Ability.INVITE})
    permissions = (Permission("chat", "Chat completions"), Permission("all", "Everything"))

    def __init__(self) -> None:
        self.living: dict[str, str] = {}
        self.minted: list[str] = []
        self.revoked: list[str] = []
        self.looked_for: list[str] = []
        self.mint_faults: list[Exception] = []
        self.revoke_faults: list[Exception] = []
        self.project_faults: list[Exception] = []
        self.invite_faults: list[Exception] = []
        self.lands = False
        self.invited: set[tuple[str, str]] = set()
        self.accepted: set[str] = set()
        self.members: set[str] = set()
        self.made = [Project("proj_search", "search-prod")]
        self.at_invite = Gate()
        self.at_mint = Gate()

    async def projects(self) -> Sequence[Project]:
        """One."""
        if self.project_faults:
            raise self.project_faults.pop(0)
        return self.made

    async def models(self, *, project: str) -> Sequence[str]:
        """Three."""
        return ("large-1", "small-1", "small-2")

    async def create_project(self, *, name: str, scope: Scope) -> Project:
        """The one of that name, or a new one."""
        if self.project_faults:
            raise self.project_faults.pop(0)
        found = [project for project in self.made if project.name == name]
        if not found:
            self.made.append(Project(f"proj_{len(self.made)}", name))
        return found[0] if found else self.made[-1]

    async def invite(self, *, email: str, project: str) -> Invitation:
        """Waits at the gate, meets its fault, or lands. Who is in the project already stays as they are."""
        await self.at_invite.passed()
        fault = self.invite_faults.pop(0) if self.invite_faults else None
        before = email in self.members
        if not before and (fault is None or self.lands):
            self.invited.add((email, project))
        if fault:
            raise fault
        return Invitation("" if before else f"invite {email}", email, pending=not before and email not in self.accepted)

    async def follow(self, *, invitation: Invitation, project: str) -> Invitation:
        """Whether it was accepted."""
        return replace(invitation, pending=invitation.email not in self.accepted)

    async def withdraw(self, *, invitation: Invitation, project: str) -> None:
        """By handle; without one, what nobody accepted."""
        if self.invite_faults:
            raise self.invite_faults.pop(0)
        email = invitation.handle.removeprefix("invite ") or invitation.email
        if invitation.handle or email not in self.accepted:
            self.invited.discard((email, project))

    def land(self, marker: str) -> str:
        """A key comes to be; its handle."""
        handle = f"svc_{len(self.minted)}"
        self.living[handle] = marker
        self.minted.append(handle)
        return handle

    async def mint(self, *, marker: str, scope: Scope, lifetime: timedelta) -> Minted:
        """Waits at the gate, meets its fault, or lands."""
        await self.at_mint.passed()
        if self.mint_faults:
            fault = self.mint_faults.pop(0)
            if self.lands:
                self.land(marker)
            raise fault
        handle = self.land(marker)
        return Minted(handle=handle, fingerprint=f"exa…{handle}", secret=Secret(f"example-{handle}"))

    async def find(self, *, marker: str, project: str) -> Sequence[str]:
        """The living that bear it."""
        self.looked_for.append(marker)
        return [handle for handle, borne in self.living.items() if borne == marker]

    async def revoke(self, *, handle: str, project: str) -> None:
        """Meets its fault, or the key is gone; one that is not there is gone."""
        if self.revoke_faults:
            raise self.revoke_faults.pop(0)
        self.living.pop(handle, None)
        self.revoked.append(handle)

    async def revoke_and_die(self, *, handle: str, project: str) -> None:
        """The key is gone, and nothing after it is done: as a crash right after the call."""
        await Vendor.revoke(self, handle=handle, project=project)
        raise RuntimeError("died")

    def applied_limits(self, *, scope: Scope, lifetime: timedelta) -> tuple[AppliedLimit, ...]:
        """One."""
        return (AppliedLimit(LimitKind.EXPIRY, "expires in time", Enforcer.DESK),)

    async def probe(self) -> Probe:
        """Fine."""
        return Probe(self.abilities, "ok")

    async def aclose(self) -> None:
        """Nothing to close."""


class Slack:
    """The notifier: what was posted, by place; each entry is what stands there now."""

    def __init__(self) -> None:
        self.messages: dict[tuple[str, str], tuple[Notice, Story]] = {}
        self.shows = 0
        self.homes: dict[str, Home] = {}
        self.drawn: Counter[str] = Counter()
        self.warned: list[tuple[str, ProviderState | Round]] = []
        self.faults: list[Exception] = []
        self.digests: list[tuple[datetime, Digest]] = []
        self.digest_faults: list[Exception | None] = []
        self.lost_answers: list[Exception] = []
        self.clock = SetClock()
        self.at_show, self.at_digest = Gate(), Gate()

    async def show(self, notice: Notice, story: Story) -> tuple[str, str]:
        """Waits at the gate, meets its fault, or stands there."""
        await self.at_show.passed()
        if self.faults:
            raise self.faults.pop(0)
        self.shows += 1
        place = (notice.channel or f"D-{notice.recipient}", notice.ts or f"{len(self.messages)}.0")
        self.messages[place] = (notice, story)
        return place

    async def show_home(self, home: Home) -> None:
        """Published."""
        self.homes[home.member] = home
        self.drawn[home.member] += 1

    async def send_digest(self, digest: Digest, *, again: bool) -> None:
        """Waits at the gate, meets its fault, or stands there; what stands there is not posted again."""
        await self.at_digest.passed()
        there = any((one.member, one.week) == (digest.member, digest.week) for _, one in self.digests)
        if not (again and there):
            if self.digest_faults:
                fault = self.digest_faults.pop(0)
                if fault is not None:
                    raise fault
            self.digests.append((self.clock(), digest))
        if self.lost_answers:
            raise self.lost_answers.pop(0)

    async def warn(self, admin: str, about: ProviderState | Round) -> None:
        """Meets its fault, or the admin knows."""
        if self.faults:
            raise self.faults.pop(0)
        self.warned.append((admin, about))

    def standing(self, kind: NoticeKind, recipient: Actor | str | None = None) -> list[Story]:
        """What the messages of a kind tell now."""
        who = recipient.id if isinstance(recipient, Actor) else recipient
        return [
            story for notice, story in self.messages.values() if notice.kind is kind and who in (None, notice.recipient)
        ]


def draft(
    *,
    days: int = 7,
    dollars: int = 25,
    permission: str = "chat",
    project: str = "proj_search",
    reason: str = "Evals",
    models: tuple[str, ...] = (),
) -> Draft:
    """An ask that policy allows to everybody, unless told otherwise."""
    scope = Scope("openai", project, permission, dollars * 100, models)
    return Draft(scope=scope, project_name="not believed", duration=timedelta(days=days), reason=reason)


def invitation() -> Draft:
    """An ask to be invited instead."""
    scope = Scope("openai", "proj_search", "", 0)
    return Draft(scope, "not believed", timedelta(), "To look at the dashboards", wish=Wish.INVITATION)


def pieces(url: str) -> tuple[str, bytes]:
    """The link's id and its seed."""
    link_id, _, seed = url.rpartition("/k/")[2].partition("#")
    return link_id, base64.urlsafe_b64decode(seed + "=")


def unsealed(url: str, sealed: Sealed) -> str:
    """What the browser shows."""
    _, seed = pieces(url)
    return envelope.open_sealed(sealed.envelope, seed=seed, context=sealed.context).expose()


class World:
    """The desk and what it stands in. Several on one store are several processes on one database."""

    def __init__(
        self,
        store: SqlStore,
        *,
        beside: "World | None" = None,
        vendor: Vendor | None = None,
        policy: str | None = None,
        others: Mapping[str, Provider] | None = None,
        kek: KekSource | None = None,
        clock: SetClock | None = None,
        people: Workspace | None = None,
        slack: Slack | None = None,
    ) -> None:
        self.store = store
        self.policy: str = policy or (beside.policy if beside else POLICY)
        self.clock: SetClock = clock or (beside.clock if beside else SetClock())
        self.people: Workspace = people or (beside.people if beside else Workspace())
        self.vendor: Vendor = beside.vendor if beside else vendor or Vendor()
        self.slack: Slack = slack or (beside.slack if beside else Slack())
        self.line = Line(self.people)
        self.slack.clock = self.clock
        vendors = {"openai": self.vendor, **(others or {})}
        desk = assemble(
            store=store,
            directory=self.people,
            notifier=self.slack,
            line=self.line,
            policy=load(self.policy, permissions={name: one.permissions for name, one in vendors.items()}),
            providers=vendors,
            kek=kek,
            clock=self.clock,
            random=os.urandom,
            public_url="https://desk.example",
        )
        self.stories, self.menus = desk.stories, desk.menus
        self.requests, self.grants, self.revoking, self.watch = desk.requests, desk.grants, desk.revoking, desk.watch
        self.replacing = desk.replacing
        self.switching, self.usage, self.providers = desk.switching, desk.usage, desk.providers
        self.incidents = desk.incidents
        self.deposits, self.leaving, self.links = desk.deposits, desk.leaving, desk.links
        self.extending, self.idling = desk.extending, desk.idling
        self.installation = desk.installation
        self.rotation, self.reminding = desk.rotation, desk.reminding
        self.mailing = desk.mailing

    # ---- the way of one request

    async def asked(self, by: Actor = BEN, what: Draft | None = None) -> Story:
        """Submitted."""
        return await self.requests.submit(by, what or draft(), origin=new_id("v", os.urandom))

    async def approved(self, by: Actor = BEN, what: Draft | None = None) -> Grant:
        """Submitted, and approved by a lead."""
        story = await self.asked(by, what)
        approver = DEV if by == CARA else CARA
        grant = (await self.requests.decide(approver, story.request.id, Ruling.APPROVE)).grant
        assert grant is not None
        return grant

    async def picked_up(self, grant: Grant) -> Key:
        """The intention stored; nothing minted."""
        return await self.grants.pick_up(Actor(TEAM, grant.holder), grant.id, delivery=new_id("d", os.urandom))

    async def delivering(self, grant: Grant | None = None) -> Handover:
        """Minted and sealed, not opened."""
        return await self.grants.issue(await self.picked_up(grant or await self.approved()))

    async def active(self) -> Grant:
        """Opened and acknowledged by its holder."""
        handover = await self.delivering()
        await self.claim(handover)
        await self.acknowledge(handover)
        return await self.grant(handover.grant)

    async def claim(self, handover: Handover, session: str = "laptop", actor: Actor = BEN) -> Sealed:
        """The page asks for the envelope."""
        link_id, seed = pieces(handover.url)
        return await self.links.claim(Session(actor, session), link_id, envelope.access_token(seed))

    async def acknowledge(self, handover: Handover, session: str = "laptop", actor: Actor = BEN) -> None:
        """The page shows the key."""
        link_id, seed = pieces(handover.url)
        await self.links.acknowledge(Session(actor, session), link_id, envelope.access_token(seed))

    async def sweep(self, after: timedelta = timedelta()) -> None:
        """Time passes, then every sweep runs once."""
        self.clock.now += after
        await self.watch.reconcile()
        await self.watch.tick()
        await self.watch.retire()
        await self.watch.invite()
        await self.watch.deliver()
        await self.watch.digest()
        await self.watch.redraw()

    async def round(self, after: timedelta = timedelta()) -> None:
        """Time passes, the rounds that are due are made, then every sweep runs once."""
        self.clock.now += after
        await self.watch.go_round()
        await self.sweep()

    # ---- what there is now

    async def grant(self, grant: Grant) -> Grant:
        """As stored."""
        found = await self.store.read(lambda tx: tx.grant(TEAM, grant.id))
        assert found is not None
        return found

    async def keys(self, grant: Grant) -> Sequence[Key]:
        """All that the grant ever had, in the order of their intentions."""
        keys = await self.store.read(lambda tx: tx.keys_of(TEAM, grant.id))
        return sorted(keys, key=lambda key: key.intended_at)

    async def key(self, key_id: str) -> Key:
        """As stored."""
        found = await self.store.read(lambda tx: tx.key(TEAM, key_id))
        assert found is not None
        return found

    async def link(self, handover: Handover) -> Link:
        """As stored."""
        found = await self.store.read(lambda tx: tx.link(pieces(handover.url)[0]))
        assert found is not None
        return found

    async def entries(self) -> Sequence[Entry]:
        """The audit log."""
        return (await self.store.audit_chain(TEAM))[0]

    async def acts(self) -> list[str]:
        """What the audit log says was done, in order."""
        return [entry.act for entry in await self.entries()]

    async def last_entry(self) -> Entry:
        """The newest of the audit log."""
        return (await self.entries())[-1]

    async def must_hold(self) -> None:
        """What is true after every story: the chain verifies, and no key lives that the desk thinks is gone."""
        for team in await self.store.teams():
            flaw = verify(*await self.store.audit_chain(team))
            assert flaw is None, flaw
        for marker in self.vendor.living.values():
            key = await self.key(marker.removeprefix("keydesk-"))
            assert key.state not in (KeyState.REVOKED, KeyState.VOID), f"{key.id} lives at the vendor"
