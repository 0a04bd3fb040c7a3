"""The stage of the stories that are told in any order: two desks on one real store, and the model that looks on.

An act is played as a turn at one of the desks, to its end or as far as its fate lets it. After each commit the rows are
held against what the model works out from the log; after each turn the promises are held against what is there.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from hypothesis.stateful import RuleBasedStateMachine
from sqlalchemy import case, create_engine, delete, null, select, union_all
from sqlmodel import SQLModel

from bot.desk.audit import Entry, Head, verify
from bot.desk.errors import DeskError, ProviderError
from bot.desk.model import AccessRequest, Decision, Grant, Key, Link, Ruling
from storage.migrate import engine_url
from storage.rows import table, to_domain
from storage.store import SqlStore
from storage.tables import AuditEntryRow, AuditHeadRow
from tests.lessons import learn
from tests.promises.crashing import TURN, Around, Defect, Desk, Died, Fate, Life, Turn
from tests.promises.model import Model

DURATION = timedelta(days=7)
KINDS = (AccessRequest, Grant, Key, Link)
BEGUN = ("request.submitted", "grant.pick_up_started", "grant.rotation_started")  # by one click, once
STRAYS = (ConnectionError,)  # what a sweep may swallow: Slack was down


class Ground:
    """One database with two stores on it, as two processes have, and a look at what is committed."""

    def __init__(self, url: str) -> None:
        self.stores = [SqlStore.open(url), SqlStore.open(url)]
        self._engine = create_engine(engine_url(url), isolation_level="AUTOCOMMIT")
        self._look = self._engine.connect()
        self._entries, self._heads = cast(Any, AuditEntryRow).__table__, cast(Any, AuditHeadRow).__table__
        requests, grants, keys, links = (table(kind).c for kind in KINDS)
        kept = case((links.envelope.is_(None), ""), else_="kept")
        self._states = union_all(
            *(select(one.id, one.state, null()) for one in (requests, keys)),
            select(grants.id, grants.state, grants.request_id),
            select(links.id, links.state, kept),
        )

    def clean(self) -> None:
        """Nothing is there, but that everybody has read how to keep a key safe."""
        with self._engine.begin() as connection:
            for rows in reversed(SQLModel.metadata.sorted_tables):
                connection.execute(delete(rows))
            learn(connection)

    def since(self, index: int) -> Sequence[Entry]:
        """The audit log from there on."""
        query = select(self._entries).where(self._entries.c.index >= index).order_by(self._entries.c.index)
        return [Entry(**dict(row)) for row in self._look.execute(query).mappings()]

    def head(self) -> Head | None:
        """What the log is said to end with."""
        row = self._look.execute(select(self._heads.c.size, self._heads.c.leaf)).mappings().first()
        return Head(**dict(row)) if row else None

    def states(self) -> Sequence[tuple[str, str, str | None]]:
        """Each request, key, grant and link with its state; the request of a grant; whether a link keeps its envelope."""
        return [cast(tuple[str, str, str | None], tuple(row)) for row in self._look.execute(self._states)]

    def all(self, kind: Any) -> list[Any]:
        """Every row of a kind."""
        return [to_domain(kind, row) for row in self._look.execute(select(table(kind))).mappings()]

    def close(self) -> None:
        """Ends threads and connections."""
        self._look.close()
        self._engine.dispose()
        for store in self.stores:
            asyncio.run(store.close())


class Strays(logging.Handler):
    """Collects the errors that the desk logged and lived on with, but for those that a story put there."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.errors: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps what should not have been."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, STRAYS):
            self.errors.append(error)


@dataclass
class Done:
    """How a turn ended: with an answer or an error."""

    answer: Any = None
    error: str = ""


After = Callable[[Done], None]


