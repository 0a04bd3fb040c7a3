"""Chronicles told with one thing wrong: were a promise of time broken, would the referee of a simulated year see it?"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from tests.promises.chronicle import NOBODY, Entry, What
from tests.promises.planning import DAY, HOUR, MINUTE, Plan

Entries = list[Entry]
Fault = Callable[[Entries, Plan], Entries]


def _told(entries: Entries, kind: str) -> Entry:
    return next(one for one in entries if one.what is What.TOLD and one.note == kind)


def _of(entries: Entries, what: What) -> Entry:
    return next(one for one in entries if one.what is what)


def _reminded_later(entries: Entries) -> Entry:
    """What somebody heard when they wanted to."""
    put_off = _of(entries, What.PUT_OFF)
    told = (one for one in entries if one.number > put_off.number and one.ask == put_off.ask)
    return next(one for one in told if one.note == "rotation_due")


def _instead(entries: Entries, one: Entry, other: Entry | None) -> Entries:
    return [each for each in (other if entry is one else entry for entry in entries) if each is not None]


def _later(one: Entry, by: timedelta) -> Entry:
    return replace(one, at=one.at + by, by_desk=one.by_desk + by)


def _again(entries: Entries, one: Entry, after: timedelta = MINUTE) -> Entries:
    return [*entries, replace(_later(one, after), number=len(entries))]


def a_reminder_comes_twice(entries: Entries, _: Plan) -> Entries:
    """An hour after the first."""
    return _again(entries, _told(entries, "reminder"), HOUR)


def a_notice_of_the_end_comes_twice(entries: Entries, _: Plan) -> Entries:
    """In the same minute."""
    return _again(entries, _told(entries, "expiring"))


def a_rotation_is_told_twice(entries: Entries, _: Plan) -> Entries:
    """An hour after the first."""
    return _again(entries, _told(entries, "rotation_due"), HOUR)


def an_old_key_outlives_its_grace(entries: Entries, _: Plan) -> Entries:
    """By a day."""
    rotated = _told(entries, "rotated")
    opened = next(one for one in entries if one.what is What.OPENED and one.ask == rotated.ask)
    death = next(one for one in entries if one.what is What.DIED and one.marker == opened.marker)
    late = rotated.at + 2 * DAY
    return _instead(entries, death, replace(death, at=late, by_desk=late))


def a_reminder_comes_at_night(entries: Entries, plan: Plan) -> Entries:
    """Twelve hours late."""
    reminder = _told(entries, "reminder")
    return _instead(entries, reminder, _later(reminder, 12 * HOUR))


def no_reminder(entries: Entries, _: Plan) -> Entries:
    """Whoever was to pick up hears nothing."""
    return _instead(entries, _told(entries, "pick_up"), None)


def no_notice_of_the_end(entries: Entries, _: Plan) -> Entries:
    """A key ends, and its holder did not hear before."""
    return _instead(entries, _told(entries, "expiring"), None)


def an_answer_comes_late(entries: Entries, _: Plan) -> Entries:
    """Who asked hears what was decided an hour later."""
    outcome = _told(entries, "outcome")
    return _instead(entries, outcome, _later(outcome, HOUR))


def wrong_order(entries: Entries, _: Plan) -> Entries:
    """That a grant is over is told, and then that it soon will be."""
    ended = next(
        one
        for one in entries
        if one.note == "ended" and any((other.ask, other.note) == (one.ask, "expiring") for other in entries)
    )
    expiring = next(one for one in entries if (one.ask, one.note) == (ended.ask, "expiring"))
    return [
        replace(one, number=ended.number)
        if one is expiring
        else replace(one, number=expiring.number)
        if one is ended
        else one
        for one in entries
    ]


def a_key_outlives_its_end(entries: Entries, _: Plan) -> Entries:
    """By two minutes."""
    death = _of(entries, What.DIED)
    return _instead(entries, death, _later(death, 2 * MINUTE))


def a_key_never_dies(entries: Entries, _: Plan) -> Entries:
    """Its expiry is skipped."""
    return _instead(entries, _of(entries, What.DIED), None)


def a_key_dies_early(entries: Entries, _: Plan) -> Entries:
    """Three hours before its end."""
    death = _of(entries, What.DIED)
    return _instead(entries, death, _later(death, -3 * HOUR))


def a_key_for_nobody(entries: Entries, _: Plan) -> Entries:
    """A key comes to be that belongs to no ask."""
    return _again(entries, replace(_of(entries, What.MINTED), ask=NOBODY, marker="keydesk-k_orphan"))


def a_leaver_keeps_a_key(entries: Entries, _: Plan) -> Entries:
    """Somebody left when they had one, the desk heard of it, and the key lived on."""
    opened = _of(entries, What.OPENED)
    left = replace(_later(opened, MINUTE), what=What.LEFT, ask=NOBODY, marker="")
    return [*entries, left, replace(left, what=What.HEARD)]


def a_key_is_made_for_a_leaver(entries: Entries, _: Plan) -> Entries:
    """Somebody gets a key after they left."""
    minted = _of(entries, What.MINTED)
    asked = next(one for one in entries if one.what is What.ASKED and one.ask == minted.ask)
    left = replace(asked, what=What.LEFT, ask=NOBODY)
    return [*entries, left, replace(left, what=What.HEARD, at=minted.at, by_desk=minted.at)]


def a_digest_comes_twice(entries: Entries, _: Plan) -> Entries:
    """In the same week."""
    return _again(entries, _of(entries, What.DIGEST))


def a_digest_is_lost(entries: Entries, plan: Plan) -> Entries:
    """Somebody who has a key for long has none, a month after they got it."""
    choosy = {one.who for one in plan.choices}
    long = [ask for ask in plan.asks if ask.lifetime >= 180 * DAY and ask.gives_back is None and ask.taken is None]
    keeps = {ask.number for ask in long if ask.who not in choosy}
    opened = next(one for one in entries if one.what is What.OPENED and one.ask in keeps)
    month_later = (one for one in entries if one.who == opened.who and one.at > opened.at + 30 * DAY)
    return _instead(entries, next(one for one in month_later if one.what is What.DIGEST), None)


def a_digest_comes_at_night(entries: Entries, _: Plan) -> Entries:
    """Twelve hours late."""
    digest = _of(entries, What.DIGEST)
    return _instead(entries, digest, _later(digest, 12 * HOUR))


def a_digest_comes_on_tuesday(entries: Entries, plan: Plan) -> Entries:
    """A day late, in working hours, to somebody who never moved theirs."""
    choosy = {one.who for one in plan.choices}
    digest = next(one for one in entries if one.what is What.DIGEST and one.who not in choosy)
    return _instead(entries, digest, _later(digest, DAY))


def a_reminder_that_was_put_off_is_forgotten(entries: Entries, _: Plan) -> Entries:
    """Somebody wanted to be reminded later, and is not."""
    return _instead(entries, _reminded_later(entries), None)


def a_reminder_that_was_put_off_comes_all_the_same(entries: Entries, _: Plan) -> Entries:
    """An hour after they said so, and once more when they wanted it."""
    put_off = _of(entries, What.PUT_OFF)
    return _again(entries, replace(put_off, what=What.TOLD, note="rotation_due"), HOUR)


def a_leaked_key_lives_on(entries: Entries, _: Plan) -> Entries:
    """An hour after its holder had it rotated at once."""
    hurried = _of(entries, What.HURRIED)
    markers = {one.marker for one in entries if one.ask == hurried.ask and one.number < hurried.number}
    death = next(one for one in entries if one.what is What.DIED and one.marker in markers)
    return _instead(entries, death, _later(death, HOUR))


def a_paused_key_stays_on(entries: Entries, _: Plan) -> Entries:
    """Nothing reached the vendor."""
    return _instead(entries, _of(entries, What.OFF), None)


def a_key_goes_off_by_itself(entries: Entries, _: Plan) -> Entries:
    """Nobody said so."""
    minted = _of(entries, What.MINTED)
    return _again(entries, replace(minted, what=What.OFF))


def nobody_is_asked_to_take_over(entries: Entries, _: Plan) -> Entries:
    """A key whose holder left is offered to nobody."""
    return _instead(entries, _told(entries, "orphaned"), None)


def an_orphaned_key_lives_on(entries: Entries, _: Plan) -> Entries:
    """Its holder left, it was offered to others, and a week later it still works."""
    orphaned = _told(entries, "orphaned")
    markers = {one.marker for one in entries if one.ask == orphaned.ask and one.marker}
    death = next(
        one for one in entries if one.what is What.DIED and one.marker in markers and one.number > orphaned.number
    )
    return _instead(entries, death, _later(death, 7 * DAY))


def who_left_has_a_digest(entries: Entries, _: Plan) -> Entries:
    """A week later."""
    heard = _of(entries, What.HEARD)
    return _again(
        entries, replace(heard, what=What.DIGEST, note=f"{heard.at.date() - heard.at.weekday() * DAY}"), 7 * DAY
    )


FAULTS: tuple[Fault, ...] = (
    a_reminder_comes_twice,
    a_notice_of_the_end_comes_twice,
    a_rotation_is_told_twice,
    an_old_key_outlives_its_grace,
    a_reminder_comes_at_night,
    no_reminder,
    no_notice_of_the_end,
    an_answer_comes_late,
    wrong_order,
    a_key_outlives_its_end,
    a_key_never_dies,
    a_key_dies_early,
    a_key_for_nobody,
    a_leaver_keeps_a_key,
    a_key_is_made_for_a_leaver,
    a_digest_comes_twice,
    a_digest_is_lost,
    a_digest_comes_at_night,
    a_digest_comes_on_tuesday,
    a_reminder_that_was_put_off_is_forgotten,
    a_reminder_that_was_put_off_comes_all_the_same,
    a_leaked_key_lives_on,
    a_paused_key_stays_on,
    a_key_goes_off_by_itself,
    nobody_is_asked_to_take_over,
    an_orphaned_key_lives_on,
    who_left_has_a_digest,
)
