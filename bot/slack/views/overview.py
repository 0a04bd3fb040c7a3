"""How the desk stands with its providers and its sweeps, for its admins: a part of their Home, and a message when one fails."""

import re
from datetime import timedelta

from bot.desk.due import SweepState
from bot.desk.model import DeskState, ProviderState, Round, RoundKind
from bot.slack.text import escaped, mention, name, when
from bot.slack.views.kit import Block, Message, divider, header, section, small

PROJECTS_SHOWN = 10
PROVIDERS_SHOWN = 15
SAID_AT_MOST = 300
FLAW_AT_MOST = 900

_ROUNDS = {RoundKind.USAGE: "Usage read", RoundKind.INVENTORY: "Keys compared"}


def overview_blocks(desk: DeskState) -> list[Block]:
    """One paragraph for each provider, what is wrong first; one line for each sweep, in the order of their list."""
    shown = sorted(desk.providers, key=lambda state: (state.flaw is None, state.label))[:PROVIDERS_SHOWN]
    lines = [_sweep(state, late=state.name in desk.late) for state in desk.sweeps]
    sweeps = [header("Sweeps"), section("\n".join(lines)), small(_SWEEPS)] if lines else []
    return [divider(), header("Providers"), *(section(_provider(state)) for state in shown), *sweeps, small(_ONLY)]


def provider_flaw(state: ProviderState) -> Message:
    """To an admin: the desk cannot work with a provider, and why."""
    what = f"The desk cannot work with {name(state.label)} as it should"
    said = escaped(state.flaw or "", SAID_AT_MOST)
    meanwhile = "Until it is mended no key of it is made, revoked or watched. This app's Home shows how it stands."
    return {"text": f"{what}. {said}", "blocks": [section(f"*{what}*\n{said}"), small(meanwhile)]}


def round_flaw(of: Round) -> Message:
    """To an admin: the nightly check of the holders did not come to its end, and why."""
    what = "The nightly check of who left did not come to its end"
    # The flaw is the desk's own sentence; whom it names is shown as Slack shows people.
    said = re.sub(r"\b[UW][A-Z0-9]{2,}\b", lambda found: mention(found[0]), escaped(of.flaw or "", FLAW_AT_MOST))
    meanwhile = "Slack's own events about people who leave are heard all the same. The check is made again each night."
    return {"text": what + ".", "blocks": [section(f"*{what}*\n{said}"), small(meanwhile)]}


def _provider(state: ProviderState) -> str:
    sound = escaped(state.said, SAID_AT_MOST) or "Not asked yet."
    lines = [f"*{name(state.label)}*", f":warning: {escaped(state.flaw, SAID_AT_MOST)}" if state.flaw else sound]
    if state.stuck:
        keys = "1 key waits" if state.stuck == 1 else f"{state.stuck} keys wait"
        lines.append(f":warning: {keys} to be revoked or switched there, and it keeps failing.")
    lines += [_round(_ROUNDS[one.kind], one) for one in state.rounds if one.kind in _ROUNDS]
    for one in state.outsiders[:PROJECTS_SHOWN]:
        keys = "1 key" if one.keys == 1 else f"{one.keys} keys"
        lines.append(f"{keys} in *{name(one.project_name, 80)}* {'is' if one.keys == 1 else 'are'} nobody's here.")
    if len(state.outsiders) > PROJECTS_SHOWN:
        lines.append(f"… and {len(state.outsiders) - PROJECTS_SHOWN} more projects with such keys.")
    return "\n".join(lines)


def _round(what: str, one: Round) -> str:
    done = f"{what} {when(one.ended_at)}." if one.ended_at else f"{what}: not yet."
    return f"{done} :warning: {escaped(one.flaw, SAID_AT_MOST)}" if one.flaw else done


def _sweep(state: SweepState, *, late: bool) -> str:
    told = f"*{state.name}*: {when(state.ran_at)}, in {_milliseconds(state.took)}; {state.items:,} handled today"
    if state.items:
        told += f", the longest in {_milliseconds(state.longest)}"
    if late:
        told = f":warning: {told}. Not since: is a desk running?"
    if state.failures and state.failed_at:
        times = "once" if state.failures == 1 else f"{state.failures:,} times"
        told += (
            f"\n:warning: failed {times} today, last {when(state.failed_at)}: {escaped(state.flaw or '', SAID_AT_MOST)}"
        )
    return told


def _milliseconds(took: timedelta) -> str:
    seconds = took.total_seconds()
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms" if seconds >= 0.001 else "under 1 ms"


_SWEEPS = (
    "What the desk does by itself, all its processes together: the last pass of each, and what it came to today (UTC). "
    "The log has each failure under its reference."
)
_ONLY = "Only those see this whom policy names as `admins`."
