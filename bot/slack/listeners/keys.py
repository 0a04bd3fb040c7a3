"""Keys: picking them up, and giving them back."""

from collections.abc import Awaitable, Callable, Sequence

from slack_bolt.async_app import AsyncAck, AsyncBoltContext

from bot.desk.errors import AlreadyDelivered, LessonDue, NotThere, ProviderError, ProviderInvalid, ProviderNotFound
from bot.desk.model import Actor, Key
from bot.desk.states import GrantState, KeyState
from bot.slack import views
from bot.slack.answers import Place
from bot.slack.listeners.listener import Body, Command, Listener, reply, value
from bot.slack.listeners.switchboard import Switchboard
from bot.slack.views.buttons import (
    OPEN_DEPOSIT,
    OPEN_KEY,
    PICK_UP,
    REVOKE,
    REVOKED_BY_HAND,
    ROTATE,
    SWITCH_ON,
    SWITCHED,
    alive,
)
from bot.slack.views.modals import LESSON, ROTATES
from bot.slack.views.unusual import PAUSE, THAT_WAS_ME

Begin = Callable[..., Awaitable[Key]]
DASHES = "-–—"  # many a keyboard makes one long dash of two short ones


class Keys(Listener):
    """The buttons of a grant."""

    def register(self, app: Switchboard) -> dict[str, Command]:
        app.action(PICK_UP)(self.pick_up)
        app.action(ROTATE)(self.rotate)
        app.action(SWITCHED)(self.switched)
        app.action(REVOKE)(self.revoke)
        app.action(SWITCH_ON)(self.switch_on)
        app.action(REVOKED_BY_HAND)(self.revoked_by_hand)
        app.action(THAT_WAS_ME)(self.that_was_me)
        app.action(PAUSE)(self.pause)
        app.action(OPEN_KEY)(self.opened)
        app.action(OPEN_DEPOSIT)(self.opened)
        app.view(LESSON)(self.acknowledge_lesson)
        return {
            "list": self.list,
            "revoke": self.revoke_named,
            "rotate": self.rotate_named,
            "usage": self.my_usage,
        }

    async def list(self, ack: AsyncAck, body: Body, actor: Actor, rest: str) -> None:
        await reply(ack, views.grant_list(await self.desk.stories.home(actor)))

    async def revoke_named(self, ack: AsyncAck, body: Body, actor: Actor, rest: str) -> None:
        grant_id = await self._named(ack, actor, rest.split(), views.WHICH_TO_REVOKE)
        if grant_id:
            await reply(ack, views.note(views.revoked(await self.desk.grants.revoke(actor, grant_id))))

    async def my_usage(self, ack: AsyncAck, body: Body, actor: Actor, rest: str) -> None:
        await reply(ack, views.my_usage(await self.desk.usage.mine(actor)))

    async def pick_up(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        await self._deliver(ack, body, self.actor(context), value(body), self.desk.grants.pick_up)

    async def rotate(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        await self._deliver(ack, body, self.actor(context), value(body), self.desk.rotation.rotate)

    async def rotate_named(self, ack: AsyncAck, body: Body, actor: Actor, rest: str) -> None:
        words = rest.split()
        named = [word for word in words if not _at_once(word)]
        at_once = len(named) < len(words)
        which = views.WHICH_TO_ROTATE_AT_ONCE if at_once else views.WHICH_TO_ROTATE
        grant_id = await self._named(ack, actor, named, which)
        if not grant_id:
            return
        if not at_once:
            await self._deliver(ack, body, actor, grant_id, self.desk.rotation.rotate)
            return
        story = await self.desk.rotation.rotate_at_once(actor, grant_id)
        theirs = story.request.requester == actor.id
        await reply(ack, views.rotated_at_once(story) if theirs else views.note(views.told_to_rotate(story)))

    async def _named(self, ack: AsyncAck, actor: Actor, words: Sequence[str], which: str) -> str | None:
        """The grant that these words name; where they name none, their list is the answer, with what to type."""
        try:
            if words:
                return await self.desk.grants.named(actor, " ".join(words).strip("`"))
            home, said = await self.desk.stories.home(actor), which
            if not any(story.grant and alive(story.grant) for story in home.mine):
                said = ""  # there is nothing to choose from
        except NotThere as error:
            home, said = await self.desk.stories.home(actor), self.words(error)
        await reply(ack, views.grant_list(home, said=said))
        return None

    async def _deliver(self, ack: AsyncAck, body: Body, actor: Actor, grant_id: str, begin: Begin) -> None:
        """Has a key delivered to where its holder pressed, or typed."""
        place = Place.of(body)
        delivery = f"press {place.trigger_id or body['actions'][0]['action_ts']}"
        # On Home only a dialog can answer, and its trigger may not wait for a mint: it is opened before anything else.
        dialog = None if place.response_url else await self.answers.open(place.trigger_id, views.waiting_view())
        if place.response_url or dialog:
            try:
                key = await begin(actor, grant_id, delivery=delivery)
            except AlreadyDelivered:
                pass
            except LessonDue:
                lesson = views.lesson(grant_id, rotates=begin == self.desk.rotation.rotate)
                if dialog:
                    self.background.start(self.answers.update(dialog, lesson))
                else:
                    await self.answers.open(place.trigger_id, lesson)
            except Exception as error:
                if dialog is None:
                    raise
                self.background.start(self.answers.update(dialog, views.problem_view(self.words(error))))
            else:
                self.background.start(self._hand_over(key, place, dialog))
        await ack()

    async def acknowledge_lesson(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        """Whoever read how to keep a key safe gets it, in the dialog that they read it in."""
        view = body["view"]
        about: str = view["private_metadata"]
        begin = self.desk.rotation.rotate if about.startswith(ROTATES) else self.desk.grants.pick_up
        grant_id = about.removeprefix(ROTATES)
        try:
            key = await begin(self.actor(context), grant_id, delivery=f"form {view['id']}", acknowledged=True)
        except AlreadyDelivered:
            await ack(response_action="update", view=views.waiting_view())
        except Exception as error:
            await ack(response_action="update", view=views.problem_view(self.words(error)))
        else:
            await ack(response_action="update", view=views.waiting_view())
            self.background.start(self._hand_over(key, Place.of(body), view["id"]))

    async def _hand_over(self, key: Key, place: Place, dialog: str | None) -> None:
        if key.state is KeyState.AWAITED:
            if dialog:
                await self.answers.update(dialog, views.awaited_view())
            else:
                await self.answers.say(place, views.AWAITED)
            return
        begin = "pick up"
        try:
            begin = "rotate" if await self.desk.grants.follows(key) else begin
            handover = await self.desk.grants.issue(key)
        except Exception as error:
            for_good = isinstance(error, ProviderNotFound | ProviderInvalid) or not isinstance(error, ProviderError)
            again = "" if for_good else f" Nothing is lost: you can {begin} again."
            text = f"{self.words(error)}{again}"
            if dialog:
                await self.answers.update(dialog, views.problem_view(text))
            else:
                await self.answers.say(place, text)
            return
        if dialog:
            await self.answers.update(dialog, views.handover_view(handover))
        else:
            await self.answers.send(place, views.handover(handover))

    async def revoke(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        actor = self.actor(context)
        story = await self.desk.grants.revoke(actor, value(body))
        await ack()
        # With a key to revoke it is ending first: over by now, it was over before.
        before = story.key is not None and story.grant is not None and story.grant.state is GrantState.ENDED
        self._done(actor, Place.of(body), views.revoked(story), before=before)

    async def switched(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        actor = self.actor(context)
        story = await self.desk.rotation.switched(actor, value(body))
        await ack()
        self._done(actor, Place.of(body), views.switched(story), before=not story.others)

    def _done(self, actor: Actor, place: Place, said: str, *, before: bool) -> None:
        """Cards show by themselves what became of them. What was done `before` changes none: the press is answered then."""
        card = not (place.home or place.digest or place.ephemeral)
        self.background.start(self.answers.say(place, said) if before and card else self.refresh(actor, place, said))

    async def revoked_by_hand(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        story = await self.desk.deposits.revoked_by_hand(self.actor(context), value(body))
        await ack()
        self.background.start(self.answers.say(Place.of(body), views.confirmed(story)))

    async def switch_on(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        await self.desk.switching.switch_on(self.actor(context), value(body))
        await ack()

    async def that_was_me(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        story = await self.desk.incidents.mine(self.actor(context), value(body))
        await ack()
        self.background.start(self.answers.say(Place.of(body), views.explained(story)))

    async def pause(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        story = await self.desk.incidents.pause(self.actor(context), value(body))
        await ack()
        self.background.start(self.answers.say(Place.of(body), views.paused(story)))

    async def opened(self, ack: AsyncAck) -> None:
        """A button that is a link: the browser does the rest."""
        await ack()


def _at_once(word: str) -> bool:
    """Whether it is `--now`, as keyboards write it. The word alone is not: *Rotate now* lets the old key work on."""
    return word[0] in DASHES and word.lstrip(DASHES).lower() == "now"
