"""A year of a team, played: people with their habits, vendors, Slack and the weather. The desk alone is real.

Time jumps from one thing that is due to the next: between two of them the desk's metronome would beat in vain.
"""

import asyncio
import heapq
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any, cast

from sqlalchemy import Connection, Engine, create_engine, event

from bot.desk import envelope
from bot.desk.errors import DeskError, ProviderError, Unavailable
from bot.desk.ids import new_id
from bot.desk.model import Actor, Draft, Grant, Handover, Key, Notice, NoticeKind, Ruling, Scope, Session, Story
from bot.desk.week import Digest
from storage.migrate import engine_url
from storage.store import SqlStore
from tests.desk.depositing import Keks, sealed
from tests.desk.world import TEAM, World, pieces
from tests.promises.beyond import THIEFS, Beyond, YearsConsole, YearsSlack, YearsVendor, YearsWorkspace, policy
from tests.promises.chronicle import NOBODY, Chronicle, DeskClock, Truth, Weather, What, next_at_work
from tests.promises.planning import (
    BROUGHT,
    DAY,
    EXTENSIONS,
    HEIRS,
    HOUR,
    LEAD,
    MINTING,
    MINUTE,
    Ask,
    Choice,
    Departure,
    Plan,
)

BEAT = timedelta(seconds=15)  # of the desk's metronome
WORKDAYS = range(5)
FAR = datetime.max.replace(tzinfo=UTC)
PASSES_AT_MOST = 200_000  # in a year: what goes on for ever must not

Doing = Callable[[World], Awaitable[None]]


@dataclass(order=True, slots=True)
class Turn:
    """Something that somebody is going to do."""

    at: datetime
    number: int
    who: str = field(compare=False)
    ask: int = field(compare=False)
    name: str = field(compare=False)
    do: Doing = field(compare=False)
    tries: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class InHand:
    """A key that its holder has."""

    handle: str
    ask: Ask
    since: datetime


