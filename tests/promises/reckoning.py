"""What the desk promises of one ask, reckoned anew from what people did and the weather: who is to be told what, and when.

It asks nothing of the desk: neither its code, nor its database. All times are by the clock of the first desk.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from tests.promises.chronicle import (
    CLOCKS,
    VENDOR,
    Chronicle,
    Entry,
    Weather,
    What,
    at_work,
    last_at_work,
    next_at_work,
    worked,
)
from tests.promises.planning import BROUGHT, DAY, EXTENSIONS, HEIRS, HOUR, LEAD, MINTING, MINUTE, Ask, Plan

BEAT = timedelta(seconds=15)
PATIENCE = timedelta(minutes=15)  # what failed is tried again so often at least
LINK_LIVES = timedelta(minutes=15)
PAGE_HAS = timedelta(minutes=2)  # from taking the envelope to showing the key
BUDGET_STEPS = (50, 80, 100)  # per cent
ROTATED_EVERY, GRACE = 90 * DAY, DAY
REMINDED = (14 * DAY, 7 * DAY, DAY)  # before that
PUT_OFF_AT_LEAST = DAY
TAKE_OVER_WITHIN = 3 * DAY
DECIDE_WITHIN, PICK_UP_WITHIN, BRING_WITHIN = 3 * DAY, 7 * DAY, 7 * DAY
APPROVERS_HAVE, DEPOSITORS_HAVE = 4, 8  # of their working hours, until they are reminded
UNUSED, ANSWER_WITHIN, KEPT_FOR = 14 * DAY, 7 * DAY, 30 * DAY
NIGHT = time(3)  # UTC: when the holders are held against Slack's list
GIVES_UP = timedelta(minutes=10)  # after so long a revocation that fails is somebody's task
TRIED_BY = timedelta(minutes=16)  # … and is told by then
FAR = datetime.max.replace(tzinfo=UTC)
ANY = (*VENDOR, *CLOCKS, Weather.ALL_DOWN, Weather.SLACK_DOWN)


@dataclass(frozen=True, slots=True)
class Due:
    """A message that somebody must get, once: between `after` and `by`.

    `waits`: in their working hours. `must` is False where the other answer is right, too: on the edge of something.
    `merges`: what was due before the one ahead of it was told is told with that.
    """

    ask: int
    kind: str
    who: str
    after: datetime
    by: datetime
    waits: bool = False
    must: bool = True
    merges: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """When a grant was over: between the two."""

    after: datetime
    by: datetime
    lapsed: bool = False  # nobody picked up, or brought, its key


class Reckoning:
    """What there must have been, of a plan and what people made of it."""

    def __init__(self, plan: Plan, chronicle: Chronicle) -> None:
        self._plan = plan
        self._skies = plan.skies
        self._chronicle = chronicle
        self.left = {one.who: one for one in chronicle.all(What.LEFT)}
        self._heard = {one.who: one for one in chronicle.all(What.HEARD)}
        self._readings = list(chronicle.all(What.READ))
        self._last = max((one.by_desk for one in chronicle.entries), default=plan.begins) + BEAT
        self._ends: dict[int, End | None] = {}

    # ---- time and weather

    def by(self, moment: datetime, *kinds: Weather) -> datetime:
        """When what is due at this moment is done at the latest: the next beat after all of this weather."""
        by = self._skies.clears(moment, PATIENCE, Weather.ALL_DOWN, *kinds) + BEAT
        return by + HOUR if self.skewed(moment, by) else by

    def by_at_work(self, moment: datetime, who: str) -> datetime:
        """The same, of a message that waits for somebody's working hours."""
        tz, at = self.tz(who), moment
        for _ in range(20):
            at = next_at_work(at, tz)
            clear = self._skies.clears(at, PATIENCE, Weather.ALL_DOWN, Weather.SLACK_DOWN)
            if self.skewed(at, at):
                clear = max(clear, at + HOUR)
            if clear == at or (clear - at <= HOUR and at_work(clear, tz)):
                return clear + BEAT
            at = clear
        raise AssertionError("the weather never clears")

    def not_before(self, moment: datetime) -> datetime:
        """The earliest, by a clock that may have jumped."""
        return moment - HOUR if self.skewed(moment, moment) else moment

    def skewed(self, begins: datetime, ends: datetime) -> bool:
        """Whether the first desk's clock was, or had just been, wrong."""
        return self._skies.touch(begins - 2 * HOUR, ends + 2 * HOUR, *CLOCKS)

    def tz(self, who: str) -> str:
        """The zone that somebody lives in."""
        return self._plan.people[who].tz

    def over(self, moment: datetime) -> bool:
        """Whether the year was over by then."""
        return moment >= min(self._plan.ends, self._last)

    def _at_once(self, cause: Entry | datetime, kind: str, who: str, ask: int, *, must: bool = True) -> Due:
        """A message that follows at once."""
        moment = cause if isinstance(cause, datetime) else cause.by_desk
        by = self.by(moment, Weather.SLACK_DOWN)
        return Due(ask, kind, who, self.not_before(moment), by, must=must and not self.over(by))

    def _at_work(self, moment: datetime, kind: str, ask: Ask, who: str, *, must: bool = True) -> Due:
        """A message that waits for their working hours."""
        after = next_at_work(moment, self.tz(who))
        by = self.by_at_work(after, who)
        here = who not in self.left or self.left[who].by_desk > by
        must = must and here and not self.over(by)
        return Due(ask.number, kind, who, self.not_before(after), by, waits=True, must=must)

    # ---- what people did

    def _first(self, ask: Ask, *whats: What) -> Entry | None:
        return next(iter(self._chronicle.of(ask.number, *whats)), None)

    def _manager(self, who: str, number: int) -> str:
        """Who decides for this member, when so much had happened."""
        manager = self._plan.managers[who]
        left = self.left.get(manager)
        return manager if left is None or left.number > number else LEAD

    def _held(self, ask: Ask) -> tuple[Entry, Entry] | None:
        """When its holder had the key: when it was sealed, and when they opened it."""
        opened = self._first(ask, What.OPENED)
        if opened is None:
            return None
        before = [one for one in self._chronicle.of(ask.number, What.SEALED) if one.number < opened.number]
        return before[-1], opened

    def _followed(self, ask: Ask) -> Entry | None:
        """When its holder had the key that extends it, or an heir the one that they took over."""
        opened = [next(iter(self._chronicle.of(ask.number + by, What.OPENED)), None) for by in (EXTENSIONS, HEIRS)]
        return min((one for one in opened if one), key=lambda one: one.number, default=None)

    def handed_over(self, ask: Ask) -> End | None:
        """When its key, which its holder had as they left, was offered to whoever approved it; None where it was not."""
        gone, opened = self.gone(ask.who), self._chronicle.of(ask.number, What.OPENED)
        if gone is None or not opened or ask.provider != MINTING or not ask.strict:
            return None
        ends = [held for held in self._ends_of_held(ask) if held.after < gone.by]
        under_way = [one for one in self._chronicle.of(ask.number, What.HURRIED) if one.number > opened[-1].number]
        extended = self._chronicle.of(ask.number + EXTENSIONS, What.OPENED)
        if ends or under_way or extended or opened[0].by_desk > gone.by:
            return None
        return gone

    # ---- how it ended

    def end(self, ask: Ask) -> End | None:
        """When the grant of this ask was over; None where it is not."""
        if ask.number not in self._ends:
            ends = [end for end in self._all_ends(ask) if end.after <= self._last]
            self._ends[ask.number] = min(ends, key=lambda end: end.after, default=None)
        return self._ends[ask.number]

    def _all_ends(self, ask: Ask) -> Iterator[End]:
        approved = self._first(ask, What.APPROVED)
        if approved is None:
            return
        for one in self._chronicle.of(ask.number, What.GIVEN_BACK, What.TAKEN):
            yield End(one.by_desk, one.by_desk)
        if (gone := self.gone(ask.who)) is not None and gone.by > approved.by_desk:
            works_on = TAKE_OVER_WITHIN if self.handed_over(ask) is not None else timedelta()
            yield End(gone.after + works_on, gone.by + works_on)
        if self._held(ask) is None:
            yield from self._lapses(ask, approved)
        else:
            yield from self._ends_of_held(ask)

    def _ends_of_held(self, ask: Ask) -> Iterator[End]:
        """Of a key that its holder had."""
        held = self._held(ask)
        if held is None:
            return
        at = held[0].by_desk + ask.lifetime
        if (followed := self._followed(ask)) is not None:
            at = min(at, followed.by_desk + DAY)
        yield End(at, at)
        yield from (one for one in self._idle(ask) if isinstance(one, End))
        opened = self._chronicle.of(ask.number, What.OPENED)
        for hurried in self._chronicle.of(ask.number, What.HURRIED):
            if opened[-1].number < hurried.number:
                yield self._lapse(ask, hurried.by_desk + PICK_UP_WITHIN)

    def gone(self, who: str) -> End | None:
        """When what somebody has who left is taken back: as soon as the desk hears it, else the next night."""
        left, heard = self.left.get(who), self._heard.get(who)
        if left is None:
            return None
        night = datetime.combine(left.by_desk.date(), NIGHT, UTC)
        while night <= left.by_desk:
            night += DAY
        by = self.by(night, Weather.SLACK_DOWN)
        if heard is not None and heard.by_desk <= by:
            return End(min(night, heard.by_desk), heard.by_desk)
        return End(night, by)

    def _lapses(self, ask: Ask, approved: Entry) -> Iterator[End]:
        since, patience = approved, PICK_UP_WITHIN
        if ask.provider == BROUGHT:
            brought = self._first(ask, What.BROUGHT)
            since, patience = (approved, BRING_WITHIN) if brought is None else (brought, PICK_UP_WITHIN)
        yield self._lapse(ask, since.by_desk + patience)

    def _lapse(self, ask: Ask, at: datetime) -> End:
        by = self.by(at, Weather.SLACK_DOWN)
        sealed = [one for one in self._chronicle.of(ask.number, What.SEALED) if at - LINK_LIVES <= one.by_desk <= by]
        # Whose link was open in that moment had a day more.
        return End(at, by + DAY + LINK_LIVES if sealed else by, lapsed=True)

    def _ended_before(self, ask: Ask, moment: datetime) -> bool:
        end = self.end(ask)
        return end is not None and end.after < moment

    def lapse(self, sealed: Entry) -> tuple[datetime, str]:
        """When this link was over unread, and what its holder is told; no kind where it was read."""
        after = [one for one in self._chronicle.of(sealed.ask) if one.number > sealed.number]
        for one in after:
            if one.marker == sealed.marker and one.what is What.OPENED:
                return one.by_desk, ""
            if one.what is What.SEALED:
                break
        for one in after:
            if one.marker == sealed.marker and one.what is What.CLAIMED:
                return one.by_desk + PAGE_HAS, "unacknowledged"
        return sealed.by_desk + LINK_LIVES, "lapsed"

    # ---- what is told

    def dues(self, ask: Ask) -> Iterator[Due]:
        """All that is to be told of this ask."""
        asked = self._first(ask, What.ASKED)
        if asked is None:
            return
        yield self._at_once(asked, "receipt", ask.who, ask.number)
        yield self._at_once(asked, "approval", self._manager(ask.who, asked.number), ask.number)
        decided = self._first(ask, What.APPROVED, What.DENIED)
        yield from self._waiting(ask, asked, decided)
        if decided is None:
            return
        yield self._at_once(decided, "outcome", ask.who, ask.number)
        if decided.what is What.DENIED:
            return
        yield from self._picking_up(ask, decided)
        yield from self._links(ask)
        yield from self._budget(ask, decided)
        yield from self._expiring(ask)
        yield from self._rotating(ask, decided)
        yield from self._hurrying(ask)
        yield from self._passing_on(ask, decided)
        yield from (one for one in self._idle(ask) if isinstance(one, Due))
        yield from self._unusual(ask, decided)
        yield from self._stuck(ask, decided)
        if (end := self.end(ask)) is not None:
            here = ask.who not in self.left
            if end.lapsed:
                due = self._at_work(end.after, "ended", ask, ask.who, must=here)
                late = self.by_at_work(end.by, ask.who)
                yield Due(ask.number, "ended", ask.who, due.after, max(late, due.by), waits=True, must=due.must)
            else:
                by = self.by(end.by, Weather.SLACK_DOWN)
                must = here and not self.over(by)
                yield Due(ask.number, "ended", ask.who, self.not_before(end.after), by, must=must)

    def _waiting(self, ask: Ask, asked: Entry, decided: Entry | None) -> Iterator[Due]:
        """Of a request that is pending: those who were to decide are reminded; where nobody does, it is over."""
        lapses = asked.by_desk + DECIDE_WITHIN
        until = decided.by_desk if decided else lapses
        if (gone := self.gone(ask.who)) is not None:
            until = min(until, gone.after)
        manager = self._manager(ask.who, asked.number)
        left = self.left.get(manager)
        due = self._at_work(worked(asked.by_desk, APPROVERS_HAVE, self.tz(manager)), "reminder", ask, manager)
        if due.after < until and (left is None or due.after < left.by_desk):
            yield due if due.by < until else self._may(due)
        if left is not None and left.by_desk < until:
            # Whoever decides in their place is asked, and may be reminded, too.
            heard = self.gone(manager)
            assert heard is not None
            asked_anew = self._at_work(heard.after, "approval", ask, LEAD, must=heard.by < until)
            late = self.by_at_work(heard.by, LEAD)
            must = asked_anew.must and late < until
            yield Due(ask.number, "approval", LEAD, asked_anew.after, max(late, asked_anew.by), waits=True, must=must)
            since = max(left.by_desk, worked(asked.by_desk, APPROVERS_HAVE, self.tz(LEAD)))
            if since < until:
                reminded = self._at_work(since, "reminder", ask, LEAD)
                yield Due(ask.number, "reminder", LEAD, reminded.after, until + DAY, waits=True, must=False)
        if decided is None and until == lapses and not self.over(lapses):
            yield self._at_work(lapses, "outcome", ask, ask.who)

    def _may(self, due: Due) -> Due:
        return Due(due.ask, due.kind, due.who, due.after, due.by, due.waits, must=False, merges=due.merges)

    def _picking_up(self, ask: Ask, approved: Entry) -> Iterator[Due]:
        """Of a key that is to be brought, or picked up: whoever is waited for is asked, and reminded once."""
        since = approved
        if ask.provider == BROUGHT:
            brought = self._first(ask, What.BROUGHT)
            yield from self._bringing(ask, approved, brought)
            if brought is None:
                return
            since = brought
            yield self._at_once(brought, "deposited", ask.who, ask.number)
        held = self._held(ask)
        yield from self._reminded(ask, since, held[1] if held else None)

    def _reminded(self, ask: Ask, since: Entry, opened: Entry | None) -> Iterator[Due]:
        """Of a key that its holder may pick up since then."""
        due, end = self._at_work(since.by_desk + 2 * DAY, "pick_up", ask, ask.who), self.end(ask)
        if (opened and opened.by_desk <= due.after) or (end and end.after <= due.after):
            return
        beside = [
            one
            for one in self._chronicle.of(ask.number, What.SEALED)
            if due.after - LINK_LIVES <= one.by_desk <= due.by + LINK_LIVES
        ]
        yield self._may(due) if beside or (end and end.after <= due.by) else due

    def _bringing(self, ask: Ask, approved: Entry, brought: Entry | None) -> Iterator[Due]:
        yield self._at_once(approved, "deposit", approved.who, ask.number)
        end = self.end(ask)
        until = min(
            [one.by_desk for one in (brought,) if one] + [end.after for end in (end,) if end], default=self._last
        )
        due = self._at_work(
            worked(approved.by_desk, DEPOSITORS_HAVE, self.tz(approved.who)), "not_brought", ask, approved.who
        )
        left = self.left.get(approved.who)
        if due.after < until and (left is None or left.by_desk > due.after):
            yield due if due.by < until else self._may(due)
        if left is not None and approved.by_desk < left.by_desk < until:
            for kind in ("deposit", "not_brought"):
                again = self._at_work(left.by_desk, kind, ask, LEAD)
                yield Due(ask.number, kind, LEAD, again.after, until + DAY, waits=True, must=False)

    def _links(self, ask: Ask) -> Iterator[Due]:
        for sealed in self._chronicle.of(ask.number, What.SEALED):
            lapse, kind = self.lapse(sealed)
            if kind and not self._ended_before(ask, lapse):
                yield self._at_once(lapse, kind, ask.who, ask.number)

    def _budget(self, ask: Ask, decided: Entry) -> Iterator[Due]:
        """Each step once a month, at the first reading that shows it, by day; several at once are told as one.

        That it is used up is told at once, and with it what waited for the day.
        """
        end = self.end(ask)
        uses = self._chronicle.of(ask.number, What.USED, What.STOLEN)
        if not uses or (ask.spends < BUDGET_STEPS[0] / 200 and ask.dollars > 5):
            return
        said: set[tuple[int, int]] = set()
        told: list[tuple[Entry, bool]] = []
        for reading in self._readings:
            if reading.number < uses[0].number or reading.at > uses[-1].at + timedelta(days=4):
                continue
            if end is not None and reading.by_desk >= end.after:
                break
            month = reading.by_desk.month
            micros = sum(int(one.note) for one in uses if one.number < reading.number and one.at.month == month)
            crossed = {
                step for step in BUDGET_STEPS if micros >= step * ask.dollars * 10_000 and (month, step) not in said
            }
            said |= {(month, step) for step in crossed}
            if crossed:
                told.append((reading, 100 in crossed))
        over = [end.after] if end else []
        for number, (reading, used_up) in enumerate(told):
            if used_up:
                yield self._at_once(reading, "budget", ask.who, ask.number)
                yield self._at_once(reading, "overspent", decided.who, ask.number)
                continue
            until = min([*over, *[one.by_desk for one, _ in told[number + 1 : number + 2]]], default=FAR)
            due = self._at_work(reading.by_desk, "budget", ask, ask.who)
            if due.after < until:
                yield due if due.by < until else self._may(due)

    def _expiring(self, ask: Ask) -> Iterator[Due]:
        """A tenth of its life before, half an hour at least, a week at most; of two days or more, once more a day before."""
        held = self._held(ask)
        if held is None:
            return
        picked_up, opened = held[0].by_desk, held[1].by_desk
        ends, tz = picked_up + ask.lifetime, self.tz(ask.who)
        first = min(max(ask.lifetime / 10, 30 * MINUTE), 7 * DAY)
        moments = set[datetime]()
        for before in (first, DAY) if first >= 2 * DAY else (first,):
            at = ends - before
            if ask.lifetime >= DAY and (earlier := last_at_work(at, tz)) > picked_up:
                at = earlier
            moments.add(max(at, opened))
        end, followed = self.end(ask), self._followed(ask)
        over = [one.after for one in (end, self.gone(ask.who)) if one]
        until = min([ends, *over, *[one.by_desk for one in (followed,) if one]])
        for at in sorted(moments):
            waits = ask.lifetime >= DAY and next_at_work(at, tz) < ends
            if not waits:
                by = self.by(at, Weather.SLACK_DOWN)
                if at < until:
                    yield Due(
                        ask.number,
                        "expiring",
                        ask.who,
                        self.not_before(at),
                        by,
                        must=by < until and not self.over(by),
                        merges=True,
                    )
                continue
            due = self._at_work(at, "expiring", ask, ask.who)
            if due.after < until:
                # Where its end would come first, it does not wait.
                yield Due(
                    due.ask,
                    due.kind,
                    due.who,
                    due.after,
                    due.by,
                    due.by < ends,
                    due.must and due.by < until,
                    merges=True,
                )

    def _rotating(self, ask: Ask, decided: Entry) -> Iterator[Due]:
        """Of each key: 14, 7 and 1 days before it is to be rotated, and when it is; where it was not, its approver, too."""
        held = self._held(ask)
        if held is None:
            return
        ends, end, followed = held[0].by_desk + ask.lifetime, self.end(ask), self._followed(ask)
        opened = self._chronicle.of(ask.number, What.OPENED)
        for one, other in zip(opened, [*opened[1:], None], strict=True):
            hurried = self._chronicle.of(ask.number, What.HURRIED)
            before = opened[opened.index(one) - 1] if one is not opened[0] else None
            if before and not [each for each in hurried if before.number < each.number < one.number]:
                yield self._at_once(one, "rotated", ask.who, ask.number)
            at = one.by_desk + ROTATED_EVERY
            if at >= ends:
                continue
            over = [other.by_desk] if other else []
            over += [each.by_desk for each in hurried if each.number > one.number]
            over += [gone.after] if (gone := self.gone(ask.who)) else []
            over += [end.after] if end else []
            over += [followed.by_desk] if followed else []
            until = min([self._last, *over])
            for due in self._reminders(ask, one, at):
                if due.after < until:
                    must = due.must and due.by < until
                    yield Due(due.ask, due.kind, due.who, due.after, due.by, waits=True, must=must, merges=True)
            told_by = self.by_at_work(next_at_work(at, self.tz(ask.who)), ask.who)
            due = self._at_work(next_at_work(at, self.tz(ask.who)), "rotation_overdue", ask, decided.who)
            late = self.by_at_work(told_by, decided.who)
            if due.after < until and (decided.who not in self.left or self.left[decided.who].by_desk > due.after):
                must = due.must and late < until
                yield Due(due.ask, due.kind, due.who, due.after, max(due.by, late), waits=True, must=must)
            else:
                due = self._at_work(next_at_work(at, self.tz(ask.who)), "rotation_overdue", ask, LEAD)
                if due.after < until:
                    yield Due(due.ask, due.kind, LEAD, due.after, self.by_at_work(late, LEAD), waits=True, must=False)

    def _reminders(self, ask: Ask, opened: Entry, at: datetime) -> Iterator[Due]:
        """Of a key that is to be rotated at this time. Who puts them off hears at half of what is left, and when it is time."""
        tz = self.tz(ask.who)
        planned = {last_at_work(at - before, tz) for before in REMINDED}
        early = [self._at_work(one, "rotation_due", ask, ask.who) for one in planned if one > opened.by_desk]
        on_time = self._at_work(at, "rotation_due", ask, ask.who)
        yield on_time
        for put_off in self._chronicle.of(ask.number, What.PUT_OFF):
            if not opened.by_desk < put_off.by_desk:
                continue
            left = max(PUT_OFF_AT_LEAST, (at - put_off.by_desk) / 2)
            later = self._at_work(put_off.by_desk + left, "rotation_due", ask, ask.who)
            overtaken = later.after >= on_time.after > put_off.by_desk
            until = on_time.after if overtaken else later.after
            early = [
                self._may(due) if put_off.by_desk < due.by and due.after < until else due
                for due in early
                if not (put_off.by_desk < due.after and due.by < until)
            ]
            if not overtaken:
                yield later
            elif later.after <= on_time.by:
                yield self._may(later)
        yield from early

    def _hurrying(self, ask: Ask) -> Iterator[Due]:
        """Of a key that was rotated at once: its holder is to pick up another."""
        for hurried in self._chronicle.of(ask.number, What.HURRIED):
            yield self._at_once(hurried, "rotated_at_once", ask.who, ask.number)
            opened = [one for one in self._chronicle.of(ask.number, What.OPENED) if one.number > hurried.number]
            yield from self._reminded(ask, hurried, opened[0] if opened else None)

    def _passing_on(self, ask: Ask, decided: Entry) -> Iterator[Due]:
        """Whoever approved a key whose holder left is asked whether they take it over."""
        offered = self.handed_over(ask)
        if offered is None:
            return
        end, left = self.end(ask), self.left.get(decided.who)
        due = self._at_work(offered.after, "orphaned", ask, decided.who)
        by = max(due.by, self.by_at_work(offered.by, decided.who))
        here = left is None or left.by_desk > by
        must = here and not self.over(by) and (end is None or by < end.after)
        yield Due(ask.number, "orphaned", decided.who, due.after, by, waits=True, must=must)
        if not here:
            by = self.by_at_work(by + DAY, LEAD)
            yield Due(ask.number, "orphaned", LEAD, self.not_before(offered.after), by, waits=True, must=False)

    def _idle(self, ask: Ask) -> Iterator[Due | End]:
        """Each question whether a key is needed that nothing used; and the end, where nobody said so."""
        held = self._held(ask)
        if held is None or ask.provider == BROUGHT:
            return
        picked_up, opened = held[0].by_desk, held[1].by_desk
        ends, tz = picked_up + ask.lifetime, self.tz(ask.who)
        until = self._idle_until(ask, ends)
        early = late = opened + UNUSED  # the question, at the earliest and at the latest
        while early < until and ends - early > ANSWER_WITHIN:
            if early < (used := self._unused_since(ask, picked_up, early) + UNUSED):
                early, late = used, max(used, late if late > early else used)
                continue
            if not at_work(early, tz):
                early, late = next_at_work(early, tz), next_at_work(late, tz)
                continue
            due = self._question(ask, early, late, until)
            yield due
            asked = self._asked(ask, due)
            if asked is None:
                early = late = self._unused_since(ask, picked_up, due.by) + UNUSED
                if early <= due.after:
                    return
                continue  # it was used before anybody asked
            late = max(asked.by_desk, early)
            if (kept := self._kept(ask, asked, self.by_at_work(late + ANSWER_WITHIN, ask.who))) is not None:
                early = late = kept.by_desk + KEPT_FOR
                continue
            early, late = next_at_work(early + ANSWER_WITHIN, tz), next_at_work(late + ANSWER_WITHIN, tz)
            if early < (used := self._unused_since(ask, picked_up, early) + UNUSED):
                early = late = used
            elif ask.strict:
                if early < until:
                    yield End(early, self._read_by(late, ask.who, rough=not due.must or self._rough(early, late)))
                return
            else:
                early, late = early + UNUSED, late + UNUSED

    def _idle_until(self, ask: Ask, ends: datetime) -> datetime:
        """When nobody asks any more: its end, but for the one that the question itself may bring."""
        followed, gone = self._followed(ask), self.gone(ask.who)
        over = [one.by_desk for one in self._chronicle.of(ask.number, What.GIVEN_BACK, What.TAKEN)]
        over += [followed.by_desk] if followed else []
        over += [gone.after] if gone else []
        return min(self._last, ends, *over)

    def _unused_since(self, ask: Ask, picked_up: datetime, moment: datetime) -> datetime:
        """Since when nothing used it, as far as could be read by then."""
        days = [one.at.date() for one in self._chronicle.of(ask.number, What.USED, What.STOLEN) if one.at <= moment]
        # Who rotates a key means to use it.
        picked_up = max(
            [picked_up, *[one.by_desk for one in self._chronicle.of(ask.number, What.OPENED) if one.by_desk <= moment]]
        )
        return max([picked_up, *[datetime.combine(day + DAY, time(), UTC) for day in days[-1:]]])

    def _rough(self, early: datetime, late: datetime) -> bool:
        """Whether it is hard to say what the desk had read by then."""
        return late > early or self._skies.touch(early - timedelta(days=1, hours=12), late + HOUR, *ANY)

    def _read_by(self, moment: datetime, who: str, *, rough: bool) -> datetime:
        if rough:
            moment = self._skies.clears(moment, PATIENCE, *VENDOR, Weather.ALL_DOWN) + DAY
        return self.by_at_work(moment, who)

    def _question(self, ask: Ask, early: datetime, late: datetime, until: datetime) -> Due:
        rough = self._rough(early, late)
        by = self._read_by(late, ask.who, rough=rough)
        must = not rough and by < until and not self.over(by)
        return Due(ask.number, "idle", ask.who, self.not_before(early), by, waits=True, must=must)

    def _asked(self, ask: Ask, due: Due) -> Entry | None:
        told = (one for one in self._chronicle.of(ask.number, What.TOLD) if one.note == due.kind)
        return next((one for one in told if due.after <= one.by_desk <= due.by), None)

    def _kept(self, ask: Ask, asked: Entry, by: datetime) -> Entry | None:
        kept = self._chronicle.of(ask.number, What.KEPT)
        return next((one for one in kept if asked.number < one.number and one.by_desk <= by), None)

    def _unusual(self, ask: Ask, decided: Entry) -> Iterator[Due]:
        """Use by a thief is told to holder and approver with the first reading that shows it."""
        for stolen in self._chronicle.of(ask.number, What.STOLEN):
            reading = next((one for one in self._readings if one.number > stolen.number), None)
            if reading is None or self._ended_before(ask, reading.by_desk):
                continue
            must = not self._skies.touch(stolen.at - 2 * DAY, stolen.at + HOUR, *ANY)
            for kind, who in (("unusual", ask.who), ("suspected", decided.who)):
                yield self._at_once(reading, kind, who, ask.number, must=must)

    def _stuck(self, ask: Ask, decided: Entry) -> Iterator[Due]:
        """A revocation that fails for long is a task of whoever approved, and of the admin."""
        for minted in self._chronicle.of(ask.number, What.MINTED):
            end = self.end_of_key(ask, minted)
            if end is None:
                continue
            spell = next(
                (
                    one
                    for one in self._skies.spells
                    if one.weather in VENDOR and one.begins <= end.by + BEAT and end.after < one.ends
                ),
                None,
            )
            if spell is None:
                continue
            by = spell.ends + TRIED_BY
            failing = spell.weather in (Weather.FAILING, Weather.RATE_LIMITED) and spell.begins <= end.after
            quiet = not self._skies.touch(
                end.after - HOUR, end.by + HOUR, *CLOCKS, Weather.ALL_DOWN, Weather.SLACK_DOWN
            )
            must = failing and quiet and spell.ends >= end.by + TRIED_BY and not self.over(by)
            left = self.left.get(decided.who)
            approver = decided.who if left is None or left.by_desk > end.after else LEAD
            for who in {approver, LEAD} - {ask.who}:
                after = self.not_before(max(end.after, spell.begins) + GIVES_UP - MINUTE)
                last = self.by(end.by + TRIED_BY if must else by, Weather.SLACK_DOWN)
                yield Due(ask.number, "stuck", who, after, last, must=must)

    # ---- keys

    def end_of_key(self, ask: Ask, minted: Entry) -> End | None:
        """When this key was to die; None where it is to live."""
        end = self.end(ask)
        if ask.provider == BROUGHT:
            return end
        sealed = next((one for one in self._chronicle.of(ask.number, What.SEALED) if one.marker == minted.marker), None)
        if sealed is None:
            # Nobody knows that it came to be: it is looked for at once, and for as long as another may land.
            return End(minted.by_desk, minted.by_desk + MINUTE)
        ends = [end] if end is not None else []
        ends += [
            End(one.by_desk, one.by_desk)
            for one in self._chronicle.of(ask.number, What.HURRIED)
            if one.number > sealed.number
        ]
        opened = [one for one in self._chronicle.of(ask.number, What.OPENED) if one.number > sealed.number]
        if (offered := self.handed_over(ask)) is not None and [one.marker for one in opened] != [minted.marker]:
            ends.append(offered)  # of the keys of a grant the one in use alone is offered
        if [one for one in opened if one.marker == minted.marker] and len(opened) > 1:
            # Once its follower is in use it goes, and at the end of its grace in any case.
            followed = opened[1].by_desk
            ends.append(End(followed, min([followed + GRACE, *[one.by for one in ends]])))
        lapse, kind = self.lapse(sealed)
        if kind:
            ends.append(End(lapse, lapse))
            again = [one.by_desk for one in self._chronicle.of(ask.number, What.MINTED) if one.number > sealed.number]
            ends += [End(one, one) for one in again if one < lapse]
        return min(ends, key=lambda one: one.after, default=None)
