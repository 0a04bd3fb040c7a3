"""Handling what is due: some at a time, as fast as each comes to its end, until the desk stops."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from bot.desk.due import DueKind
from bot.desk.model import Grant, Key, Notice
from bot.desk.ports import Clock, Store, Transaction
from bot.desk.sweeps import handling
from bot.desk.week import Subscription

Item = TypeVar("Item", Grant, Key, Notice, Subscription)
Ended = TypeVar("Ended")

AT_ONCE = 8  # items of one kind under way at a time
LEASE = timedelta(minutes=2)  # how long one process may work on an item before another takes it over


class Hands:
    """Handles all that is due of a kind. `stopping`: nothing new is begun from then on."""

    def __init__(self, *, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.stopping = False

    async def each(
        self,
        kind: DueKind,
        lease: Callable[[int, Transaction], Sequence[Item]],
        handle: Callable[[Sequence[Item]], Iterable[Coroutine[Any, Any, Ended]]],
        keep: Callable[[Sequence[Ended]], Awaitable[None]] | None = None,
    ) -> None:
        """Handles all that is due, `AT_ONCE` at a time. No more than those are leased, so a crash holds up few.

        `keep` is told of those that ended meanwhile, all together.
        """
        under_way: set[asyncio.Task[Ended]] = set()
        try:
            while not self.stopping:
                # Looked for first: most rings leave nothing of a kind to do, and to lease is to hold all other writers up.
                due = await self._store.read(lambda tx: tx.due(kind, self._clock(), 1))
                items = await self._store.write(partial(lease, AT_ONCE - len(under_way))) if due else ()
                handling(len(items))
                under_way |= {asyncio.create_task(handling_one) for handling_one in handle(items)}
                if not under_way:
                    return
                ended, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                if keep:
                    await keep([task.result() for task in ended])
        except asyncio.CancelledError:
            for task in under_way:
                task.cancel()
            raise
        finally:
            rest = await asyncio.gather(*under_way, return_exceptions=True)
            if keep:
                await keep([one for one in rest if not isinstance(one, BaseException)])
