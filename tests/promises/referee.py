"""The referee of a simulated year: what the desk promises, reckoned anew from what people did and the weather.

It asks nothing of the desk: neither its code, nor its database. What people did, what the vendor saw and what Slack was
given is enough to tell what there must have been, and when.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.promises.chronicle import CLOCKS, NOBODY, VENDOR, Chronicle, Entry, Skies, Weather, What, at_work
from tests.promises.year import LEAD, Ask, Plan

BEAT = timedelta(seconds=15)
HOUR = timedelta(hours=1)
PATIENCE = timedelta(minutes=15)  # what failed is tried again so often at least
LINK_LIVES = timedelta(minutes=15)
PAGE_HAS = timedelta(minutes=2)  # from taking the envelope to showing the key
MAY_LAND = timedelta(minutes=10)  # a mint of unknown outcome, until which its marker is looked for
LOOKS = timedelta(minutes=1)
BUDGET_STEPS = (50, 80, 100)  # per cent


@dataclass(frozen=True, slots=True)
class Due:
    """A message that somebody must get, once: between `after` and `by` on the clock of the first desk.

    `waits`: in their working hours. `must` is False where the other answer is right, too: on the edge of something.
    """

    ask: int
    kind: str
    who: str
    after: datetime
    by: datetime
    waits: bool = False
    must: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise that was broken, and of which ask."""

    ask: int
    what: str