class Year:
    """Plays a plan on one desk, or on several."""

    def __init__(self, of: Plan) -> None:
        self.plan = of
        self.truth = Truth(of.begins)
        self.chronicle = Chronicle()
        beyond = Beyond(of.skies, self.truth, lambda what, marker: self.write(what, marker=marker))
        self.people = YearsWorkspace(of, beyond)
        self.vendor, self.console = YearsVendor(beyond), YearsConsole(beyond)
        self.slack = YearsSlack(beyond, self.told, self.mailed)
        self.passes: Counter[str] = Counter()
        self._turns: list[Turn] = []
        self._numbers = count()
        self._desks: list[tuple[World, DeskClock]] = []
        self._at: DeskClock | None = None  # the clock of the desk at which somebody acts in this moment
        self._ask_of_request: dict[str, int] = {}
        self._ask_of_marker: dict[str, int] = {}
        self._in_hand: dict[str, InHand] = {}  # by marker
        self._swept_all = of.begins

    def desk(self, store: SqlStore) -> World:
        """One more desk on this database. The first one's clock jumps at times."""
        clock = DeskClock(self.truth, self.plan.skies, jumps=not self._desks)
        world = World(
            store,
            vendor=self.vendor,
            others={BROUGHT: self.console},
            policy=policy(LEAD),
            kek=Keks(),
            clock=clock,
            people=self.people,
            slack=self.slack,
        )
        self._desks.append((world, clock))
        return world

    # ---- what is written down

    @property
    def desks(self) -> int:
        """How many there are."""
        return len(self._desks)

    @property
    def _by_desk(self) -> datetime:
        return (self._at or self._desks[0][1])()

    def write(self, what: What, *, ask: int | None = None, who: str = "", marker: str = "", note: str = "") -> None:
        """Something happened now."""
        number = self._ask_of_marker.get(marker, NOBODY) if ask is None else ask
        self.chronicle.write(self.truth.now, what, ask=number, by_desk=self._by_desk, who=who, marker=marker, note=note)

    # ---- time

    async def live(self, url: str) -> None:
        """The whole year, on the database of the desks."""
        due = DueTimes(url)
        try:
            self._begin()
            while self.truth.now < self.plan.ends:
                await self._people_act()
                self.truth.now = self._next(await self._sweep(due))
        finally:
            due.close()

    def _next(self, due: Mapping[str, datetime]) -> datetime:
        now = self.truth.now
        awaited = [self._turns[0].at] if self._turns else [self.plan.ends]
        awaited += [edge for edge in self.plan.skies.edges if edge > now][:1]
        awaited.append(self._swept_all + DAY)
        if self._up() and due:
            awaited.append(min(due.values()) - max(clock.wrong_by for _, clock in self._up()))
        after = max(min(awaited), now + BEAT)
        # The metronome's next beat: as the year began on one.
        return self.plan.begins - (self.plan.begins - after) // BEAT * BEAT

    def _up(self) -> list[tuple[World, DeskClock]]:
        if self.plan.skies.at(self.truth.now, Weather.ALL_DOWN):
            return []
        some = 1 if self.plan.skies.at(self.truth.now, Weather.ONE_DOWN) else len(self._desks)
        return self._desks[:some]

    async def _sweep(self, due: "DueTimes") -> Mapping[str, datetime]:
        """What is due, on all desks that are up, at once; and everything but the rounds once a day, due by this look or not.

        Returns what is due later.
        """
        up = self._up()
        if not up:
            return {}
        if all_of_them := self.truth.now >= self._swept_all + DAY:
            self._swept_all = self.truth.now
        while True:  # what one sweep does may leave something for another
            latest, found = max(clock() for _, clock in up), due.look()
            parts = [part for part in PARTS if found.get(part, FAR) <= latest or (all_of_them and part != "go_round")]
            if not parts or self.passes.total() > PASSES_AT_MOST:
                return found
            for part in parts:
                self.passes[part] += len(up)
                await asyncio.gather(*(getattr(world.watch, part)() for world, _ in up))
            all_of_them = False

    # ---- people

    def _begin(self) -> None:
        for ask in self.plan.asks:
            self._will(ask.at, ask.who, ask.number, "ask", partial(self._asks, ask))
        for member, at in self.plan.arrivals.items():
            self._will(at, member, NOBODY, "arrive", partial(self._arrives, member))
        for departure in self.plan.departures:
            self._will(departure.at, "", NOBODY, "leave", partial(self._leaves, departure))
        for choice in self.plan.choices:
            self._will(choice.at, choice.who, NOBODY, "choose", partial(self._chooses, choice))
        self._will(self.plan.begins + 10 * HOUR, "", NOBODY, "rounds", self._rounds)
        self._will(self.plan.begins + 11 * HOUR, "", NOBODY, "use", self._use_keys)

    def _will(self, at: datetime, who: str, ask: int, name: str, do: Doing) -> None:
        heapq.heappush(self._turns, Turn(at, next(self._numbers), who, ask, name, do))

    def _soon(self, who: str, delay: timedelta, *names: object) -> datetime:
        """About so much later, when they are at work."""
        after = self.truth.now + delay + self.plan.draw(*names, "minutes").randrange(1, 30) * MINUTE
        return next_at_work(after, self.plan.people[who].tz)

    async def _people_act(self) -> None:
        while self._turns and self._turns[0].at <= self.truth.now:
            turn = heapq.heappop(self._turns)
            if turn.who and turn.name != "arrive" and self._gone(turn.who):
                continue
            if turn.who and turn.name != "arrive" and not self._up():
                self._again(turn)
                continue
            world, self._at = self._at_which_desk(turn)
            try:
                await turn.do(world)
            except (Unavailable, ProviderError) as error:
                self._could_not(turn, error)
                self._again(turn)
            except DeskError as error:
                self._could_not(turn, error)
            finally:
                self._at = None

    def _at_which_desk(self, turn: Turn) -> tuple[World, DeskClock]:
        up = self._up() or self._desks
        return up[self.plan.draw(turn.ask, turn.name, turn.tries, "desk").randrange(len(up))]

    def _gone(self, who: str) -> bool:
        person = self.people.people.get(who)
        return person is None or person.deleted or person.guest

    def _could_not(self, turn: Turn, error: Exception) -> None:
        self.write(What.COULD_NOT, ask=turn.ask, who=turn.who, note=f"{turn.name}: {type(error).__name__}: {error}")

    def _again(self, turn: Turn) -> None:
        """Later the same day, or the next."""
        wait = self.plan.draw(turn.ask, turn.name, turn.tries, "again").randrange(30, 150) * MINUTE
        at = next_at_work(self.truth.now + wait, self.plan.people[turn.who].tz) if turn.who else self.truth.now + HOUR
        heapq.heappush(self._turns, replace(turn, at=at, number=next(self._numbers), tries=turn.tries + 1))

    async def _arrives(self, member: str, _: World) -> None:
        self.people.people[member] = self.plan.people[member]

    async def _leaves(self, departure: Departure, _: World) -> None:
        who = departure.who
        self.people.people[who] = replace(self.plan.people[who], deleted=not departure.guest, guest=departure.guest)
        self.write(What.LEFT, who=who, note="guest" if departure.guest else "deactivated")
        for member, manager in self.people.managers.items():
            if manager == who:
                self.people.managers[member] = LEAD if member != LEAD else next(iter(self.plan.managers.values()))
        if not departure.lost:
            self._will(self.truth.now, "", NOBODY, "hear", partial(self._hears, who))

    async def _hears(self, who: str, world: World) -> None:
        """Slack delivers the event until a desk that is up takes it."""
        if not self._up():
            self._will(self.truth.now + HOUR, "", NOBODY, "hear", partial(self._hears, who))
            return
        await world.leaving.look(Actor(TEAM, who))
        self.write(What.HEARD, who=who)

    async def _chooses(self, choice: Choice, world: World) -> None:
        await world.mailing.choose(Actor(TEAM, choice.who), weekday=choice.weekday, hour=choice.hour, off=choice.off)
        self.write(What.CHOSE, who=choice.who)

    async def _asks(self, ask: Ask, world: World) -> None:
        project, permission = ("wrk_1", "all") if ask.provider == BROUGHT else ("proj_search", "chat")
        if ask.strict:
            permission = "all"
        draft = Draft(
            Scope(ask.provider, project, permission, ask.dollars * 100), "", ask.lifetime, f"Ask {ask.number}"
        )
        story = await world.requests.submit(Actor(TEAM, ask.who), draft, origin=f"v_{ask.number}")
        self._ask_of_request[story.request.id] = ask.number
        self.write(What.ASKED, ask=ask.number, who=ask.who)

    async def _extends(self, more: Ask, grant: Grant, world: World) -> None:
        """Its holder asks for another that follows it; or who approved it, where its holder left."""
        story = await world.extending.ask(
            Actor(TEAM, more.who),
            grant.id,
            duration=more.lifetime,
            reason=f"Ask {more.number}",
            origin=f"v_{more.number}",
        )
        self._ask_of_request[story.request.id] = more.number
        self.write(What.ASKED, ask=more.number, who=more.who)

    def mailed(self, digest: Digest) -> None:
        """Somebody has the digest of a week."""
        self.write(What.DIGEST, who=digest.member, note=f"{digest.week}")

    def told(self, notice: Notice, story: Story) -> None:
        """A message went to somebody for the first time: it is written down, and whoever read it reacts."""
        number = self._ask_of_request[notice.about]
        self.write(What.TOLD, ask=number, who=notice.recipient, note=notice.kind)
        ask, who = self.plan.ask(number), notice.recipient
        grant = story.grant
        match notice.kind:
            case NoticeKind.APPROVAL if ask.decides is not None:
                at = self._soon(who, ask.decides, number, "decides")
                self._will(at, who, number, "decide", partial(self._decides, ask, who, story.request.id))
            case NoticeKind.DEPOSIT if ask.brings is not None and story.key is not None:
                at = self._soon(who, ask.brings, number, "brings")
                self._will(at, who, number, "bring", partial(self._brings, ask, who, story.key))
            case NoticeKind.OUTCOME if ask.provider == MINTING and grant is not None:
                self._will_pick_up(ask, grant, first=True, after=ask.picks_up, kind=notice.kind)
            case NoticeKind.DEPOSITED if grant is not None:
                self._will_pick_up(ask, grant, first=True, after=ask.picks_up, kind=notice.kind)
            case NoticeKind.LAPSED | NoticeKind.UNACKNOWLEDGED | NoticeKind.UNFINISHED if grant is not None:
                after = None if ask.picks_up is None else 5 * MINUTE
                self._will_pick_up(ask, grant, first=False, after=after, kind=notice.kind)
            case NoticeKind.ROTATED_AT_ONCE if grant is not None:
                self._will_pick_up(ask, grant, first=False, after=ask.picks_up, kind=notice.kind)
            case NoticeKind.ORPHANED if (
                grant is not None and ask.passes_on and who == self.plan.ask(number + HEIRS).who
            ):
                at = self._soon(who, self.plan.draw(number, "heir").randrange(1, 30) * HOUR, number, "heir")
                heir = self.plan.ask(number + HEIRS)
                self._will(at, who, number, "take over", partial(self._extends, heir, grant))
            case NoticeKind.EXPIRING if ask.extends and grant is not None:
                at = self._soon(who, HOUR, number, "extends")
                more = self.plan.ask(number + EXTENSIONS)
                self._will(at, who, number, "extend", partial(self._extends, more, grant))
            case NoticeKind.IDLE if grant is not None:
                times = len([one for one in self.chronicle.of(number, What.TOLD) if one.note == notice.kind])
                at = self._soon(who, self.plan.draw(number, "idle", times).randrange(1, 100) * HOUR, number, times)
                if ask.idle == "keep":
                    self._will(at, who, number, "keep", partial(self._keeps, ask, grant))
                elif ask.idle:
                    self._will(at, who, number, "give back", partial(self._ends, What.GIVEN_BACK, grant, ask, who))
            case _:
                self._told_of_use(ask, who, notice.kind, story)

    def _told_of_use(self, ask: Ask, who: str, kind: NoticeKind, story: Story) -> None:
        grant, number = story.grant, ask.number
        match kind:
            case NoticeKind.ROTATION_DUE if grant is not None:
                told = self.chronicle.of(number, What.OPENED, What.TOLD)
                since = max(one.number for one in told if one.what is What.OPENED)
                times = len([one for one in told if one.note == kind and one.number > since])
                at = self._soon(who, HOUR, number, since)
                if ask.rotates == times:
                    self._will(at, who, number, "rotate", partial(self._rotates, ask, grant))
                elif ask.puts_off and times == 1:
                    self._will(at, who, number, "put off", partial(self._puts_off, ask, grant))
            case NoticeKind.UNUSUAL if grant is not None and story.incident is not None:
                at = self._soon(who, HOUR, number, "explains")
                if ask.explains == "mine":
                    self._will(at, who, number, "explain", partial(self._explains, ask, story.incident.id))
                elif ask.explains == "pause":
                    self._will(at, who, number, "pause", partial(self._pauses, ask, grant, story.incident.id))
                elif ask.explains:
                    self._will(at, who, number, "revoke", partial(self._ends, What.GIVEN_BACK, grant, ask, who))

    def _will_pick_up(self, ask: Ask, grant: Grant, *, first: bool, after: timedelta | None, kind: NoticeKind) -> None:
        if after is not None:
            at = self._soon(ask.who, after, ask.number, kind)
            self._will(at, ask.who, ask.number, "pick up", partial(self._picks_up, ask, grant, first))

    async def _decides(self, ask: Ask, who: str, request_id: str, world: World) -> None:
        ruling = Ruling.DENY if ask.denies else Ruling.APPROVE
        story = await world.requests.decide(Actor(TEAM, who), request_id, ruling, "No." if ask.denies else "")
        self.write(What.DENIED if ask.denies else What.APPROVED, ask=ask.number, who=who)
        if story.grant is not None and ask.taken is not None:
            at = self._soon(who, ask.taken, ask.number, "taken")
            self._will(at, who, ask.number, "take", partial(self._ends, What.TAKEN, story.grant, ask, who))

    async def _brings(self, ask: Ask, who: str, key: Key, world: World) -> None:
        session = Session(Actor(TEAM, who), "laptop")
        task = await world.deposits.look(session, key.id)
        if task.recipient is None:
            return
        self._ask_of_marker[key.marker] = ask.number
        value = self.console.made_for(key.marker)
        await world.deposits.deposit(session, key.id, sealed(value, task.recipient), task.recipient.kek)
        self.write(What.BROUGHT, who=who, marker=key.marker)

    async def _picks_up(self, ask: Ask, grant: Grant, first: bool, world: World) -> None:
        holder, delivery = Actor(TEAM, ask.who), new_id("d", os.urandom)
        key = await world.grants.pick_up(holder, grant.id, delivery=delivery, acknowledged=True)
        handover = await self._issued(ask, key, world)
        if ask.opens == "never" and first:
            return
        if ask.opens == "later":
            at = self.truth.now + self.plan.draw(ask.number, "later").randrange(1, 13) * MINUTE
            self._will(at, ask.who, ask.number, "open", partial(self._opens, ask, key, handover, True))
            return
        await self._opens(ask, key, handover, not (first and ask.opens == "breaks off"), world)

    async def _rotates(self, ask: Ask, grant: Grant, world: World) -> None:
        holder, delivery = Actor(TEAM, ask.who), new_id("d", os.urandom)
        key = await world.rotation.rotate(holder, grant.id, delivery=delivery, acknowledged=True)
        handover = await self._issued(ask, key, world)
        before = [marker for marker, held in self._in_hand.items() if held.ask.number == ask.number]
        await self._opens(ask, key, handover, True, world)
        for marker in before:
            del self._in_hand[marker]

    async def _issued(self, ask: Ask, key: Key, world: World) -> Handover:
        self._ask_of_marker[key.marker] = ask.number
        handover = await world.grants.issue(key)
        self.write(What.SEALED, who=ask.who, marker=key.marker)
        return handover

    async def _opens(self, ask: Ask, key: Key, handover: Handover, shows: bool, world: World) -> None:
        link_id, seed = pieces(handover.url)
        session, token = Session(Actor(TEAM, ask.who), "laptop"), envelope.access_token(seed)
        await world.links.claim(session, link_id, token)
        if not shows:
            self.write(What.CLAIMED, who=ask.who, marker=key.marker)
            return
        await world.links.acknowledge(session, link_id, token)
        self.write(What.OPENED, who=ask.who, marker=key.marker)
        if ask.provider == MINTING:
            handle = next(handle for handle, marker in self.vendor.living.items() if marker == key.marker)
            self._in_hand[key.marker] = InHand(handle, ask, self.truth.now)
        if ask.gives_back is not None and len(self.chronicle.of(ask.number, What.OPENED)) == 1:
            at = self._soon(ask.who, ask.gives_back, ask.number, "gives back")
            ends = partial(self._ends, What.GIVEN_BACK, handover.grant, ask, ask.who)
            self._will(at, ask.who, ask.number, "give back", ends)
        if ask.hurries is not None and len(self.chronicle.of(ask.number, What.OPENED)) == 1:
            at = self._soon(ask.who, ask.hurries, ask.number, "hurries")
            self._will(at, ask.who, ask.number, "hurry", partial(self._hurries, ask, handover.grant))

    async def _ends(self, what: What, grant: Grant, ask: Ask, who: str, world: World) -> None:
        await world.grants.revoke(Actor(TEAM, who), grant.id)
        self.write(what, ask=ask.number, who=who)

    async def _keeps(self, ask: Ask, grant: Grant, world: World) -> None:
        await world.idling.keep(Actor(TEAM, ask.who), grant.id)
        self.write(What.KEPT, ask=ask.number, who=ask.who)

    async def _puts_off(self, ask: Ask, grant: Grant, world: World) -> None:
        story = await world.reminding.put_off(Actor(TEAM, ask.who), grant.id)
        if story.rotation is not None and story.rotation.again_at is not None:
            self.write(What.PUT_OFF, ask=ask.number, who=ask.who)

    async def _hurries(self, ask: Ask, grant: Grant, world: World) -> None:
        await world.rotation.rotate_at_once(Actor(TEAM, ask.who), grant.id)
        self.write(What.HURRIED, ask=ask.number, who=ask.who)

    async def _pauses(self, ask: Ask, grant: Grant, incident_id: str, world: World) -> None:
        await world.incidents.pause(Actor(TEAM, ask.who), incident_id)
        self.write(What.PAUSED, ask=ask.number, who=ask.who)
        at = self._soon(ask.who, self.plan.draw(ask.number, "resumes").randrange(1, 4) * DAY, ask.number, "resumes")
        self._will(at, ask.who, ask.number, "resume", partial(self._resumes, ask, grant))

    async def _resumes(self, ask: Ask, grant: Grant, world: World) -> None:
        await world.switching.switch_on(Actor(TEAM, ask.who), grant.id)
        self.write(What.RESUMED, ask=ask.number, who=ask.who)

    async def _explains(self, ask: Ask, incident_id: str, world: World) -> None:
        await world.incidents.mine(Actor(TEAM, ask.who), incident_id)
        self.write(What.EXPLAINED, ask=ask.number, who=ask.who)

    # ---- use

    async def _rounds(self, world: World) -> None:
        """An hour before keys are used the desk reads what was used: so it knows in which hour they were."""
        self._will(self.truth.now + DAY, "", NOBODY, "rounds", self._rounds)
        if self._up() and self.truth.now.weekday() in WORKDAYS:
            self.passes["go_round"] += 1
            await world.watch.go_round()

    async def _use_keys(self, world: World) -> None:
        """Once a day: whoever works with a key that lives. Then the desk reads it."""
        self._will(self.truth.now + DAY, "", NOBODY, "use", self._use_keys)
        today = self.truth.now.date()
        if today.weekday() not in WORKDAYS:
            return
        for marker, held in list(self._in_hand.items()):
            ask = held.ask
            if held.handle not in self.vendor.living or self._gone(ask.who):
                del self._in_hand[marker]
                continue
            if held.handle in self.vendor.off:
                continue
            if self.plan.draw(f"key of {ask.number}", today).random() * 100 < ask.uses:
                micros = int(ask.dollars * 1_000_000 * ask.spends / 21)
                self.vendor.used_by(held.handle, micros)
                self.write(What.USED, marker=marker, note=str(micros))
            first = self.chronicle.of(ask.number, What.OPENED)[0].marker == marker
            if ask.stolen is not None and first and 0 <= (today - (held.since + ask.stolen).date()).days < 1:
                self.vendor.used_by(held.handle, 300_000, requests=2000, model=THIEFS)
                self.write(What.STOLEN, marker=marker, note="300000")
        if self._up():
            self.passes["go_round"] += 1
            await world.watch.go_round()