class Stage(RuleBasedStateMachine):
    """Two desks, the model, and what the promises are held against."""

    def __init__(self, ground: Ground, strays: Strays) -> None:
        super().__init__()
        ground.clean()
        strays.errors.clear()
        self.ground = ground
        self.strays = strays
        self.runner = asyncio.Runner()
        self.around = Around(random=random.Random(0).randbytes, committed=self.committed)
        self.vendor, self.slack = self.around.vendor, self.around.slack
        self.model = Model(DURATION)
        self.chain: list[Entry] = []
        self.flaws: list[Exception] = []
        self.failed = False
        self.taken: set[str] = set()
        self.received: dict[str, set[str]] = {}
        self.held: list[tuple[Turn, asyncio.Task[Any], After]] = []
        self.lives = [Life(0), Life(1)]
        self.desks = [Desk(store, self.around) for store in ground.stores]

    # ---- turns

    def committed(self, turn: Turn) -> None:
        """What was just committed follows from its entries, and from nothing else."""
        try:
            entries = self.ground.since(len(self.chain))
            rows = self.ground.states()
            self.chain += entries
            grants = {about: name for name, _, about in rows if about and name.startswith("g_")}
            self.model.follow(entries, what=turn.what, session=turn.session, grants=grants)
            assert {name: state for name, state, _ in rows} == self.model.states()
            for name, state, kept in rows:
                if name in self.model.links:
                    assert bool(kept) == (state in ("open", "claimed")), f"the envelope of {name}, which is {state}"
            if turn.delivery and any(entry.act in BEGUN for entry in entries):
                assert turn.delivery not in self.taken, "one click was acted on twice"
                self.taken.add(turn.delivery)
        except Exception as flaw:  # raised at the end of the step: the desk must not catch it
            self.flaws.append(flaw)

    def act(
        self,
        desk: int,
        what: str,
        work: Callable[[Desk], Coroutine[Any, Any, Any]],
        *,
        fate: tuple[Fate, int] = (Fate.RUN, 0),
        then: After = lambda done: None,
        expect: tuple[Sequence[str], str] | None = None,
        **about: Any,
    ) -> None:
        """One act at one desk: to its end, or as far as its fate lets it. `then` hears how it ended, now or later.

        When nothing came between, it left the entries and ended with the error that `expect` says.
        """
        turn = Turn(self.lives[desk], what, fate[0], fate[1], **about)
        before = len(self.chain)
        try:
            task = self.runner.run(self._start(turn, work(self.desks[desk])))
            done = self._settled(turn, task, then)
            if expect is not None and done is not None and turn.undisturbed:
                left = Counter(entry.act for entry in self.chain[before:])
                assert (left, done.error) == (Counter(expect[0]), expect[1])
            self.agree()
        except BaseException:
            self.failed = True
            raise

    async def _start(self, turn: Turn, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        context = copy_context()
        context.run(TURN.set, turn)
        task = asyncio.get_running_loop().create_task(work, context=context)
        await self._wait(turn, task)
        return task

    async def _wait(self, turn: Turn, task: asyncio.Task[Any]) -> None:
        """Until the turn ended or stands still, and all that it started."""
        if turn.fate is Fate.HOLD:
            held = asyncio.create_task(turn.held.wait())
            await asyncio.wait({task, held}, return_when=asyncio.FIRST_COMPLETED)
            held.cancel()
        else:
            await asyncio.wait({task})
        if not turn.undisturbed:
            await self.around.quiet()

    def _settled(self, turn: Turn, task: asyncio.Task[Any], then: After) -> Done | None:
        if turn.life.dead:
            self._bury(turn.life)
        if not task.done():
            self.held.append((turn, task, then))
            return None
        error = task.exception()
        if isinstance(error, Died):
            return None
        if error is not None and not isinstance(error, DeskError | ProviderError | Defect):
            raise error
        done = Done(error=type(error).__name__) if error else Done(task.result())
        then(done)
        return done

    def _bury(self, life: Life) -> None:
        """The process is dead, and with it all that stood still in it; another is started in its place."""
        life.dead = True
        dead = [one for one in self.held if one[0].life is life]
        self.held = [one for one in self.held if one[0].life is not life]

        async def end() -> None:
            for turn, _, _ in dead:
                turn.released.set()
            await self.around.quiet()

        self.runner.run(end())
        for _, task, _ in dead:
            assert isinstance(task.exception(), Died)
        self.lives[life.desk] = Life(life.desk)
        self.desks[life.desk] = Desk(self.ground.stores[life.desk], self.around)

    # ---- what holds after every step

    def agree(self) -> None:
        """The promises, as far as they can be told from what is there now."""
        if self.flaws or self.strays.errors:
            raise (self.flaws or self.strays.errors)[0]
        flaw = verify(self.chain, self.ground.head())
        assert flaw is None, flaw
        requests = {row.id: row for row in self.ground.all(AccessRequest)}
        decisions = {row.request_id: row for row in self.ground.all(Decision)}
        grants = {row.id: row for row in self.ground.all(Grant)}
        keys = {row.id: row for row in self.ground.all(Key)}
        links = {row.id: row for row in self.ground.all(Link)}
        # One decision at most, by somebody else, and one entry of it; a right to a key for who asked, and nobody else.
        told = Counter(entry.subject for entry in self.chain if entry.act in ("request.approved", "request.denied"))
        assert told == dict.fromkeys(decisions, 1)
        assert decisions.keys() == {one.id for one in requests.values() if one.state in ("approved", "denied")}
        assert all(one.approver != requests[one.request_id].requester for one in decisions.values())
        approved = sorted(one.request_id for one in decisions.values() if one.ruling is Ruling.APPROVE)
        assert sorted(grant.request_id for grant in grants.values()) == approved
        assert all(grant.holder == requests[grant.request_id].requester for grant in grants.values())
        # One key at most on its way to its holder, behind one link at most, and one in hand: the grant's own, and the one to
        # follow. Beside them only old keys work, each within its grace.
        waiting = Counter(key.grant_id for key in keys.values() if key.state in ("minting", "sealed"))
        offered = Counter(link.grant_id for link in links.values() if link.state in ("open", "claimed"))
        held = Counter(key.grant_id for key in keys.values() if key.state == "live")
        assert not [count for one in (waiting, offered, held) for count in one.values() if count > 1]
        for grant in grants.values():
            coming = grant.next_key_id if grant.state == "active" else grant.key_id
            for key in (key for key in keys.values() if key.grant_id == grant.id):
                assert key.state not in ("minting", "sealed") or key.id == coming, f"{key.id} follows nothing"
                assert key.state != "live" or (grant.state, grant.key_id) == ("active", key.id), f"nobody has {key.id}"
                assert key.state != "retiring" or grant.state == "active", f"{key.id} outlived its grant"
                assert key.state != "retiring" or key.due_at == self.model.keys[key.id].grace_ends
        for link in links.values():
            assert (link.holder, link.grant_id) == (grants[link.grant_id].holder, keys[link.key_id].grant_id)
        # What lives is known and not thought dead. A mint lands within ten minutes of its intention (crashing.LATEST),
        # and the desk must not call a key gone before then, so there is no exception to this.
        for handle, marker in self.vendor.living.items():
            owner = keys[marker.removeprefix("keydesk-")]
            assert owner.state not in ("revoked", "void"), f"{handle} of {owner.id} lives, which is {owner.state}"
        for key in keys.values():
            works = key.state in ("sealed", "live", "retiring")
            assert not works or key.handle in self.vendor.living, f"{key.id} is dead"
        for link_id, sessions in self.received.items():
            assert len(sessions) == 1, f"{link_id} was opened by {sessions}"