class Referee:
    """Holds a chronicle against the promises."""

    def __init__(self, plan: Plan, chronicle: Chronicle) -> None:
        self._plan = plan
        self._skies: Skies = plan.skies
        self._chronicle = chronicle
        self._left = {one.who: one for one in chronicle.all(What.LEFT)}
        self._heard = {one.who: one for one in chronicle.all(What.HEARD)}
        self._last = max((one.by_desk for one in chronicle.entries), default=plan.begins)

    def findings(self) -> list[Finding]:
        """Every promise that was broken."""
        return [*self._messages(), *self._keys(), *self._leavers()]

    def verdict(self) -> str:
        """What is wrong, with the seed and the story of each thing concerned; empty where nothing is."""
        told = []
        for finding in self.findings()[:5]:
            told.append(f"{finding.what}\n{self._chronicle.story(finding.ask)}")
        return "\n\n".join([f"the year of seed {self._plan.seed}:", *told]) if told else ""

    # ---- time and weather

    def _by(self, moment: datetime, *kinds: Weather) -> datetime:
        """When what is due at this moment is done at the latest: the next beat after all of this weather."""
        by = self._skies.clears(moment, PATIENCE, Weather.ALL_DOWN, *kinds) + BEAT
        return by + HOUR if self._skewed(moment, by) else by

    def _not_before(self, moment: datetime) -> datetime:
        return moment - HOUR if self._skewed(moment, moment) else moment

    def _skewed(self, begins: datetime, ends: datetime) -> bool:
        return self._skies.touch(begins - 2 * HOUR, ends + 2 * HOUR, *CLOCKS)

    def _due(self, cause: Entry | datetime, kind: str, who: str, ask: int, *, must: bool = True) -> Due:
        """A message that follows at once."""
        moment = cause if isinstance(cause, datetime) else cause.by_desk
        by = self._by(moment, Weather.SLACK_DOWN)
        return Due(ask, kind, who, self._not_before(moment), by, must=must and by < self._plan.ends)

    # ---- messages

    def _messages(self) -> Iterator[Finding]:
        due: dict[tuple[int, str, str], list[Due]] = defaultdict(list)
        for ask in self._plan.asks:
            for one in self._all_due(ask):
                due[one.ask, one.kind, one.who].append(one)
        told: dict[tuple[int, str, str], list[Entry]] = defaultdict(list)
        for entry in self._chronicle.all(What.TOLD):
            told[entry.ask, entry.note, entry.who].append(entry)
        for about in sorted(due.keys() | told.keys()):
            yield from self._compare(about, sorted(due[about], key=lambda one: one.after), told[about])

    def _compare(self, about: tuple[int, str, str], due: Sequence[Due], told: Sequence[Entry]) -> Iterator[Finding]:
        ask, kind, who = about
        left = list(told)
        for one in due:
            if left and one.after <= left[0].by_desk <= one.by:
                entry = left.pop(0)
                if one.waits and not at_work(entry.by_desk, self._plan.people[who].tz):
                    yield Finding(ask, f"{kind} to {who} out of their working hours, at {entry.by_desk}")
            elif one.must:
                yield Finding(ask, f"no {kind} to {who} between {one.after} and {one.by}")
        for entry in left:
            yield Finding(ask, f"{kind} to {who} at {entry.by_desk} for nothing, or once more")

    def _all_due(self, ask: Ask) -> Iterator[Due]:
        story = self._chronicle.of(ask.number)
        asked = next((one for one in story if one.what is What.ASKED), None)
        if asked is None:
            return
        yield self._due(asked, "receipt", ask.who, ask.number)
        yield self._due(asked, "approval", self._manager(ask.who, asked), ask.number)
        decided = next((one for one in story if one.what in (What.APPROVED, What.DENIED)), None)
        if decided is None:
            return
        yield self._due(decided, "outcome", ask.who, ask.number)
        if decided.what is What.DENIED:
            return
        yield from self._links_due(ask)
        yield from self._budget_due(ask, decided)
        if (end := self._end(ask)) is not None:
            gone = ask.who in self._left
            yield self._due(end, "ended", ask.who, ask.number, must=not gone)

    def _manager(self, who: str, at: Entry) -> str:
        manager = self._plan.managers[who]
        left = self._left.get(manager)
        return manager if left is None or left.number > at.number else LEAD

    def _links_due(self, ask: Ask) -> Iterator[Due]:
        for sealed in self._chronicle.of(ask.number, What.SEALED):
            lapse, kind = self._lapse(sealed)
            if kind and not self._ended_before(ask, lapse):
                yield self._due(lapse, kind, ask.who, ask.number)

    def _lapse(self, sealed: Entry) -> tuple[datetime, str]:
        """When this link was over unread, and what its holder is told; no kind where it was read."""
        after = [one for one in self._chronicle.of(sealed.ask) if one.marker == sealed.marker]
        for one in after:
            if one.what is What.OPENED:
                return one.by_desk, ""
        for one in after:
            if one.what is What.CLAIMED:
                return one.by_desk + PAGE_HAS, "unacknowledged"
        return sealed.by_desk + LINK_LIVES, "lapsed"

    def _budget_due(self, ask: Ask, decided: Entry) -> Iterator[Due]:
        """Each step once a month, at the first reading that shows it; several at once are told as one."""
        end = self._end(ask)
        uses = self._chronicle.of(ask.number, What.USED)
        if not uses or ask.spends < BUDGET_STEPS[0] / 200:
            return
        said: set[tuple[int, int]] = set()
        for reading in self._readings:
            if reading.number < uses[0].number or reading.at > uses[-1].at + timedelta(days=4):
                continue
            if end is not None and reading.by_desk >= end:
                return
            month = reading.by_desk.month
            micros = sum(int(one.note) for one in uses if one.number < reading.number and one.at.month == month)
            crossed = {
                step for step in BUDGET_STEPS if micros >= step * ask.dollars * 10_000 and (month, step) not in said
            }
            said |= {(month, step) for step in crossed}
            if crossed:
                yield self._due(reading, "budget", ask.who, ask.number)
            if 100 in crossed:
                yield self._due(reading, "overspent", decided.who, ask.number)

    @property
    def _readings(self) -> list[Entry]:
        return list(self._chronicle.all(What.READ))

    # ---- keys

    def _end(self, ask: Ask) -> datetime | None:
        """When the grant of this ask was over, on the clock of the first desk; None where it is not."""
        ends = [one.by_desk for one in self._chronicle.of(ask.number, What.GIVEN_BACK, What.TAKEN)]
        approved = self._chronicle.of(ask.number, What.APPROVED)
        heard = self._heard.get(ask.who)
        if heard is not None and approved and approved[0].number < heard.number:
            ends.append(heard.by_desk)
        opened = self._chronicle.of(ask.number, What.OPENED)
        if opened:
            sealed = next(one for one in self._chronicle.of(ask.number, What.SEALED) if one.marker == opened[0].marker)
            ends.append(sealed.by_desk + ask.lifetime)
        end = min(ends, default=None)
        return end if end is not None and end <= self._last else None

    def _ended_before(self, ask: Ask, moment: datetime) -> bool:
        end = self._end(ask)
        return end is not None and end < moment

    def _keys(self) -> Iterator[Finding]:
        """No key lives past its end plus one sweep, but while the vendor fails; and none dies before its end."""
        died = {one.marker: one for one in self._chronicle.all(What.DIED)}
        for minted in self._chronicle.all(What.MINTED):
            if minted.ask == NOBODY:
                yield Finding(NOBODY, f"{minted.marker} was minted for nobody")
                continue
            end = self._end_of_key(self._plan.asks[minted.ask], minted)
            death = died.get(minted.marker)
            if end is not None and self._by(end, *VENDOR) < self._plan.ends:
                by = self._by(end, *VENDOR)
                if death is None or death.by_desk > by:
                    lived = f"until {death.by_desk}" if death else "on"
                    yield Finding(
                        minted.ask, f"{minted.marker} ended at {end}, had to be gone by {by}, and lived {lived}"
                    )
            if death is not None and (end is None or death.by_desk < self._not_before(end)):
                yield Finding(minted.ask, f"{minted.marker} was revoked at {death.by_desk}, before its end {end}")

    def _end_of_key(self, ask: Ask, minted: Entry) -> datetime | None:
        sealed = next((one for one in self._chronicle.of(ask.number, What.SEALED) if one.marker == minted.marker), None)
        if sealed is None:
            # Nobody knows that it came to be: it is looked for at once, and for as long as another may land.
            return minted.by_desk + LOOKS
        ends = [end] if (end := self._end(ask)) is not None else []
        lapse, kind = self._lapse(sealed)
        if kind:
            again = [
                one.by_desk
                for one in self._chronicle.of(ask.number, What.MINTED)
                if one.number > sealed.number and one.by_desk < lapse
            ]
            ends += [lapse, *again]
        return min(ends, default=None)

    # ---- people

    def _leavers(self) -> Iterator[Finding]:
        """Nobody who left holds a living key, one sweep after Slack told; and none is made for them."""
        died = {one.marker: one.by_desk for one in self._chronicle.all(What.DIED)}
        for who, heard in self._heard.items():
            by = self._by(heard.by_desk, *VENDOR)
            for ask in (one for one in self._plan.asks if one.who == who):
                for minted in self._chronicle.of(ask.number, What.MINTED):
                    if minted.number > self._left[who].number:
                        yield Finding(ask.number, f"{minted.marker} was minted for {who}, who had left")
                    elif by < self._plan.ends and died.get(minted.marker, self._plan.ends) > by:
                        yield Finding(ask.number, f"{who} left, and still holds {minted.marker} after {by}")
