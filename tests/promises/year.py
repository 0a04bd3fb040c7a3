"""A year of a team, played: people with their habits, a vendor, Slack and the weather. The desk alone is real.

Everything that people do is drawn from a seed, by name and not in the order in which it comes up: so the same seed tells
the same year, whichever of several desks is faster. Time jumps from one thing that is due to the next.
"""

import asyncio
import heapq
import os
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import count, cycle
from typing import Any

from sqlalchemy import Engine, create_engine, event

from bot.desk import envelope
from bot.desk.errors import (
    DeskError,
    OutcomeUnknown,
    ProviderError,
    ProviderRateLimited,
    ProviderTransient,
    Unavailable,
)
from bot.desk.ids import new_id
from bot.desk.model import (
    Actor,
    Draft,
    Grant,
    Handover,
    Key,
    Minted,
    Notice,
    NoticeKind,
    Person,
    Ruling,
    Scope,
    Session,
    Story,
)
from bot.desk.offer import Basis, ProviderKey, Usage
from storage.migrate import engine_url
from storage.store import SqlStore
from tests.desk.metered import MeteredVendor
from tests.desk.world import TEAM, Slack, Workspace, World, pieces
from tests.promises.chronicle import (
    CLOCKS,
    NOBODY,
    VENDOR,
    Chronicle,
    DeskClock,
    Skies,
    Spell,
    Truth,
    Weather,
    What,
    next_at_work,
)

BEGINS = datetime(2026, 1, 5, tzinfo=UTC)
BEAT = timedelta(seconds=15)  # of the desk's metronome
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Sydney",
    "America/Los_Angeles",
    "Europe/London",
    "Asia/Tokyo",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
    "Pacific/Auckland",
    "UTC",
)
LEAD = "U0LEAD"
SPAN_OF_CONTROL = 10  # people to a manager
POLICY = """\
version = 1
manager_field = "Xf0MANAGER"

[[rule]]
name = "everyday keys"
requesters = ["everyone"]
provider = "openai"
projects = ["*"]
permissions = ["chat"]
approvers = ["manager"]
max_duration = "365d"
max_monthly_budget = 200
"""


FAR = datetime.max.replace(tzinfo=UTC)
SWEEPS_AT_MOST = 100_000  # in a year: what goes on for ever must not


# ---- what is drawn before the year begins


@dataclass(frozen=True, slots=True)
class Ask:
    """One ask, and what those concerned will do about it. A delay of None: never."""

    number: int
    who: str
    at: datetime
    lifetime: timedelta
    dollars: int
    decides: timedelta | None  # the approver, after so long
    denies: bool
    picks_up: timedelta | None  # the holder, after so long
    opens: str  # "at once", "later", "never", or "breaks off": the page takes the key and never shows it
    gives_back: timedelta | None  # the holder, so long after they opened it
    taken: timedelta | None  # the approver, as above
    uses: float  # on how many of 100 working days
    spends: float  # which part of a month's budget, in a month of daily use


@dataclass(frozen=True, slots=True)
class Departure:
    """Somebody leaves, or is a guest from then on."""

    who: str
    at: datetime
    guest: bool


@dataclass(frozen=True)
class Plan:
    """All that is drawn."""

    seed: int
    begins: datetime
    ends: datetime
    people: Mapping[str, Person]
    managers: Mapping[str, str]
    arrivals: Mapping[str, datetime]
    departures: Sequence[Departure]
    asks: Sequence[Ask]
    skies: Skies

    def draw(self, *names: object) -> random.Random:
        """What is drawn under this name: the same whenever it is asked for."""
        return random.Random("/".join(map(str, (self.seed, *names))))


