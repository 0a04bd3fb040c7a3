"""The state of the pretend workspace: who is there, what was said, and which views are open.

All of it lives in one event loop; whoever changes it calls `changed`, and whoever waits for a change awaits `wait`.
"""

import asyncio
import secrets
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

Json = dict[str, Any]

TEAM, TEAM_NAME, TEAM_DOMAIN = "T0ACME", "Acme", "acme"
OTHER_TEAM = "T0OTHER"
APP, APP_NAME = "A0KEYDESK", "Keydesk"
BOT_USER, BOT = "U0KEYDESK", "B0KEYDESK"
SLACKBOT = "USLACKBOT"

FORMER_KEPT = 20


class Refusal(Exception):
    """What cannot be done, by Slack's name for it; `more` stands beside the name in the answer."""

    def __init__(self, error: str, **more: Any) -> None:
        super().__init__(error)
        self.error = error
        self.more = more


class Clock:
    """Now, plus what was added."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass
class Member:
    """Somebody of this workspace, or of another one (`is_stranger`). `has_2fa` None is not told to apps."""

    id: str
    name: str
    real_name: str
    title: str = ""
    email: str = ""
    team_id: str = TEAM
    deleted: bool = False
    is_admin: bool = False
    is_owner: bool = False
    is_restricted: bool = False
    is_ultra_restricted: bool = False
    is_bot: bool = False
    is_stranger: bool = False
    has_2fa: bool | None = None
    tz: str = "Europe/Berlin"
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def can_sign_in(self) -> bool:
        """Bots and people who left cannot."""
        return not self.is_bot and not self.deleted

    def patch(self, changes: Json) -> None:
        """Takes over fields of Slack's user object, of its `profile`, and custom profile fields (`Xf…`, null removes)."""
        for name, value in changes.items():
            if name == "profile":
                self.patch(value)
            elif name == "fields":
                self.patch({field: held and held["value"] for field, held in value.items()})
            elif name.startswith("Xf"):
                self.fields.pop(name, None)
                if value:
                    self.fields[name] = value
            elif name in ("display_name", "real_name"):
                self.real_name = value
            elif name != "id" and name in self.__dataclass_fields__:
                setattr(self, name, value)
            else:
                raise Refusal("invalid_profile_field", field=name)

    def as_user(self, *, with_email: bool = False) -> Json:
        """Slack's user object."""
        secure = {} if self.has_2fa is None else {"has_2fa": self.has_2fa}
        return {
            "id": self.id,
            "team_id": self.team_id,
            "name": self.name,
            "deleted": self.deleted,
            "color": "4bbe2e",
            "real_name": self.real_name,
            "tz": self.tz,
            "tz_label": "Central European Time",
            "tz_offset": 3600,
            "profile": self.as_profile(with_email=with_email),
            "is_admin": self.is_admin,
            "is_owner": self.is_owner,
            "is_primary_owner": False,
            "is_restricted": self.is_restricted,
            "is_ultra_restricted": self.is_ultra_restricted,
            "is_bot": self.is_bot,
            "is_app_user": False,
            "updated": 1700000000,
            "is_email_confirmed": True,
            "who_can_share_contact_card": "EVERYONE",
            **({"is_stranger": True} if self.is_stranger else {}),
            **secure,
        }

    def as_profile(self, *, with_email: bool = False, with_fields: bool = False) -> Json:
        """Slack's profile object. Slack tells the custom fields to `users.profile.get` alone."""
        first, _, last = self.real_name.partition(" ")
        profile: Json = {
            "title": self.title,
            "phone": "",
            "skype": "",
            "real_name": self.real_name,
            "real_name_normalized": self.real_name,
            "display_name": self.real_name,
            "display_name_normalized": self.real_name,
            "first_name": first,
            "last_name": last,
            "status_text": "",
            "status_emoji": "",
            "status_expiration": 0,
            "team": self.team_id,
        }
        if with_email and self.email:
            profile["email"] = self.email
        if with_fields:
            # An empty object is an empty list, as PHP has it.
            profile["fields"] = {id: {"value": value, "alt": ""} for id, value in self.fields.items()} or []
        return profile


