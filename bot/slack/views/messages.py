"""Every message of the desk, made from its story as it is now."""

from bot.desk.links import LINK_LIVES
from bot.desk.model import Cause, Draft, Handover, NoticeKind, Ruling, Story
from bot.desk.states import GrantState, KeyState, RequestState
from bot.slack.text import mention, name, quoted, span, when
from bot.slack.views import buttons, drafts, standing
from bot.slack.views.deposits import by_hand_card, deposit_card, deposited, not_brought, stuck_card
from bot.slack.views.holding import expiring, idle, orphaned, succeeded
from bot.slack.views.kit import Block, Message, actions, button, section, small
from bot.slack.views.rotation import due, not_rotated, overdue, rotated, rotated_at_once
from bot.slack.views.unusual import suspected, unusual
from bot.slack.views.usage import budget, overspent


def notice(kind: NoticeKind, story: Story) -> Message:
    """The message of this kind about this story."""
    return _NOTICES[kind](story)


def reminder(story: Story) -> Message:
    """To an approver: the card once more, while nobody decided."""
    card = approval_card(story)
    if story.request.state is not RequestState.PENDING:
        return card
    waits = f"*Still waiting for a decision*, since {when(story.request.created_at)}"
    return {"text": f"Still waiting: {card['text']}", "blocks": [section(waits), *card["blocks"]]}


def approval_card(story: Story) -> Message:
    """To approvers: who asks for what and why, what holds them to it, and the two buttons, or what was decided."""
    request, draft = story.request, story.request.draft
    who, asked = mention(request.requester), drafts.key_to(draft)
    asks = f"asks {standing.wants(story)}"
    pending = request.state is RequestState.PENDING
    blocks = [
        section(f"*{who} {asks} {asked}*"),
        section(drafts.in_words(draft, story.grant)),
        section(f"*Why*\n{quoted(draft.reason, standing.REASON_ON_CARD)}"),
    ]
    if extends := standing.extends(story):
        blocks.append(section(extends))
    if small_print := [*_project_id(draft), *(drafts.limit(limit, draft) for limit in story.limits)]:
        blocks.append(small("\n".join(small_print)))
    if pending:
        blocks += [
            actions(
                button("Approve", buttons.APPROVE, request.id, style="primary"),
                button("Deny…", buttons.DENY, request.id),
            ),
            small(f"One approver decides. {_until_then(story)} {standing.waits_until(story)}".rstrip()),
        ]
        return {
            "text": f"{who} {asks} {asked}: {drafts.terms(draft)}. Approve or deny?",
            "blocks": blocks,
        }
    blocks.append(section(standing.decided(story)))
    if story.grant:
        blocks.append(small(standing.progress(story)))
        if buttons.alive(story.grant):
            blocks.append(actions(*buttons.switch_on(story), buttons.revoke(story)))
    return {"text": f"{_first_line(standing.decided(story))}: {asked} for {who}.", "blocks": blocks}


def _project_id(draft: Draft) -> list[str]:
    """Projects may have the same name. One that is still to be made has no id, nor has what is no project."""
    if draft.scope.new_project is not None or drafts.elsewhere(draft):
        return []
    return [f"• *Project*: `{name(draft.scope.project, 80)}` at {name(draft.provider_name)}."]


def receipt(story: Story) -> Message:
    """To the requester: what was asked, and who moves next."""
    draft = story.request.draft
    asked = drafts.key_to(draft)
    wanted = f"{standing.wants(story)} {asked}"
    blocks = [section(f"*You asked {wanted}*\n{drafts.terms(draft)}\n{_why(story)}")]
    if extends := standing.extends(story):
        blocks.append(small(extends))
    match story.request.state:
        case RequestState.PENDING:
            text = f"You asked {wanted}. An approver decides next."
            next_step = (
                f"*Waiting for an approver.* You hear here as soon as one decides. {_until_then(story, you=True)} "
                f"{standing.waits_until(story)}"
            ).rstrip()
            blocks += [section(next_step), actions(*buttons.for_requester(story))]
        case RequestState.CANCELLED:
            text = f"You cancelled your request for {asked}."
            blocks.append(small("You cancelled this request. `/apikey request` asks anew."))
        case RequestState.LEFT:
            text = f"Your request for {asked} is over."
            blocks.append(small("Over: you are no full member of this workspace any more. Nothing was made."))
        case RequestState.LAPSED:
            text = f"Your request for {asked} lapsed."
            blocks.append(small("Nobody decided in time. The message below says what you can do."))
        case _:
            text = f"Your request for {asked} is decided."
            blocks.append(small("Decided. The answer is in the message below."))
    return {"text": text, "blocks": blocks}


