"""A desk with its web side, served on loopback. Only what lies beyond the process is played: people and a vendor."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import uvicorn
from pydantic import SecretStr
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from bot import web
from bot.desk.assembly import assemble
from bot.desk.audit import Entry
from bot.desk.deposits import Deposits
from bot.desk.grants import Grants
from bot.desk.ids import new_id
from bot.desk.linting import kinds, load
from bot.desk.model import (
    AccessRequest,
    Actor,
    Decision,
    Draft,
    Grant,
    Handover,
    Home,
    Key,
    Link,
    Minted,
    Notice,
    Person,
    ProviderState,
    Round,
    Ruling,
    Scope,
    Secret,
    Story,
)
from bot.desk.offer import Ability, AppliedLimit, Permission, Probe, Project
from bot.desk.ports import Provider, Transaction
from bot.desk.requests import Requests
from bot.desk.states import GrantState, RequestState
from bot.desk.stories import Stories
from bot.desk.watch import Watch
from bot.desk.week import Digest
from bot.providers import deposit
from storage.store import SqlStore
from tests.desk.world import Line, Workspace

TEAM = "T0ACME"
VALUE = "example-key-0123456789-abcdefghijklmnopqrstuvwxyz"
KEK = "a2V5LWVuY3J5cHRpb24ta2V5LWZvci10ZXN0cy0wMDE="
"""base64 of 32 bytes."""
POLICY = """\
version = 1

[[deposit]]
id = "mapbox"
name = "Mapbox"
instructions = '''
In the account page, Access tokens, Create a token.
Leave the secret scopes off.
'''

[[rule]]
name = "other services"
requesters = ["everyone"]
provider = "deposit"
projects = ["mapbox"]
permissions = ["use"]
approvers = ["U0ANA"]
depositors = ["U0ANA", "U0CARA"]
max_duration = "30d"
max_monthly_budget = 200

[[rule]]
name = "everyday keys"
requesters = ["everyone"]
provider = "openai"
projects = ["*"]
permissions = ["*"]
approvers = ["U0ANA"]
max_duration = "30d"
max_monthly_budget = 200
"""


class People:
    """The directory: those of the sandbox whom these tests need."""

    def __init__(self) -> None:
        self.known = {
            one.id: one
            for one in (
                Person("U0ANA", TEAM, "Ana Ruiz"),
                Person("U0BEN", TEAM, "Ben Okafor"),
                Person("U0CARA", TEAM, "Cara Lindqvist"),
                Person("U0GUS", TEAM, "Gus Guest", guest=True),
            )
        }

    async def person(self, member: str, *, fresh: bool = False) -> Person | None:
        """As known."""
        return self.known.get(member)

    def remembered(self, member: str) -> Person | None:
        """They are known."""
        return self.known.get(member)

    async def know_everybody(self) -> None:
        """They are known."""

    async def members(self, group: str) -> frozenset[str]:
        """No groups here."""
        return frozenset()

    async def manager(self, member: str, profile_field: str) -> str | None:
        """No managers here."""
        return None

    async def everybody(self) -> AsyncIterator[Sequence[Person]]:
        """Nobody asks."""
        yield ()


class Vendor(Provider):
    """A provider that mints one value, and remembers what it was told to revoke."""

    name = "openai"
    label = "OpenAI"
    abilities = frozenset({Ability.MINT, Ability.REVOKE})
    permissions = (Permission("chat", "Chat completions"),)

    def __init__(self) -> None:
        self.revoked: list[str] = []

    async def projects(self) -> Sequence[Project]:
        """One."""
        return (Project("proj_search", "search-prod"),)

    async def mint(self, *, marker: str, scope: Scope, lifetime: timedelta) -> Minted:
        """At once."""
        return Minted(handle=marker, fingerprint="exa…wxyz", secret=Secret(VALUE))

    async def find(self, *, marker: str, project: str) -> Sequence[str]:
        """What bears the marker is the handle."""
        return (marker,)

    async def revoke(self, *, handle: str, project: str) -> None:
        """At once."""
        self.revoked.append(handle)

    def applied_limits(self, *, scope: Scope, lifetime: timedelta) -> tuple[AppliedLimit, ...]:
        """None."""
        return ()

    async def probe(self) -> Probe:
        """Fine."""
        return Probe(self.abilities, "ok")

    async def aclose(self) -> None:
        """Nothing to close."""


class Silence:
    """A notifier: nobody is told anything."""

    async def show(self, notice: Notice, story: Story) -> tuple[str, str]:
        """As if posted."""
        return "D0", "1.0"

    async def warn(self, admin: str, about: ProviderState | Round) -> None:
        """Nobody to warn."""

    async def send_digest(self, digest: Digest, *, again: bool) -> None:
        """As if posted."""

    async def show_home(self, home: Home) -> None:
        """As if published."""


class MovableClock:
    """Now, plus what the test has added."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class World:
    """The served desk."""

    url: str
    store: SqlStore
    stories: Stories
    requests: Requests
    deposits: Deposits
    grants: Grants
    watch: Watch
    clock: MovableClock
    people: People = field(default_factory=People)
    ready: bool = True

    async def approved(self, holder: str = "U0BEN") -> Grant:
        """A grant that waits for its pick-up."""
        now = self.clock()
        request = AccessRequest(
            team=TEAM,
            id=new_id("r", os.urandom),
            requester=holder,
            draft=Draft(
                scope=Scope("openai", "proj_search", "chat", 2500),
                provider_name="OpenAI",
                project_name="search-prod",
                permission_name="Chat completions",
                duration=timedelta(days=7),
                reason="Nightly evaluation",
            ),
            rule="everyday keys",
            state=RequestState.APPROVED,
            created_at=now,
            origin=new_id("o", os.urandom),
        )
        grant = Grant(
            team=TEAM,
            id=new_id("g", os.urandom),
            request_id=request.id,
            holder=holder,
            draft=request.draft,
            state=GrantState.READY,
            created_at=now,
        )

        def act(tx: Transaction) -> None:
            for thing in (request, Decision(TEAM, request.id, "U0ANA", Ruling.APPROVE, "", now), grant):
                tx.add(thing)

        await self.store.write(act)
        return grant

    async def awaited(self, holder: str = "U0BEN") -> Key:
        """A key that Ana or Cara is to bring."""
        draft = Draft(
            scope=Scope("deposit", "mapbox", "use", 2500),
            project_name="",
            duration=timedelta(days=7),
            reason="Maps on the careers page",
        )
        story = await self.requests.submit(Actor(TEAM, holder), draft, origin=new_id("v", os.urandom))
        story = await self.requests.decide(Actor(TEAM, "U0ANA"), story.request.id, Ruling.APPROVE)
        assert story.key is not None
        return story.key

    async def key(self, key: Key) -> Key:
        """As it is stored."""
        found = await self.store.read(lambda tx: tx.key(TEAM, key.id))
        assert found is not None
        return found

    async def pick_up(self, grant: Grant) -> Handover:
        """Its holder picks it up."""
        actor = Actor(TEAM, grant.holder)
        key = await self.grants.pick_up(actor, grant.id, delivery=new_id("d", os.urandom))
        return await self.grants.issue(key)

    async def link(self, holder: str = "U0BEN") -> str:
        """The URL that opens a fresh key."""
        return (await self.pick_up(await self.approved(holder))).url

    async def stored(self, url: str) -> Link:
        """The link as it is stored."""
        found = await self.store.read(lambda tx: tx.link(url.rpartition("/k/")[2].partition("#")[0]))
        assert found is not None
        return found

    async def entries(self) -> Sequence[Entry]:
        """The audit log."""
        return (await self.store.audit_chain(TEAM))[0]

    async def pass_time(self, by: timedelta) -> None:
        """Moves the desk's clock and lets it sweep once."""
        self.clock.ahead += by
        await self.watch.reconcile()


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """Signals are pytest's."""