@dataclass
class Group:
    """A user group."""

    id: str
    handle: str
    name: str
    users: list[str]

    def as_usergroup(self, *, with_users: bool) -> Json:
        """Slack's usergroup object."""
        return {
            "id": self.id,
            "team_id": TEAM,
            "is_usergroup": True,
            "is_subteam": True,
            "name": self.name,
            "description": "",
            "handle": self.handle,
            "is_external": False,
            "date_create": 1700000000,
            "date_update": 1700000000,
            "date_delete": 0,
            "created_by": "U0ANA",
            "updated_by": "U0ANA",
            "deleted_by": None,
            "prefs": {"channels": [], "groups": []},
            "user_count": len(self.users),
            **({"users": self.users} if with_users else {}),
        }


@dataclass
class Message:
    """Something said. An ephemeral one is `only_for` one member. `former` holds the blocks it had before."""

    ts: str
    channel: str
    user: str
    text: str
    blocks: list[Json] = field(default_factory=list)
    only_for: str | None = None
    edited: str | None = None
    username: str | None = None
    metadata: Json | None = None
    former: list[list[Json]] = field(default_factory=list)

    def rewrite(self, text: str, blocks: list[Json], *, at: str) -> None:
        """Takes new content; clicks on the old one may still be on their way."""
        self.former = [*self.former, self.blocks][-FORMER_KEPT:]
        self.text, self.blocks, self.edited = text, blocks, at

    def as_message(self, *, with_metadata: bool = True) -> Json:
        """Slack's message object."""
        message: Json = {"type": "message", "user": self.user, "ts": self.ts, "text": self.text, "team": TEAM}
        if self.user == BOT_USER:
            message |= {"bot_id": BOT, "app_id": APP, "bot_profile": BOT_PROFILE}
        if self.blocks:
            message["blocks"] = self.blocks
        if self.metadata and with_metadata:
            message["metadata"] = self.metadata
        if self.edited:
            message["edited"] = {"user": BOT if self.user == BOT_USER else self.user, "ts": self.edited}
        return message


BOT_PROFILE: Json = {
    "id": BOT,
    "deleted": False,
    "name": APP_NAME,
    "updated": 1700000000,
    "app_id": APP,
    "icons": {},
    "team_id": TEAM,
}


@dataclass
class Channel:
    """A channel, or a direct message between the app and one member (`im`)."""

    id: str
    name: str
    members: list[str]
    im: bool = False
    topic: str = ""
    is_private: bool = False
    is_ext_shared: bool = False
    created: int = 1700000000
    messages: list[Message] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)

    @property
    def partner(self) -> str:
        """The member at the other end of a direct message."""
        return next(member for member in self.members if member != BOT_USER)

    def visible_to(self, member: str) -> list[Message]:
        """All messages but other members' ephemeral ones."""
        return [message for message in self.messages if message.only_for in (None, member)]

    def message(self, ts: str) -> Message | None:
        """The message of this timestamp."""
        return next((message for message in self.messages if message.ts == ts), None)

    def unread_by(self, member: str) -> int:
        """How many messages of others came since the member last acted here."""
        seen = self.seen.get(member, "")
        return sum(message.user != member and message.ts > seen for message in self.visible_to(member))


@dataclass
class View:
    """A modal or a Home as its app sent it (`content`), on one member's screen."""

    id: str
    user: str
    content: Json
    hash: str
    root: str
    previous: str | None = None
    former: list[list[Json]] = field(default_factory=list)

    @property
    def blocks(self) -> list[Json]:
        """What it shows now."""
        blocks: list[Json] = self.content["blocks"]
        return blocks

    def rewrite(self, content: Json, *, hash: str) -> None:
        """Takes new content."""
        self.former = [*self.former, self.blocks][-FORMER_KEPT:]
        self.content, self.hash = content, hash

    def as_view(self, values: Json | None = None) -> Json:
        """Slack's view object, with the state of its inputs."""
        content = self.content
        return {
            "id": self.id,
            "team_id": TEAM,
            "type": content["type"],
            "blocks": content["blocks"],
            "private_metadata": content.get("private_metadata", ""),
            "callback_id": content.get("callback_id", ""),
            "state": {"values": values or {}},
            "hash": self.hash,
            "title": content.get("title"),
            "clear_on_close": content.get("clear_on_close", False),
            "notify_on_close": content.get("notify_on_close", False),
            "close": content.get("close"),
            "submit": content.get("submit"),
            "previous_view_id": self.previous,
            "root_view_id": self.root,
            "app_id": APP,
            "external_id": content.get("external_id", ""),
            "app_installed_team_id": TEAM,
            "bot_id": BOT,
        }


