"""Whatever people, vendors, crashes and time do, in whatever order: the desk does what its log says, and keeps its promises.

hypothesis tells stories: acts of people at two desks on one store, sweeps, faults of the vendor and of Slack, processes that die or
stand still at any commit and any outward act, and time. After each commit the rows are as the model works them out from
the log; after each step the promises hold; in the end, when the faults are over, nothing is stuck and no key lives that nobody has.

`KEYDESK_EXAMPLES=20` makes it twenty times as many stories, new ones each time.
"""

import asyncio
import logging
import os
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from sqlalchemy import case, create_engine, delete, null, select, union_all
from sqlmodel import SQLModel

from bot.desk import envelope
from bot.desk.audit import Entry, Head, verify
from bot.desk.errors import DeskError, ProviderError
from bot.desk.model import AccessRequest, Actor, Decision, Grant, Handover, Key, Link, Notice, Ruling, Session
from storage.migrate import engine_url
from storage.rows import table, to_domain
from storage.store import SqlStore
from storage.tables import AuditEntryRow, AuditHeadRow
from tests.desk.world import ANA, BEN, CARA, DEV, TEAM, draft, pieces, unsealed
from tests.lessons import learn
from tests.promises.crashing import CALLS, MINTS, POSTS, TURN, Around, Defect, Desk, Died, Fate, Life, Turn
from tests.promises.model import GRACE, Model

STEPS = 40
STORIES = {"sqlite": 15, "postgresql": 8}
MINUTE = timedelta(minutes=1)
DURATION = timedelta(days=7)
AT_MOST = 3  # requests of one story: most of what can go wrong is about one grant
PASSES = 20  # of all sweeps, until nothing is left to do
KINDS = (AccessRequest, Grant, Key, Link)
BEGUN = ("request.submitted", "grant.pick_up_started", "grant.rotation_started")  # by one click, once

SOON = ("run", "run", "run", "run", "die", "hold")
WELL = (Fate.RUN, 0)
FATES = st.tuples(st.sampled_from(SOON).map(Fate), st.integers(0, 9))
DESKS = st.integers(0, 1)
WHICH = st.integers(0, AT_MOST - 1)  # the newest first
RARELY = st.integers(0, 9).map(lambda number: number == 9)
BROWSERS = st.sampled_from(("laptop", "phone"))
CALMLY = st.lists(st.sampled_from(tuple(CALLS)), max_size=2)
PAUSES = st.sampled_from(
    [timedelta(seconds=n) for n in (1, 6, 30, 61, 121)]
    + [timedelta(minutes=n) for n in (5, 9, 15, 60)]
    + [timedelta(days=n) for n in (1, 8)]
)
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