def plan(seed: int, *, people: int = 200, asks: int = 600, span: timedelta = timedelta(days=365)) -> Plan:
    """The year of this seed."""
    chance = random.Random(seed)
    ends = BEGINS + span

    def some_time(first: float = 0.0, last: float = 1.0) -> datetime:
        return BEGINS + chance.uniform(first, last) * span // MINUTE * MINUTE

    team = {LEAD: Person(LEAD, TEAM, "The lead", tz=ZONES[0])}
    for number in range(people - 1):
        member = f"U0{number:04}"
        team[member] = Person(member, TEAM, f"Member {number}", tz=ZONES[number % len(ZONES)])
    members = [member for member in team if member != LEAD]
    heads = members[: max(2, people // SPAN_OF_CONTROL)]
    managers = {member: heads[number % len(heads)] for number, member in enumerate(members[len(heads) :])}
    managers |= dict.fromkeys(heads, LEAD) | {LEAD: heads[0]}
    arrivals = {member: some_time(0.0, 0.7) for member in chance.sample(members[len(heads) :], people // 10)}
    leavers = chance.sample(members[1:], people // 8)
    departures = [
        Departure(
            who,
            next_at_work(max(some_time(0.1), arrivals.get(who, BEGINS) + 30 * DAY), team[who].tz),
            guest=chance.random() < 0.3,
        )
        for who in leavers
    ]
    return Plan(
        seed,
        BEGINS,
        ends,
        team,
        managers,
        arrivals,
        departures,
        [
            _ask(number, team[who], chance=chance, arrives=arrivals.get(who, BEGINS), some_time=some_time)
            for number, who in zip(range(asks), cycle(members), strict=False)
        ],
        _skies(chance, span),
    )


def _ask(
    number: int,
    who: Person,
    *,
    chance: random.Random,
    arrives: datetime,
    some_time: Callable[[float, float], datetime],
) -> Ask:
    soon = chance.random() < 0.6  # most of the team asks when the desk is new
    at = max(some_time(0.0, 0.15 if soon else 0.95), arrives)
    hours = chance.choice((4, 8, 24, 7 * 24, 30 * 24, 90 * 24, 90 * 24, 180 * 24, 300 * 24))
    dear = chance.random() < 0.06
    return Ask(
        number=number,
        who=who.id,
        at=next_at_work(at, who.tz) + chance.randrange(50) * MINUTE,
        lifetime=timedelta(hours=hours),
        dollars=chance.choice((5, 25, 100)),
        decides=None
        if chance.random() < 0.04
        else chance.choice((20 * MINUTE, 2 * HOUR, 6 * HOUR, 20 * HOUR, 2 * DAY)),
        denies=chance.random() < 0.05,
        picks_up=None if chance.random() < 0.04 else chance.choice((10 * MINUTE, HOUR, DAY, 3 * DAY, 6 * DAY)),
        opens=chance.choices(("at once", "later", "never", "breaks off"), (85, 8, 4, 3))[0],
        gives_back=chance.uniform(0.1, 40) * DAY if chance.random() < 0.1 else None,
        taken=chance.uniform(0.1, 60) * DAY if chance.random() < 0.05 else None,
        uses=chance.choice((0, 8, 60, 60, 95)),
        spends=chance.uniform(0.9, 1.6) if dear else chance.uniform(0.01, 0.4),
    )


def _skies(chance: random.Random, span: timedelta) -> Skies:
    """Now and then something is wrong. No two kinds of bad weather at the vendor at once; else anything goes."""
    spells: list[Spell] = []
    wanted = (
        (Weather.ALL_DOWN, 12, (2 * MINUTE, 20 * MINUTE, 3 * HOUR, 3 * HOUR, 26 * HOUR)),
        (Weather.ONE_DOWN, 20, (10 * MINUTE, 5 * HOUR, 2 * DAY)),
        (Weather.SLACK_DOWN, 20, (MINUTE, 30 * MINUTE, 4 * HOUR)),
        (Weather.RATE_LIMITED, 14, (5 * MINUTE, 2 * HOUR)),
        (Weather.FAILING, 14, (5 * MINUTE, HOUR, 9 * HOUR)),
        (Weather.LANDS, 10, (20 * MINUTE, 2 * HOUR)),
        (Weather.LOST, 10, (20 * MINUTE, 2 * HOUR)),
        (Weather.AHEAD, 4, (30 * MINUTE, 7 * HOUR)),
        (Weather.BEHIND, 4, (30 * MINUTE, 7 * HOUR)),
    )
    for weather, times, lengths in wanted:
        for _ in range(max(1, round(times * (span / timedelta(days=365))))):
            begins = BEGINS + chance.random() * span // MINUTE * MINUTE
            spell = Spell(weather, begins, begins + chance.choice(lengths))
            kin = VENDOR if weather in VENDOR else tuple(CLOCKS) if weather in CLOCKS else (weather,)
            if not any(one.weather in kin and one.begins <= spell.ends and spell.begins <= one.ends for one in spells):
                spells.append(spell)
    return Skies(spells)


# ---- what lies beyond the desk


class YearsWorkspace(Workspace):
    """The directory of the team, where Slack answers."""

    def __init__(self, of: Plan, truth: Truth) -> None:
        super().__init__()
        self._skies, self._truth = of.skies, truth
        self.people = {who: one for who, one in of.people.items() if who not in of.arrivals}
        self.groups = {}
        self.managers = dict(of.managers)

    def _answers(self) -> None:
        if self._skies.at(self._truth.now, Weather.SLACK_DOWN):
            raise Unavailable("Slack is down.")

    async def person(self, member: str, *, fresh: bool = False) -> Person | None:
        """As known now."""
        self._answers()
        return await super().person(member, fresh=fresh)

    async def members(self, group: str) -> frozenset[str]:
        """As known now."""
        self._answers()
        return await super().members(group)

    async def manager(self, member: str, profile_field: str) -> str | None:
        """As known now."""
        self._answers()
        return await super().manager(member, profile_field)


class YearsVendor(MeteredVendor):
    """A vendor under the weather. What was used is kept by day."""

    def __init__(self, year: "Year") -> None:
        super().__init__(lambda: year.truth.now)
        self._year = year
        self.by_day: dict[date, dict[str, Usage]] = defaultdict(dict)

    def _meet(self, *, changes: bool = True) -> bool:
        """Whether what is asked lands all the same. Raises what the weather says, unless the caller is to say it."""
        match self._year.plan.skies.at(self._year.truth.now, *VENDOR):
            case Weather.RATE_LIMITED:
                raise ProviderRateLimited("Later.", retry_after=60)
            case Weather.FAILING:
                raise ProviderTransient("An error.")
            case Weather.LOST:
                raise OutcomeUnknown("No answer.")
            case Weather.LANDS if changes:
                return False
            case Weather.LANDS:
                raise OutcomeUnknown("No answer.")
        return True

    def land(self, marker: str) -> str:
        """A key comes to be."""
        handle = super().land(marker)
        self._year.write(What.MINTED, marker=marker)
        return handle

    async def mint(self, *, marker: str, scope: Scope, lifetime: timedelta) -> Minted:
        """As the weather is."""
        said = self._meet()
        minted = await super().mint(marker=marker, scope=scope, lifetime=lifetime)
        if not said:
            raise OutcomeUnknown("No answer.")
        return minted

    async def revoke(self, *, handle: str, project: str) -> None:
        """As the weather is."""
        said = self._meet()
        marker = self.living.get(handle)
        await super().revoke(handle=handle, project=project)
        if marker is not None:
            self._year.write(What.DIED, marker=marker)
        if not said:
            raise OutcomeUnknown("No answer.")

    async def find(self, *, marker: str, project: str) -> Sequence[str]:
        """As the weather is."""
        self._meet(changes=False)
        self.looked_for.clear()
        return await super().find(marker=marker, project=project)

    async def get(self, *, handle: str, project: str) -> ProviderKey | None:
        """As the weather is."""
        self._meet(changes=False)
        return await super().get(handle=handle, project=project)

    async def keys(self) -> AsyncIterator[ProviderKey]:
        """As the weather is."""
        self._meet(changes=False)
        async for one in super().keys():
            yield one

    async def usage(self, *, since: date, until: date) -> AsyncIterator[Sequence[Usage]]:
        """Day by day, as the weather is."""
        self._meet(changes=False)
        for number in range((until - since).days + 1):
            yield list(self.by_day[since + number * DAY].values())
        self._year.write(What.READ)

    def used_by(self, handle: str, micros: int) -> None:
        """Calls of one day with one key."""
        meter, today = f"meter_{handle}", self._year.truth.now.date()
        self.by_day[today][meter] = Usage(
            meter, today, "gpt-5-mini", 7, 700, 70, micros, Basis.BILLED, self._year.truth.now
        )


class YearsSlack(Slack):
    """The notifier: writes down what is told for the first time, and people react to it."""

    def __init__(self, year: "Year") -> None:
        super().__init__()
        self._year = year

    async def show(self, notice: Notice, story: Story) -> tuple[str, str]:
        """Under the weather as it is."""
        if self._year.plan.skies.at(self._year.truth.now, Weather.SLACK_DOWN):
            raise Unavailable("Slack is down.")
        if notice.ts is None:
            self._year.told(notice, story)
        return await super().show(notice, story)


# ---- the year itself

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


class Year:
    """Plays a plan on one desk, or on several."""

    def __init__(self, of: Plan) -> None:
        self.plan = of
        self.truth = Truth(of.begins)
        self.chronicle = Chronicle()
        self.people = YearsWorkspace(of, self.truth)
        self.vendor = YearsVendor(self)
        self.slack = YearsSlack(self)
        self.sweeps = 0
        self._turns: list[Turn] = []
        self._numbers = count()
        self._desks: list[tuple[World, DeskClock]] = []
        self._ask_of_request: dict[str, int] = {}
        self._ask_of_marker: dict[str, int] = {}
        self._in_hand: dict[str, tuple[str, Ask]] = {}  # by marker: the handle, and whose
        self._swept_all = of.begins

    def desk(self, store: SqlStore) -> World:
        """One more desk on this database. The first one's clock jumps at times."""
        clock = DeskClock(self.truth, self.plan.skies, jumps=not self._desks)
        world = World(store, vendor=self.vendor, policy=POLICY, clock=clock, people=self.people, slack=self.slack)
        self._desks.append((world, clock))
        return world

    # ---- what is written down

    @property
    def _by_desk(self) -> datetime:
        return self._desks[0][1]()

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
        """What is due, on all desks that are up, at once; and everything once a day, due by this look or not.

        Returns what is due later.
        """
        up = self._up()
        if not up:
            return {}
        if all_of_them := self.truth.now >= self._swept_all + DAY:
            self._swept_all = self.truth.now
            await asyncio.gather(*(world.watch.go_round() for world, _ in up))
        while True:  # what one sweep does may leave something for another
            latest, found = max(clock() for _, clock in up), due.look()
            parts = [part for part in PARTS if all_of_them or found.get(part, FAR) <= latest]
            if not parts or self.sweeps > SWEEPS_AT_MOST:
                return found
            for part in parts:
                self.sweeps += 1
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
        first = self.plan.begins + 11 * HOUR
        self._will(first, "", NOBODY, "use", self._use_keys)

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
            if turn.who and not self._up():
                self._again(turn)
                continue
            world = self._at_which_desk(turn)
            try:
                await turn.do(world)
            except (Unavailable, ProviderError) as error:
                self._could_not(turn, error)
                self._again(turn)
            except DeskError as error:
                self._could_not(turn, error)

    def _at_which_desk(self, turn: Turn) -> World:
        up = self._up() or self._desks
        return up[self.plan.draw(turn.ask, turn.name, turn.tries, "desk").randrange(len(up))][0]

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
        self._will(self.truth.now, "", NOBODY, "hear", partial(self._hears, who))

    async def _hears(self, who: str, world: World) -> None:
        """Slack delivers the event until a desk that is up takes it."""
        if not self._up():
            self._will(self.truth.now + HOUR, "", NOBODY, "hear", partial(self._hears, who))
            return
        await world.leaving.look(Actor(TEAM, who))
        self.write(What.HEARD, who=who)

    async def _asks(self, ask: Ask, world: World) -> None:
        scope = Scope("openai", "proj_search", "chat", ask.dollars * 100)
        draft = Draft(scope, "", ask.lifetime, f"Ask {ask.number}")
        story = await world.requests.submit(Actor(TEAM, ask.who), draft, origin=f"v_{ask.number}")
        self._ask_of_request[story.request.id] = ask.number
        self.write(What.ASKED, ask=ask.number, who=ask.who)

    def told(self, notice: Notice, story: Story) -> None:
        """A message went to somebody for the first time: it is written down, and whoever read it reacts."""
        number = self._ask_of_request[notice.about]
        self.write(What.TOLD, ask=number, who=notice.recipient, note=notice.kind)
        ask, who = self.plan.asks[number], notice.recipient
        request, grant = story.request, story.grant
        match notice.kind:
            case NoticeKind.APPROVAL:
                if ask.decides is not None:
                    at = self._soon(who, ask.decides, number, "decides")
                    self._will(at, who, number, "decide", partial(self._decides, ask, who, request.id))
            case NoticeKind.OUTCOME | NoticeKind.LAPSED | NoticeKind.UNACKNOWLEDGED | NoticeKind.UNFINISHED if (
                grant is not None and ask.picks_up is not None
            ):
                first = notice.kind is NoticeKind.OUTCOME
                at = self._soon(ask.who, ask.picks_up if first else 5 * MINUTE, number, notice.kind)
                self._will(at, ask.who, number, "pick up", partial(self._picks_up, ask, grant, first))

    async def _decides(self, ask: Ask, who: str, request_id: str, world: World) -> None:
        ruling = Ruling.DENY if ask.denies else Ruling.APPROVE
        story = await world.requests.decide(Actor(TEAM, who), request_id, ruling, "No." if ask.denies else "")
        self.write(What.DENIED if ask.denies else What.APPROVED, ask=ask.number, who=who)
        if story.grant is not None and ask.taken is not None:
            at = self._soon(who, ask.taken, ask.number, "taken")
            self._will(at, who, ask.number, "take", partial(self._ends, What.TAKEN, story.grant, ask, who))

    async def _picks_up(self, ask: Ask, grant: Grant, first: bool, world: World) -> None:
        holder = Actor(TEAM, ask.who)
        key = await world.grants.pick_up(holder, grant.id, delivery=new_id("d", os.urandom))
        await self._is_issued(ask, key, await self._issued(ask, key, world), first, world)

    async def _issued(self, ask: Ask, key: Key, world: World) -> Handover:
        self._ask_of_marker[key.marker] = ask.number
        handover = await world.grants.issue(key)
        self.write(What.SEALED, who=ask.who, marker=key.marker)
        return handover

    async def _is_issued(self, ask: Ask, key: Key, handover: Handover, first: bool, world: World) -> None:
        if ask.opens == "never" and first:
            return
        if ask.opens == "later":
            at = self.truth.now + self.plan.draw(ask.number, "later").randrange(1, 13) * MINUTE
            self._will(at, ask.who, ask.number, "open", partial(self._opens, ask, key, handover, True))
            return
        await self._opens(ask, key, handover, not (first and ask.opens == "breaks off"), world)

    async def _opens(self, ask: Ask, key: Key, handover: Handover, shows: bool, world: World) -> None:
        link_id, seed = pieces(handover.url)
        session, token = Session(Actor(TEAM, ask.who), "laptop"), envelope.access_token(seed)
        await world.links.claim(session, link_id, token)
        if not shows:
            self.write(What.CLAIMED, who=ask.who, marker=key.marker)
            return
        await world.links.acknowledge(session, link_id, token)
        self.write(What.OPENED, who=ask.who, marker=key.marker)
        handle = next(reversed(self.vendor.minted))
        self._in_hand[key.marker] = (handle, ask)
        if ask.gives_back is not None:
            at = self._soon(ask.who, ask.gives_back, ask.number, "gives back")
            self._will(
                at, ask.who, ask.number, "give back", partial(self._ends, What.GIVEN_BACK, handover.grant, ask, ask.who)
            )

    async def _ends(self, what: What, grant: Grant, ask: Ask, who: str, world: World) -> None:
        await world.grants.revoke(Actor(TEAM, who), grant.id)
        self.write(what, ask=ask.number, who=who)

    async def _use_keys(self, _: World) -> None:
        """Once a day: whoever works with a key that lives."""
        today = self.truth.now
        self._will(today + DAY, "", NOBODY, "use", self._use_keys)
        if today.weekday() >= 5:
            return
        for marker, (handle, ask) in list(self._in_hand.items()):
            if handle not in self.vendor.living or self._gone(ask.who):
                del self._in_hand[marker]
            elif (
                handle not in self.vendor.off
                and self.plan.draw(marker_name(ask), today.date()).random() * 100 < ask.uses
            ):
                micros = int(ask.dollars * 1_000_000 * ask.spends / 21)
                self.vendor.used_by(handle, micros)
                self.write(What.USED, marker=marker, note=str(micros))


def marker_name(ask: Ask) -> str:
    """What draws about a key are named by: its id is another in each run."""
    return f"key of {ask.number}"


# ---- when something is due

PARTS = ("reconcile", "tick", "retire", "invite", "deliver")  # not the Homes: nobody is told anything there
DUE = """
SELECT 'reconcile', min(expires_at) FROM grants WHERE state = 'active' UNION ALL
SELECT 'reconcile', min(expires_at) FROM links WHERE state = 'open' UNION ALL
SELECT 'reconcile', min(lease_until) FROM links WHERE state = 'claimed' UNION ALL
SELECT 'minting', min(intended_at) FROM keys WHERE state = 'minting' UNION ALL
SELECT 'reconcile', min(due_at) FROM keys WHERE state = 'disabled' UNION ALL
SELECT 'retire', min(due_at) FROM keys WHERE due_at IS NOT NULL AND state <> 'disabled' UNION ALL
SELECT 'invite', min(due_at) FROM grants WHERE due_at IS NOT NULL UNION ALL
SELECT 'deliver', min(due_at) FROM notices WHERE shown < wanted UNION ALL
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


class HurriedStore(SqlStore):
    """The store, without what costs most and is no matter here: the disk's word for each commit, and threads of its own.

    For one desk on SQLite. Whether commits survive a crash, and who wins a race, other tests tell.
    """

    def __init__(self, *, writing: Engine, reading: Engine) -> None:
        super().__init__(writing=writing, reading=reading)
        event.listen(writing, "connect", lambda one, _: one.execute("PRAGMA synchronous = OFF").close())
        self._writer.shutdown()
        self._reader.shutdown()
        self._writer = self._reader = _AtOnce(1)
