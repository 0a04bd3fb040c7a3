"""Every message and view, in every state, plain and hostile, is one that Slack takes and that misleads nobody."""

import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from bot.desk.menu import Choice, Menu
from bot.desk.model import Cause, Home, NoticeKind, Story, Wish
from bot.desk.offer import Ability, Permission, Probe, Project
from bot.desk.policy import Rule
from bot.desk.states import GrantState, KeyState
from bot.slack import views
from bot.slack.text import day, when
from bot.slack.views.buttons import for_requester
from tests.slack import stories
from tests.slack.limits import fits_message, fits_view

EVERY = list(stories.every())
ALLOWED_TOKENS = re.compile(r"<@U0(BEN|ANA)>|<!date\^\d+\^\{date_short_pretty\} at \{time\}\|[^<>|]+>")


def texts(thing: Any) -> list[str]:
    """Every text in it that Slack parses."""
    if isinstance(thing, dict):
        own = [thing["text"]] if thing.get("type") == "mrkdwn" else []
        return own + [text for value in thing.values() for text in texts(value)]
    if isinstance(thing, list):
        return [text for value in thing for text in texts(value)]
    return []


def harmless(parsed: list[str], everything: Any) -> None:
    """Nothing in it mentions, links or misleads but what the desk itself wrote."""
    for text in parsed:
        rest = ALLOWED_TOKENS.sub("", text)
        assert "<" not in rest
        assert not re.search(r"&(?!amp;|lt;|gt;)", rest)
    shown = json.dumps(everything, ensure_ascii=False)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\x00-\x08\ud800-\udfff]", shown)
    json.dumps(everything).encode()


def buttons(blocks: list[Any]) -> list[str]:
    """The action ids offered."""
    return [element["action_id"] for block in blocks if block["type"] == "actions" for element in block["elements"]]


@pytest.mark.parametrize("story", [story for _, story in EVERY], ids=[name for name, _ in EVERY])
def test_every_notice_in_every_state(story: Story) -> None:
    """A notice is redrawn from whatever its story has become: each kind copes with each state."""
    for kind in NoticeKind:
        try:
            message = views.notice(kind, story)
            fits_message(message)
            harmless([message["text"], *texts(message["blocks"])], message)
        except Exception as error:
            error.add_note(f"a notice of the kind {kind}")
            raise


@pytest.mark.parametrize("story", [story for _, story in EVERY], ids=[name for name, _ in EVERY])
def test_every_other_message_and_view_of_a_story(story: Story) -> None:
    """The answers to presses, and the form that denies."""
    for text in (views.late(story), views.revoked(story)):
        fits_message(views.note(text))
        harmless([text], text)
        fits_view(views.problem_view(text))
    form = views.deny_form(story)
    assert form["private_metadata"] == story.request.id
    for one in (form, views.extend_form(story)):
        fits_view(one)
        harmless(texts(one), one)


@pytest.mark.parametrize("draft", [stories.DRAFT, stories.HOSTILE_DRAFT], ids=["plain", "hostile"])
def test_a_handover_shows_its_url_on_the_button_alone(draft: Any) -> None:
    """The seed is in no text that a notification, a quotation or an unfurler could take up."""
    handover = stories.handed_over(draft)
    message, view = views.handover(handover), views.handover_view(handover)
    fits_message(message)
    fits_view(view)
    assert "#" not in message["text"] + "".join(texts(message["blocks"]))
    for shown in (message, view):
        assert json.dumps(shown).count(handover.url) == 1
        [button] = [element for block in shown["blocks"] if block["type"] == "actions" for element in block["elements"]]
        assert button["url"] == handover.url


@pytest.mark.parametrize("size", [0, 1, 5, 40])
@pytest.mark.parametrize("words", ["plain", "hostile"])
def test_home_and_list_hold_any_number_of_stories(size: int, words: str) -> None:
    """They stay within Slack's number of blocks, and say when there is more."""
    told = [story for name, story in EVERY if name.endswith(words)]
    some = tuple((told * size)[:size])
    waiting = tuple([story for story in told if story.grant is None][:1] * min(size, 20))
    for home in (Home("U0BEN", mine=some, queue=waiting), Home("U0BEN", mine=some), Home("U0BEN", queue=waiting)):
        view, message = views.home(home), views.grant_list(home, said="You cancelled it." if size else "")
        fits_view(view)
        fits_message(message)
        harmless(texts(view), view)
        harmless(texts(message["blocks"]), message)
        assert buttons(view["blocks"])[0] == "ask"


