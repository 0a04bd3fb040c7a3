"""Unusual use, in plain words with numbers: to the holder, to who approved, and a line for admins."""

from collections.abc import Sequence

from bot.desk.findings import Finding, Like, Measure, Unusual
from bot.desk.limits import MICROS_IN_A_CENT
from bot.desk.model import SYSTEM, Answer, Incident, Story
from bot.desk.states import GrantState, KeyState
from bot.slack.text import cost, mention, name, when
from bot.slack.views import buttons, drafts, standing
from bot.slack.views.kit import Block, Message, actions, button, divider, header, plain_text, section, small

THAT_WAS_ME, PAUSE = "that_was_me", "pause"
SHOWN_AT_MOST = 8  # findings in one message
ON_HOME_AT_MOST = 5
_ON_HOME = "Holder and approver were told; they say what it was, pause the key, or revoke it."


def unusual(story: Story) -> Message:
    """To the holder: what their key did, and what they can do now."""
    return _told(story, f"Unusual use of your {drafts.key_named(story.request.draft)}", you=True)


def suspected(story: Story) -> Message:
    """To who approved: the same."""
    whose = f"{mention(story.request.requester)}'s {drafts.key_named(story.request.draft)}"
    return _told(story, f"Unusual use of {whose}", you=False)


def explained(story: Story) -> str:
    """To whoever said that it was theirs."""
    return f"Noted: such use of the {drafts.key_named(story.request.draft)} is usual from now on."


def paused(story: Story) -> str:
    """To whoever paused."""
    where = name(story.request.draft.provider_name)
    return (
        f"Done: the {drafts.key_named(story.request.draft)} is being switched off at {where}, within seconds as a rule."
    )


def open_incidents(stories: Sequence[Story]) -> list[Block]:
    """For an admin's Home: the keys whose unusual use nobody answered yet."""
    if not stories:
        return []
    more = len(stories) - ON_HOME_AT_MOST
    lines = [section(line(story)) for story in stories[:ON_HOME_AT_MOST]]
    rest = [small(f"… and {more} more." if more > 0 else _ON_HOME)]
    return [divider(), header("Unusual use that nobody answered"), *lines, *rest]


def line(story: Story) -> str:
    """Whose key it is, since when, and what was seen first."""
    whose = f"{mention(story.request.requester)}'s {drafts.key_named(story.request.draft)}"
    if story.incident is None:
        return f"*{whose}*"
    first = _sentence(story.incident.findings[0], "by its holder's clock")
    return f"*{whose}*, since {when(story.incident.opened_at)}\n{first}"


def came_of(incident: Incident) -> str:
    """What was answered, in a few words."""
    by = mention(incident.answered_by or "system")
    match incident.answer:
        case Answer.MINE:
            return f"{by} said that it was theirs."
        case Answer.PAUSED:
            return f"{by} paused the key."
        case Answer.QUIET:
            return "Nobody answered, and nothing unusual came for a day after it."
        case Answer.OVER:
            return "The key is over."
        case _:
            return "*Nobody answered yet.*"


def _told(story: Story, what: str, *, you: bool) -> Message:
    incident = story.incident
    if incident is None:
        return {"text": what, "blocks": [section(f"*{what}*")]}
    clock = "by your clock" if you else "by the holder's clock"
    sentences = [_sentence(one, clock) for one in incident.findings[:SHOWN_AT_MOST]]
    fingerprint = f" `{name(story.key.fingerprint, 40)}`" if story.key and story.key.fingerprint else ""
    told = "\n".join(f"• {one}" for one in sentences)
    offered = _buttons(story, incident)
    return {
        "text": f"{what}: {sentences[0]}",
        "blocks": [
            section(f"*{what}*{fingerprint}\n{told}"),
            section(_follows(story, incident, you=you)),
            *([actions(*offered)] if offered else []),
            small(_fine_print(story, incident)),
        ],
    }


