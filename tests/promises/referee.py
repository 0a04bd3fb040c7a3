"""The referee of a simulated year: holds what happened against what must have, as `reckoning` has it.

It judges from outside: what people were sent and when, which keys live at the vendors and how long.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from tests.promises.chronicle import CLOCKS, NOBODY, VENDOR, Chronicle, Entry, What, at_work, next_at_work
from tests.promises.planning import DAY, HOUR, Choice, Plan
from tests.promises.reckoning import Due, End, Reckoning

TURNS = (
    ("receipt", "outcome"),
    ("approval", "reminder"),
    ("outcome", "pick_up"),
    ("outcome", "lapsed"),
    ("outcome", "unacknowledged"),
    ("outcome", "deposited"),
    ("deposit", "not_brought"),
    ("deposited", "pick_up"),
    ("pick_up", "expiring"),
    ("lapsed", "expiring"),
    ("outcome", "idle"),
    ("outcome", "rotation_due"),
    ("rotation_due", "rotated"),
    ("rotation_due", "ended"),
    ("expiring", "ended"),
    ("idle", "ended"),
    ("budget", "ended"),
    ("unusual", "ended"),
    ("outcome", "ended"),
)
"""What comes before what, of the messages about one ask to one person."""
WEEK = timedelta(days=7)
ENROLLED = 3 * DAY  # who has a key for so long has a digest
IN_ITS_WEEK = 6 * DAY  # what could not be sent for so long is not made up for


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise that was broken, and of which ask."""

    ask: int
    what: str


