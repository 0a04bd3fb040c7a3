"""Acme: the members, groups and channels that a new workspace starts with."""

from copy import deepcopy

from sandbox.workspace import APP_NAME, BOT_USER, OTHER_TEAM, SLACKBOT, Channel, Group, Json, Member, Workspace

COMMANDS: list[Json] = [
    {
        "command": "/apikey",
        "description": "Ask for an API key, see yours, give one back",
        "usage_hint": "[request | list | rotate | revoke | usage | digest | settings | help]",
    },
]

MEMBERS = [
    Member("U0ANA", "ana", "Ana Ruiz", title="Head of Platform", email="ana@acme.example", is_admin=True),
    Member(
        "U0BEN",
        "ben",
        "Ben Okafor",
        title="Search engineer",
        email="ben@acme.example",
        fields={"Xf0MANAGER": "U0ANA"},
    ),
    Member("U0CARA", "cara", "Cara Lindqvist", title="Platform engineer", email="cara@acme.example"),
    Member("U0DEV", "dev", "Dev Patel", title="Platform engineer", email="dev@acme.example"),
    Member("U0GUS", "gus", "Gus Guest", title="Contractor", email="gus@guest.example", is_restricted=True),
    Member(
        "U0UMA",
        "uma",
        "Uma Ultra",
        title="Auditor",
        email="uma@guest.example",
        is_restricted=True,
        is_ultra_restricted=True,
    ),
    Member("U0BOT", "buildbot", "buildbot", is_bot=True),
    Member("U0OLD", "old", "Old Timer", email="old@acme.example", deleted=True),
    Member(
        "U0XAV",
        "xavier",
        "Xavier Stranger",
        title="Partner at Other Inc.",
        email="xavier@other.example",
        team_id=OTHER_TEAM,
        is_stranger=True,
    ),
    Member(BOT_USER, "keydesk", APP_NAME, is_bot=True),
    Member(SLACKBOT, "slackbot", "Slackbot", is_bot=True),
]

EVERYBODY = ["U0ANA", "U0BEN", "U0CARA", "U0DEV"]

PROFILE_FIELDS: list[Json] = [
    {
        "id": "Xf0MANAGER",
        "ordering": 0,
        "label": "Manager",
        "hint": "",
        "type": "user",
        "possible_values": None,
        "options": None,
        "is_hidden": False,
    },
]


def furnish(workspace: Workspace) -> None:
    """Puts Acme's people and channels in."""
    workspace.members = {member.id: deepcopy(member) for member in MEMBERS}
    workspace.groups = {
        "S0PLATFORM": Group("S0PLATFORM", "platform-leads", "Platform leads", ["U0CARA", "U0DEV"]),
    }
    channels = [
        Channel(
            "C0GENERAL", "general", [*EVERYBODY, "U0BOT", "U0OLD", BOT_USER], topic="Everything for everybody at Acme"
        ),
        # Shared with another workspace, and open to guests.
        Channel(
            "C0PLATFORM",
            "platform",
            [*EVERYBODY, "U0GUS", "U0UMA", "U0XAV", BOT_USER],
            topic="Platform, with our guests and partners",
            is_ext_shared=True,
        ),
        Channel("C0KEYS", "key-approvals", ["U0ANA", "U0CARA", "U0DEV", BOT_USER], topic="Who asked for which key"),
    ]
    workspace.channels = {channel.id: channel for channel in channels}
    general = workspace.channels["C0GENERAL"]
    workspace.post(general, user="U0ANA", text="API keys go through <@U0KEYDESK> now: type `/apikey request` :key:")
    workspace.post(general, user="U0DEV", text="No more keys in DMs then. :tada:")
