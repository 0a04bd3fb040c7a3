"""What members do: commands, clicks, forms, Home. Each becomes the payload that Slack sends, and its acknowledgement
becomes what the member sees."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from sandbox.blocks import choice_problems, elements
from sandbox.chat import Chat
from sandbox.delivery import Ack, Deliveries
from sandbox.inputs import STATE, client_errors, state_values
from sandbox.screens import Screens
from sandbox.seed import COMMANDS
from sandbox.tickets import ResponseUrls, Triggers
from sandbox.workspace import (
    APP,
    BOT_USER,
    SLACKBOT,
    TEAM,
    TEAM_DOMAIN,
    Channel,
    Json,
    Member,
    Message,
    Refusal,
    View,
    Workspace,
)

DEFAULT_QUERY = 3


@dataclass(frozen=True)
class Place:
    """Where a member does something: a message in its channel, or a view."""

    channel: Channel | None = None
    message: Message | None = None
    view: View | None = None

    @property
    def versions(self) -> list[list[Json]]:
        """The blocks it has, and those it had."""
        shown = self.message or self.view
        return [shown.blocks, *reversed(shown.former)] if shown else []


class Interactions:
    """The members' hands."""

    def __init__(
        self,
        *,
        workspace: Workspace,
        deliveries: Deliveries,
        chat: Chat,
        screens: Screens,
        triggers: Triggers,
        response_urls: ResponseUrls,
        base_url: str,
        verification_token: str,
    ) -> None:
        self._workspace = workspace
        self._deliveries = deliveries
        self._chat = chat
        self._screens = screens
        self._triggers = triggers
        self._response_urls = response_urls
        self._base_url = base_url
        self._token = verification_token

    async def command(self, user: str, channel_id: str, text: str) -> Ack:
        """Types a slash command."""
        member, channel = self._workspace.member(user), self._joined(user, channel_id)
        name, _, rest = text.strip().partition(" ")
        if name not in {command["command"] for command in COMMANDS}:
            told = f"`{name}` is not a valid command."
            self._workspace.post(channel, user=SLACKBOT, text=told, only_for=user, username="Slackbot")
            return Ack(False, error="invalid_command")
        channel.seen[user] = self._workspace.new_ts()
        body = {
            "token": self._token,
            "team_id": member.team_id,
            "team_domain": TEAM_DOMAIN,
            "channel_id": channel.id,
            "channel_name": channel.name,
            "user_id": user,
            "user_name": member.name,
            "command": name,
            "text": rest.strip(),
            "api_app_id": APP,
            "is_enterprise_install": "false",
            "response_url": self._response_url(user, channel),
            "trigger_id": self._triggers.issue(user),
        }
        async with self._waiting(user):
            ack = await self._deliveries.send("command", body)
            if not ack.acknowledged:
                return ack
            try:
                self._chat.answer_command(user, channel, ack.body)
            except Refusal as refusal:
                return replace(ack, acknowledged=False, error=refusal.error)
            return ack

    def say(self, user: str, channel_id: str, text: str) -> Message:
        """Posts a message of the member's."""
        return self._workspace.post(self._joined(user, channel_id), user=user, text=text)

    async def act(
        self,
        user: str,
        container: Json,
        block_id: str,
        action_id: str,
        *,
        action: Json,
        values: Json,
        forged: bool = False,
    ) -> Ack:
        """Uses an element of a message or a view. A forged act is one that the member's client would not offer."""
        member = self._workspace.member(user)
        place = self._place(user, container, forged=forged)
        blocks, element = _used(place, block_id, action_id)
        # What was just chosen is in the state, too.
        typed = {**values, block_id: {**values.get(block_id, {}), action_id: action}}
        body = {
            "type": "block_actions",
            **self._common(member),
            **self._where(place, state_values(blocks, typed)),
            "trigger_id": self._triggers.issue(user, view=place.view.id if place.view else None),
            "actions": [_action(element, block_id, action, at=self._workspace.new_ts())],
        }
        if place.channel and place.message:
            body["response_url"] = self._response_url(user, place.channel, place.message)
            place.channel.seen[user] = self._workspace.new_ts()
        async with self._waiting(user):
            return await self._deliveries.send("block_actions", body)

    async def suggest(self, user: str, container: Json, block_id: str, action_id: str, query: str) -> Json:
        """Types into an external select: the options that the app suggests."""
        member, place = self._workspace.member(user), self._place(user, container)
        _, element = _used(place, block_id, action_id)
        if not element["type"].endswith("external_select"):
            raise Refusal("not_an_external_select", action_id=action_id)
        if len(query) < element.get("min_query_length", DEFAULT_QUERY):
            raise Refusal("query_too_short")
        body = {
            "type": "block_suggestion",
            **self._common(member),
            **self._where(place, {}),
            "block_id": block_id,
            "action_id": action_id,
            "value": query,
        }
        ack = await self._deliveries.send("block_suggestion", body)
        if not ack.acknowledged:
            raise Refusal(ack.error or "dispatch_failed")
        if problems := choice_problems(ack.body):
            raise Refusal("invalid_options", messages=problems)
        told: Json = ack.body
        return told

    async def submit(self, user: str, view_id: str, values: Json, *, forged: bool = False) -> tuple[Ack, Json]:
        """Presses a modal's submit button: the acknowledgement, and what the client adds to it.

        A forged submission passes by what Slack's client checks.
        """
        member = self._workspace.member(user)
        view = self._modal(user, view_id)
        state = state_values(view.blocks, values)
        if not forged and (errors := client_errors(view.blocks, state)):
            return Ack(False, error="required"), {"errors": errors}
        body = {
            "type": "view_submission",
            **self._common(member),
            "trigger_id": self._triggers.issue(user, view=view.id),
            "view": view.as_view(state),
            "response_urls": [],
        }
        async with self._waiting(user):
            ack = await self._deliveries.send("view_submission", body)
            answer = ack.body if isinstance(ack.body, dict) else {}
            told = {name: answer[name] for name in ("response_action", "errors") if name in answer}
            if ack.acknowledged and view in self._workspace.stacks.get(user, []):
                try:
                    self._screens.answer_submission(view, ack.body)
                except Refusal as refusal:
                    return replace(ack, acknowledged=False, error=refusal.error), {**told, **refusal.more}
            return ack, told

    async def close(self, user: str, view_id: str, *, all: bool = False) -> Ack:
        """Closes a modal, or the whole stack where asked to or where the view says so."""
        member, view = self._workspace.member(user), self._modal(user, view_id)
        stack = self._workspace.stacks[user]
        cleared = all or view.content.get("clear_on_close", False)
        closed = list(reversed(stack)) if cleared else [view]
        for one in closed:
            stack.remove(one)
        self._workspace.changed()
        ack = Ack(True)
        for one in closed:
            if one.content.get("notify_on_close"):
                body = {"type": "view_closed", **self._common(member), "view": one.as_view(), "is_cleared": cleared}
                ack = await self._deliveries.send("view_closed", body)
        return ack

    async def open_home(self, user: str) -> Ack:
        """Opens the app's Home."""
        self._workspace.member(user)
        channel, home = self._workspace.channel("D" + user[1:]), self._workspace.homes.get(user)
        event = {
            "type": "app_home_opened",
            "user": user,
            "channel": channel.id,
            "tab": "home",
            "event_ts": self._workspace.new_ts(),
            **({"view": home.as_view()} if home else {}),
        }
        async with self._waiting(user):
            return await self.event(event)

    async def event(self, event: Json) -> Ack:
        """Sends any event."""
        body = {
            "token": self._token,
            "team_id": TEAM,
            "api_app_id": APP,
            "event": event,
            "type": "event_callback",
            "event_id": "Ev" + secrets.token_hex(5).upper(),
            "event_time": int(self._workspace.clock()),
            "authorizations": [
                {
                    "enterprise_id": None,
                    "team_id": TEAM,
                    "user_id": BOT_USER,
                    "is_bot": True,
                    "is_enterprise_install": False,
                }
            ],
            "is_ext_shared_channel": False,
            "event_context": secrets.token_urlsafe(16),
        }
        return await self._deliveries.send("event_callback", body)

    @asynccontextmanager
    async def _waiting(self, user: str) -> AsyncIterator[None]:
        self._workspace.pending[user] += 1
        self._workspace.changed()
        try:
            yield
        finally:
            self._workspace.pending[user] -= 1
            self._workspace.changed()

    def _joined(self, user: str, channel_id: str) -> Channel:
        channel = self._workspace.channel(channel_id)
        if user not in channel.members:
            raise Refusal("not_in_channel")
        return channel

    def _modal(self, user: str, view_id: str) -> View:
        for view in self._workspace.stacks.get(user, []):
            if view.id == view_id:
                return view
        raise Refusal("not_found")

    def _place(self, user: str, container: Json, *, forged: bool = False) -> Place:
        if id := container.get("view_id"):
            view = self._workspace.view(id)
            if view is None or (view.user != user and not forged):
                raise Refusal("not_found")
            return Place(view=view)
        channel = self._workspace.channel(str(container.get("channel")))
        message = channel.message(str(container.get("ts")))
        seen = message is not None and user in channel.members and message.only_for in (None, user)
        if message is None or not (seen or forged):
            raise Refusal("message_not_found")
        return Place(channel=channel, message=message)

    def _common(self, member: Member) -> Json:
        return {
            # Of a member of another workspace in a shared channel Slack names the member's own team here.
            "team": {"id": member.team_id, "domain": TEAM_DOMAIN if member.team_id == TEAM else "other"},
            "user": {"id": member.id, "username": member.name, "name": member.name, "team_id": member.team_id},
            "api_app_id": APP,
            "token": self._token,
            "enterprise": None,
            "is_enterprise_install": False,
        }

    def _where(self, place: Place, values: Json) -> Json:
        if place.view:
            return {"container": {"type": "view", "view_id": place.view.id}, "view": place.view.as_view(values)}
        if place.channel is None or place.message is None:
            raise Refusal("message_not_found")
        ephemeral = place.message.only_for is not None
        where: Json = {
            "container": {
                "type": "message",
                "message_ts": place.message.ts,
                "channel_id": place.channel.id,
                "is_ephemeral": ephemeral,
            },
            "channel": {"id": place.channel.id, "name": place.channel.name},
            "state": {"values": values},
        }
        # Slack keeps no ephemeral message, and so sends none back.
        return where if ephemeral else {**where, "message": place.message.as_message()}

    def _response_url(self, user: str, channel: Channel, message: Message | None = None) -> str:
        token = self._response_urls.issue(user, channel.id, message.ts if message else None)
        return f"{self._base_url}/response/{token}"


def _used(place: Place, block_id: str, action_id: str) -> tuple[list[Json], Json]:
    """The element that was used, with all blocks around it: as they are, or as they were when the member looked."""
    for blocks in place.versions:
        for block, element in elements(blocks):
            if block["block_id"] == block_id and element["action_id"] == action_id:
                return blocks, element
    raise Refusal("no_such_action", block_id=block_id, action_id=action_id)


def _action(element: Json, block_id: str, chosen: Json, *, at: str) -> Json:
    """What was done, in the shape of the element: a button's value is its own, a selection is the member's."""
    kind = element["type"]
    own: Json = {name: element[name] for name in ("text", "value", "style", "placeholder") if name in element}
    names = ("selected_option",) if kind == "overflow" else STATE[kind][:1] if kind in STATE else ()
    picked = {name: chosen[name] for name in names if name in chosen}
    return {"type": kind, "action_id": element["action_id"], "block_id": block_id, **own, **picked, "action_ts": at}