def test_home_says_how_many_more_there_are() -> None:
    """What does not fit is counted, and nobody's keys are crowded out by a long queue."""
    mine = (stories.granted(GrantState.READY),) * 40
    view = views.home(Home("U0BEN", mine=mine, queue=(stories.pending(),) * 40))
    said = " ".join(texts(view))
    waiting, held = buttons(view["blocks"]).count("approve"), buttons(view["blocks"]).count("pick_up")
    assert waiting > 15
    assert held > 15
    assert f"and {40 - waiting} more" in said
    assert f"and {40 - held} more" in said


def test_whom_the_desk_does_not_serve_sees_why_and_no_button() -> None:
    """A guest's Home is a sentence."""
    home = Home("U0GUS", unwelcome="Guests cannot hold or approve keys.")
    fits_view(views.home(home))
    fits_message(views.grant_list(home))
    assert buttons(views.home(home)["blocks"]) == []


@pytest.mark.parametrize("message", [views.help_text(), views.unknown_command(stories.HOSTILE)])
def test_the_desks_own_words(message: Any) -> None:
    """Help, and the answer to an unknown subcommand of any length."""
    assert all(word in "".join(texts(message["blocks"])) for word in ("request", "list", "revoke", "help"))
    harmless([message["text"], *texts(message["blocks"])], message)
    fits_message(message)
    fits_view(views.waiting_view())


def test_a_pending_card_asks_and_a_decided_one_tells() -> None:
    """Approve and Deny while it is open; then who decided, when and why, and Revoke while there is something to."""
    assert buttons(views.approval_card(stories.pending())["blocks"]) == ["approve", "deny"]
    for state in GrantState:
        card = views.approval_card(stories.granted(state))
        over = state in (GrantState.ENDING, GrantState.ENDED)
        assert buttons(card["blocks"]) == ([] if over else ["revoke"])
        assert "Approved by <@U0ANA>" in str(card["blocks"])
    card = views.approval_card(stories.denied())
    assert buttons(card["blocks"]) == []
    assert "Use the shared sandbox project" in str(card["blocks"])


def test_a_card_says_who_enforces_each_limit() -> None:
    """The key, the project, the desk, or nobody: an approver is not left to believe in a cap that is none."""
    said = "".join(texts(views.approval_card(stories.pending())["blocks"]))
    for words in ("enforces it on the key", "not on this key", "Keydesk watches", "enforced by nobody"):
        assert words in said


def test_the_requesters_buttons_follow_the_state() -> None:
    """What can be done now is offered, and nothing else."""
    assert buttons(views.receipt(stories.pending())["blocks"]) == ["cancel"]
    assert buttons(views.receipt(stories.denied())["blocks"]) == []
    offered = {state: buttons(views.outcome(stories.granted(state))["blocks"]) for state in GrantState}
    assert offered == {
        GrantState.AWAITED: ["revoke"],
        GrantState.READY: ["pick_up", "revoke"],
        GrantState.ISSUING: ["revoke"],
        GrantState.DELIVERING: ["pick_up", "revoke"],
        GrantState.ACTIVE: ["rotate", "extend", "revoke"],
        GrantState.INVITING: ["revoke"],
        GrantState.INVITED: ["revoke"],
        GrantState.ENDING: [],
        GrantState.ENDED: [],
    }


def test_a_persons_words_cannot_pass_for_the_desks() -> None:
    """Every line of a reason stands in a quotation, cut but never beyond reading."""
    story = stories.pending(replace(stories.DRAFT, reason="fine\n*Approved by Ana*\n" + "a" * 6000))
    [why] = [text for text in texts(views.approval_card(story)["blocks"]) if text.startswith("*Why*")]
    lines = why.splitlines()[1:]
    assert lines[:2] == ["> fine", "> *Approved by Ana*"]
    assert all(line.startswith("> ") for line in lines)
    assert why.endswith("…")
    assert len(why) > 2000


