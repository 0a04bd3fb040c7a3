"""What Slack tells of by itself: somebody opened Home, somebody changed."""

from slack_bolt.async_app import AsyncAck, AsyncBoltContext

from bot.desk.model import Actor
from bot.slack.listeners.listener import Body, Command, Listener
from bot.slack.listeners.switchboard import Switchboard


class Events(Listener):
    """The events that the manifest subscribes to."""

    def register(self, app: Switchboard) -> dict[str, Command]:
        app.event("app_home_opened")(self.home_opened)
        app.event("user_change")(self.member_changed)
        app.event("subteam_members_changed")(self.group_changed)
        app.event("subteam_updated")(self.group_changed)
        for taken_away in ("app_uninstalled", "tokens_revoked", "team_access_revoked"):
            app.event(taken_away)(self.app_removed)
        return {}

    async def home_opened(self, ack: AsyncAck, event: Body, context: AsyncBoltContext) -> None:
        await ack()
        if event.get("tab") == "home":
            self.background.start(self.show_home(self.actor(context)))

    async def member_changed(self, ack: AsyncAck, event: Body) -> None:
        """Whoever left loses their keys. The event only says whom to ask about: it may be old, or come twice."""
        user = event.get("user")
        if isinstance(user, dict) and user.get("id"):
            await self.desk.leaving.look(Actor(self.team, str(user["id"])))
        await ack()

    async def group_changed(self, ack: AsyncAck, event: Body) -> None:
        """Whoever was asked as a member of it may be one no more."""
        group = event.get("subteam_id") or (event.get("subteam") or {}).get("id")
        await self.desk.replacing.group_changed(str(group), self.team)
        await ack()

    async def app_removed(self, ack: AsyncAck, event: Body) -> None:
        """The workspace took the app away: nothing is sent any more. Tokens of people who signed in are none of ours."""
        kind = str(event["type"])
        concerned = {
            "app_uninstalled": True,
            "tokens_revoked": bool((event.get("tokens") or {}).get("bot")),
            "team_access_revoked": self.team in (event.get("team_ids") or ()),
        }
        if concerned[kind]:
            await self.desk.installation.look(kind)
        await ack()