# ---- when something is due

PARTS = ("go_round", "reconcile", "tick", "retire", "invite", "deliver", "digest")
"""The sweeps, but for the Homes: nobody is told anything there."""
DUE = """
SELECT 'reconcile', min(expires_at) FROM grants WHERE state = 'active' UNION ALL
SELECT 'reconcile', min(expires_at) FROM links WHERE state = 'open' UNION ALL
SELECT 'reconcile', min(lease_until) FROM links WHERE state = 'claimed' UNION ALL
SELECT 'minting', min(intended_at) FROM keys WHERE state = 'minting' UNION ALL
SELECT 'reconcile', min(due_at) FROM keys WHERE state IN ('disabled', 'retiring') UNION ALL
SELECT 'retire', min(due_at) FROM keys WHERE due_at IS NOT NULL AND state NOT IN ('disabled', 'retiring') UNION ALL
SELECT 'invite', min(due_at) FROM grants WHERE due_at IS NOT NULL UNION ALL
SELECT 'deliver', min(due_at) FROM notices WHERE shown < wanted UNION ALL
SELECT 'digest', min(due_at) FROM digests WHERE due_at IS NOT NULL UNION ALL
SELECT 'go_round', min(due_at) FROM rounds WHERE kind = 'holders' OR (attempts > 0 AND kind <> 'credential') UNION ALL
SELECT 'tick', min(due_at) FROM timers
"""
STALLED = timedelta(minutes=2)  # a pick-up that its process did not end


