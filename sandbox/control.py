"""The control API: what the browser UI and the tests see of the workspace, and do in it."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox.anthropic import PretendAnthropic
from sandbox.delivery import Deliveries, Disturbance, Retry, SocketMode
from sandbox.faults import Fault, Faults
from sandbox.files import Files
from sandbox.interactions import Interactions
from sandbox.limits import Limits
from sandbox.litellm import PretendLiteLLM
from sandbox.openai import PretendOpenAI
from sandbox.openid import OpenId
from sandbox.openrouter import PretendOpenRouter
from sandbox.seed import COMMANDS
from sandbox.web_api import WebApi
from sandbox.wire import Vendor
from sandbox.workspace import (
    APP,
    APP_NAME,
    BOT_USER,
    SLACKBOT,
    TEAM,
    TEAM_NAME,
    Channel,
    Json,
    Member,
    Refusal,
    Workspace,
)

Handler = Callable[[Json], Awaitable[Json]]

LONGEST_WAIT = 60.0
DONE: Json = {"ok": True}


class Control:
    """All of `/control/`."""

    def __init__(
        self,
        *,
        workspace: Workspace,
        interactions: Interactions,
        deliveries: Deliveries,
        sockets: SocketMode,
        web_api: WebApi,
        open_id: OpenId,
        vendors: Mapping[str, Vendor],
        openai: PretendOpenAI,
        openrouter: PretendOpenRouter,
        anthropic: PretendAnthropic,
        litellm: PretendLiteLLM,
        faults: Faults,
        files: Files,
        limits: Limits,
    ) -> None:
        self._files = files
        self._limits = limits
        self._workspace = workspace
        self._interactions = interactions
        self._deliveries = deliveries
        self._sockets = sockets
        self._web_api = web_api
        self._open_id = open_id
        self._vendors = vendors
        self._openai = openai
        self._openrouter = openrouter
        self._litellm = litellm
        self._faults = faults
        self.routes: list[BaseRoute] = [
            _route("GET", "state", self._state),
            _route("GET", "wait", self._wait),
            _route("GET", "record", self._record),
            _route("POST", "command", self._command),
            _route("POST", "message", self._message),
            _route("POST", "action", self._action),
            _route("POST", "suggest", self._suggest),
            _route("POST", "submit", self._submit),
            _route("POST", "close", self._close),
            _route("POST", "home", self._home),
            _route("POST", "reload", self._reload),
            _route("POST", "event", self._event),
            _route("POST", "app", self._app),
            _route("POST", "install", self._install),
            _route("POST", "uninstall", self._uninstall),
            _route("POST", "members/{id}", self._patch_member),
            _route("POST", "groups/{id}", self._set_group),
            _route("POST", "channels/{id}", self._set_channel),
            _route("POST", "openai/projects/{id}", self._set_project),
            _route("POST", "openrouter/credits", self._set_credits),
            _route("POST", "litellm", self._set_litellm),
            _route("POST", "redeliver", self._redeliver),
            _route("POST", "reconnect", self._reconnect),
            _route("POST", "drop", self._drop),
            _route("POST", "disturb", self._disturb),
            _route("POST", "release", self._release),
            _route("POST", "fault", self._fault),
            _route("POST", "mend", self._mend),
            _route("POST", "clock", self._clock),
            _route("POST", "features", self._features),
            _route("POST", "limits", self._set_limits),
            _route("POST", "furnish", self._furnish),
            _route("GET", "direct", self._direct),
            *_acts("openai", openai.acts),
            *_acts("anthropic", anthropic.acts),
        ]

    async def _state(self, asked: Json) -> Json:
        workspace, me = self._workspace, self._workspace.member(asked["as"])
        home = workspace.homes.get(me.id)
        return {
            "rev": workspace.rev,
            "now": workspace.clock(),
            "team": {"id": TEAM, "name": TEAM_NAME},
            "app": {"id": APP, "name": APP_NAME, "connected": self._deliveries.connected},
            "me": _shown_member(me),
            "members": [_shown_member(member) for member in workspace.members.values() if member.id != SLACKBOT],
            "groups": [vars(group) for group in workspace.groups.values()],
            "commands": COMMANDS,
            "channels": [
                _shown_channel(channel, me) for channel in workspace.channels.values() if me.id in channel.members
            ],
            "home": home.as_view() if home else None,
            "views": [view.as_view() for view in workspace.stacks.get(me.id, [])],
            "pending": workspace.pending[me.id] > 0,
            **{name: vendor.snapshot() for name, vendor in self._vendors.items()},
        }

    async def _wait(self, asked: Json) -> Json:
        timeout = min(float(asked.get("timeout", LONGEST_WAIT)), LONGEST_WAIT)
        return {"rev": await self._workspace.wait(int(asked["rev"]), timeout)}

    async def _record(self, asked: Json) -> Json:
        deliveries = [delivery.as_json() for delivery in self._deliveries.record]
        faults = {"faults": list(self._faults.record), "held": self._faults.waiting}
        return {"calls": list(self._web_api.record), "deliveries": deliveries, **faults}

    async def _command(self, asked: Json) -> Json:
        return (await self._interactions.command(asked["as"], asked["channel"], asked["text"])).as_json()

    async def _message(self, asked: Json) -> Json:
        return {**DONE, "ts": self._interactions.say(asked["as"], asked["channel"], asked["text"]).ts}

    async def _action(self, asked: Json) -> Json:
        ack = await self._interactions.act(
            asked["as"],
            asked["container"],
            asked["block_id"],
            asked["action_id"],
            action=asked["action"],
            values=asked.get("values", {}),
            forged=asked.get("forged", False),
        )
        return ack.as_json()

    async def _suggest(self, asked: Json) -> Json:
        query = asked.get("query", "")
        return await self._interactions.suggest(
            asked["as"], asked["container"], asked["block_id"], asked["action_id"], query
        )

    async def _submit(self, asked: Json) -> Json:
        forged = asked.get("forged", False)
        ack, more = await self._interactions.submit(asked["as"], asked["view_id"], asked["values"], forged=forged)
        return ack.as_json(**more)

    async def _close(self, asked: Json) -> Json:
        return (await self._interactions.close(asked["as"], asked["view_id"], all=asked.get("all", False))).as_json()

    async def _home(self, asked: Json) -> Json:
        return (await self._interactions.open_home(asked["as"])).as_json()

    async def _reload(self, asked: Json) -> Json:
        self._workspace.drop_ephemerals(self._workspace.member(asked["as"]).id)
        return DONE

    async def _event(self, asked: Json) -> Json:
        return (await self._interactions.event(asked["event"])).as_json()

    async def _app(self, asked: Json) -> Json:
        if "request_urls" in asked:
            self._deliveries.request_urls = asked["request_urls"]
        if "redirect_urls" in asked:
            self._open_id.redirect_urls = asked["redirect_urls"]
        self._workspace.changed()
        return DONE

    async def _install(self, asked: Json) -> Json:
        """With the token that it had: Slack would give a new one."""
        self._web_api.refusal = None
        return DONE

    async def _uninstall(self, asked: Json) -> Json:
        """The bot's token is refused from now on, and the app is told where it is not kept from it."""
        self._web_api.refusal = asked.get("refusal", "account_inactive")
        told: list[Json] = [
            {"type": "tokens_revoked", "tokens": {"oauth": [], "bot": [BOT_USER]}},
            {"type": "app_uninstalled"},
        ]
        acks = [await self._interactions.event(event) for event in told] if asked.get("told", True) else []
        return {**DONE, "acks": [ack.as_json() for ack in acks]}

    async def _patch_member(self, asked: Json) -> Json:
        member = self._workspace.member(asked.pop("id"))
        patched = replace(member, fields=dict(member.fields))
        patched.patch(asked)
        self._workspace.members[member.id] = patched
        self._workspace.changed()
        return {**DONE, "user": patched.as_user(with_email=True)}

    async def _set_group(self, asked: Json) -> Json:
        self._workspace.groups[asked["id"]].users = [self._workspace.member(id).id for id in asked["users"]]
        self._workspace.changed()
        return DONE

    async def _set_channel(self, asked: Json) -> Json:
        self._workspace.channel(asked["id"]).members = [self._workspace.member(id).id for id in asked["members"]]
        self._workspace.changed()
        return DONE

    async def _set_project(self, asked: Json) -> Json:
        self._openai.set_project(asked["id"], asked["status"])
        return DONE

    async def _set_credits(self, asked: Json) -> Json:
        self._openrouter.set_credits(float(asked["total"]))
        return DONE

    async def _set_litellm(self, asked: Json) -> Json:
        self._litellm.set(**asked)
        return DONE

    async def _redeliver(self, asked: Json) -> Json:
        retry = Retry(asked.get("retry_num", 1), asked.get("reason", "http_timeout"))
        return (await self._deliveries.redeliver(asked["delivery"], retry)).as_json()

    async def _reconnect(self, asked: Json) -> Json:
        await self._sockets.ask_to_reconnect()
        return DONE

    async def _drop(self, asked: Json) -> Json:
        self._sockets.drop()
        return DONE

    async def _disturb(self, asked: Json) -> Json:
        self._deliveries.disturb(Disturbance(**asked))
        return DONE

    async def _release(self, asked: Json) -> Json:
        self._faults.release()
        return {**DONE, "acks": [ack.as_json() for ack in await self._deliveries.release()]}

    async def _fault(self, asked: Json) -> Json:
        self._faults.add(Fault(**asked))
        return DONE

    async def _mend(self, asked: Json) -> Json:
        self._faults.mend(asked.get("target"))
        return DONE

    async def _features(self, asked: Json) -> Json:
        """What the workspace has: `charts` of Slack's own, `files`; `looks` is how often a fresh file is not there yet."""
        self._workspace.charts = bool(asked.get("charts", self._workspace.charts))
        self._files.disabled = not asked.get("files", not self._files.disabled)
        self._files.looks = int(asked.get("looks", self._files.looks))
        return DONE

    async def _set_limits(self, asked: Json) -> Json:
        """The rate limits of Slack's methods, in place of those that were set."""
        self._limits.set(asked)
        return {**DONE, "refused": self._limits.refused}

    async def _furnish(self, asked: Json) -> Json:
        """Many members more: `U0M000000` and so on."""
        for number in range(int(asked["members"])):
            id = f"U0M{number:06}"
            self._workspace.members[id] = Member(id, f"m{number}", f"Member {number}", tz=asked.get("tz", "UTC"))
        self._workspace.changed()
        return DONE

    async def _direct(self, asked: Json) -> Json:
        """How many messages of the app each member has in their direct message."""
        direct = [channel for channel in self._workspace.channels.values() if channel.im]
        return {"messages": {one.partner: sum(it.user == BOT_USER for it in one.messages) for one in direct}}

    async def _clock(self, asked: Json) -> Json:
        self._workspace.clock.ahead += float(asked["advance"])
        self._workspace.changed()
        return {**DONE, "now": self._workspace.clock()}


