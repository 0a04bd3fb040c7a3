"""What the app says: the `chat.*` methods, what it answers to commands, and response URLs."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sandbox.blocks import completed, message_problems
from sandbox.files import Files
from sandbox.tickets import ResponseUrl, ResponseUrls
from sandbox.web_api import Call, Method
from sandbox.workspace import BOT_USER, TEAM_DOMAIN, Channel, Json, Message, Refusal, Workspace

LONGEST_POST, LONGEST_UPDATE = 40_000, 4_000


def checked_content(content: Json, *, charts: bool, most: int = LONGEST_POST) -> tuple[str, list[Json]]:
    """A message's text and blocks as Slack keeps them; refuses what Slack refuses. `charts`: whether the workspace has them."""
    text, blocks = content.get("text") or "", content.get("blocks") or []
    if not isinstance(text, str):
        raise Refusal("invalid_arguments", response_metadata={"messages": ["[ERROR] text must be a string"]})
    if problems := message_problems(blocks, charts=charts):
        raise Refusal("invalid_blocks", errors=problems, response_metadata={"messages": problems})
    if not text and not blocks:
        raise Refusal("no_text")
    if len(text) > most:
        raise Refusal("msg_too_long")
    return text, completed(blocks)


def checked_metadata(told: Any) -> Json | None:
    """A message's metadata: the kind of event, and what belongs to it."""
    if not told:
        return None
    if not isinstance(told, dict) or not isinstance(told.get("event_type"), str):
        raise Refusal("invalid_metadata_format")
    if not isinstance(told.get("event_payload"), dict):
        raise Refusal("invalid_metadata_format")
    return {"event_type": told["event_type"], "event_payload": told["event_payload"]}


class Chat:
    """Posts, changes and deletes the app's messages."""

    def __init__(self, *, workspace: Workspace, response_urls: ResponseUrls, files: Files) -> None:
        self._workspace = workspace
        self._files = files
        self._response_urls = response_urls
        scope = ("chat:write",)
        self.methods = {
            "chat.postMessage": Method(self._post, scope),
            "chat.postEphemeral": Method(self._post_ephemeral, scope),
            "chat.update": Method(self._update, scope),
            "chat.delete": Method(self._delete, scope),
            "chat.getPermalink": Method(self._permalink),
        }
        self.route = Route("/response/{token}", self._respond, methods=["POST"])

    def answer_command(self, user: str, channel: Channel, body: Any) -> None:
        """Shows what the app put into its acknowledgement of a command."""
        content = {"text": body} if isinstance(body, str) else body
        if content:
            text, blocks = self._checked(content)
            self._say(channel, user, text, blocks, in_channel=content.get("response_type") == "in_channel")

    def _post(self, call: Call) -> Json:
        channel = self._channel(call, direct=True)
        text, blocks = self._checked(call.args)
        metadata = checked_metadata(call.args.get("metadata"))
        message = self._workspace.post(channel, user=BOT_USER, text=text, blocks=blocks, metadata=metadata)
        return {"channel": channel.id, "ts": message.ts, "message": message.as_message()}

    def _post_ephemeral(self, call: Call) -> Json:
        channel = self._channel(call)
        user = call.text("user", "user_not_in_channel")
        member = self._workspace.members.get(user)
        if member is None or member.deleted or user not in channel.members:
            raise Refusal("user_not_in_channel")
        text, blocks = self._checked(call.args)
        message = self._workspace.post(channel, user=BOT_USER, text=text, blocks=blocks, only_for=user)
        return {"message_ts": message.ts}

    def _update(self, call: Call) -> Json:
        channel, message = self._own(call, "cant_update_message")
        # Slack keeps the blocks where the call names none, and takes them away where it names an empty list.
        text, blocks = self._checked(call.args, most=LONGEST_UPDATE, otherwise=message.blocks)
        message.rewrite(text, blocks, at=self._workspace.new_ts())
        self._workspace.changed()
        shown = {name: value for name, value in message.as_message().items() if name != "ts"}
        return {"channel": channel.id, "ts": message.ts, "text": text, "message": shown}

    def _delete(self, call: Call) -> Json:
        channel, message = self._own(call, "cant_delete_message")
        channel.messages.remove(message)
        self._workspace.changed()
        return {"channel": channel.id, "ts": message.ts}

    def _permalink(self, call: Call) -> Json:
        channel = self._workspace.channel(call.text("channel", "channel_not_found"))
        message = channel.message(call.text("message_ts", "message_not_found"))
        if message is None or message.only_for:
            raise Refusal("message_not_found")
        link = f"https://{TEAM_DOMAIN}.slack.com/archives/{channel.id}/p{message.ts.replace('.', '')}"
        return {"channel": channel.id, "permalink": link}

    def _checked(
        self, content: Json, *, most: int = LONGEST_POST, otherwise: list[Json] | None = None
    ) -> tuple[str, list[Json]]:
        """A message's text and blocks; where no blocks are named, those that it has `otherwise`."""
        kept = otherwise if "blocks" not in content else None
        if kept:
            content = {**content, "blocks": kept}
        text, blocks = checked_content(content, charts=self._workspace.charts, most=most)
        if not kept:
            self._files.placed(blocks)
        return text, blocks

    def _channel(self, call: Call, *, direct: bool = False) -> Channel:
        id = call.text("channel", "channel_not_found")
        if direct and id in self._workspace.members:
            return self._workspace.direct(id)
        channel = self._workspace.channel(id)
        if BOT_USER not in channel.members:
            raise Refusal("channel_not_found" if channel.is_private else "not_in_channel")
        return channel

    def _own(self, call: Call, otherwise: str) -> tuple[Channel, Message]:
        """A message of the app's; ephemeral ones are nowhere, once sent."""
        channel = self._workspace.channel(call.text("channel", "channel_not_found"))
        message = channel.message(call.text("ts", "message_not_found"))
        if message is None or message.only_for:
            raise Refusal("message_not_found")
        if message.user != BOT_USER:
            raise Refusal(otherwise)
        return channel, message

    def _say(self, channel: Channel, user: str, text: str, blocks: list[Json], *, in_channel: bool) -> None:
        only_for = None if in_channel else user
        self._workspace.post(channel, user=BOT_USER, text=text, blocks=blocks, only_for=only_for)

    async def _respond(self, request: Request) -> Response:
        try:
            content = json.loads(await request.body())
            if not isinstance(content, dict):
                raise ValueError
        except ValueError:
            return PlainTextResponse("invalid_payload", 400)
        try:
            self._take(self._response_urls.use(request.path_params["token"]), content)
        except Refusal as refusal:
            gone = refusal.error in ("no_such_url", "expired_url", "used_url")
            return JSONResponse({"ok": False, "error": refusal.error, **refusal.more}, 404 if gone else 500)
        return PlainTextResponse("ok")

    def _take(self, url: ResponseUrl, content: Json) -> None:
        channel = self._workspace.channel(url.channel)
        clicked = channel.message(url.message) if url.message else None
        if content.get("delete_original"):
            if clicked is None:
                raise Refusal("message_not_found")
            channel.messages.remove(clicked)
            self._workspace.changed()
            return
        text, blocks = self._checked(content)
        # A click's answer takes the place of an ephemeral message unless it says otherwise; of others only if asked.
        replaces = content.get("replace_original", clicked is not None and clicked.only_for is not None)
        if replaces and clicked is not None:
            clicked.rewrite(text, blocks, at=self._workspace.new_ts())
            self._workspace.changed()
        else:
            self._say(channel, url.user, text, blocks, in_channel=content.get("response_type") == "in_channel")
