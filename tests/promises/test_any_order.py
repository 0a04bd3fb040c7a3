"""Whatever people, vendors, crashes and time do, in whatever order: the desk does what its log says, and keeps its promises.

hypothesis tells stories: acts of people at two desks on one store, sweeps, faults of the vendor and of Slack, processes that die or
stand still at any commit and any outward act, and time. After each commit the rows are as the model works them out from
the log; after each step the promises hold (`stage`); in the end, when the faults are over, nothing is stuck and no key lives that
nobody has.

`KEYDESK_EXAMPLES=20` makes it twenty times as many stories, new ones each time.
"""

import asyncio
import logging
import os
import random
from collections.abc import Callable, Coroutine, Iterator
from datetime import timedelta
from enum import StrEnum
from functools import partial
from itertools import cycle
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from bot.desk import envelope
from bot.desk.model import Actor, Grant, Handover, Key, Notice, Ruling, Session
from tests.desk.world import ANA, BEN, CARA, DEV, TEAM, draft, pieces, unsealed
from tests.promises.crashing import CALLS, MINTS, POSTS, TURN, Desk, Fate
from tests.promises.model import GRACE
from tests.promises.stage import DURATION, Done, Ground, Stage, Strays

STEPS = 40
STORIES = {"sqlite": 15, "postgresql": 8}
AT_MOST = 3  # requests of one story: most of what can go wrong is about one grant
PASSES = 20  # of all sweeps, until nothing is left to do

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


class Beginning(StrEnum):
    """How far the first grant of a story has come. They take turns: chance alone comes too seldom to an old key."""

    ROTATED = "rotated"  # an old key works on through its grace
    FOLLOWING = "following"  # a key that is to follow waits behind its link
    SWITCHED = "switched"  # the old key is revoked before its grace ends
    AT_ONCE = "at once"  # all its keys are revoked, an old one too, and another is to be picked up
    HELD = "held"
    APPROVED = "approved"


class AnyOrder(Stage):
    """One story: what people, time and the world do, and what people have in their hands."""

    def __init__(self, ground: Ground, strays: Strays, begins: Beginning) -> None:
        super().__init__(ground, strays)
        self.begins = begins
        self.clicks = 0
        self.handovers: list[Handover] = []

    # ---- asking and deciding

    def _request(self, which: int) -> str:
        return list(self.model.asks)[-1 - which % len(self.model.asks)]

    def _grant(self, which: int) -> str:
        return list(self.model.grants)[-1 - which % len(self.model.grants)]

    def _click(self, again: bool) -> str:
        """A new delivery of Slack's, or the last one once more."""
        self.clicks += 0 if again and self.clicks else 1
        return f"click {self.clicks}"

    @initialize(by=st.sampled_from((BEN, CARA)))
    def a_first_grant(self, by: Actor) -> None:
        """As far as the story's beginning says."""
        self.asks(0, by, False, WELL)
        self.decides(0, 0, DEV, Ruling.APPROVE, WELL)
        if self.begins is not Beginning.APPROVED:
            self.picks_up(0, 0, False, False, "fine", WELL)
            self._opened()
        if self.begins not in (Beginning.APPROVED, Beginning.HELD):
            self.rotates(0, 0, False, False, "fine", self.begins is not Beginning.FOLLOWING, WELL)
        if self.begins is Beginning.SWITCHED:
            self.switches(0, 0, False, WELL)
        if self.begins is Beginning.AT_ONCE:
            self.rotates_at_once(0, 0, DEV, WELL)

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
        again=st.booleans(),
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
    beginnings = cycle(Beginning)
    for number in range(STORIES[database_url.partition(":")[0]] * longer):
        stories = seed(first + number)(partial(AnyOrder, ground, strays, next(beginnings)))
        run_state_machine_as_test(cast(type[AnyOrder], stories), settings=told)  # it takes whatever makes a machine