def outcome(story: Story) -> Message:
    """To the requester: who decided, and what happens next; or that nobody did."""
    draft, decision = story.request.draft, story.decision
    if story.request.state is RequestState.LAPSED:
        lapsed = f"Your request for {drafts.key_to(draft)} lapsed: nobody decided in time"
        again = "Nothing was made. Do you still need it? `/apikey request` asks anew; tell an approver that it waits."
        return {"text": f"{lapsed}.", "blocks": [section(f"*{lapsed}*\n{_why(story)}"), section(again)]}
    by = mention(decision.approver) if decision else "An approver"
    if decision and decision.ruling is Ruling.DENY:
        denied = f"{by} denied your request for {drafts.key_to(draft)}"
        again = "Nothing was made. Change what they mention and ask again: `/apikey request`."
        why = quoted(decision.reason, standing.REASON_ON_CARD)
        return {"text": f"{denied}.", "blocks": [section(f"*{denied}*\n{why}"), section(again)]}
    approved = f"{by} approved your {drafts.key_named(draft)}"
    hint = " Pick it up when you are ready." if story.grant and story.grant.state is GrantState.READY else ""
    return {
        "text": f"{approved}.{hint}",
        "blocks": [
            section(f"*{approved}*\n{drafts.in_words(draft, story.grant)}"),
            *([small(extends)] if (extends := standing.extends(story)) else []),
            *_now(story),
        ],
    }


def not_picked_up(story: Story) -> Message:
    """To the holder: a key was approved and waits for them."""
    draft, grant = story.request.draft, story.grant
    waits = grant is not None and grant.lapses_at is not None and buttons.may_pick_up(story)
    new = "new " if story.next_key else ""
    what = f"Your {new}{drafts.key_named(draft)} {'still waits for you' if waits else 'waited for you'}"
    return {
        "text": f"{what}." + (" Pick it up, or give it back." if waits else ""),
        "blocks": [
            section(f"*{what}*\n{drafts.terms(draft)}"),
            *(_now(story) if waits else [section(standing.standing(story))]),
        ],
    }


def lapsed(story: Story) -> Message:
    """To the holder: a link was not opened in time."""
    what = f"Your link was not opened within {span(LINK_LIVES)}"
    if story.making is not None:
        return _told(story, what, "Nobody saw the key behind it. It rests sealed, as before.")
    return _told(story, what, f"Nobody saw the key behind it, and the desk revokes it at {_provider(story)}.")


def unacknowledged(story: Story) -> Message:
    """To the holder: a page took the key and never said that it showed it."""
    what = "Your link was opened, but the key was never shown"
    if story.making is not None:
        then = (
            "It rests sealed, as before. If it was not you who opened the link, revoke the key, and tell your operator."
        )
        return _told(story, what, then)
    return _told(
        story,
        what,
        f"To be safe, the desk revokes that key at {_provider(story)}. If it was not you who opened the link, tell your operator.",
    )


def unfinished(story: Story) -> Message:
    """To the holder: a pick-up broke off."""
    return _told(story, "Your pick-up broke off", "Nothing is lost. Whatever was made of that key is being revoked.")


def ended(story: Story) -> Message:
    """To the holder: the grant is over."""
    draft, grant = story.request.draft, story.grant
    what = f"Your {drafts.key_named(draft)} is over"
    again = succeeded(story) or "Need another? `/apikey request`."
    if grant and grant.ended_because in (Cause.NOT_PICKED_UP, Cause.NOT_BROUGHT):
        again = "Do you still need it? `/apikey request` asks anew; an approver decides again."
    if grant and grant.ended_because is Cause.LEFT:
        again = ""  # they may ask for nothing
    return {
        "text": f"{what}. {standing.standing(story) if grant else ''}".strip(),
        "blocks": [section(f"*{what}*\n{standing.standing(story)}"), *([small(again)] if again else [])],
    }


def stranded(story: Story) -> Message:
    """To the requester: whoever was asked cannot answer any more, and nobody else may."""
    asked = drafts.key_to(story.request.draft)
    return _unanswered(
        story,
        f"Nobody is left who could {_answer(story)}: {asked}",
        "Those who were asked left, or may not any more by today's policy. Your admins were told. As soon as somebody "
        "may, they are asked. You can also give up and ask anew: `/apikey request`.",
    )


def nobody(story: Story) -> Message:
    """To an admin: the same."""
    asked, who = drafts.key_to(story.request.draft), mention(story.request.requester)
    return _unanswered(
        story,
        f"Nobody is left who could {_answer(story)}: {asked} for {who}",
        f"It was asked for under the rule *{name(story.request.rule)}*. Those who were asked left, or may not any more by "
        "today's policy. Name others in `policy.toml`, or add members to its user groups: they are asked by themselves.",
    )