class AnyOrder(RuleBasedStateMachine):
    """One story: two desks, the model, and what people have in their hands."""

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
        self.clicks = 0
        self.taken: set[str] = set()
        self.handovers: list[Handover] = []
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

    # ---- asking and deciding

    def _request(self, which: int) -> str:
        return list(self.model.asks)[-1 - which % len(self.model.asks)]

    def _grant(self, which: int) -> str:
        return list(self.model.grants)[-1 - which % len(self.model.grants)]

    def _click(self, again: bool) -> str:
        """A new delivery of Slack's, or the last one once more."""
        self.clicks += 0 if again and self.clicks else 1
        return f"click {self.clicks}"

    @initialize(by=st.sampled_from((BEN, CARA)), begins=st.sampled_from(("approved", "held", "rotated", "coming")))
    def a_first_grant(self, by: Actor, begins: str) -> None:
        """Asked and approved; in most stories held; in some rotated, so that an old key works on, or about to be."""
        self.asks(0, by, False, WELL)
        self.decides(0, 0, DEV, Ruling.APPROVE, WELL)
        if begins != "approved":
            self.picks_up(0, 0, False, False, "fine", WELL)
            self._opened()
        if begins in ("rotated", "coming"):
            self.rotates(0, 0, False, False, "fine", begins == "rotated", WELL)

    def _opened(self) -> None:
        self.claims(1, 0, "laptop", False, WELL)
        self.acknowledges(0, 0, "laptop", False, WELL)

    @precondition(lambda self: len(self.model.asks) < AT_MOST)
    @rule(desk=DESKS, by=st.sampled_from((BEN, CARA)), again=st.booleans(), fate=FATES)
    def asks(self, desk: int, by: Actor, again: bool, fate: tuple[Fate, int]) -> None:
        """Somebody submits a form, or Slack delivers the last one again."""
        origin = self._click(again and any(click.startswith("form") for click in self.taken)).replace("click", "form")
        self.act(
            desk,
            "ask",
            lambda at: at.requests.submit(by, draft(days=DURATION.days), origin=origin),
            fate=fate,
            delivery=origin,
            expect=([] if origin in self.taken else ["request.submitted"], ""),
        )

    @rule(
        desk=DESKS,
        which=WHICH,
        by=st.sampled_from((DEV, CARA, ANA, BEN)),
        ruling=st.sampled_from(tuple(Ruling)),
        fate=FATES,
    )
    def decides(self, desk: int, which: int, by: Actor, ruling: Ruling, fate: tuple[Fate, int]) -> None:
        """Somebody presses approve or deny, whether it is theirs to decide or not."""
        request = self._request(which)
        self.act(
            desk,
            "decide",
            lambda at: at.requests.decide(by, request, ruling, "Not now"),
            fate=fate,
            expect=self.model.deciding(request, by.id, "approved" if ruling is Ruling.APPROVE else "denied"),
        )

    @rule(desk=DESKS, which=WHICH, by=st.sampled_from((BEN, CARA)), fate=FATES)
    def cancels(self, desk: int, which: int, by: Actor, fate: tuple[Fate, int]) -> None:
        """Somebody takes an ask back."""
        request = self._request(which)
        expect = self.model.cancelling(request, by.id)
        self.act(desk, "cancel", lambda at: at.requests.cancel(by, request), fate=fate, expect=expect)

    # ---- keys

    @precondition(lambda self: self.model.grants)
    @rule(
        desk=DESKS,
        which=WHICH,
        stranger=RARELY,
        again=RARELY,
        mint=st.sampled_from(("fine", "fine", "fine", "fine", *MINTS)),
        fate=FATES,
    )
    def picks_up(  # noqa: PLR0917  # hypothesis passes a rule's arguments by name
        self, desk: int, which: int, stranger: bool, again: bool, mint: str, fate: tuple[Fate, int]
    ) -> None:
        """The holder, or another, presses *pick up*; the same process goes on to mint."""
        grant, click = self._grant(which), self._click(again)
        by = ANA if stranger else self._holder(grant)
        self._mints(
            desk,
            "press",
            lambda at: at.grants.pick_up(by, grant, delivery=click),
            fate=fate,
            delivery=click,
            mint=mint,
            expect=self.model.pressing(grant, by.id, again=click in self.taken, error=_ends(mint)),
        )

    def _holder(self, grant: str) -> Actor:
        return Actor(TEAM, self.model.grants[grant].ask.requester)

    def _mints(self, desk: int, what: str, begin: Callable[[Desk], Coroutine[Any, Any, Key]], **about: Any) -> None:
        async def press(at: Desk) -> Handover:
            key = await begin(at)
            TURN.get().intended_at = key.intended_at
            return await at.grants.issue(key)

        self.act(desk, what, press, then=self._handed_over, **about)

    def _handed_over(self, done: Done) -> None:
        if done.answer:
            self.handovers.append(done.answer)

    def _link(self, which: int) -> tuple[Handover, str, str, Actor]:
        handover = self.handovers[-1 - which % len(self.handovers)]
        link_id, seed = pieces(handover.url)
        return handover, link_id, envelope.access_token(seed), Actor(TEAM, handover.grant.holder)

    @precondition(lambda self: self.handovers)
    @rule(desk=DESKS, which=WHICH, browser=BROWSERS, stranger=RARELY)
    def looks(self, desk: int, which: int, browser: str, stranger: bool) -> None:
        """A page asks how far its link is."""
        _, link_id, _, holder = self._link(which)
        session = Session(ANA if stranger else holder, browser)
        expect = (["refused"], "NotYours") if stranger else ([], "")
        self.act(desk, "look", lambda at: at.links.look(session, link_id), expect=expect)

    @precondition(lambda self: self.handovers)
    @rule(desk=DESKS, which=WHICH, browser=BROWSERS, stranger=RARELY, fate=FATES)
    def claims(self, desk: int, which: int, browser: str, stranger: bool, fate: tuple[Fate, int]) -> None:
        """A browser of the holder's, or a stranger with the whole URL, asks for the envelope."""
        handover, link_id, token, holder = self._link(which)
        session = Session(ANA if stranger else holder, browser)

        def received(done: Done) -> None:
            if done.answer:
                self.received.setdefault(link_id, set()).add(browser)
                handle = self.model.keys[done.answer.context.key].handle
                assert handle is not None
                assert unsealed(handover.url, done.answer) == self.vendor.secrets[handle]

        self.act(
            desk,
            "claim",
            lambda at: at.links.claim(session, link_id, token),
            fate=fate,
            session=browser,
            then=received,
            expect=self.model.claiming(link_id, not stranger, browser, self.around.clock.now),
        )

    @precondition(lambda self: self.handovers)
    @rule(desk=DESKS, which=WHICH, browser=BROWSERS, stranger=RARELY, fate=FATES)
    def acknowledges(self, desk: int, which: int, browser: str, stranger: bool, fate: tuple[Fate, int]) -> None:
        """A browser says that it shows the key."""
        _, link_id, token, holder = self._link(which)
        session = Session(ANA if stranger else holder, browser)
        self.act(
            desk,
            "acknowledge",
            lambda at: at.links.acknowledge(session, link_id, token),
            fate=fate,
            session=browser,
            expect=self.model.acknowledging(link_id, not stranger, browser),
        )

    @precondition(lambda self: self.model.grants)
    @rule(desk=DESKS, which=WHICH, by=st.sampled_from((BEN, CARA, DEV, ANA)), fate=FATES)
    def revokes(self, desk: int, which: int, by: Actor, fate: tuple[Fate, int]) -> None:
        """The holder gives a grant back, an approver takes it, or another tries."""
        grant = self._grant(which)
        expect = self.model.revoking(grant, by.id)
        self.act(desk, "revoke", lambda at: at.grants.revoke(by, grant), fate=fate, expect=expect)

    # ---- rotation

    @precondition(lambda self: self.model.grants)
    @rule(
        desk=DESKS,
        which=WHICH,
        stranger=RARELY,
        again=RARELY,
        mint=st.sampled_from(("fine", "fine", "fine", "fine", *MINTS)),
        opened=st.booleans(),
        fate=FATES,
    )
    def rotates(  # noqa: PLR0917  # hypothesis passes a rule's arguments by name
        self, desk: int, which: int, stranger: bool, again: bool, mint: str, opened: bool, fate: tuple[Fate, int]
    ) -> None:
        """The holder, or another, presses *rotate*; in some stories the link is opened at once."""
        grant, click = self._grant(which), self._click(again)
        by = ANA if stranger else self._holder(grant)
        before = len(self.handovers)
        self._mints(
            desk,
            "rotate",
            lambda at: at.rotation.rotate(by, grant, delivery=click),
            fate=fate,
            delivery=click,
            mint=mint,
            expect=self.model.rotating(
                grant, by.id, self.around.clock.now, again=click in self.taken, error=_ends(mint)
            ),
        )
        if opened and len(self.handovers) > before:
            self._opened()

    @precondition(lambda self: self.model.grants)
    @rule(desk=DESKS, which=WHICH, stranger=RARELY, fate=FATES)
    def switches(self, desk: int, which: int, stranger: bool, fate: tuple[Fate, int]) -> None:
        """The holder, or another, says that nothing uses the old keys any more."""
        grant = self._grant(which)
        by = ANA if stranger else self._holder(grant)
        expect = self.model.switching(grant, by.id)
        self.act(desk, "switch", lambda at: at.rotation.switched(by, grant), fate=fate, expect=expect)

    @precondition(lambda self: self.model.grants)
    @rule(desk=DESKS, which=WHICH, by=st.sampled_from((BEN, CARA, DEV, ANA)), fate=FATES)
    def rotates_at_once(self, desk: int, which: int, by: Actor, fate: tuple[Fate, int]) -> None:
        """The holder, an approver, or another has all keys of a grant revoked before there is a new one."""
        grant = self._grant(which)
        expect = self.model.rotating_at_once(grant, by.id)
        self.act(desk, "rotate at once", lambda at: at.rotation.rotate_at_once(by, grant), fate=fate, expect=expect)

    # ---- time and the world

    @rule(pause=PAUSES)
    def time_passes(self, pause: timedelta) -> None:
        """And what was under way to the vendor lands."""
        self.around.clock.now += pause
        self.vendor.arrive()

    @rule(desk=DESKS, fate=FATES)
    def reconciles(self, desk: int, fate: tuple[Fate, int]) -> None:
        """A sweep puts right what is overdue, all of it and nothing else."""
        due = self.model.overdue(self.around.clock.now)
        self.act(desk, "reconcile", lambda at: at.watch.reconcile(), fate=fate, expect=(due, ""))

    @rule(desk=DESKS, fate=FATES, finds=CALMLY, revokes=CALMLY)
    def retires(self, desk: int, fate: tuple[Fate, int], finds: list[str], revokes: list[str]) -> None:
        """A sweep revokes at the vendor, who may have his troubles."""
        self.vendor.finds, self.vendor.revokes = list(finds), list(revokes)
        self.act(desk, "retire", lambda at: at.watch.retire(), fate=fate)

    @rule(desk=DESKS, fate=FATES, posts=st.lists(st.sampled_from(POSTS), max_size=3))
    def delivers(self, desk: int, fate: tuple[Fate, int], posts: list[str]) -> None:
        """A sweep brings messages out, while Slack has its troubles."""
        self.slack.posts = list(posts)
        self.act(desk, "deliver", lambda at: at.watch.deliver(), fate=fate)

    @rule(desk=DESKS)
    def sweeps(self, desk: int) -> None:
        """All of them, on a good day: afterwards nothing is overdue, and nothing is left that is due."""
        self.vendor.finds, self.vendor.revokes, self.slack.posts = [], [], []
        self.act(desk, "reconcile", lambda at: at.watch.reconcile())
        self.act(desk, "retire", lambda at: at.watch.retire())
        self.act(desk, "deliver", lambda at: at.watch.deliver())
        now = self.around.clock.now
        assert self.model.overdue(now) == []
        assert not [key for key in self.ground.all(Key) if key.state == "revoking" and key.due_at <= now]
        living = [self.model.keys[marker.removeprefix("keydesk-")] for marker in self.vendor.living.values()]
        assert not [key for key in living if key.grace_ends and key.grace_ends <= now and not key.given_up]
        assert not [one for one in self.ground.all(Notice) if one.shown < one.wanted and one.due_at <= now]

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 3), fate=FATES)
    def goes_on(self, which: int, fate: tuple[Fate, int]) -> None:
        """What stood still goes on, to its end or to its next stop."""
        turn, task, then = self.held.pop(which % len(self.held))
        turn.fate, turn.after = fate
        turn.held.clear()
        turn.released.set()
        turn.released = asyncio.Event()
        try:
            self.runner.run(self._wait(turn, task))
            self._settled(turn, task, then)
            self.agree()
        except BaseException:
            self.failed = True
            raise

    @rule(desk=DESKS)
    def dies(self, desk: int) -> None:
        """A process is killed between its acts."""
        self._bury(self.lives[desk])

    # ---- in the end

    def teardown(self) -> None:
        """After the last fault, and time enough: nothing is stuck, nothing lives that nobody has, everybody was told."""
        try:
            for life in list(self.lives):
                self._bury(life)
            if not self.failed:
                self._comes_to_rest()
        finally:
            self.runner.close()

    def _comes_to_rest(self) -> None:
        self.time_passes(GRACE)
        self._until_quiet()
        keys, grants = self.ground.all(Key), self.ground.all(Grant)
        assert {grant.state for grant in grants} <= {"ready", "active", "ended"}
        assert {key.state for key in keys} <= {"live", "revoked", "void"}
        active = {grant.key_id for grant in grants if grant.state == "active"}
        living = [marker.removeprefix("keydesk-") for marker in self.vendor.living.values()]
        assert sorted(living) == sorted(active)
        self._everybody_was_told()
        for grant in grants:
            if grant.state == "ready":
                self.picks_up(0, self._behind(self.model.grants, grant.id), False, False, "fine", WELL)
                self._opened()
                assert self.model.grants[grant.id].state == "active"
            self.revokes(1, self._behind(self.model.grants, grant.id), Actor(TEAM, grant.holder), WELL)
        self._until_quiet()
        assert self.vendor.living == {}
        assert {grant.state for grant in self.ground.all(Grant)} <= {"ended"}
        self._everybody_was_told()

    def _behind(self, things: dict[str, Any], name: str) -> int:
        return len(things) - 1 - list(things).index(name)

    def _until_quiet(self) -> None:
        for turn in range(PASSES):
            before = (len(self.chain), self.slack.shows)
            self.time_passes(timedelta(hours=2))
            self.sweeps(turn % 2)
            if (len(self.chain), self.slack.shows) == before:
                return
        pytest.fail("the sweeps never come to an end")

    def _everybody_was_told(self) -> None:
        """Each message stands where the desk thinks, and tells how things are now."""
        states = self.model.states()
        for notice in self.ground.all(Notice):
            assert notice.shown == notice.wanted
            _, story = self.slack.messages[notice.channel, notice.ts]
            assert story.request.state == states[notice.about]
            assert story.grant is None or story.grant.state == states[story.grant.id]


