"""Desks as processes of their own on one database, against one sandbox: what the promises are tried on."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from sandbox.client import Sandbox
from sandbox.server import Running
from storage.store import SqlStore
from tests.flows.world import POLICY, World, installed, settings_for
from tests.processes import DeskProcess, SharedClock


@dataclass
class Desks:
    """The world from outside, and the processes that serve it. `flow.sweep` sweeps in each."""

    flow: World
    processes: list[DeskProcess]

    @property
    def first(self) -> DeskProcess:
        """The only one, mostly."""
        return self.processes[0]

    def said(self) -> str:
        """What all of them logged."""
        return "\n".join(process.said() for process in self.processes)


@asynccontextmanager
async def desks(
    servers: Running,
    *,
    mode: str,
    database_url: str,
    folder: Path,
    count: int = 1,
    prepare: Callable[[], None] | None = None,
    policy: str = POLICY,
    **settings: str,
) -> AsyncIterator[Desks]:
    """So many desks on one database, all started, until the context ends. They share the session secret.

    Their clocks go with the world's; each can be turned by itself.
    """
    one, *more = [
        settings_for(servers, mode=mode, database_url=database_url, folder=folder, policy=policy, **settings)
        for _ in range(count)
    ]
    all_of_them = [one, *(other.model_copy(update={"session_secret": one.session_secret}) for other in more)]
    clock = SharedClock()
    processes = [
        DeskProcess(settings, SharedClock(with_=clock), folder / f"desk-{number}.log", prepare)
        for number, settings in enumerate(all_of_them)
    ]

    async def sweep() -> None:
        for process in processes:
            await process.sweep()

    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(Sandbox(servers.base_url))
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=10))
        store = SqlStore.open(database_url)
        stack.push_async_callback(store.close)
        await installed(sandbox, all_of_them)
        for process in processes:
            stack.push_async_callback(process.stop)
            await process.start()
        yield Desks(World(sandbox, servers, one, clock, store, sweep, http), processes)