class _Provider:
    """What the form needs of a provider."""

    abilities = frozenset(Ability)

    def __init__(self, count: int, label: str, name: str = "openai") -> None:
        self.name, self.label = name, label
        self.permissions = [Permission(f"p{n}", f"Permission {n} {label}") for n in range(count)]


WIDE = Rule(
    name="all",
    requesters=("everyone",),
    provider="openai",
    projects=("*",),
    permissions=("*",),
    approvers=("U0ANA",),
    max_duration="365d",
    max_monthly_budget=1_000_000,
    default_duration="7d",
    default_monthly_budget=25,
)
NARROW = WIDE.model_copy(update={"name": "narrow", "permissions": ("p1", "p2")})
OPEN = WIDE.model_copy(update={"new_projects": True, "invitations": True})


def choice(rule: Rule, *abilities: Ability, count: int = 3, label: str = "OpenAI", flaw: str | None = None) -> Choice:
    """A provider that can do this now, and the one rule that admits the member there."""
    provider: Any = _Provider(count, label)
    return Choice(provider, Probe(frozenset(abilities), "ok", flaw), (rule,))


def fields(form: Any) -> dict[str, Any]:
    """The form's inputs by name."""
    return {block["block_id"]: block["element"] for block in form["blocks"] if block["type"] == "input"}


@pytest.mark.parametrize(("count", "label"), [(1, "OpenAI"), (150, "A very long label " * 10)])
@pytest.mark.parametrize("warning", ["", "OpenAI cannot be reached right now. Try again in a minute."])
def test_the_request_form(count: int, label: str, warning: str) -> None:
    """Fits Slack with one permission or with very many, and proposes what policy proposes."""
    menu = Menu((choice(WIDE, Ability.MINT, count=count, label=label),))
    form = views.request_form(menu, warning=warning)
    fits_view(form)
    there = fields(form)
    assert list(there) == ["provider", "project", "permission", "duration", "budget", "reason"]
    assert there["duration"]["initial_value"] == "7d"
    assert there["budget"]["initial_value"] == "25"
    assert "max_length" not in there["reason"]
    assert len(views.permission_options(menu.choices[0], "")) == min(count, 100)


def test_the_only_option_is_chosen_already() -> None:
    """One permission, one kind of key that people bring: nobody has to look for it in a menu. Of two nobody guesses."""
    one = choice(WIDE, Ability.MINT, count=1)
    assert fields(views.request_form(Menu((one,))))["permission"]["initial_option"]["value"] == one.permissions[0].id
    form = fields(views.request_form(Menu((choice(WIDE, Ability.MINT, count=2),))))
    assert "initial_option" not in form["permission"]
    assert "initial_option" not in form["project"]
    mapbox = replace(one, only_project=Project("mapbox", "Mapbox"))
    assert fields(views.request_form(Menu((mapbox,))))["project"]["initial_option"]["value"] == "mapbox"


def test_a_card_tells_once_what_is_asked_for() -> None:
    """In its sentence; of the project's id, which no sentence has, in the small print."""
    card = views.approval_card(stories.pending())
    said = " ".join(texts(card["blocks"]))
    assert said.count("search-prod") == 2  # asked for, and what it can do there
    assert said.count("at most $25 a month") == 1
    assert said.count("proj_search") == 1


def test_what_takes_a_healthy_key_is_plain_until_it_asks() -> None:
    """Red draws the eye to where something is wrong; the question before it happens is red."""
    for story in (stories.granted(GrantState.ACTIVE), stories.granted(GrantState.READY)):
        [button] = [one for one in for_requester(story) if one["action_id"] == "revoke"]
        assert "style" not in button
        assert button["confirm"]["style"] == "danger"


def test_home_says_invitations_where_there_are_some() -> None:
    """An invitation is no key."""
    invited = replace(stories.DRAFT, wish=Wish.INVITATION)
    keys = Home("U0BEN", mine=(stories.pending(),))
    both = Home("U0BEN", mine=(stories.pending(), stories.pending(invited)))
    titles = [
        [one["text"]["text"] for one in views.home(home)["blocks"] if one["type"] == "header"] for home in (keys, both)
    ]
    assert titles == [["Keydesk", "Your keys"], ["Keydesk", "Your keys and invitations"]]