class Referee:
    """Holds a chronicle against the promises.

    One is not made: while the clocks of several `desks` are an hour apart, one's lease is over at once by another's, and both
    may post the same message in the same moment.
    """

    def __init__(self, plan: Plan, chronicle: Chronicle, *, desks: int = 1) -> None:
        self._plan = plan
        self._desks = desks
        self._chronicle = chronicle
        self._of = Reckoning(plan, chronicle)

    def findings(self) -> list[Finding]:
        """Every promise that was broken."""
        return [
            *self._messages(),
            *self._order(),
            *self._keys(),
            *self._pauses(),
            *self._leavers(),
            *self._digests(),
        ]

    def verdict(self) -> str:
        """What is wrong, with the seed and the story of each thing concerned; empty where nothing is."""
        told = []
        for finding in self.findings()[:5]:
            told.append(
                f"{finding.what}\n{self._chronicle.story(finding.ask)}" if finding.ask != NOBODY else finding.what
            )
        return "\n\n".join([f"the year of seed {self._plan.seed}:", *told]) if told else ""

    # ---- messages

    def _messages(self) -> Iterator[Finding]:
        due: dict[tuple[int, str, str], list[Due]] = defaultdict(list)
        for number in self._chronicle.asks():
            for one in self._of.dues(self._plan.ask(number)):
                due[one.ask, one.kind, one.who].append(one)
        told: dict[tuple[int, str, str], list[Entry]] = defaultdict(list)
        for entry in self._chronicle.all(What.TOLD):
            told[entry.ask, entry.note, entry.who].append(entry)
        for about in sorted(due.keys() | told.keys()):
            yield from self._compare(about, sorted(due[about], key=lambda one: one.after), told[about])

    def _compare(self, about: tuple[int, str, str], due: Sequence[Due], told: Sequence[Entry]) -> Iterator[Finding]:
        ask, kind, who = about
        left, last = list(told), None
        for one in due:
            if one.merges and last is not None and one.after <= last.by_desk:
                continue
            if left and one.after <= left[0].by_desk <= one.by:
                last = left.pop(0)
                if one.waits and not self._at_work(last):
                    yield Finding(ask, f"{kind} to {who} out of their working hours, at {last.by_desk}")
            elif one.must:
                yield Finding(ask, f"no {kind} to {who} between {one.after} and {one.by}")
        for entry in left:
            if not self._posted_by_both(entry, told):
                yield Finding(ask, f"{kind} to {who} at {entry.by_desk} for nothing, or once more")

    def _posted_by_both(self, entry: Entry, told: Sequence[Entry]) -> bool:
        apart = self._desks > 1 and self._plan.skies.at(entry.at, *CLOCKS)
        return bool(apart) and any(one is not entry and one.at == entry.at for one in told)

    def _at_work(self, told: Entry) -> bool:
        """By the clock of either desk."""
        return any(at_work(moment, self._of.tz(told.who)) for moment in (told.at, told.by_desk))

    def _order(self) -> Iterator[Finding]:
        """Of the messages about one ask each person had the earlier one first."""
        told: dict[tuple[int, str], list[Entry]] = defaultdict(list)
        for entry in self._chronicle.all(What.TOLD):
            told[entry.ask, entry.who].append(entry)
        for (ask, who), entries in told.items():
            at = {kind: [one.number for one in entries if one.note == kind] for kind in {one.note for one in entries}}
            for first, then in TURNS:
                if first in at and then in at and min(at[then]) < min(at[first]):
                    yield Finding(ask, f"{who} had {then} before {first}")
                elif then == "ended" and first in at and then in at and max(at[first]) > max(at[then]):
                    yield Finding(ask, f"{who} had {first} after {then}")

    # ---- keys

    def _keys(self) -> Iterator[Finding]:
        """No key lives past its end plus one sweep, but while the vendor fails; and none dies before its end."""
        died = {one.marker: one for one in self._chronicle.all(What.DIED)}
        for minted in self._chronicle.all(What.MINTED):
            if minted.ask == NOBODY:
                yield Finding(NOBODY, f"{minted.marker} was minted for nobody")
                continue
            end, death = self._of.end_of_key(self._plan.ask(minted.ask), minted), died.get(minted.marker)
            yield from self._key(minted, end, death)

    def _key(self, minted: Entry, end: End | None, death: Entry | None) -> Iterator[Finding]:
        by = self._of.by(end.by, *VENDOR) if end is not None else self._plan.ends
        if end is not None and by < self._plan.ends and (death is None or death.by_desk > by):
            lived = f"until {death.by_desk}" if death else "on"
            yield Finding(minted.ask, f"{minted.marker} ended at {end.by}, had to be gone by {by}, and lived {lived}")
        if death is not None and (end is None or death.by_desk < self._of.not_before(end.after)):
            yield Finding(
                minted.ask, f"{minted.marker} was revoked at {death.by_desk}, before its end {end and end.after}"
            )

    def _pauses(self) -> Iterator[Finding]:
        """A key that was paused is off at the vendor until somebody wants it on; and none is off otherwise."""
        switches: dict[str, list[Entry]] = defaultdict(list)
        for entry in self._chronicle.all(What.OFF, What.ON, What.DIED):
            switches[entry.marker].append(entry)
        wanted = {What.PAUSED: What.OFF, What.RESUMED: What.ON}
        for number in self._chronicle.asks():
            said = self._chronicle.of(number, *wanted)
            markers = {one.marker for one in self._chronicle.of(number, What.SEALED)}
            done = sorted((one for marker in markers for one in switches[marker]), key=lambda one: one.number)
            for one in said:
                by = self._of.by(one.by_desk, *VENDOR)
                after = [each for each in done if each.number > one.number and each.by_desk <= by]
                if by < self._plan.ends and not [each for each in after if each.what in (wanted[one.what], What.DIED)]:
                    yield Finding(number, f"{one.what} at {one.by_desk}, and not {wanted[one.what]} by {by}")
            if len([each for each in done if each.what is not What.DIED]) > len(said):
                yield Finding(number, "a key was switched, and nobody had said so")

    # ---- people

    def _leavers(self) -> Iterator[Finding]:
        """Nobody who left holds a living key, one sweep after the desk could know, but one that is offered to an heir.

        None is made for them, and no digest is sent to them.
        """
        died = {one.marker: one.by_desk for one in self._chronicle.all(What.DIED)}
        for who, left in self._of.left.items():
            gone = self._of.gone(who)
            by = self._of.by(gone.by, *VENDOR) if gone else self._plan.ends
            for digest in self._chronicle.all(What.DIGEST):
                if digest.who == who and digest.by_desk > by:
                    yield Finding(NOBODY, f"{who} left, and had the digest of {digest.note}")
            for minted in self._chronicle.all(What.MINTED):
                if minted.ask == NOBODY or self._plan.ask(minted.ask).who != who:
                    continue
                if minted.number > left.number and self._plan.ask(minted.ask).provider != "console":
                    yield Finding(minted.ask, f"{minted.marker} was minted for {who}, who had left")
                elif self._of.handed_over(self._plan.ask(minted.ask)) is not None:
                    continue  # when it is to end, `_keys` tells
                elif by < self._plan.ends and died.get(minted.marker, self._plan.ends) > by:
                    yield Finding(minted.ask, f"{who} left, and still holds {minted.marker} after {by}")

    # ---- digests

    def _digests(self) -> Iterator[Finding]:
        """Each week once, to whoever has a key, at the time that is theirs; late after an outage, and never at night."""
        sent: dict[str, list[Entry]] = defaultdict(list)
        for entry in self._chronicle.all(What.DIGEST):
            sent[entry.who].append(entry)
        for who, person in self._plan.people.items():
            once = [
                one
                for one in sent[who]
                if not self._posted_by_both(one, [each for each in sent[who] if each.number < one.number])
            ]
            weeks = Counter(entry.note for entry in once)
            for week, times in weeks.items():
                if times > 1:
                    yield Finding(NOBODY, f"{who} had the digest of {week} {times} times")
            for one, other in pairwise(sent[who]):
                if date.fromisoformat(one.note) > date.fromisoformat(other.note):
                    yield Finding(NOBODY, f"{who} had the digest of {other.note} after that of {one.note}")
            by_week = {date.fromisoformat(entry.note): entry for entry in sent[who]}
            monday = self._plan.begins.date()
            while datetime.combine(monday, time(), UTC) < self._plan.ends:
                yield from self._week(who, person.tz, monday, by_week.pop(monday, None))
                monday += WEEK
            for entry in by_week.values():
                yield Finding(NOBODY, f"{who} had a digest of {entry.note}, which is no week")

    def _week(self, who: str, tz: str, monday: date, sent: Entry | None) -> Iterator[Finding]:
        weekday, hour, off, edge = self._chosen(who, monday, tz)
        moment = datetime.combine(monday + weekday * DAY, time(hour), ZoneInfo(tz)).astimezone(UTC)
        by = self._of.by_at_work(moment, who)
        if sent is not None:
            if not self._at_work(sent):
                yield Finding(NOBODY, f"{who} had the digest of {monday} at night: {sent.by_desk}")
            if not edge and (off or not self._of.not_before(moment) <= sent.by_desk <= by):
                yield Finding(
                    NOBODY, f"{who} had the digest of {monday} at {sent.by_desk}, not {moment} to {by}, {off=}"
                )
        elif (
            not (off or edge) and by < min(self._plan.ends - DAY, moment + IN_ITS_WEEK) and self._holds(who, moment, by)
        ):
            yield Finding(NOBODY, f"{who} had no digest of {monday}, from {moment} to {by}")

    def _chosen(self, who: str, monday: date, tz: str) -> tuple[int, int, bool, bool]:
        """The time that is theirs that week; whether they want none; and whether they chose so just then."""
        mine: Sequence[Choice] = [one for one in self._plan.choices if one.who == who]
        chose = next((one for one in self._chronicle.all(What.CHOSE) if one.who == who), None)
        if not mine or chose is None:
            return 0, 9, False, False
        begins = datetime.combine(monday, time(), ZoneInfo(tz)).astimezone(UTC)
        edge = begins - WEEK <= chose.at < begins + WEEK
        if chose.at >= begins + WEEK:
            return 0, 9, False, edge
        return mine[0].weekday, mine[0].hour, mine[0].off, edge

    def _holds(self, who: str, moment: datetime, by: datetime) -> bool:
        """Whether they have had a key for a while, and still do."""
        left = self._of.left.get(who)
        if left is not None and left.by_desk <= by + HOUR:
            return False
        for opened in self._chronicle.all(What.OPENED):
            if opened.who == who and opened.by_desk + ENROLLED < moment:
                end = self._of.end(self._plan.ask(opened.ask))
                if end is None or end.after > next_at_work(by, self._of.tz(who)):
                    return True
        return False
