"""`app.py sweep`: what each sweep would do now, and one pass of it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from bot.desk.due import Due, DueKind, SweepName
from bot.desk.model import RoundKind, TimerKind
from bot.desk.sweeps import Sweeps

SHOWN = 50  # of each kind; how many more there are is said

_TO_DO: Mapping[DueKind, str] = {
    DueKind.MINT: "give up the mint",
    DueKind.LINK: "close the {how} link",
    DueKind.GRANT: "end the grant",
    DueKind.GRACE: "revoke the old key",
    DueKind.MONTH: "switch on again",
    DueKind.KEY: "act on the {how} key",
    DueKind.INVITATION: "carry out the {how} invitation",
    DueKind.NOTICE: "show {how}",
    DueKind.ROUND: "{how}",
    DueKind.TIMER: "{how}",
    DueKind.DIGEST: "digest: {how}",
    DueKind.PROBE: "ask the provider",
}
_BY_HOW: Mapping[DueKind, Mapping[str, str]] = {
    DueKind.KEY: {"revoking": "revoke", "disabling": "switch off", "enabling": "switch on"},
    DueKind.INVITATION: {
        "inviting": "invite",
        "invited": "follow the invitation",
        "ending": "withdraw the invitation",
    },
    DueKind.ROUND: {
        RoundKind.CREDENTIAL: "look at the credential",
        RoundKind.USAGE: "read what was used",
        RoundKind.INVENTORY: "compare the keys",
        RoundKind.HOLDERS: "look who left",
    },
    DueKind.TIMER: {
        TimerKind.DECISION: "remind of the decision, or let it lapse",
        TimerKind.PICK_UP: "remind of the pick-up, or let it lapse",
        TimerKind.DEPOSIT: "remind of the key to bring, or let it lapse",
        TimerKind.UNUSUAL: "look for unusual use",
        TimerKind.QUIET: "close the incident, if it is over",
        TimerKind.EXPIRY: "tell that the key expires",
        TimerKind.IDLE: "ask about the key, if it lies idle",
        TimerKind.ROTATION: "remind of the rotation, or see to one that is overdue",
        TimerKind.ROTATE_LATER: "remind of the rotation again",
        TimerKind.ASKED: "look who may still answer",
        TimerKind.HOLDERS: "tell an admin how the nightly check went",
    },
}
"""What is done about a thing of this state or kind."""


async def dry_run(say: Callable[[str], None], sweeps: Sweeps, names: Sequence[SweepName], now: datetime) -> int:
    """Says what a pass of each of these would find due. Reads the database, and neither changes anything nor asks anybody.

    What a pass does may make more due: that is not foreseen. Returns 0.
    """
    waiting = {queue.kind: queue.due for queue in await sweeps.queues()}
    for name in names:
        due = await sweeps.look(name, SHOWN)
        kinds = dict.fromkeys(one.kind for one in due)
        shown = {kind: sum(one.kind is kind for one in due) for kind in kinds}
        more = sum(max(waiting.get(kind, 0) - shown[kind], 0) for kind in kinds)
        say(f"{name}: {sweeps[name].does}")
        for line in _table(due, now) if due else ["nothing is due"]:
            say(f"  {line}")
        if more:
            say(f"  … and {more:,} more")
    return 0


async def run(say: Callable[[str], None], sweeps: Sweeps, names: Sequence[SweepName]) -> int:
    """One pass of each of these. Returns 0, or 1 where something failed."""
    wrong = False
    for name in names:
        one = await sweeps.run(name)
        wrong = wrong or bool(one.failures)
        said = f"{name}: {one.items:,} handled in {one.seconds:.2f} s"
        say(f"WRONG {said}, {one.failures:,} failed ({one.flaw}; see the log)" if one.failures else f"ok    {said}")
    return 1 if wrong else 0


def _table(due: Sequence[Due], now: datetime) -> list[str]:
    teams = len({one.team for one in due if one.team}) > 1
    rows = [("WHAT", "WHICH", "WHOSE", "DUE SINCE", "TRIED"), *(_row(one, now, teams=teams) for one in due)]
    wide = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, wide, strict=True)).rstrip() for row in rows]


def _row(one: Due, now: datetime, *, teams: bool) -> tuple[str, ...]:
    to_do = _BY_HOW.get(one.kind, {}).get(one.how) or _TO_DO[one.kind].format(how=one.how)
    since = f"{one.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC, {_ago(now - one.since)}" if one.since else "never done"
    whose = f"{one.whose or '–'} ({one.team})" if teams and one.team else one.whose or "–"
    tried = "" if not one.attempts else "once" if one.attempts == 1 else f"{one.attempts} times"
    return to_do, one.thing, whose, since, tried


def _ago(span: timedelta) -> str:
    """In the largest unit of which it is one at least."""
    seconds = max(int(span.total_seconds()), 0)
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if count := seconds // length:
            return f"{count} {unit} ago" if count == 1 else f"{count} {unit}s ago"
    return "just now"
