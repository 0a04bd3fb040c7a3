"""Who and what there is: `auth.test`, members, user groups, conversations, the team."""

from sandbox.delivery import SocketMode
from sandbox.seed import PROFILE_FIELDS
from sandbox.web_api import Call, Method
from sandbox.workspace import (
    APP,
    BOT,
    BOT_PROFILE,
    BOT_USER,
    TEAM,
    TEAM_DOMAIN,
    TEAM_NAME,
    Channel,
    Json,
    Member,
    Refusal,
    Workspace,
)

_CHANNEL_SCOPES = ("channels:read", "groups:read", "im:read", "mpim:read")
_HISTORY_SCOPES = ("channels:history", "groups:history", "im:history", "mpim:history")
_OPEN_SCOPES = ("channels:manage", "groups:write", "im:write", "mpim:write")


class Directory:
    """Answers questions; changes nothing but that a direct message may open."""

    def __init__(self, *, workspace: Workspace, sockets: SocketMode, socket_url: str) -> None:
        self._workspace = workspace
        self._sockets = sockets
        self._socket_url = socket_url
        self.methods = {
            "auth.test": Method(self._auth_test),
            "apps.connections.open": Method(self._connect, tokens="app"),
            "bots.info": Method(self._bot, ("users:read",)),
            "team.info": Method(self._team, ("team:read",)),
            "team.profile.get": Method(self._team_profile, ("users.profile:read",)),
            "users.info": Method(self._user, ("users:read",)),
            "users.list": Method(self._users, ("users:read",)),
            "users.profile.get": Method(self._profile, ("users.profile:read",)),
            "usergroups.list": Method(self._groups, ("usergroups:read",)),
            "usergroups.users.list": Method(self._group_users, ("usergroups:read",)),
            "conversations.open": Method(self._open, _OPEN_SCOPES),
            "conversations.info": Method(self._channel, _CHANNEL_SCOPES),
            "conversations.members": Method(self._channel_members, _CHANNEL_SCOPES),
            "conversations.list": Method(self._channels, _CHANNEL_SCOPES),
            "conversations.history": Method(self._history, _HISTORY_SCOPES),
        }

    def _auth_test(self, call: Call) -> Json:
        return {
            "url": f"https://{TEAM_DOMAIN}.slack.com/",
            "team": TEAM_NAME,
            "user": self._workspace.members[BOT_USER].name,
            "team_id": TEAM,
            "user_id": BOT_USER,
            "bot_id": BOT,
            "is_enterprise_install": False,
        }

    def _connect(self, call: Call) -> Json:
        return {"url": f"{self._socket_url}?ticket={self._sockets.ticket()}&app_id={APP}"}

    def _bot(self, call: Call) -> Json:
        if call.text("bot") not in ("", BOT):
            raise Refusal("bot_not_found")
        return {"bot": {**BOT_PROFILE, "user_id": BOT_USER}}

    def _team(self, call: Call) -> Json:
        if call.text("team") not in ("", TEAM):
            raise Refusal("team_not_found")
        url = f"https://{TEAM_DOMAIN}.slack.com/"
        team = {"id": TEAM, "name": TEAM_NAME, "domain": TEAM_DOMAIN, "email_domain": "acme.example", "url": url}
        return {"team": {**team, "icon": {"image_default": True}, "avatar_base_url": url, "is_verified": False}}

    def _team_profile(self, call: Call) -> Json:
        return {"profile": {"fields": PROFILE_FIELDS, "sections": []}}

    def _shown(self, member: Member, call: Call) -> Json:
        return member.as_user(with_email="users:read.email" in call.scopes)

    def _user(self, call: Call) -> Json:
        return {"user": self._shown(self._workspace.member(call.text("user", "user_not_found")), call)}

    def _users(self, call: Call) -> Json:
        found, metadata = call.page([member for member in self._workspace.members.values() if not member.is_stranger])
        shown = [self._shown(member, call) for member in found]
        return {"members": shown, "cache_ts": int(self._workspace.clock()), **metadata}

    def _profile(self, call: Call) -> Json:
        member = self._workspace.member(call.text("user") or BOT_USER)
        return {"profile": member.as_profile(with_email="users:read.email" in call.scopes, with_fields=True)}

    def _groups(self, call: Call) -> Json:
        with_users = call.flag("include_users")
        return {"usergroups": [group.as_usergroup(with_users=with_users) for group in self._workspace.groups.values()]}

    def _group_users(self, call: Call) -> Json:
        group = self._workspace.groups.get(call.text("usergroup", "invalid_arguments"))
        if group is None:
            raise Refusal("no_such_subteam")
        return {"users": group.users}

    def _open(self, call: Call) -> Json:
        if call.text("channel"):
            channel = self._workspace.channel(call.text("channel"))
        else:
            users = call.words("users")
            if not users:
                raise Refusal("users_list_not_supplied")
            if len(users) > 1:
                # Group messages are not part of this workspace.
                raise Refusal("method_not_supported_for_channel_type")
            channel = self._workspace.direct(users[0])
        if not channel.im:
            raise Refusal("method_not_supported_for_channel_type")
        told = {"id": channel.id}
        return {"channel": self._shown_channel(channel) if call.flag("return_im") else told}

    def _seen(self, call: Call) -> Channel:
        """The channel, where the token may see its kind."""
        channel = self._workspace.channel(call.text("channel", "channel_not_found"))
        needed = "im:read" if channel.im else "groups:read" if channel.is_private else "channels:read"
        if needed not in call.scopes:
            raise Refusal("missing_scope", needed=needed, provided=",".join(sorted(call.scopes)))
        return channel

    def _channel(self, call: Call) -> Json:
        return {"channel": self._shown_channel(self._seen(call))}

    def _channel_members(self, call: Call) -> Json:
        members, metadata = call.page(self._seen(call).members)
        return {"members": members, **metadata}

    def _channels(self, call: Call) -> Json:
        kinds = call.words("types") or ["public_channel"]
        found = [
            self._shown_channel(channel)
            for channel in self._workspace.channels.values()
            if ("im" if channel.im else "private_channel" if channel.is_private else "public_channel") in kinds
        ]
        channels, metadata = call.page(found)
        return {"channels": channels, **metadata}

    def _history(self, call: Call) -> Json:
        """The newest first, without ephemeral ones; metadata where it is asked for."""
        channel = self._workspace.channel(call.text("channel", "channel_not_found"))
        needed = "im:history" if channel.im else "groups:history" if channel.is_private else "channels:history"
        if needed not in call.scopes:
            raise Refusal("missing_scope", needed=needed, provided=",".join(sorted(call.scopes)))
        oldest, latest = call.text("oldest") or "0", call.text("latest") or "inf"
        try:
            since, until = float(oldest), float(latest)
        except ValueError:
            raise Refusal("invalid_ts_oldest") from None
        there = [
            message.as_message(with_metadata=call.flag("include_all_metadata"))
            for message in reversed(channel.messages)
            if message.only_for is None and since < float(message.ts) < until
        ]
        messages, metadata = call.page(there, most=999)
        more = bool(metadata["response_metadata"]["next_cursor"])
        return {"messages": messages, "has_more": more, "pin_count": 0, **metadata}

    def _shown_channel(self, channel: Channel) -> Json:
        common = {
            "id": channel.id,
            "created": channel.created,
            "is_archived": False,
            "is_im": channel.im,
            "is_org_shared": False,
            "context_team_id": TEAM,
        }
        if channel.im:
            return {**common, "user": channel.partner, "is_open": True, "priority": 0}
        return {
            **common,
            "name": channel.name,
            "name_normalized": channel.name,
            "is_channel": not channel.is_private,
            "is_group": False,
            "is_mpim": False,
            "is_private": channel.is_private,
            "is_general": channel.id == "C0GENERAL",
            "is_shared": channel.is_ext_shared,
            "is_ext_shared": channel.is_ext_shared,
            "is_member": BOT_USER in channel.members,
            "creator": "U0ANA",
            "unlinked": 0,
            "shared_team_ids": [TEAM],
            "pending_shared": [],
            "topic": {"value": channel.topic, "creator": "", "last_set": 0},
            "purpose": {"value": "", "creator": "", "last_set": 0},
            "previous_names": [],
            "num_members": len(channel.members),
        }