class DueTimes:
    """Looks at the database, by a query of the test's own, at when something is due next. Asks nothing of the desk."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(engine_url(url))
        self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def look(self) -> dict[str, datetime]:
        """By sweep: when it is to run next. Nothing where nothing waits."""
        found: dict[str, datetime] = {}
        for name, told in self._connection.exec_driver_sql(DUE):
            if told is not None:
                # SQLite keeps times as text without a zone, which is UTC.
                at = datetime.fromisoformat(told).replace(tzinfo=UTC) if isinstance(told, str) else told
                part, when = ("reconcile", at + STALLED) if name == "minting" else (name, at)
                found[part] = min(when, found.get(part, when))
        return found

    def close(self) -> None:
        """Ends the connections."""
        self._connection.close()
        self._engine.dispose()


class _AtOnce(ThreadPoolExecutor):
    """Runs what it is given where it is given: a thread for each transaction is what a year takes longest for."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Already done."""
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


@dataclass(frozen=True)
class _Held:
    """One connection for all transactions, of which there is never more than one at a time."""

    connection: Connection

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """As an engine does."""
        with self.connection.begin():
            yield self.connection


class HurriedStore(SqlStore):
    """The store, without what costs most and is no matter here: threads, a connection for each transaction, and the disk.

    For one desk on SQLite. Whether commits survive a crash, and who wins a race, other tests tell.
    """

    def __init__(self, *, writing: Engine, reading: Engine) -> None:
        super().__init__(writing=writing, reading=reading)
        for threads in (self._writer, self._reader):
            threads.shutdown()
        self._writer = self._reader = _AtOnce(1)
        event.listen(writing, "connect", lambda one, _: one.execute("PRAGMA synchronous = OFF").close())
        self._held = _Held(writing.connect())
        self._writing = self._reading = cast(Engine, self._held)  # of an engine, the store asks for transactions alone

    def _close(self) -> None:
        self._held.connection.close()
        self._held.connection.engine.dispose()