def _sentence(one: Finding, clock: str) -> str:
    """ "4,210 requests between 02:00 and 03:00 on Tuesday 24 Nov, by your clock; on Tuesdays at that hour it has 0 to 12." """
    found, day = _amount(one.measure, one.found), f"{one.at:%A} {one.at.day} {one.at:%b}"
    between = f"between {one.at:%H}:00 and {(one.at.hour + 1) % 24:02}:00 on {day}, {clock}"
    match one.kind:
        case Unusual.MODEL:
            model = name(one.model, 80)
            return f"{found} with *{model}* on {day}; this key never used that model before."
        case Unusual.NIGHT:
            return f"{found} {between}; the key was never used between midnight and 06:00 in the last eight weeks."
        case Unusual.SPEND:
            days = "weekends" if one.like is Like.WEEKENDS else "workdays"
            return f"{found} spent on {day} (UTC); on {days} it spends {_range(one)}."
        case _:
            return f"{found} {between}; {_usually(one)}."


def _usually(one: Finding) -> str:
    match one.like:
        case Like.HOUR_OF_WEEK:
            return f"on {one.at:%A}s at that hour it has {_range(one)}"
        case Like.HOUR_OF_WORKDAYS:
            return f"at that hour of workdays it has {_range(one)}"
        case Like.HOUR_OF_WEEKENDS:
            return f"at that hour of weekends it has {_range(one)}"
        case _:
            return f"in the busiest hours of eight weeks it had {_amount(one.measure, one.high)}"


def _range(one: Finding) -> str:
    low, high = (_number(one.measure, value) for value in (one.low, one.high))
    if low == high:
        return low
    if one.measure is Measure.COST and 0 < one.low < MICROS_IN_A_CENT // 2:
        return f"up to {high}"  # "under $0.01 to $0.02" is no range
    return f"{low} to {high}"


def _amount(measure: Measure, value: int) -> str:
    shown = _number(measure, value)
    if measure is Measure.COST:
        return shown
    unit = measure.value if value != 1 else measure.value.removesuffix("s")
    return f"{shown} {unit}"


def _number(measure: Measure, value: int) -> str:
    return cost(value) if measure is Measure.COST else f"{value:,}"


def _follows(story: Story, incident: Incident, *, you: bool) -> str:
    """What became of it, or what there is to do."""
    grant, key = story.grant, story.key
    if grant is None or key is None or grant.state is not GrantState.ACTIVE:
        return standing.standing(story) if you else standing.progress(story)
    by = mention(incident.answered_by or SYSTEM)
    off = {
        KeyState.DISABLING: " The key is being switched off.",
        KeyState.DISABLED: " *The key is switched off*: calls with it are refused.",
        KeyState.ENABLING: " The key is being switched on again.",
    }.get(key.state, "")
    match incident.answer:
        case Answer.MINE:
            return f"{by} said that this was theirs. Such use is usual from now on.{off}"
        case Answer.PAUSED:
            return f"{by} paused it.{off or ' It was switched on again.'}"
        case Answer.QUIET | Answer.OVER:
            return f"Nobody answered, and nothing unusual came for a day after it.{off}"
        case _:
            whose = "If this was you" if you else "If you know of this"
            away = "pause the key while you find out" if story.pausable else "revoke the key"
            return f"{whose}, say so. If not, somebody else may have the key: {away}.{off}"


def _buttons(story: Story, incident: Incident) -> list[Block]:
    if story.grant is None or story.key is None or story.grant.state is not GrantState.ACTIVE:
        return []
    offered: list[Block] = []
    if incident.answer in (None, Answer.PAUSED, Answer.QUIET):
        offered.append(button("That was me", THAT_WAS_ME, incident.id))
    if incident.answer is None and story.pausable and story.key.state in (KeyState.LIVE, KeyState.DISABLED):
        offered.append(_pause(incident))
    return [*offered, *buttons.switch_on(story), buttons.revoke(story)]


def _pause(incident: Incident) -> Block:
    return button(
        "Pause the key",
        PAUSE,
        incident.id,
        style="primary",
        confirm={
            "title": plain_text("Pause this key?", 100),
            "text": plain_text("Calls with it are refused until somebody switches it on again.", 300),
            "confirm": plain_text("Pause", 30),
            "deny": plain_text("Not now", 30),
        },
    )


def _fine_print(story: Story, incident: Incident) -> str:
    told = f"Seen {when(incident.opened_at)}, an hour or more after it happened."
    if story.pausable:
        return f"{told} Paused, a key is switched on again by an approver, or by its holder where they paused it."
    return f"{told} {name(story.request.draft.provider_name)} cannot switch a key off and on: revoking is the way."
