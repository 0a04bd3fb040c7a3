"""What depositors read: a key to make and to bring, and keys that a person has to revoke."""

from bot.desk.model import Cause, Key, Story
from bot.desk.states import KeyState
from bot.slack.text import escaped, mention, name, quoted, span, when
from bot.slack.views import buttons, drafts, standing
from bot.slack.views.kit import Block, Message, actions, button, plain_text, section, small

KEYS_SHOWN = 5  # of one grant; more than one is rare
STEPS = 2000  # characters of a provider's instructions; escapes make them longer


def deposit_card(story: Story) -> Message:
    """To depositors: what to make, step by step, and where to bring it; or what became of it."""
    request, draft = story.request, story.request.draft
    who, what = mention(request.requester), drafts.key_to(draft)
    key = story.under_way
    if key is None or key.state is not KeyState.AWAITED or not story.deposit_url:
        text = f"{_over(key, late=_late(story))}: {what} for {who}"
        return {"text": f"{text}.", "blocks": [section(f"*{text}*\n{_became(story)}")]}
    title = f"Make {what} for {who}, and bring it here"
    return {
        "text": f"{title}.",
        "blocks": [
            section(f"*{title}*\n{standing.decided(story)}\n{quoted(draft.reason, standing.REASON_IN_LIST, lines=5)}"),
            section(_steps(story)),
            *_rotation(story),
            actions(button("Bring the key", buttons.OPEN_DEPOSIT, style="primary", url=story.deposit_url)),
            small(
                f"The page asks you to sign in with Slack and seals the key in your browser. Nobody but {who} is shown it, "
                "once. Never paste it here, or anywhere else in Slack."
            ),
        ],
    }


def _over(key: Key | None, *, late: bool) -> str:
    match key.state if key else KeyState.VOID:
        case KeyState.VOID:
            return "Not brought in time" if late else "Not wanted any more"
        case KeyState.DEPOSITED | KeyState.SEALED:
            return "Handed in"
        case _:  # the holder has it; or the one before it, as a rotation lapsed
            return "Nothing more to bring"


def _late(story: Story) -> bool:
    """Whether it lapsed, as nobody brought it."""
    return story.grant is not None and story.grant.ended_because is Cause.NOT_BROUGHT


def not_brought(story: Story) -> Message:
    """To a depositor: the card once more, while nobody brought the key."""
    card = deposit_card(story)
    if not story.deposit_url or story.under_way is None or story.under_way.state is not KeyState.AWAITED:
        return card
    lapses = (
        f" Not brought by {when(story.grant.lapses_at)}, it lapses." if story.grant and story.grant.lapses_at else ""
    )
    return {
        "text": f"Still waiting: {card['text']}",
        "blocks": [section(f"*Still waiting for this key*.{lapses}"), *card["blocks"]],
    }


def _steps(story: Story) -> str:
    draft, making = story.request.draft, story.making
    marker = story.under_way.marker if story.under_way else ""
    own = f"\n{quoted(making.steps, STEPS)}" if making and making.steps else ""
    page = f"\nKeys are made at {escaped(making.url, 300)}" if making and making.url else ""
    where = "" if drafts.elsewhere(draft) else f" in *{name(draft.project_name)}*"
    can = "" if drafts.elsewhere(draft) else f" that may do no more than *{drafts.may_do(draft)}*"
    return (
        f"*1.* At *{drafts.at(draft)}*, make a new key{where}{can}.{own}{page}\n"
        f"*2.* Name it `{name(marker, 80)}`, if names can be given there: by its name it is known, and found again when it is to be revoked.\n"
        f"*3.* It should live for {span(draft.duration)} from pick-up. If it can be made to expire, let it live some days longer.\n"
        "*4.* Copy it, press the button below, and paste it on that page. Keep no copy."
    )


def _rotation(story: Story) -> list[Block]:
    if story.making is None or story.making.rotation is None:
        return []
    return [small(f"Such a key is to be made anew every {span(story.making.rotation)}.")]


