"""The sandbox as a server: everything put together, on one port of 127.0.0.1."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Mount, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from sandbox.anthropic import PretendAnthropic
from sandbox.chat import Chat
from sandbox.control import Control
from sandbox.credentials import Credentials
from sandbox.delivery import Deliveries, SocketMode
from sandbox.directory import Directory
from sandbox.faults import Faults
from sandbox.files import Files
from sandbox.interactions import Interactions
from sandbox.keeping import StateFile
from sandbox.limits import Limits
from sandbox.litellm import PretendLiteLLM
from sandbox.openai import PretendOpenAI
from sandbox.openid import OpenId
from sandbox.openrouter import PretendOpenRouter
from sandbox.screens import Screens
from sandbox.seed import furnish
from sandbox.tickets import ResponseUrls, Triggers
from sandbox.web_api import WebApi
from sandbox.wire import Vendor
from sandbox.workspace import Clock, Workspace

HOST = "127.0.0.1"
SCOPES = (
    "commands",
    "chat:write",
    "files:write",
    "im:history",
    "im:write",
    "users:read",
    "users:read.email",
    "users.profile:read",
    "usergroups:read",
)
ACK_SECONDS = 3.0
SAVE_PAUSE, LONGEST_QUIET = 0.3, 3600.0
UI = Path(__file__).parent / "ui"


@dataclass(frozen=True, kw_only=True)
class Running(Credentials):
    """Where a running sandbox is, and the credentials that it knows."""

    base_url: str

    @property
    def api_url(self) -> str:
        """The Web API's base, as Slack's SDKs want it."""
        return f"{self.base_url}/api/"

    @property
    def openai_url(self) -> str:
        """The pretend OpenAI's base, as its SDK wants it."""
        return f"{self.base_url}/openai/v1"

    @property
    def openrouter_url(self) -> str:
        """The pretend OpenRouter's base, as its SDK wants it."""
        return f"{self.base_url}/openrouter/api/v1"

    @property
    def anthropic_url(self) -> str:
        """The pretend Anthropic's base, as its SDK wants it. Its Console is `/console` below it."""
        return f"{self.base_url}/anthropic"

    @property
    def litellm_url(self) -> str:
        """The pretend LiteLLM proxy; OpenAI's SDK may take it as its base."""
        return f"{self.base_url}/litellm"

    def as_json(self) -> dict[str, str]:
        """What whoever starts the sandbox as a process is told."""
        names = ("api_url", "openai_url", "openrouter_url", "anthropic_url", "litellm_url")
        urls = {name: str(getattr(self, name)) for name in names}
        return {**urls, **asdict(self)}