def _route(method: str, path: str, handler: Handler) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            asked: Any = dict(request.query_params) if method == "GET" else json.loads(await request.body())
            if not isinstance(asked, dict):
                raise TypeError("the body must be a JSON object")
            return JSONResponse(await handler({**asked, **request.path_params}))
        except Refusal as refusal:
            return JSONResponse({"ok": False, "error": refusal.error, **refusal.more}, 400)
        except KeyError as missing:
            return JSONResponse({"ok": False, "error": f"missing or unknown: {missing.args[0]}"}, 400)
        except (ValueError, TypeError) as wrong:
            return JSONResponse({"ok": False, "error": str(wrong)}, 400)

    return Route(f"/control/{path}", endpoint, methods=[method])


def _acts(vendor: str, acts: Mapping[str, Callable[..., Json | None]]) -> list[Route]:
    """What people do at a vendor, outside its API: `POST /control/<vendor>/<act>`."""

    def handler(act: Callable[..., Json | None]) -> Handler:
        async def handle(asked: Json) -> Json:
            return {**DONE, **(act(**asked) or {})}

        return handle

    return [_route("POST", f"{vendor}/{name}", handler(act)) for name, act in acts.items()]


def _shown_member(member: Member) -> Json:
    flags = ("deleted", "is_admin", "is_owner", "is_restricted", "is_ultra_restricted", "is_bot", "is_stranger")
    return {
        "id": member.id,
        "name": member.real_name,
        "handle": member.name,
        "title": member.title,
        "team_id": member.team_id,
        **{flag: getattr(member, flag) for flag in flags},
        **({"app": True} if member.id == BOT_USER else {}),
    }


def _shown_channel(channel: Channel, me: Member) -> Json:
    messages = []
    for message in channel.visible_to(me.id):
        shown = {**message.as_message(), "time": float(message.ts), "blocks": message.blocks}
        shown |= {"ephemeral": message.only_for is not None, "edited": message.edited is not None}
        messages.append({**shown, "username": message.username} if message.username else shown)
    return {
        "id": channel.id,
        "name": APP_NAME if channel.im else channel.name,
        "kind": "im" if channel.im else "channel",
        "topic": channel.topic,
        "unread": channel.unread_by(me.id),
        "messages": messages,
    }