def test_the_request_form_offers_only_what_policy_may_allow() -> None:
    """Permissions that no rule of the member names are not shown."""
    offered = views.permission_options(choice(NARROW, Ability.MINT, count=5), "")
    assert [option["value"] for option in offered] == ["p1", "p2"]
    assert views.permission_options(choice(NARROW, Ability.MINT, count=5), "permission 2")[0]["value"] == "p2"


def test_the_request_form_follows_the_provider() -> None:
    """Models and an invitation are asked for where provider and policy have them; what is wrong there is said."""
    able = choice(OPEN, *Ability, flaw="The admin key expires tomorrow. Mend: make another.")
    form = views.request_form(Menu((able,)))
    assert list(fields(form)) == [
        "provider",
        "wish",
        "project",
        "permission",
        "models",
        "duration",
        "budget",
        "reason",
    ]
    assert "The admin key expires tomorrow" in str(form["blocks"])
    assert "wish" not in fields(views.request_form(Menu((choice(WIDE, *Ability),))))
    invited = views.request_form(Menu((able,)), provider="openai", wish=Wish.INVITATION)
    assert list(fields(invited)) == ["provider", "wish", "project", "reason"]
    assert fields(invited)["wish"]["initial_option"]["value"] == "invitation"


def test_a_new_project_is_offered_where_policy_allows_it() -> None:
    """The name that was typed, unless there is one of that name, or it is none."""
    there = [Project("proj_search", "search-prod")]

    def offered(rule: Rule, query: str) -> list[str]:
        return [one["value"] for one in views.project_options(choice(rule, *Ability), there, query)]

    assert offered(OPEN, "search-dev") == ["new:search-dev"]
    assert offered(OPEN, "search") == ["proj_search", "new:search"]
    assert offered(OPEN, "Search-Prod") == ["proj_search"]
    assert offered(OPEN, "") == ["proj_search"]
    assert offered(OPEN, "<!channel>") == []
    assert offered(WIDE, "search-dev") == []


def test_times_are_shown_in_each_readers_own_zone() -> None:
    """Slack's date token, with a fallback that names its zone."""
    message = views.handover(replace(stories.handed_over(), expires_at=stories.NOW + timedelta(minutes=15)))
    assert "<!date^1795427100^{date_short_pretty} at {time}|23 Nov 2026, 09:45 UTC>" in str(message["blocks"])


def test_what_a_depositor_is_told() -> None:
    """What to make, its name, and the way to the page while it is awaited; after that no way, and what became of it."""
    card = views.notice(NoticeKind.DEPOSIT, stories.brought(KeyState.AWAITED))
    said = " ".join(texts(card["blocks"]))
    for word in ("OpenAI", "search-prod", "Chat completions", "keydesk-k_1", "Settings, API keys", "every 90 days"):
        assert word in said
    assert [button["url"] for block in card["blocks"] for button in block.get("elements", ()) if "url" in button] == [
        "https://keydesk.example.com/d/k_1"
    ]
    for state in set(KeyState) - {KeyState.AWAITED}:
        card = views.notice(NoticeKind.DEPOSIT, stories.brought(state))
        assert "url" not in json.dumps(card)
        assert ("delete it" in json.dumps(card)) is (state is KeyState.VOID)


def test_that_a_key_still_works_is_said_until_a_person_revoked_it() -> None:
    """On every card and list while it waits for a person; nowhere before, and nowhere after."""
    for state in KeyState:
        story = stories.brought(state)
        home = views.home(Home("U0BEN", mine=(story,)))
        shown = [views.approval_card(story), views.outcome(story), views.ended(story), home]
        waits = state is KeyState.BY_HAND
        assert ["still works" in json.dumps(one) for one in shown] == [waits] * len(shown), state
        by_hand = views.notice(NoticeKind.BY_HAND, story)
        assert buttons(by_hand["blocks"]) == (["revoked_by_hand"] if waits else [])
    for state in (KeyState.DEPOSITED, KeyState.LIVE):
        held = json.dumps(views.outcome(stories.brought(state)))
        assert "A person is asked to revoke it by hand" in held
        assert "within seconds" not in held
    assert "still works" in views.revoked(stories.brought(KeyState.REVOKING))


