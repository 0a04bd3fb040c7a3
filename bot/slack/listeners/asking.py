"""Asking for a key, and taking the ask back."""

import asyncio
import logging

from slack_bolt.async_app import AsyncAck, AsyncBoltContext

from bot.desk.errors import ProviderError
from bot.desk.menu import Menu
from bot.desk.model import Actor, Draft, Wish
from bot.slack import forms, views
from bot.slack.answers import Place
from bot.slack.listeners.listener import Body, Command, Listener, value
from bot.slack.listeners.switchboard import Switchboard
from bot.slack.sentences import sentence
from bot.slack.views.buttons import ASK, CANCEL
from bot.slack.views.request_form import MODELS, PERMISSION, PROJECT, PROVIDER, REQUEST_FORM, WISH

log = logging.getLogger(__package__)  # one name for all rooms, as operators know it

SUGGESTION_SECONDS = 2.5  # Slack waits three for a menu's options


class Asking(Listener):
    """The request form."""

    def register(self, app: Switchboard) -> dict[str, Command]:
        app.action(ASK)(self.ask)
        app.action(CANCEL)(self.cancel)
        app.action(PROVIDER)(self.redraw_form)
        app.action(WISH)(self.redraw_form)
        app.options(PROJECT)(self.suggest_projects)
        app.options(PERMISSION)(self.suggest_permissions)
        app.options(MODELS)(self.suggest_models)
        app.view(REQUEST_FORM)(self.submit)
        return {"request": self.request}

    async def request(self, ack: AsyncAck, body: Body, actor: Actor, rest: str) -> None:
        await self._open_form(actor, str(body.get("trigger_id") or ""))
        await ack()

    async def ask(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        await self._open_form(self.actor(context), str(body.get("trigger_id") or ""))
        await ack()

    async def _open_form(self, actor: Actor, trigger_id: str) -> None:
        menu = await self.desk.menus.of(actor)
        view_id = await self.answers.open(trigger_id, views.request_form(menu))
        if view_id:
            self.background.start(self._look_for_projects(menu, view_id, menu.choices[0].provider.name, Wish.KEY))

    async def redraw_form(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        """Another provider, or another wish, was chosen in the form: its fields follow, what was typed stays."""
        menu = await self.desk.menus.of(self.actor(context))
        view, values = body["view"], body["view"]["state"]["values"]
        provider, wish = forms.provider(values), forms.wish(values)
        await self.answers.update(view["id"], views.request_form(menu, provider=provider, wish=wish))
        await ack()
        self.background.start(self._look_for_projects(menu, view["id"], provider, wish))

    async def _look_for_projects(self, menu: Menu, view_id: str, provider: str, wish: Wish) -> None:
        """Has the projects at hand when the menu is opened; says so on the form where there will be none."""
        asked = menu.of(provider).provider
        try:
            await self.desk.menus.projects(asked.name)
        except ProviderError as error:
            log.warning("projects at %s cannot be listed: %s", asked.name, error)
            warning = f"{sentence(error, provider=asked.label)} Until then there are no projects to choose from."
            form = views.request_form(menu, provider=asked.name, wish=wish, warning=warning)
            await self.answers.update(view_id, form)

    async def suggest_projects(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        async with asyncio.timeout(SUGGESTION_SECONDS):
            choice = (await self.desk.menus.of(self.actor(context))).of(_provider(body))
            projects = await self.desk.menus.projects(choice.provider.name)
        await ack(options=views.project_options(choice, list(projects), _query(body)))

    async def suggest_permissions(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        async with asyncio.timeout(SUGGESTION_SECONDS):
            choice = (await self.desk.menus.of(self.actor(context))).of(_provider(body))
        await ack(options=views.permission_options(choice, _query(body)))

    async def suggest_models(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        project = forms.project((body.get("view") or {}).get("state", {}).get("values", {}))
        async with asyncio.timeout(SUGGESTION_SECONDS):
            choice = (await self.desk.menus.of(self.actor(context))).of(_provider(body))
            models = await self.desk.menus.models(choice.provider.name, project)
        await ack(options=views.model_options(list(models), _query(body)))

    async def submit(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        actor, view = self.actor(context), body["view"]
        draft = forms.parse(view["state"]["values"])
        if isinstance(draft, Draft):
            await self.desk.requests.submit(actor, draft, origin=view["id"])
            await ack()
        else:
            await ack(response_action="errors", errors=draft)

    async def cancel(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        actor = self.actor(context)
        await self.desk.requests.cancel(actor, value(body))
        await ack()
        self.background.start(self.refresh(actor, Place.of(body), "You cancelled it."))


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