def _answer(story: Story) -> str:
    if story.request.state is RequestState.PENDING:
        return "decide"
    awaited = story.under_way is not None and story.under_way.state is KeyState.AWAITED
    return "bring the key" if awaited else "revoke the key by hand"


def _unanswered(story: Story, what: str, then: str) -> Message:
    keys = (*((story.key,) if story.key else ()), *story.others)
    waits = story.request.state is RequestState.PENDING or any(
        one.state in (KeyState.AWAITED, KeyState.BY_HAND) for one in keys
    )
    if waits:
        return {"text": f"{what}.", "blocks": [section(f"*{what}*\n{then}")]}
    over = f"Answered meanwhile: {drafts.key_to(story.request.draft)}"
    return {"text": f"{over}.", "blocks": [section(f"*{over}*"), small(standing.decided(story))]}


def handover(handover: Handover) -> Message:
    """The private answer to a pick-up. The URL is on the button alone, so that nothing quotes or unfurls it."""
    text = f"Your {_new(handover)}{drafts.key_named(handover.grant.draft)} is ready. Its link works once."
    return {
        "text": text,
        "blocks": handover_blocks(handover, "Only you see this message; it is gone when Slack reloads."),
    }


def handover_blocks(handover: Handover, fleeting: str) -> list[Block]:
    """What a pick-up hands over, for a message or a dialog; `fleeting` says how long it stays."""
    then = "the key that you have works on" if _new(handover) else "you can pick up again"
    return [
        section(f"*Your {_new(handover)}{drafts.key_named(handover.grant.draft)} is ready*"),
        actions(button("Open the key", buttons.OPEN_KEY, style="primary", url=handover.url)),
        small(
            f"The link works once, for you alone, until {when(handover.expires_at)}. Not opened by then, it is closed, and "
            f"{then}. {fleeting}"
        ),
    ]


def _new(handover: Handover) -> str:
    """Whether the key is to take the place of one that its holder has."""
    return "new " if handover.grant.state is GrantState.ACTIVE else ""


def late(story: Story) -> str:
    """To whoever pressed a moment too late: what became of it."""
    request, decision = story.request, story.decision
    asked = drafts.key_to(request.draft)
    if request.state is RequestState.CANCELLED:
        return f"{mention(request.requester)} cancelled this request before. There is nothing left to decide."
    if request.state is RequestState.LEFT:
        return f"{mention(request.requester)} is no full member any more. There is nothing left to decide."
    if request.state is RequestState.LAPSED:
        return "Nobody decided on this in time, and it lapsed. They can ask anew."
    if decision is None:
        return "Somebody was faster. Look again: this may still be open."
    done = "approved" if decision.ruling is Ruling.APPROVE else "denied"
    by = mention(decision.approver)
    return (
        f"{by} {done} this {when(decision.at)}: {asked} for {mention(request.requester)}. Your press changed nothing."
    )


def revoked(story: Story) -> str:
    """To whoever revoked."""
    if story.grant is None or story.grant.state is GrantState.ENDED:
        return f"Done: {drafts.key_to(story.request.draft)} is over."
    asked = drafts.key_to(story.request.draft)
    if story.by_hand:
        return f"Done: a person is asked to revoke {asked} by hand. *It still works* until they say that they did."
    if drafts.invited(story.request.draft):
        return f"Done: {asked} is being withdrawn."
    return f"Done: {asked} is being revoked at {_provider(story)}, within seconds as a rule."


def note(text: str) -> Message:
    """A sentence on its own."""
    return {"text": text, "blocks": [section(text)]}


WHICH_TO_REVOKE = (
    "Which one do you give back? Press its *Revoke*, or type `/apikey revoke` and its id, or how the key ends."
)
WHICH_TO_ROTATE = "Which one? Press its *Rotate*, or type `/apikey rotate` and its id, or how the key ends."
WHICH_TO_ROTATE_AT_ONCE = (
    "Which one? Type `/apikey rotate`, its id or how the key ends, and `--now`. Its *Rotate* lets the old key work on."
)
"""Above somebody's list, where they named no key."""