def test_a_key_that_fails_to_be_revoked_is_somebodys_task() -> None:
    """Where to revoke it, by which name, and the button to say so; on every card until it is gone."""
    card = views.notice(NoticeKind.STUCK, stories.failing())
    said = " ".join(texts(card["blocks"]))
    for word in ("may still work", "OpenAI", "search-prod", "keydesk-k_1", "…abcd", "goes on trying"):
        assert word in said
    assert buttons(card["blocks"]) == ["revoked_by_hand"]
    assert buttons(views.notice(NoticeKind.STUCK, stories.failing(keys=2))["blocks"]) == ["revoked_by_hand"] * 2
    for other in (views.ended(stories.failing()), views.approval_card(stories.failing())):
        assert "may still work" in json.dumps(other)
    after = views.notice(NoticeKind.STUCK, stories.granted(GrantState.ENDED))
    assert buttons(after["blocks"]) == []
    assert "Revoked: a key to search-prod" in after["text"]


def test_what_waits_says_until_when() -> None:
    """On the card of whoever is waited for, and of whoever waits."""
    asked, offered = f"{int(stories.pending().request.created_at.timestamp()) + 3 * 86_400}", "by <!date"
    for message in (views.approval_card(stories.pending()), views.receipt(stories.pending())):
        assert f"it lapses <!date^{asked}" in str(message)
    ready = stories.granted(GrantState.READY)
    for message in (views.outcome(ready), views.approval_card(ready)):
        assert offered in str(message)
    assert offered in str(views.outcome(stories.brought(KeyState.AWAITED)))
    assert offered not in str(views.outcome(stories.granted(GrantState.ACTIVE)))


def test_what_lapsed_says_so_and_how_to_go_on() -> None:
    """To its requester, with no button to press; to an approver who is too late."""
    told = views.outcome(stories.lapsed())
    assert "nobody decided in time" in told["text"]
    assert "/apikey request" in str(told)
    for kind in (NoticeKind.APPROVAL, NoticeKind.REMINDER, NoticeKind.RECEIPT, NoticeKind.OUTCOME):
        assert buttons(views.notice(kind, stories.lapsed())["blocks"]) == []
    assert "lapsed" in views.late(stories.lapsed())
    for story in (stories.unfetched(), stories.unfetched(because=Cause.NOT_BROUGHT)):
        assert "asks anew" in str(views.ended(story))
        assert "Lapsed" in str(views.ended(story))


def test_reminders_bring_what_is_to_be_done_and_follow_what_became_of_it() -> None:
    """A card with its buttons while it waits; once it is done, what was done."""
    for kind, waiting, wanted in (
        (NoticeKind.REMINDER, stories.pending(), ["approve", "deny"]),
        (NoticeKind.PICK_UP, stories.granted(GrantState.READY), ["pick_up", "revoke"]),
        (NoticeKind.NOT_BROUGHT, stories.brought(KeyState.AWAITED), ["open_deposit"]),
    ):
        message = views.notice(kind, waiting)
        assert "till wait" in message["text"]
        assert buttons(message["blocks"]) == wanted
        for state in (GrantState.ACTIVE, GrantState.ENDED):
            done = views.notice(kind, stories.granted(state))
            assert "till wait" not in done["text"]
            assert not {"approve", "pick_up", "open_deposit", "extend"} & set(buttons(done["blocks"]))