class SandboxServer(uvicorn.Server):
    """The server, not yet running; `stop` may be called from any thread."""

    def __init__(
        self,
        *,
        port: int = 0,
        data: Path | None = None,
        scopes: Sequence[str] = SCOPES,
        ack_seconds: float = ACK_SECONDS,
    ) -> None:
        # asyncio switches Nagle's delay off only for sockets that say they are TCP, as create_server's do not.
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((HOST, port))
        self._listener.listen()  # at once, so that no client needs to wait for the server
        self._file = StateFile(data)
        held = self._file.read()
        base_url = f"http://{HOST}:{self._listener.getsockname()[1]}"
        self.running = Running(base_url=base_url, **held.get("credentials", {}))
        app = self._assemble(scopes, ack_seconds)
        if held:
            self._workspace.load(held["workspace"])
            for name, vendor in self._vendors.items():
                if name in held:
                    vendor.load(held[name])
            self._workspace.clock.ahead = held["ahead"]
        super().__init__(
            uvicorn.Config(app, log_config=None, access_log=False, ws="websockets-sansio", timeout_graceful_shutdown=1)
        )

    def _assemble(self, scopes: Sequence[str], ack_seconds: float) -> ASGIApp:
        told = self.running
        clock = Clock()
        workspace = self._workspace = Workspace(clock)
        furnish(workspace)
        openai = self._openai = PretendOpenAI(admin_key=told.openai_admin_key, clock=clock, changed=workspace.changed)
        openrouter = PretendOpenRouter(
            management_key=told.openrouter_management_key, clock=clock, changed=workspace.changed
        )
        anthropic = PretendAnthropic(admin_key=told.anthropic_admin_key, clock=clock, changed=workspace.changed)
        litellm = PretendLiteLLM(master_key=told.litellm_master_key, clock=clock, changed=workspace.changed)
        self._vendors: Mapping[str, Vendor] = {
            "openai": openai,
            "openrouter": openrouter,
            "anthropic": anthropic,
            "litellm": litellm,
        }
        triggers, response_urls = Triggers(clock), ResponseUrls(clock)
        sockets = self._sockets = SocketMode(workspace.changed)
        deliveries = self._deliveries = Deliveries(
            signing_secret=told.signing_secret, sockets=sockets, ack_seconds=ack_seconds
        )
        files, limits = Files(clock=clock, base_url=told.base_url), Limits()
        chat = Chat(workspace=workspace, response_urls=response_urls, files=files)
        screens = Screens(workspace=workspace, triggers=triggers)
        socket_url = f"{told.base_url.replace('http', 'ws', 1)}/link"
        directory = Directory(workspace=workspace, sockets=sockets, socket_url=socket_url)
        open_id = OpenId(workspace=workspace, credentials=told, issuer=told.base_url)
        web_api = WebApi(
            credentials=told,
            scopes=scopes,
            clock=clock,
            methods={**chat.methods, **files.methods, **screens.methods, **directory.methods, **open_id.methods},
            limits=limits,
        )
        interactions = Interactions(
            workspace=workspace,
            deliveries=deliveries,
            chat=chat,
            screens=screens,
            triggers=triggers,
            response_urls=response_urls,
            base_url=told.base_url,
            verification_token=told.verification_token,
        )
        faults = Faults()
        control = Control(
            workspace=workspace,
            interactions=interactions,
            deliveries=deliveries,
            sockets=sockets,
            web_api=web_api,
            open_id=open_id,
            vendors=self._vendors,
            openai=openai,
            openrouter=openrouter,
            anthropic=anthropic,
            litellm=litellm,
            faults=faults,
            files=files,
            limits=limits,
        )
        app = Starlette(
            routes=[
                web_api.route,
                chat.route,
                *files.routes,
                *open_id.routes,
                *control.routes,
                WebSocketRoute("/link", sockets.serve),
                Mount("/openai/v1", routes=openai.routes),
                Mount("/openrouter/api/v1", routes=openrouter.routes),
                Mount("/anthropic", routes=anthropic.routes),
                Mount("/litellm", routes=litellm.routes),
                Mount("/", StaticFiles(directory=UI, html=True)),
            ],
            # Keeps web pages that found out the port from acting through a name that leads here.
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])],
            lifespan=self._lifespan,
        )
        return faults.around(app)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        keeping = asyncio.create_task(self._keep())
        yield
        keeping.cancel()
        self._save()
        await self._deliveries.close()

    async def _keep(self) -> None:
        """Writes the state down after changes; changes in quick succession share one writing."""
        rev = self._workspace.rev
        while True:
            rev = await self._workspace.wait(rev, LONGEST_QUIET)
            self._save()
            await asyncio.sleep(SAVE_PAUSE)

    def _save(self) -> None:
        if not self._file.keeps:
            return  # to put the state together takes long where there is much of it
        told = asdict(self.running)
        del told["base_url"]
        self._file.write(
            {
                "credentials": told,
                "ahead": self._workspace.clock.ahead,
                "workspace": self._workspace.dump(),
                **{name: vendor.dump() for name, vendor in self._vendors.items()},
            }
        )

    async def main_loop(self) -> None:
        """Runs until it is stopped, then lets go of whoever waits, so that the shutdown has nobody to wait for."""
        await super().main_loop()
        self._workspace.close()
        await self._sockets.close()

    def serve_here(self) -> None:
        """Runs in this thread until stopped."""
        self.run(sockets=[self._listener])

    def stop(self) -> None:
        """Asks it to stop."""
        self.should_exit = True


@contextmanager
def running(
    *,
    port: int = 0,
    data: Path | None = None,
    scopes: Sequence[str] = SCOPES,
    ack_seconds: float = ACK_SECONDS,
) -> Iterator[Running]:
    """A sandbox in a thread of its own, stopped when the context ends."""
    server = SandboxServer(port=port, data=data, scopes=scopes, ack_seconds=ack_seconds)
    thread = threading.Thread(target=server.serve_here, name="sandbox")
    thread.start()
    try:
        yield server.running
    finally:
        server.stop()
        thread.join()