def listening() -> tuple[socket.socket, str]:
    """A socket on a free port, and its URL."""
    # Named as TCP: only then does asyncio switch off Nagle's delay.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def serving(app: ASGIApp, listener: socket.socket) -> AsyncIterator[None]:
    """The app, served in this loop until the context ends."""
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def world(
    *,
    store: SqlStore,
    slack_origin: str,
    client_id: str,
    client_secret: str,
    public_url: str | None = None,
    extra_routes: Sequence[BaseRoute] = (),
) -> AsyncIterator[World]:
    """A desk, served until the context ends. `public_url`: what it believes its address to be."""
    listener, url = listening()
    clock, people = MovableClock(), People()
    vendors: dict[str, Provider] = {"openai": Vendor(), **deposit.from_policy(kinds(POLICY))}

    async def kek() -> Secret:
        return Secret(KEK)

    desk = assemble(
        store=store,
        directory=people,
        notifier=Silence(),
        line=Line(Workspace()),
        policy=load(POLICY, permissions={name: vendor.permissions for name, vendor in vendors.items()}),
        providers=vendors,
        kek=kek,
        clock=clock,
        random=os.urandom,
        public_url=public_url or url,
    )
    served = World(
        url=url,
        store=store,
        stories=desk.stories,
        requests=desk.requests,
        deposits=desk.deposits,
        grants=desk.grants,
        watch=desk.watch,
        clock=clock,
        people=people,
    )

    async def ready() -> None:
        if not served.ready:
            raise ConnectionError("the database at db.internal does not answer")

    app = web.build(
        links=desk.links,
        deposits=desk.deposits,
        public_url=public_url or url,
        session_secret=SecretStr("s" * 32),
        slack_client_id=client_id,
        slack_client_secret=SecretStr(client_secret),
        slack_origin=slack_origin,
        team=TEAM,
        ready=ready,
        extra_routes=extra_routes,
    )
    async with serving(app, listener):
        yield served