def test_a_key_whose_holder_left_can_be_taken_over_once_or_revoked() -> None:
    """Who may take it over reads whose it was and until when it works; the next approver, what it follows."""
    message = views.notice(NoticeKind.ORPHANED, stories.orphaned(to=GrantState.ENDED))
    assert "<@U0BEN> left, and their key to search-prod" in message["text"]
    assert "still knows it" in str(message)
    assert buttons(message["blocks"]) == ["extend", "revoke"]
    asked = views.notice(NoticeKind.ORPHANED, stories.orphaned())
    assert "<@U0ANA> asked to take it over; an approver decides next." in str(asked)
    assert buttons(asked["blocks"]) == ["revoke"]
    had = views.notice(NoticeKind.ORPHANED, stories.orphaned(to=GrantState.ACTIVE))
    assert "<@U0ANA> has the key that follows it" in str(had)
    assert buttons(views.notice(NoticeKind.ORPHANED, stories.granted(GrantState.ENDED))["blocks"]) == []
    form = views.extend_form(stories.orphaned(to=GrantState.ENDED))
    assert form["title"]["text"] == "Take this key over"
    assert "of <@U0BEN>" in form["blocks"][0]["text"]["text"]
    taking = stories.extending()
    assert taking.extended is not None
    taking = replace(taking, extended=replace(taking.extended, left_at=stories.NOW))
    assert "asks to take over a key to search-prod" in views.approval_card(taking)["text"]
    assert "You asked to take over a key" in views.receipt(taking)["text"]
    assert "It takes over a key of <@U0BEN>, who left, that ends <!date" in str(views.approval_card(taking))


def test_a_key_that_expires_can_be_extended_once_or_given_back() -> None:
    """Until it is asked for; the approver reads which key it extends, and until when that lives."""
    message = views.notice(NoticeKind.EXPIRING, stories.granted(GrantState.ACTIVE))
    assert "expires <!date" in message["text"]
    assert buttons(message["blocks"]) == ["extend", "revoke"]
    for to in (None, GrantState.READY, GrantState.ACTIVE):
        assert buttons(views.notice(NoticeKind.EXPIRING, stories.extended(to=to))["blocks"]) == ["revoke"]
    assert buttons(views.notice(NoticeKind.EXPIRING, stories.extended(to=GrantState.ENDED))["blocks"]) == [
        "extend",
        "revoke",
    ]
    assert buttons(views.notice(NoticeKind.EXPIRING, stories.granted(GrantState.ENDED))["blocks"]) == []
    assert "asks to extend a key to search-prod" in views.approval_card(stories.extending())["text"]
    assert "You asked to extend a key" in views.receipt(stories.extending())["text"]
    assert "It extends a key that ends <!date" in str(views.approval_card(stories.extending()))
    assert "is over by now" in str(views.approval_card(stories.extending(state=GrantState.ENDED)))
    form = views.extend_form(stories.granted(GrantState.ACTIVE))
    assert form["private_metadata"] == "g_4fzqkx7m2adpw3ye"
    assert [block["block_id"] for block in form["blocks"] if block["type"] == "input"] == ["duration", "reason"]
    assert form["blocks"][1]["element"]["initial_value"] == "7 days"


def test_an_idle_key_is_asked_about_and_what_follows_is_said() -> None:
    """Keep or give back; that no answer revokes it is said where it does."""
    for story in (stories.idle(), stories.idle(used=False)):
        message = views.notice(NoticeKind.IDLE, story)
        assert buttons(message["blocks"]) == ["keep", "revoke"]
        assert "No answer" not in str(message)
    assert "never used" in str(views.notice(NoticeKind.IDLE, stories.idle(used=False)))
    assert "Without an answer it works on, and you are asked again." in str(
        views.notice(NoticeKind.IDLE, stories.idle())
    )
    assert "No answer within 7 days, and it is revoked" in str(
        views.notice(NoticeKind.IDLE, stories.idle(revokes=True))
    )
    assert buttons(views.notice(NoticeKind.IDLE, stories.granted(GrantState.ACTIVE))["blocks"]) == []