class Workspace:
    """Everything, by id."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.members: dict[str, Member] = {}
        self.groups: dict[str, Group] = {}
        self.channels: dict[str, Channel] = {}
        self.stacks: dict[str, list[View]] = {}
        self.homes: dict[str, View] = {}
        self.pending: Counter[str] = Counter()
        self.charts = True
        self.rev = 1
        self._last_ts = 0
        self._change = asyncio.Event()
        self._closed = False

    def changed(self) -> None:
        """Tells everybody who waits that something changed."""
        self.rev += 1
        self._change.set()
        self._change = asyncio.Event()

    async def wait(self, rev: int, timeout: float) -> int:
        """Returns the revision once it is newer than `rev`, or when the time is up, or at `close`."""
        try:
            async with asyncio.timeout(timeout):
                while self.rev <= rev and not self._closed:
                    await self._change.wait()
        except TimeoutError:
            pass
        return self.rev

    def close(self) -> None:
        """Lets nobody wait any more."""
        self._closed = True
        self.changed()

    def new_ts(self) -> str:
        """A timestamp as message id: of the clock, and never the same twice."""
        self._last_ts = max(self._last_ts + 1, int(self.clock() * 1_000_000))
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06}"

    def member(self, id: str) -> Member:
        """Raises `user_not_found`."""
        if member := self.members.get(id):
            return member
        raise Refusal("user_not_found")

    def channel(self, id: str) -> Channel:
        """Raises `channel_not_found`. A direct message with the app opens when it is first asked for."""
        if channel := self.channels.get(id):
            return channel
        partner = self.members.get("U" + id[1:]) if id.startswith("D") else None
        if partner is None or partner.is_bot:
            raise Refusal("channel_not_found")
        return self.channels.setdefault(
            id, Channel(id=id, name="directmessage", members=[BOT_USER, partner.id], im=True)
        )

    def direct(self, member: str) -> Channel:
        """The direct message between the app and the member. Refuses as `conversations.open` does."""
        partner = self.member(member)
        if partner.deleted:
            raise Refusal("user_disabled")
        if partner.is_bot:
            raise Refusal("cannot_dm_bot")
        return self.channel("D" + member[1:])

    def post(
        self,
        channel: Channel,
        *,
        user: str,
        text: str,
        blocks: list[Json] | None = None,
        only_for: str | None = None,
        username: str | None = None,
        metadata: Json | None = None,
    ) -> Message:
        """Adds a message."""
        message = Message(
            ts=self.new_ts(),
            channel=channel.id,
            user=user,
            text=text,
            blocks=blocks or [],
            only_for=only_for,
            username=username,
            metadata=metadata,
        )
        channel.messages.append(message)
        channel.seen[user] = message.ts
        self.changed()
        return message

    def new_view(self, user: str, content: Json, *, below: View | None = None) -> View:
        """A view on nobody's screen yet."""
        id = "V" + secrets.token_hex(5).upper()
        return View(
            id=id,
            user=user,
            content=content,
            hash=self.new_hash(),
            root=below.root if below else id,
            previous=below.id if below else None,
        )

    def new_hash(self) -> str:
        """A view's version."""
        return f"{int(self.clock())}.{secrets.token_hex(4)}"

    def view(self, id: str) -> View | None:
        """The view, where it is on somebody's screen."""
        shown = [*self.homes.values(), *(view for stack in self.stacks.values() for view in stack)]
        return next((view for view in shown if view.id == id), None)

    def drop_ephemerals(self, member: str) -> None:
        """What a reload of the member's client does."""
        for channel in self.channels.values():
            channel.messages = [message for message in channel.messages if message.only_for != member]
        self.changed()

    def dump(self) -> Json:
        """All that outlives a restart, for `load`."""
        return {
            "members": [asdict(member) for member in self.members.values()],
            "groups": [asdict(group) for group in self.groups.values()],
            "channels": [asdict(channel) for channel in self.channels.values()],
            "homes": [asdict(view) for view in self.homes.values()],
        }

    def load(self, state: Json) -> None:
        """Takes up the state that `dump` gave."""
        self.members = {it["id"]: Member(**it) for it in state["members"]}
        self.groups = {it["id"]: Group(**it) for it in state["groups"]}
        self.channels = {
            it["id"]: Channel(**{**it, "messages": [Message(**message) for message in it["messages"]]})
            for it in state["channels"]
        }
        self.homes = {it["user"]: View(**it) for it in state["homes"]}
