"""Everything inbound: acknowledge, parse, call the desk once, answer whoever acted.

Bolt runs with `process_before_response`: each listener does its act in one transaction, then acknowledges. What is
slow follows in the background of the same process.

Slack may deliver the same press twice. What identifies it: a press its `trigger_id`, which each interaction has its
own of and a redelivery repeats; a submitted form the id of its view. Deciding, cancelling and revoking need none, as
doing the same again changes nothing, nor do events: an opened Home is drawn anew, and whoever changed is asked about.
"""

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import Any

from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext
from slack_bolt.response import BoltResponse

from bot.desk.deposits import Deposits
from bot.desk.errors import (
    AlreadyDelivered,
    DraftRejected,
    NotThere,
    ProviderError,
    ProviderInvalid,
    ProviderNotFound,
    Superseded,
    Unavailable,
    Undeliverable,
)
from bot.desk.grants import Grants
from bot.desk.leaving import Leaving
from bot.desk.model import Actor, Draft, Key, Ruling, Wish
from bot.desk.ports import Notifier
from bot.desk.reference import reference
from bot.desk.requests import Menu, Requests
from bot.desk.states import RequestState
from bot.desk.switching import Switching
from bot.desk.usage import UsageDesk
from bot.slack import forms, views
from bot.slack.answers import Answers, Place
from bot.slack.background import Background
from bot.slack.sentences import SORRY, sentence
from bot.slack.text import plain
from bot.slack.views.kit import ERROR_TEXT
from bot.slack.views.modals import DENY_FORM
from bot.slack.views.request_form import MODELS, PERMISSION, PROJECT, PROVIDER, REASON, REQUEST_FORM, WISH
from bot.slack.views.standing import (
    APPROVE,
    ASK,
    CANCEL,
    DENY,
    OPEN_DEPOSIT,
    OPEN_KEY,
    PICK_UP,
    REVOKE,
    REVOKED_BY_HAND,
    SWITCH_ON,
)

log = logging.getLogger(__name__)

SUGGESTION_SECONDS = 2.5  # Slack waits three for a menu's options
ANYTHING = re.compile(".*")

Body = Mapping[str, Any]


def register(
    app: AsyncApp,
    *,
    requests: Requests,
    deposits: Deposits,
    grants: Grants,
    switching: Switching,
    usage: UsageDesk,
    leaving: Leaving,
    notifier: Notifier,
    team: str,
) -> Background:
    """Connects the desk to the app. Drain what is returned at shutdown."""
    background = Background()
    listeners = _Listeners(
        requests=requests,
        deposits=deposits,
        grants=grants,
        switching=switching,
        usage=usage,
        leaving=leaving,
        notifier=notifier,
        team=team,
        answers=Answers(app.client),
        background=background,
    )
    app.command(ANYTHING)(listeners.command)
    app.action(ASK)(listeners.ask)
    app.action(APPROVE)(listeners.approve)
    app.action(DENY)(listeners.ask_why_not)
    app.action(CANCEL)(listeners.cancel)
    app.action(PICK_UP)(listeners.pick_up)
    app.action(REVOKE)(listeners.revoke)
    app.action(SWITCH_ON)(listeners.switch_on)
    app.action(OPEN_KEY)(listeners.acknowledge)
    app.action(OPEN_DEPOSIT)(listeners.acknowledge)
    app.action(REVOKED_BY_HAND)(listeners.revoked_by_hand)
    app.action(PROVIDER)(listeners.redraw_form)
    app.action(_field(WISH))(listeners.redraw_form)
    app.action(ANYTHING)(listeners.unknown_action)
    app.options(_field(PROJECT))(listeners.suggest_projects)
    app.options(_field(PERMISSION))(listeners.suggest_permissions)
    app.options(_field(MODELS))(listeners.suggest_models)
    app.view(REQUEST_FORM)(listeners.submit)
    app.view(DENY_FORM)(listeners.deny)
    app.event("app_home_opened")(listeners.home_opened)
    app.event("user_change")(listeners.member_changed)
    app.event(ANYTHING)(listeners.acknowledge)
    app.error(listeners.failed)
    return background