def test_a_reminder_to_rotate_has_the_buttons_that_fit() -> None:
    """Rotate now, later, give it back; put off, it asks no more; with another key coming, there is nothing to begin."""

    def offered(story: Story) -> list[str]:
        return buttons(views.notice(NoticeKind.ROTATION_DUE, story)["blocks"])

    assert offered(stories.rotating()) == ["rotate", "rotate_later", "revoke"]
    assert offered(stories.rotating(again=True)) == ["rotate", "revoke"]
    assert offered(stories.rotating(overdue=True)) == ["rotate", "rotate_later", "revoke"]
    assert offered(stories.rotating(overdue=True, off=True)) == ["rotate", "rotate_later", "revoke"]
    assert offered(stories.rotating(coming=KeyState.SEALED)) == ["pick_up", "revoke"]
    assert offered(stories.rotating(coming=KeyState.AWAITED)) == ["revoke"]
    for done in (stories.in_grace(), stories.granted(GrantState.ACTIVE), stories.granted(GrantState.ENDED)):
        assert offered(done) == [], "it is no longer true"
        assert buttons(views.notice(NoticeKind.ROTATION_OVERDUE, done)["blocks"]) == []


def test_the_card_of_a_rotation_shows_when_both_keys_were_used() -> None:
    """While the old one works; and the holder can say that they switched."""
    card = views.notice(NoticeKind.ROTATED, stories.in_grace())
    said = " ".join(texts(card["blocks"]))
    assert said.count("last used around") == 2
    assert buttons(card["blocks"]) == ["switched"]


def test_any_number_of_old_keys_is_a_message_that_slack_takes() -> None:
    """Those that still have to be revoked are told by three, and how many more there are."""
    story = stories.in_grace()
    many = tuple(replace(story.others[0], id=f"k_old{n}", state=KeyState.BY_HAND) for n in range(40))
    card = views.notice(NoticeKind.ROTATED, replace(story, others=(*story.others, *many)))
    said = texts(card["blocks"])
    assert max(map(len, said)) < 3000
    assert "and 37 more old keys" in " ".join(said)


def test_home_and_list_say_when_a_key_is_to_be_rotated() -> None:
    """By when, and that it is overdue."""
    for story, word in ((stories.rotating(), "is to be rotated by"), (stories.rotating(overdue=True), "is overdue")):
        home = Home("U0BEN", mine=(story,))
        assert word in " ".join(texts(views.home(home)))
        assert word in " ".join(texts(views.grant_list(home)["blocks"]))


def test_who_approved_hears_what_follows_of_a_key_that_is_overdue() -> None:
    """That it goes on, when it is switched off or revoked, or that it is off."""

    def said(story: Story) -> str:
        return " ".join(texts(views.notice(NoticeKind.ROTATION_OVERDUE, story)["blocks"]))

    overdue = stories.rotating(overdue=True)
    assert "it is switched off from" in said(overdue)
    assert "it is revoked from" in said(replace(overdue, pausable=False))
    assert overdue.rotation is not None
    assert "The key goes on." in said(replace(overdue, rotation=replace(overdue.rotation, off_at=None)))
    off = stories.rotating(overdue=True, off=True)
    assert "is switched off until they rotate it" in said(off)
    assert off.key is not None
    going_off = replace(off, key=replace(off.key, state=KeyState.DISABLING, due_at=stories.NOW))
    assert "is being switched off until they rotate it" in said(going_off)
    assert "budget is used up" not in said(going_off)
    assert "rotate" in buttons(views.notice(NoticeKind.ROTATION_DUE, going_off)["blocks"])
    paused = replace(off, key=replace(off.key, paused_by="U0CARA"))
    assert "It is switched off." in said(paused)
    assert "goes on" not in said(paused)


def said(message: Any) -> str:
    """All that is read of a message."""
    return "\n".join([message["text"], *texts(message["blocks"])])


def test_who_left_is_told_so_and_not_to_ask_anew() -> None:
    """They may ask for nothing; their approver reads the same of them."""
    story = stories.granted(GrantState.ENDED, by="system", because=Cause.LEFT)
    theirs = said(views.notice(NoticeKind.ENDED, story))
    assert "You were no full member of this workspace any more" in theirs
    assert "/apikey request" not in theirs
    assert "Its holder is no full member" in said(views.notice(NoticeKind.APPROVAL, story))


def test_a_key_that_expired_while_its_extension_waits_sends_nobody_to_ask_again() -> None:
    """They asked already: what comes of that is said, and who is next."""

    def ended(to: GrantState | None) -> str:
        story = stories.extended(to=to)
        over = stories.granted(GrantState.ENDED, by="system", because=Cause.EXPIRED).grant
        return said(views.notice(NoticeKind.ENDED, replace(story, grant=over)))

    for to, word in (
        (None, "an approver decides still"),
        (GrantState.READY, "The key that follows it is approved"),
        (GrantState.ACTIVE, "You have the key that follows it"),
    ):
        assert word in ended(to)
        assert "/apikey request" not in ended(to)
    assert "Need another? `/apikey request`." in ended(GrantState.ENDED)


