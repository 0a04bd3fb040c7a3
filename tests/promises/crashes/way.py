"""The way of one request: what its people see and do, how far it is, and what it comes to."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import httpx

from bot.desk import envelope
from bot.desk.model import AccessRequest, Context, Grant, Key, Notice
from bot.desk.revoking import QUARANTINE
from bot.desk.states import GrantState, KeyState, RequestState
from bot.desk.stories import tell
from bot.slack import views
from sandbox.client import Ack, Member, Message, View
from tests.flows.browsing import from_base64url, split
from tests.flows.world import ASK, World
from tests.promises.crashes.stage import DEAD, PATIENCE, SECOND, Stage, until
from tests.web.test_deposit import sealed as seal_to_desk

WEEK, NOTHING = "Your week: ", "There is nothing to tell"
"""How digests begin."""
BROUGHT = "brought-0123456789-abcdefghijklmnopqrstuvwxyz"


@dataclass
class Way:
    """One request on its way, and what its people saw of it. Who got no answer does the same again.

    `let_go` is where messages stand that keep what they say, as another key takes the place of theirs.
    """

    stage: Stage
    since: float
    shown: Message | View | None = None
    taken: bool = False
    url: str = ""
    key: str = ""
    let_go: frozenset[tuple[str, str]] = frozenset()

    # ---- what people see

    @property
    def flow(self) -> World:
        """The people, and what they see."""
        return self.stage.flow

    async def with_button(self, member: Member, action: str) -> Message:
        """The newest message of this way that has the button."""
        return await member.expect(
            lambda seen: next(
                (
                    one
                    for one in reversed(member.visible(seen))
                    if action in one.buttons and float(one.ts) > self.since and not one.ephemeral
                ),
                None,
            ),
            PATIENCE,
        )

    async def links(self) -> list[str]:
        """The links that Ben was given on this way, in messages or in a dialog."""
        seen = await self.flow.ben.state()
        urls = [url for one in self.flow.ben.visible(seen) if float(one.ts) > self.since for url in one.urls]
        dialog = self.flow.ben.top(seen)
        return [url for url in (*urls, *(dialog.urls if dialog else ())) if "/k/" in url]

    async def link(self, known: Sequence[str] = ()) -> str:
        """A link that is not among those known, as soon as it is there."""
        end = time.monotonic() + PATIENCE
        while not (new := [url for url in await self.links() if url not in known]):
            assert time.monotonic() < end, f"no link came\n{self.stage.desk.said()[-3000:]}"
            await asyncio.sleep(0.01)
        return new[-1]

    # ---- what people do, and do again

    async def press(self, member: Member, action: str) -> None:
        """Presses a button; again on the same message as before."""
        if not self.taken:
            self.shown = self.shown or await self.with_button(member, action)
            self.taken = (await member.click(self.shown, action)).acknowledged

    async def fill_in(self, member: Member, ask: Callable[[], Awaitable[Ack]], **values: Any) -> None:
        """Asks for a form, unless one is open, and submits it."""
        if self.taken:
            return
        form = await member.modal()
        if form is None and (await ask()).acknowledged:
            form = await member.modal()
        if form:
            self.taken = (await member.submit(form, **values)).acknowledged

    async def ask(self, **what: Any) -> None:
        """Ben asks."""
        asked = {**ASK, **self.stage.scope, **what}
        await self.fill_in(self.flow.ben, lambda: self.flow.ben.command("/apikey request", "C0GENERAL"), **asked)

    async def ask_for_a_deposit(self) -> None:
        """Ben asks for a key that a person has to make."""
        ben, values = self.flow.ben, {**ASK, "project": "mapbox", "permission": "use"}
        del values["provider"], values["budget"]
        assert (await ben.command("/apikey request", "C0GENERAL")).acknowledged
        form = await ben.expect_modal("Request an API key")
        assert (await ben.click(form, "provider", "deposit")).acknowledged
        form = await ben.expect_modal("Request an API key")
        assert (await ben.submit(form, **values)).acknowledged

    async def bring(self) -> None:
        """Ana's browser hands the key in, unless it is there."""
        key = max(self.keys(), key=lambda one: one.intended_at)
        with suppress(httpx.TransportError):
            looked = (await self.stage.depositor.post(f"/api/deposits/{key.id}/look", {})).json()
            if looked["state"] == "awaited":
                to = looked["recipient"]
                body = {"sealed": seal_to_desk(BROUGHT, to), "kek": to["kek"]}
                assert (await self.stage.depositor.post(f"/api/deposits/{key.id}/bring", body)).status_code == 200

    async def confirm(self) -> None:
        """Ana says that she revoked it."""
        await self.press(self.flow.ana, "revoked_by_hand")

    async def approve(self) -> None:
        """Ana approves."""
        await self.press(self.flow.ana, "approve")

    async def deny(self) -> None:
        """Ana denies."""
        ana = self.flow.ana
        card = self.shown = self.shown or await self.with_button(ana, "approve")
        await self.fill_in(ana, lambda: ana.click(card, "deny"), reason="Use the shared sandbox project")

    async def cancel(self) -> None:
        """Ben cancels."""
        await self.press(self.flow.ben, "cancel")

    async def pick_up(self) -> None:
        """Ben picks up, where he is told that he can."""
        await self.press(self.flow.ben, "pick_up")

    async def pick_up_at_home(self) -> None:
        """Ben picks up on the app's Home."""
        self.shown = self.shown or await self.flow.ben.home("pick_up")
        await self.press(self.flow.ben, "pick_up")

    async def claim(self) -> None:
        """Ben's browser asks for the envelope, again in the same session, and opens it."""
        with suppress(httpx.TransportError):
            if not self.key:
                answer = await self.stage.browser.claim(self.url)
                assert answer.status_code == 200, answer.text
                told = answer.json()
                sealed, context = from_base64url(told["envelope"]), Context(**told["context"])
                self.key = envelope.open_sealed(sealed, seed=split(self.url)[1], context=context).expose()

    async def acknowledge(self) -> None:
        """Ben's browser shows the key."""
        with suppress(httpx.TransportError):
            answer = await self.stage.browser.acknowledge(self.url)
            assert answer.status_code == 204, answer.text

    async def reveal(self) -> None:
        """Both."""
        await self.claim()
        await self.acknowledge()

    async def revoke(self) -> None:
        """Ben gives his key back."""
        await self.press(self.flow.ben, "revoke")

    async def rotate(self) -> None:
        """Ben has another key made, where he is told that he can."""
        await self.press(self.flow.ben, "rotate")

    async def say_switched(self) -> None:
        """Ben says that nothing uses the old key any more."""
        await self.press(self.flow.ben, "switched")

    async def rotate_at_once(self) -> None:
        """Ben types that his key is to be revoked, and another to follow it."""
        grant = self.grant()
        assert grant is not None
        if not self.taken:
            self.taken = (await self.flow.ben.command(f"/apikey rotate {grant.id} --now")).acknowledged

    async def wait(self) -> None:
        """Nobody does anything."""

    async def mint_over(self) -> None:
        """Ben picks up again, and what that began comes to its end, whatever it is."""
        began = self.flow.clock()
        await self.pick_up()
        await self._minted_since(began)

    async def rotation_over(self) -> None:
        """Ben rotates again, and what that began comes to its end, whatever it is."""
        began = self.flow.clock()
        await self.rotate()
        await self._minted_since(began)

    async def _minted_since(self, began: datetime) -> None:
        def minting() -> list[Key]:
            return [k for k in self.stage.rows(Key) if k.state is KeyState.MINTING and k.intended_at >= began]

        await until(minting, lambda found: not found)

    # ---- how far it is

    async def done(self, *steps: Callable[[], Awaitable[None]]) -> None:
        """These steps, undisturbed."""
        for step in steps:
            self.shown, self.taken = None, False
            await step()
        self.shown, self.taken = None, False

    async def asked(self) -> None:
        """Ben asked."""
        await self.done(self.ask)

    async def approved(self) -> None:
        """Ana approved it."""
        await self.done(self.ask, self.approve)

    async def awaited(self) -> None:
        """Ana is to bring a key."""
        await self.done(self.ask_for_a_deposit, self.approve)

    async def brought(self) -> None:
        """She brought it."""
        await self.awaited()
        await self.done(self.bring)

    async def unwrapped(self) -> None:
        """Ben picked it up and has a link."""
        await self.brought()
        await self.done(self.pick_up)
        self.url = await self.link()

    async def held(self) -> None:
        """Ben has what she brought."""
        await self.unwrapped()
        await self.reveal()

    async def given_back(self) -> None:
        """And gave it back: Ana is to revoke it by hand."""
        await self.held()
        await self.done(self.revoke)
        await self.stage.settled()

    async def linked(self, **what: Any) -> None:
        """Ben picked up and has a link."""
        await self.done(lambda: self.ask(**what), self.approve, self.pick_up)
        self.url = await self.link()

    async def claimed(self) -> None:
        """Ben's browser holds the lease."""
        await self.linked()
        await self.claim()

    async def active(self, **what: Any) -> None:
        """Ben has the key."""
        await self.linked(**what)
        await self.reveal()

    async def rotated(self) -> None:
        """And another one, that took its place; the old one's grace goes on."""
        await self.active()
        known = await self.links()
        await self.done(self.rotate)
        self.url, self.key = await self.link(known), ""
        await self.reveal()

    async def works(self) -> bool:
        """Whether the provider takes Ben's key."""
        if self.stage.provider == "openai":
            answer = await self.flow.call(self.key)
        else:
            url, model = {
                "openrouter": (self.flow.servers.openrouter_url, "openai/text-embedding-3-small"),
                "litellm": (self.flow.servers.litellm_url, "text-embedding-3-small"),
            }[self.stage.provider]
            answer = await self.flow.http.post(
                f"{url}/embeddings",
                json={"model": model, "input": "Hello"},
                headers={"Authorization": f"Bearer {self.key}"},
            )
        assert answer.status_code in (200, 401), answer.text
        return answer.status_code == 200

    def request(self) -> AccessRequest:
        """The one request of this way."""
        (only,) = [one for one in self.stage.rows(AccessRequest) if one.created_at.timestamp() > self.since]
        return only

    def grant(self) -> Grant | None:
        """The one grant of this way, if it came so far."""
        return next((one for one in self.stage.rows(Grant) if one.request_id == self.request().id), None)

    def keys(self) -> list[Key]:
        """All keys of this way's grant."""
        grant = self.grant()
        return [key for key in self.stage.rows(Key) if grant and key.grant_id == grant.id]

    async def standing(self) -> dict[tuple[str, str], Message]:
        """What stands in front of Ben, Ana and the channel, by its place."""
        shown: dict[tuple[str, str], Message] = {}
        for member in (self.flow.ben, self.flow.ana):
            seen = await member.state()
            for channel in (None, "C0KEYS"):
                messages = member.visible(seen, channel)
                shown |= {(one.channel, one.ts): one for one in messages if not one.ephemeral}
        return shown

    async def current(self, *, unreachable: str = "") -> None:
        """Soon every message of this way tells how it stands; none is left that nobody keeps current, but for one that a
        dead desk had posted and not written down: one in each conversation for each death.

        The desk's own beats go on beside the test: what it is doing in this moment may change the story once more.
        """
        until = time.monotonic() + PATIENCE
        while True:
            await self.stage.settled()
            try:
                return await self._is_current(unreachable)
            except AssertionError:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.1)

    async def _is_current(self, unreachable: str) -> None:
        request, stage = self.request(), self.stage
        story = await self.flow.store.read(lambda tx: tell(tx, request.team, request.id, stage.vendors))
        coming = story.under_way
        if coming and coming.state is KeyState.AWAITED:
            story = replace(story, deposit_url=f"{self.flow.settings.public_url}/d/{coming.id}")
        shown = await self.standing()
        for notice in [one for one in stage.rows(Notice) if one.about == request.id and one.recipient != unreachable]:
            message = shown.pop((str(notice.channel), str(notice.ts)))
            wanted = views.notice(notice.kind, story)
            expected = replace(message, blocks=wanted["blocks"], text=wanted["text"])
            assert (message.text, message.plain) == (expected.text, expected.plain)
            assert message.buttons == expected.buttons
        # Some are of keys that ended meanwhile.
        others = {(str(notice.channel), str(notice.ts)) for notice in stage.rows(Notice)}
        # A digest is sent once for each week. It is not kept current, but shown anew to whoever presses on it.
        digests = [one for one in shown.values() if one.text.startswith((WEEK, NOTHING))]
        weeks = Counter((one.channel, one.text.partition(".")[0]) for one in digests if one.text.startswith(WEEK))
        assert max(weeks.values(), default=0) <= 1, "a week's digest stands twice"
        left = [
            one
            for place, one in shown.items()
            if float(one.ts) > self.since and place not in others | self.let_go and one not in digests
        ]
        assert len(left) <= stage.posted, left
        assert max(Counter(one.channel for one in left).values(), default=0) <= stage.deaths

    async def to_the_end(self) -> str:
        """Everybody does what is theirs to do, until there is nothing left; what came of it."""
        request = self.request()
        if request.state is RequestState.PENDING:
            await self.done(self.approve)
            await self.stage.settled()
        grant = self.grant()
        if grant is None:
            return self.request().state
        if grant.state in (GrantState.ENDING, GrantState.ENDED):
            return await self.over()
        if grant.state is GrantState.AWAITED:
            await self.done(self.bring)
            await self.stage.settled()
        if grant.state is not GrantState.ACTIVE:
            await self.obtain()
            await self.stage.settled()
        if grant.draft.scope.provider == "deposit":
            assert self.key == BROUGHT
            return "key"
        assert await self.works()
        await self.stage.sound_now()
        if len(self.keys()) == 1:
            return "key"
        # There were others, and they may not outlive this one.
        await self.done(self.revoke)
        await self.over()
        assert not await self.works()
        return "key"

    async def obtain(self) -> None:
        """Ben opens the newest link that he has, or gets a new one, and opens that."""
        known = await self.links()
        if known and known[-1] != self.url:
            answer = await self.stage.browser.claim(known[-1])
            if answer.status_code == 200:
                self.url, self.key = known[-1], ""
                await self.reveal()
                return
        await self.done(self.pick_up)
        self.url, self.key = await self.link(known), ""
        await self.reveal()

    async def over(self) -> str:
        """The quarantine passes; no key is left, and nothing is stuck."""
        await self.stage.later(QUARANTINE + SECOND)
        if any(key.state is KeyState.BY_HAND for key in self.keys()):
            await self.done(self.confirm)
            await self.stage.settled()
        grant = self.grant()
        assert grant is not None
        assert grant.state is GrantState.ENDED
        assert all(key.state in DEAD for key in self.keys())
        assert not {key.marker for key in self.keys()} & set(await self.stage.accounts())
        return "over"