def _became(story: Story) -> str:
    holder = mention(story.request.requester)
    match story.under_way.state if story.under_way else None:
        case KeyState.DEPOSITED | KeyState.SEALED:
            return f"The key is here, sealed. {holder} was told, and picks it up."
        case KeyState.LIVE:
            return f"The key is with {holder}."
        case KeyState.VOID:
            then = "They can ask anew." if _late(story) else "Nobody brought it."
            return f"{then} If you made a key already, delete it at {drafts.at(story.request.draft)}."
        case _:
            return standing.progress(story)


def deposited(story: Story) -> Message:
    """To the holder: somebody brought the key."""
    draft = story.request.draft
    what = f"Your {'new ' if story.next_key else ''}{drafts.key_named(draft)} is here"
    offered = buttons.for_requester(story)
    return {
        "text": f"{what}." + (" Pick it up when you are ready." if buttons.may_pick_up(story) else ""),
        "blocks": [
            section(f"*{what}*\n{drafts.terms(draft)}\n{standing.standing(story)}"),
            *_rotation(story),
            *([actions(*offered)] if offered else []),
        ],
    }


def by_hand_card(story: Story) -> Message:
    """To depositors: a key that only a person can revoke, until one says that they did."""
    draft, grant = story.request.draft, story.grant
    keys = [one for one in (*story.others, *([story.key] if story.key else [])) if one.state is KeyState.BY_HAND]
    what, who = drafts.key_to(draft), mention(story.request.requester)
    if not keys:
        text = f"Revoked: {what} of {who}"
        return {"text": f"{text}.", "blocks": [section(f"*{text}*\n{standing.progress(story)}")]}
    why = "Its time is over" if grant and grant.ended_because is Cause.EXPIRED else "It was taken back"
    if grant and buttons.alive(grant):
        why = "Another key took its place"
    title = f"Please revoke by hand: {what} of {who}"
    blocks = [section(f"*{title}*\n{why}. The desk cannot reach it: delete it at *{drafts.at(draft)}*.")]
    for key in keys[:KEYS_SHOWN]:
        bears = f"It should bear the name `{name(key.marker, 80)}`.{_print(key)}"
        blocks += [section(f"*It still works.* {bears}"), actions(_i_revoked(key))]
    blocks.append(small("This stays open until somebody says so."))
    return {"text": f"{title}. It still works until you do.", "blocks": blocks}


def stuck_card(story: Story) -> Message:
    """To whoever can see to it: a key that keeps failing to be revoked, until it is gone or one says that it is."""
    draft = story.request.draft
    what, who = drafts.key_to(draft), mention(story.request.requester)
    if not story.stuck:
        text = f"Revoked: {what} of {who}"
        return {"text": f"{text}.", "blocks": [section(f"*{text}*\n{standing.progress(story)}")]}
    title = f"Not revoked yet: {what} of {who}"
    keys = story.stuck[:KEYS_SHOWN]
    blocks = [section(f"*{title}*\n{drafts.at(draft)} has not confirmed that it is gone, again and again.")]
    for key in keys:
        blocks += [
            section(
                f"*It may still work.* Revoke it by hand at *{drafts.at(draft)}*"
                f"{'' if drafts.elsewhere(draft) else f', in *{name(draft.project_name)}*'}: it bears the name "
                f"`{name(key.marker, 80)}`.{_print(key)}"
            ),
            actions(_i_revoked(key)),
        ]
    blocks.append(small("Keydesk goes on trying, every 15 minutes at the latest. When it succeeds, this says so."))
    return {"text": f"{title}. It may still work: see to it.", "blocks": blocks}


def _print(key: Key) -> str:
    return f" It ends with `{name(key.fingerprint, 40)}`." if key.fingerprint and len(key.fingerprint) > 1 else ""


def _i_revoked(key: Key) -> Block:
    return button(
        "I revoked it",
        buttons.REVOKED_BY_HAND,
        key.id,
        style="primary",
        confirm={
            "title": plain_text("Is it revoked?", 100),
            "text": plain_text(
                "Calls with this key are refused now? The desk believes you, and writes down that you said so.", 300
            ),
            "confirm": plain_text("Yes, it is", 30),
            "deny": plain_text("Not yet", 30),
        },
    )


def confirmed(story: Story) -> str:
    """To whoever said that they revoked a key."""
    return f"Thank you: {drafts.key_to(story.request.draft)} of {mention(story.request.requester)} is revoked."