def test_a_key_that_nobody_brought_in_time_is_still_wanted() -> None:
    """Its depositors read that it lapsed, where it did; else that it is wanted no more."""

    def card(because: Cause) -> str:
        story = stories.brought(KeyState.VOID)
        assert story.grant
        over = replace(story.grant, state=GrantState.ENDED, ended_because=because)
        return said(views.notice(NoticeKind.DEPOSIT, replace(story, grant=over)))

    assert "Not brought in time: a key to search-prod" in card(Cause.NOT_BROUGHT)
    assert "wanted" not in card(Cause.NOT_BROUGHT)
    assert "Not wanted any more: a key to search-prod" in card(Cause.REVOKED)
    for because in (Cause.NOT_BROUGHT, Cause.REVOKED):
        assert "If you made a key already, delete it at OpenAI." in card(because)


def test_a_link_to_a_key_that_follows_one_says_so() -> None:
    """Not to be taken for the key that its holder has, which works on if it is not opened."""
    first = stories.handed_over()
    follows = replace(first, grant=replace(first.grant, state=GrantState.ACTIVE))
    assert "*Your key to search-prod at OpenAI is ready*" in said(views.handover(first))
    new = said(views.handover(follows))
    assert "*Your new key to search-prod at OpenAI is ready*" in new
    assert "the key that you have works on" in new


def test_who_approved_reads_of_a_key_that_was_revoked_at_once() -> None:
    """That there was one: "no key exists yet" would hide it."""
    story = stories.granted(GrantState.READY)
    assert story.grant
    at_once = replace(story, grant=replace(story.grant, held_since=stories.NOW))
    assert "*The key was revoked at once.* Another is made when <@U0BEN> picks it up." in said(
        views.notice(NoticeKind.APPROVAL, at_once)
    )


def test_a_request_to_extend_is_one_wherever_it_is_decided() -> None:
    """On Home, in the digest, and in the form that says no."""
    story = stories.extending()
    for view in (views.home(Home("U0ANA", queue=(story,))), views.deny_form(story)):
        assert "asks to extend a key to search-prod at OpenAI" in "\n".join(texts(view["blocks"]))


def test_a_day_has_no_zero_in_front() -> None:
    """As people write it."""
    assert "|5 Mar 2027, 09:05 UTC>" in when(datetime(2027, 3, 5, 9, 5, tzinfo=UTC))
    assert day(date(2027, 3, 5)) == "5 Mar 2027"


def test_who_left_is_not_told_that_they_asked_to_take_their_key_over() -> None:
    """Somebody else did; whoever left is offered nothing and told whose it is."""
    for story in (stories.orphaned(), stories.orphaned(to=GrantState.READY)):
        told = said(views.notice(NoticeKind.OUTCOME, story))
        assert "You were no full member of this workspace any more: the key `…abcd` is offered to others." in told
        assert "You asked" not in told
        assert "take it over" not in told


def test_a_key_that_is_off_says_so_once_and_who_switches_it_on() -> None:
    """Overdue, paused, or its budget used up until the month is over."""
    overdue = stories.rotating(overdue=True, off=True)
    story = said(views.notice(NoticeKind.ROTATION_OVERDUE, overdue))
    assert "*It is switched off until it is rotated.* *Its rotation is overdue* since" in story
    assert story.count("overdue") == 1
    paused = stories.spent(20_400_000, key=KeyState.DISABLED)
    assert paused.key
    assert "An approver can switch it on before." in said(
        views.notice(NoticeKind.BUDGET, replace(paused, key=replace(paused.key, due_at=stories.NOW)))
    )
    assert "An approver can switch it on again." in said(
        views.notice(NoticeKind.BUDGET, replace(paused, key=replace(paused.key, due_at=None, paused_by="U0BEN")))
    )
