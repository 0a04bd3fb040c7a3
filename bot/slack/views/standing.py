"""Where a request stands, in words."""

from bot.desk.keys import off_until_rotated
from bot.desk.links import LINK_LIVES
from bot.desk.model import SYSTEM, Cause, Grant, Key, Ruling, Story
from bot.desk.states import GrantState, KeyState, RequestState
from bot.desk.stories import goes_on
from bot.slack.text import mention, name, quoted, span, when
from bot.slack.views import buttons, drafts

REASON_ON_CARD = 2500
REASON_IN_LIST = 300


def decided(story: Story) -> str:
    """Who decided, when and why; or that it was taken back."""
    if story.request.state is RequestState.CANCELLED:
        return f"*Cancelled by {mention(story.request.requester)}.*"
    if story.request.state is RequestState.LEFT:
        return f"*Over: {mention(story.request.requester)} is no full member of this workspace any more.*"
    if story.request.state is RequestState.LAPSED:
        return "*Lapsed: nobody decided in time.* Nothing was made."
    if story.decision is None:
        return "*Waiting for an approver.*"
    by, at = mention(story.decision.approver), when(story.decision.at)
    if story.decision.ruling is Ruling.APPROVE:
        return f"*Approved by {by}*, {at}"
    return f"*Denied by {by}*, {at}\n{quoted(story.decision.reason, REASON_ON_CARD)}"


def progress(story: Story) -> str:
    """How far the grant is, told to those who approved it. Empty where there is none."""
    grant = story.grant
    if grant is None:
        return ""
    holder = mention(grant.holder)
    match grant.state:
        case GrantState.AWAITED:
            return (
                f"No key exists yet: somebody makes it at {drafts.at(grant.draft)} and brings it. "
                f"Then {holder} picks it up.{_lapses('Not brought', grant)}"
            )
        case GrantState.INVITING:
            return f"{name(grant.draft.provider_name)} is being asked to invite {holder}."
        case GrantState.INVITED:
            return f"{holder} is invited to {name(grant.draft.project_name)} at {name(grant.draft.provider_name)}."
        case GrantState.READY:
            return f"{_waits(story, grant)}{_lapses('Not picked up', grant)}"
        case GrantState.ISSUING:
            return f"{holder} is picking it up: the key is being made."
        case GrantState.DELIVERING:
            return f"The key is sealed. Its link waits for {holder}, {_minutes()} at most."
        case GrantState.ACTIVE if grant.left_at:
            until = f" until {when(grant.expires_at)}, for whoever takes it over" if grant.expires_at else ""
            works = f"{holder} left. Their key{_fingerprint(story)} works on{until}; then it is revoked."
            return f"{works}{_switched(story)}{_extension(story)}"
        case GrantState.ACTIVE:
            return (
                f"{holder} has the key{_fingerprint(story)}{_until(grant)}.{_switched(story)}{_rotates(grant)}{_retiring(story)}"
                f"{_extension(story)}"
            )
        case GrantState.ENDING:
            return f"{_ended(grant)} {_ending(story, grant)}"
        case GrantState.ENDED:
            return f"{_ended(grant)} {_no_key_lives(story)}"


def _waits(story: Story, grant: Grant) -> str:
    """For what its holder is to come."""
    holder = mention(grant.holder)
    if buttons.deposited(story):
        return f"The key is here, sealed. It waits for {holder} to pick it up."
    if grant.held_since is not None:
        return f"*The key was revoked at once.* Another is made when {holder} picks it up."
    return f"No key exists yet: it is made when {holder} picks it up."


def standing(story: Story) -> str:
    """Where it stands, told to its requester."""
    if story.grant is not None:
        return _grant_stands(story, story.grant)
    match story.request.state:
        case RequestState.CANCELLED:
            return "You cancelled it."
        case RequestState.LEFT:
            return "Over: you were no full member of this workspace any more."
        case RequestState.LAPSED:
            return "Lapsed: nobody decided in time. Nothing was made."
        case RequestState.DENIED if story.decision:
            return f"Denied by {mention(story.decision.approver)}.\n{quoted(story.decision.reason, REASON_IN_LIST)}"
        case _:
            return "Waiting for an approver."