def _ends(mint: str) -> str:
    """The error with which an act ends whose mint meets this plan."""
    error = MINTS[mint].error
    return type(error()).__name__.replace("TimeoutError", "OutcomeUnknown") if error else ""


@pytest.fixture
def ground(database_url: str) -> Iterator[Ground]:
    """A database to tell stories on."""
    ground = Ground(database_url)
    yield ground
    ground.close()


@pytest.fixture
def strays() -> Iterator[Strays]:
    """What the desk logs goes here: thousands of stories would fill the memory with it."""
    handler, logger = Strays(), logging.getLogger("bot.desk")
    logger.addHandler(handler)
    logger.propagate = False
    yield handler
    logger.propagate = True
    logger.removeHandler(handler)


def test_in_any_order_with_any_fault_the_promises_hold(ground: Ground, strays: Strays, database_url: str) -> None:
    """Stories of acts, faults, crashes and time, on both databases: model and desk agree, and the promises hold."""
    longer = int(os.environ.get("KEYDESK_EXAMPLES", "1"))
    first = 0 if longer == 1 else random.randrange(2**32)  # the same stories each time in the suite, new ones by hand
    told = settings(
        max_examples=2,  # the empty story, and one more: of those that follow most would be the same again, hardly changed
        stateful_step_count=STEPS,
        database=None,
        deadline=None,  # a commit takes as long as the disk does
        suppress_health_check=list(HealthCheck),  # stories are long and slow, and meant so
    )
    for number in range(STORIES[database_url.partition(":")[0]] * longer):
        stories = seed(first + number)(partial(AnyOrder, ground, strays))
        run_state_machine_as_test(cast(type[AnyOrder], stories), settings=told)  # it takes whatever makes a machine