def help_text() -> Message:
    """What `/apikey` can do."""
    lines = [
        "*Keydesk* gives out API keys that expire, without a key ever being pasted into chat.",
        "• `/apikey request` asks for a key, or for an invitation to the provider where policy offers it. An approver decides; you "
        "pick the key up.",
        "• `/apikey list` shows your requests and keys, with what you can do now.",
        "• `/apikey usage` shows what your keys used this month, and what is left of their budgets.",
        "• `/apikey digest` shows your week: what was spent, what ends, what lies idle. It comes by itself on Mondays.",
        "• `/apikey settings` moves that weekly digest, or switches it off.",
        "• `/apikey rotate` makes a new key while the old one works on: choose it from the list, or name it by its id or how it "
        "ends. With `--now` the old one is revoked first.",
        "• `/apikey revoke` gives a key back: choose it from the list, or name it in the same way.",
        "• `/apikey help` shows this.",
    ]
    lines.append(
        "Where no program can make a key, a person is asked to bring it: they get a message with the button *Bring the key*."
    )
    return {
        "text": "Keydesk: /apikey request, list, usage, digest, settings, rotate, revoke or help.",
        "blocks": [section("\n".join(lines)), small("Your keys and what waits for you are on this app's Home, too.")],
    }


def unknown_command(word: str) -> Message:
    """To an unknown subcommand: what exists."""
    there = help_text()
    return {
        "text": f"There is no {name(word, 40)} here. There are: /apikey request, list, usage, digest, settings, rotate, revoke, help.",
        "blocks": [section(f"There is no `/apikey {name(word, 40)}`. This is what there is:"), *there["blocks"]],
    }


def _until_then(story: Story, *, you: bool = False) -> str:
    if drafts.invited(story.request.draft):
        whom = "you" if you else mention(story.request.requester)
        return f"Then {_provider(story)} sends {whom} an invitation by mail."
    if story.making is not None:
        then = "you pick it up" if you else f"{mention(story.request.requester)} picks it up"
        return f"Then a person makes the key at {drafts.at(story.request.draft)} and brings it, sealed; {then} here."
    return f"No key exists until {'you pick' if you else mention(story.request.requester) + ' picks'} it up."


def _told(story: Story, what: str, then: str) -> Message:
    draft = story.request.draft
    ready = buttons.may_pick_up(story)
    blocks = [section(f"*{what}*\nIt was for your {drafts.key_named(draft)}. {then}")]
    if ready:
        again = "." if buttons.deposited(story) else ": you get a new key."
        blocks += [section(f"Pick up again when you are ready{again}"), actions(buttons.pick_up(story))]
    elif buttons.may_rotate(story):
        blocks += [
            section(f"*Your key from before works on.* {standing.standing(story)}"),
            actions(*buttons.for_requester(story)),
        ]
    else:
        blocks.append(small(standing.standing(story)))
    return {"text": f"{what}. {then}" + (" Pick up again when you are ready." if ready else ""), "blocks": blocks}


def _now(story: Story) -> list[Block]:
    """Where the grant stands, with its holder's buttons."""
    offered = buttons.for_requester(story)
    return [section(standing.standing(story)), *([actions(*offered)] if offered else [])]


def _why(story: Story) -> str:
    return quoted(story.request.draft.reason, standing.REASON_IN_LIST, lines=5)


def _provider(story: Story) -> str:
    return name(story.request.draft.provider_name)


def _first_line(text: str) -> str:
    return text.partition("\n")[0].replace("*", "").rstrip(".")


_NOTICES = {
    NoticeKind.APPROVAL: approval_card,
    NoticeKind.RECEIPT: receipt,
    NoticeKind.OUTCOME: outcome,
    NoticeKind.LAPSED: lapsed,
    NoticeKind.UNACKNOWLEDGED: unacknowledged,
    NoticeKind.UNFINISHED: unfinished,
    NoticeKind.ENDED: ended,
    NoticeKind.DEPOSIT: deposit_card,
    NoticeKind.DEPOSITED: deposited,
    NoticeKind.BY_HAND: by_hand_card,
    NoticeKind.STUCK: stuck_card,
    NoticeKind.STRANDED: stranded,
    NoticeKind.NOBODY: nobody,
    NoticeKind.BUDGET: budget,
    NoticeKind.OVERSPENT: overspent,
    NoticeKind.UNUSUAL: unusual,
    NoticeKind.SUSPECTED: suspected,
    NoticeKind.REMINDER: reminder,
    NoticeKind.PICK_UP: not_picked_up,
    NoticeKind.NOT_BROUGHT: not_brought,
    NoticeKind.EXPIRING: expiring,
    NoticeKind.IDLE: idle,
    NoticeKind.ROTATED: rotated,
    NoticeKind.ROTATION_DUE: due,
    NoticeKind.ROTATION_OVERDUE: overdue,
    NoticeKind.NOT_ROTATED: not_rotated,
    NoticeKind.ROTATED_AT_ONCE: rotated_at_once,
    NoticeKind.ORPHANED: orphaned,
}