class _Listeners:
    def __init__(
        self,
        *,
        requests: Requests,
        deposits: Deposits,
        grants: Grants,
        switching: Switching,
        usage: UsageDesk,
        leaving: Leaving,
        notifier: Notifier,
        team: str,
        answers: Answers,
        background: Background,
    ) -> None:
        self._requests = requests
        self._deposits = deposits
        self._grants = grants
        self._switching = switching
        self._usage = usage
        self._leaving = leaving
        self._notifier = notifier
        self._team = team
        self._answers = answers
        self._background = background

    # ---- commands

    async def command(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        actor = self._actor(context)
        word, rest = (*str(body.get("text") or "").split(maxsplit=1), "", "")[:2]
        match word.lower(), rest.strip():
            case "request", _:
                await self._open_form(actor, str(body.get("trigger_id") or ""))
                await ack()
            case ("list", _) | ("revoke", ""):
                which = "Which one do you give back? Press its *Revoke*." if word.lower() == "revoke" else ""
                await _reply(ack, views.grant_list(await self._requests.home(actor), said=which))
            case "usage", _:
                await _reply(ack, views.my_usage(await self._usage.mine(actor)))
            case "revoke", grant_id:
                story = await self._grants.revoke(actor, grant_id.strip("`"))
                await _reply(ack, views.note(views.revoked(story)))
            case (("" | "help"), _):
                await _reply(ack, views.help_text())
            case _:
                await _reply(ack, views.unknown_command(word))

    # ---- asking

    async def ask(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        await self._open_form(self._actor(context), str(body.get("trigger_id") or ""))
        await ack()

    async def _open_form(self, actor: Actor, trigger_id: str) -> None:
        menu = await self._requests.menu(actor)
        view_id = await self._answers.open(trigger_id, views.request_form(menu))
        if view_id:
            self._background.start(self._look_for_projects(menu, view_id, menu.choices[0].provider.name, Wish.KEY))

    async def redraw_form(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        """Another provider, or another wish, was chosen in the form: its fields follow, what was typed stays."""
        menu = await self._requests.menu(self._actor(context))
        view, values = body["view"], body["view"]["state"]["values"]
        provider, wish = forms.provider(values), forms.wish(values)
        await self._answers.update(view["id"], views.request_form(menu, provider=provider, wish=wish))
        await ack()
        self._background.start(self._look_for_projects(menu, view["id"], provider, wish))

    async def _look_for_projects(self, menu: Menu, view_id: str, provider: str, wish: Wish) -> None:
        """Has the projects at hand when the menu is opened; says so on the form where there will be none."""
        asked = menu.of(provider).provider
        try:
            await self._requests.projects(asked.name)
        except ProviderError as error:
            log.warning("projects at %s cannot be listed: %s", asked.name, error)
            warning = f"{sentence(error, provider=asked.label)} Until then there are no projects to choose from."
            form = views.request_form(menu, provider=asked.name, wish=wish, warning=warning)
            await self._answers.update(view_id, form)

    async def suggest_projects(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        async with asyncio.timeout(SUGGESTION_SECONDS):
            choice = (await self._requests.menu(self._actor(context))).of(_provider(body))
            projects = await self._requests.projects(choice.provider.name)
        await ack(options=views.project_options(choice, list(projects), _query(body)))

    async def suggest_permissions(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        async with asyncio.timeout(SUGGESTION_SECONDS):
            choice = (await self._requests.menu(self._actor(context))).of(_provider(body))
        await ack(options=views.permission_options(choice, _query(body)))

    async def suggest_models(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        project = forms.project((body.get("view") or {}).get("state", {}).get("values", {}))
        async with asyncio.timeout(SUGGESTION_SECONDS):
            choice = (await self._requests.menu(self._actor(context))).of(_provider(body))
            models = await self._requests.models(choice.provider.name, project)
        await ack(options=views.model_options(list(models), _query(body)))

    async def submit(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        actor, view = self._actor(context), body["view"]
        draft = forms.parse(view["state"]["values"])
        if isinstance(draft, Draft):
            await self._requests.submit(actor, draft, origin=view["id"])
            await ack()
        else:
            await ack(response_action="errors", errors=draft)

    async def cancel(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        actor = self._actor(context)
        await self._requests.cancel(actor, _value(body))
        await ack()
        self._background.start(self._refresh(actor, Place.of(body), "You cancelled it."))

    # ---- deciding

    async def approve(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        actor, request_id, place = self._actor(context), _value(body), Place.of(body)
        try:
            await self._requests.decide(actor, request_id, Ruling.APPROVE)
        except Superseded:
            await ack()
            self._background.start(self._too_late(actor, request_id, place))
        else:
            await ack()
            self._background.start(self._refresh(actor, place))

    async def ask_why_not(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        actor, request_id, place = self._actor(context), _value(body), Place.of(body)
        story = await self._requests.story(actor.team, request_id)
        if story.request.state is not RequestState.PENDING:
            await ack()
            self._background.start(self._too_late(actor, request_id, place))
        else:
            await self._answers.open(place.trigger_id, views.deny_form(story))
            await ack()

    async def deny(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        actor, view = self._actor(context), body["view"]
        request_id = view["private_metadata"]
        try:
            await self._requests.decide(actor, request_id, Ruling.DENY, forms.reason(view["state"]["values"]))
        except Superseded:
            late = views.late(await self._requests.story(actor.team, request_id))
            await ack(response_action="update", view=views.problem_view(late))
        else:
            await ack()

    async def _too_late(self, actor: Actor, request_id: str, place: Place) -> None:
        """Tells who was faster, and brings the copy that was pressed up to date: it may be one the desk lost."""
        story = await self._requests.story(actor.team, request_id)
        await self._answers.say(place, views.late(story))
        if place.response_url and not place.ephemeral:
            await self._answers.send(place, views.approval_card(story), replace=True)
        await self._refresh(actor, place)

    # ---- keys

    async def pick_up(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        actor, grant_id, place = self._actor(context), _value(body), Place.of(body)
        delivery = f"press {place.trigger_id or body['actions'][0]['action_ts']}"
        # On Home only a dialog can answer, and its trigger may not wait for a mint: it is opened before anything else.
        dialog = None if place.response_url else await self._answers.open(place.trigger_id, views.waiting_view())
        if place.response_url or dialog:
            try:
                key = await self._grants.pick_up(actor, grant_id, delivery=delivery)
            except AlreadyDelivered:
                pass
            except Exception as error:
                if dialog is None:
                    raise
                self._background.start(self._answers.update(dialog, views.problem_view(self._words(error))))
            else:
                self._background.start(self._hand_over(key, place, dialog))
        await ack()

    async def _hand_over(self, key: Key, place: Place, dialog: str | None) -> None:
        try:
            handover = await self._grants.issue(key)
        except Exception as error:
            for_good = isinstance(error, ProviderNotFound | ProviderInvalid) or not isinstance(error, ProviderError)
            again = "" if for_good else " Nothing is lost: you can pick up again."
            text = f"{self._words(error)}{again}"
            if dialog:
                await self._answers.update(dialog, views.problem_view(text))
            else:
                await self._answers.say(place, text)
            return
        if dialog:
            await self._answers.update(dialog, views.handover_view(handover))
        else:
            await self._answers.send(place, views.handover(handover))

    async def revoke(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        actor = self._actor(context)
        story = await self._grants.revoke(actor, _value(body))
        await ack()
        self._background.start(self._refresh(actor, Place.of(body), views.revoked(story)))

    async def revoked_by_hand(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        story = await self._deposits.revoked_by_hand(self._actor(context), _value(body))
        await ack()
        self._background.start(self._answers.say(Place.of(body), views.confirmed(story)))

    async def switch_on(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        await self._switching.switch_on(self._actor(context), _value(body))
        await ack()

    # ---- Home

    async def home_opened(self, ack: AsyncAck, event: Body, context: AsyncBoltContext) -> None:
        await ack()
        if event.get("tab") == "home":
            self._background.start(self._show_home(self._actor(context)))

    async def _show_home(self, actor: Actor) -> None:
        try:
            await self._notifier.show_home(await self._requests.home(actor))
        except (Undeliverable, Unavailable) as error:
            log.warning("the Home of %s was not drawn: %s", actor.id, error)

    async def _refresh(self, actor: Actor, place: Place, said: str = "") -> None:
        """Brings up to date what only its viewer sees: their Home, or the list that was an answer to them."""
        if place.home:
            await self._show_home(actor)
        elif place.ephemeral and place.response_url:
            await self._answers.send(place, views.grant_list(await self._requests.home(actor), said=said), replace=True)

    # ---- people who leave

    async def member_changed(self, ack: AsyncAck, event: Body) -> None:
        """Whoever left loses their keys. The event only says whom to ask about: it may be old, or come twice."""
        user = event.get("user")
        if isinstance(user, dict) and user.get("id"):
            await self._leaving.look(Actor(self._team, str(user["id"])))
        await ack()

    # ---- what is left

    async def acknowledge(self, ack: AsyncAck) -> None:
        await ack()

    async def unknown_action(self, ack: AsyncAck, body: Body) -> None:
        await ack()
        old = "This button is of an older Keydesk. This app's Home, and `/apikey list`, have the ones that work."
        self._background.start(self._answers.say(Place.of(body), old))

    async def failed(self, error: Exception, body: Body) -> BoltResponse:
        """The answer to whatever a listener raised. Slack is told 200: the answer is in words, for who acted."""
        log.debug("refused: %s", type(error).__name__)
        match body.get("type"):
            case "block_suggestion":
                log.warning("no options can be offered: %s", type(error).__name__)
                return BoltResponse(status=200, body={"options": []})
            case "view_submission":
                return BoltResponse(status=200, body=self._on_form(error, body))
            case "block_actions":
                self._background.start(self._answers.say(Place.of(body), self._words(error)))
            case _ if "command" in body:
                return BoltResponse(status=200, body={"response_type": "ephemeral", **views.note(self._words(error))})
            case "event_callback" if (body.get("event") or {}).get("type") == "user_change":
                # Nobody reads an answer, and a key may live on: Slack is not told that it is taken, and delivers it again.
                self._words(error)
                return BoltResponse(status=503, body="")
            case _:
                self._words(error)
        return BoltResponse(status=200, body="")

    def _on_form(self, error: Exception, body: Body) -> dict[str, Any]:
        """What was typed stays where it is, unless there is nothing left to submit."""
        if isinstance(error, DraftRejected):
            return {"response_action": "errors", "errors": forms.rejected(error, body["view"]["state"]["values"])}
        text = self._words(error)
        if isinstance(error, Superseded | NotThere):
            return {"response_action": "update", "view": views.problem_view(text)}
        return {"response_action": "errors", "errors": {REASON: plain(text, ERROR_TEXT)}}

    def _words(self, error: Exception) -> str:
        """What to say; what nobody expected is logged under the reference that its sentence carries."""
        known = sentence(error)
        if known is not None:
            return known
        log.error("unexpected error, reference %s", reference(), exc_info=error)
        return f"{SORRY} Reference `{reference()}`."

    def _actor(self, context: AsyncBoltContext) -> Actor:
        """Who acts at this team's desk. Their own team is the directory's to say, and the door refuses any other.

        A payload's team will not do: members of this team act in channels of others, and people of other teams act
        in channels shared with this one, where a refusal belongs into this team's log.
        """
        return Actor(self._team, str(context.user_id))


async def _reply(ack: AsyncAck, message: views.Message) -> None:
    await ack(text=message["text"], blocks=message["blocks"], response_type="ephemeral")


def _value(body: Body) -> str:
    return str(body["actions"][0].get("value") or "")


def _field(name: str) -> re.Pattern[str]:
    """Action ids of a field whose choices are one provider's."""
    return re.compile(rf"{name}(@.*)?")


def _query(body: Body) -> str:
    return str(body.get("value") or "")


def _provider(body: Body) -> str:
    """The provider whose options are wanted: the field's own, else the one that the form has chosen or came with."""
    named = str(body.get("action_id") or "").partition("@")[2]
    if named:
        return named
    view = body.get("view") or {}
    if chosen := forms.provider(view.get("state", {}).get("values", {})):
        return chosen
    blocks = (block for block in view.get("blocks", ()) if block.get("block_id") == PROVIDER)
    return str((next((block["element"].get("initial_option") for block in blocks), None) or {}).get("value", ""))