def _grant_stands(story: Story, grant: Grant) -> str:
    match grant.state:
        case GrantState.AWAITED:
            return (
                f"Approved. Somebody makes the key at {drafts.at(grant.draft)} and brings it; then you hear "
                f"from me, and pick it up.{_lapses('Not brought', grant)}"
            )
        case GrantState.INVITING:
            return f"{name(grant.draft.provider_name)} is being asked to invite you."
        case GrantState.INVITED:
            return f"You are invited: look for a mail from {name(grant.draft.provider_name)}, and accept it there."
        case GrantState.READY:
            made = "The key waits, sealed" if buttons.deposited(story) else "The key is made when you press"
            if grant.held_since is not None:
                return (
                    f"*Your key was revoked at once; another takes its place.* {made}; its link works once, for "
                    f"{_minutes()}.{_lapses('Not picked up', grant)}"
                )
            return f"Ready for you. {made}; its link works once, for {_minutes()}.{_lapses('Not picked up', grant)}"
        case GrantState.ISSUING:
            return "Your key is being made. Its link comes to where you pressed."
        case GrantState.DELIVERING:
            until = f" until {when(story.link.expires_at)}" if story.link else ""
            return f"Your link waits for you{until}. Lost it? Get a new one: the old one stops working."
        case GrantState.ACTIVE if grant.left_at:
            until = f" until {when(grant.expires_at)}" if grant.expires_at else ""
            return (
                f"You were no full member of this workspace any more: the key{_fingerprint(story)} is offered to others. "
                f"It works{until}, for whoever takes it over.{_switched(story)}"
            )
        case GrantState.ACTIVE:
            has = f"You have the key{_fingerprint(story)}{_until(grant)}.{_switched(story)}{_rotates(grant)}{_retiring(story)}"
            return f"{has}{_follows(story)}{_extension(story, you=True)}"
        case GrantState.ENDING:
            return f"{_ended(grant, you=True)} {_ending(story, grant)}"
        case GrantState.ENDED:
            return f"{_ended(grant, you=True)} {_no_key_lives(story)}"


def _ending(story: Story, grant: Grant) -> str:
    where = drafts.at(grant.draft)
    if drafts.invited(grant.draft):
        return f"The invitation is being withdrawn at {where}."
    if story.key and story.key.state is KeyState.BY_HAND:
        return f"*The key still works* until a person revokes it at {where}. Keydesk asked for that."
    if story.stuck:
        return f"*The key may still work*: {where} has not confirmed that it is gone. Keydesk goes on trying, and asked people to see to it."
    return f"The key is being revoked at {where}."


def _minutes() -> str:
    return span(LINK_LIVES)


def _fingerprint(story: Story) -> str:
    return print_of(story.key) if story.key else ""


def off(key: Key | None) -> str:
    """ "is switched off", "is being switched off"; empty where it works."""
    states = {KeyState.DISABLING: "is being switched off", KeyState.DISABLED: "is switched off"}
    return states.get(key.state, "") if key else ""


def _switched(story: Story) -> str:
    """Whether the key is off: somebody paused it, or its budget is used up."""
    if story.key and story.key.paused_by and (being := off(story.key)):
        if off_until_rotated(story.key):
            return f" *It {being} until it is rotated.*"
        if story.key.paused_by == SYSTEM:
            return f" *It {being}*: its rotation is overdue, and this month's budget is used up."
        return f" *It {being}*: {mention(story.key.paused_by)} paused it."
    match story.key.state if story.key else None:
        case KeyState.DISABLING:
            return " This month's budget is used up: it is being switched off."
        case KeyState.DISABLED:
            return " *It is switched off*: this month's budget is used up."
        case KeyState.ENABLING:
            return " It is being switched on again."
        case _:
            return ""


def _lapses(undone: str, grant: Grant) -> str:
    """Until when it is waited for."""
    return f" {undone} by {when(grant.lapses_at)}, it lapses." if grant.lapses_at else ""


def waits_until(story: Story) -> str:
    """When a request that nobody decides lapses."""
    return f"Undecided, it lapses {when(story.request.lapses_at)}." if story.request.lapses_at else ""


def wants(story: Story) -> str:
    """What is asked, before "a key to …"."""
    if story.request.extends is None:
        return "for"
    return "to take over" if story.extended and story.extended.left_at else "to extend"


def extends(story: Story) -> str:
    """Which key the asked one is to follow; empty where it follows none."""
    if story.extended is None:
        return ""
    if not buttons.alive(story.extended):
        return f"It was {wants(story)} a key that is over by now."
    ends = f" that ends {when(story.extended.expires_at)}" if story.extended.expires_at else ""
    does = "extends a key"
    if story.extended.left_at:
        does = f"takes over a key of {mention(story.extended.holder)}, who left,"
    return f"It {does}{ends}: a new key follows it, and the old one goes on for a day at most once that is picked up."


def _extension(story: Story, *, you: bool = False) -> str:
    """How far the extension of the key is."""
    if story.extension is None or story.grant is None or not buttons.alive(story.grant):
        return ""
    who, has = ("You", "have") if you else (mention(story.extension.requester), "has")
    doing, done = ("take it over", "Taking it over") if story.grant.left_at else ("extend it", "Extending it")
    if story.extension.state is RequestState.PENDING:
        return f" {who} asked to {doing}; an approver decides next."
    if story.successor is None or not buttons.alive(story.successor):
        return ""
    if story.successor.state is GrantState.ACTIVE:
        return f" {who} {has} the key that follows it: use that one."
    return f" {done} is approved: the key that follows it is to be picked up."


def _rotates(grant: Grant) -> str:
    """When another key is to take its place; nothing where the grant ends before."""
    if grant.rotates_at is None or not goes_on(grant):
        return ""
    if grant.overdue_since is not None:
        return f" *Its rotation is overdue* since {when(grant.rotates_at)}."
    return f" It is to be rotated by {when(grant.rotates_at)}."


def _retiring(story: Story) -> str:
    """That old keys still work, and how long at most."""
    return "".join(
        f" The old key{print_of(old)} works until {when(old.due_at)} at the latest."
        for old in story.retiring
        if old.due_at
    )


def _follows(story: Story) -> str:
    """How far the key is that is to take the place of the one that its holder has."""
    match story.next_key.state if story.next_key else None:
        case KeyState.AWAITED:
            return f" Somebody makes the one that follows it at {drafts.at(story.request.draft)}, and brings it."
        case KeyState.MINTING:
            return " A new key is being made. Its link comes to where you pressed."
        case KeyState.DEPOSITED:
            return " The one that follows it is here, sealed."
        case KeyState.SEALED:
            until = f" until {when(story.link.expires_at)}" if story.link else ""
            return f" The link to your new key waits for you{until}."
        case _:
            return ""


def print_of(key: Key) -> str:
    """Its fingerprint, after a blank; nothing where there is none."""
    return f" `{name(key.fingerprint, 40)}`" if key.fingerprint else ""


def _until(grant: Grant) -> str:
    return f". It expires {when(grant.expires_at)}" if grant.expires_at else ""


def _ended(grant: Grant, *, you: bool = False) -> str:
    at = f" {when(grant.ended_at)}" if grant.ended_at else ""
    if grant.ended_because is Cause.EXPIRED:
        return f"Expired{at}."
    if grant.ended_because is Cause.LEFT:
        who = "You were" if you else "Its holder is"
        return f"{who} no full member of this workspace any more; the desk took it back{at}."
    if grant.ended_because is Cause.NOT_PICKED_UP:
        return f"Lapsed{at}: {'you' if you else mention(grant.holder)} did not pick it up in time."
    if grant.ended_because is Cause.NOT_BROUGHT:
        return f"Lapsed{at}: nobody brought the key in time."
    if grant.ended_because is Cause.NOT_ROTATED:
        return f"Its rotation was overdue, and policy ends a key then; the desk took it back{at}."
    if grant.ended_because is Cause.IDLE:
        whom = "you" if you else mention(grant.holder)
        return f"Nothing used it for two weeks, and {whom} did not say that it is needed; the desk took it back{at}."
    if grant.ended_because is Cause.OVERSPENT:
        return f"Its budget for the month was used up{at}, and policy ends a key then."
    if grant.ended_because is Cause.VANISHED:
        return f"Somebody removed the key at {name(grant.draft.provider_name)}; the desk found it gone{at}."
    done = "withdrew" if drafts.invited(grant.draft) else "revoked"
    if you and grant.ended_by == grant.holder:
        return f"You {done} it{at}."
    if drafts.invited(grant.draft):
        return f"Withdrawn by {mention(grant.ended_by or SYSTEM)}{at}."
    return f"Revoked by {mention(grant.ended_by or SYSTEM)}{at}."


def _no_key_lives(story: Story) -> str:
    if drafts.invited(story.request.draft):
        return "Nobody is invited any more."
    lived = story.key and (story.key.handle or story.key.state is KeyState.REVOKED)
    return "The key is dead: calls with it are refused." if lived else "No key was made."
