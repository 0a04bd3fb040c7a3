"""The API of the link page: who may look, claim and acknowledge, what it costs to be wrong, and how a link ends."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import httpx
import pytest

from bot.desk.audit import Act
from bot.desk.model import Actor, Cause, Session
from bot.desk.ports import Transaction
from bot.desk.states import GrantState, LinkState
from bot.web.link import ending
from bot.web.sessions import SignedIn
from tests.flows.browsing import Browser, split
from tests.web.world import TEAM, VALUE, World


async def test_the_holder_reveals_their_key(desk: World) -> None:
    """Look, claim, open, acknowledge: the value arrives, the envelope is gone, and the log tells it."""
    url = await desk.link()
    link_id, _ = split(url)
    async with Browser(desk.url) as ben:
        await ben.sign_in("U0BEN")
        looked = (await ben.post(f"/api/links/{link_id}/look", {})).json()
        assert looked["state"] == "open"
        assert looked["about"] == {
            "provider": "OpenAI",
            "project": "search-prod",
            "permission": "Chat completions",
            "fingerprint": "exa…wxyz",
            "variable": "OPENAI_API_KEY",
            "beside": {},
            "expires_at": looked["about"]["expires_at"],
        }
        assert await ben.reveal(url) == VALUE
    link = await desk.stored(url)
    assert (link.state, link.envelope) == (LinkState.REVEALED, None)
    assert [entry.act for entry in await desk.entries()][-2:] == ["link.claimed", "link.revealed"]


async def test_a_claim_says_all_that_the_page_needs(desk: World) -> None:
    """The envelope and what it is bound to, how long there is to show it, and which key it is."""
    url = await desk.link()
    async with Browser(desk.url) as ben:
        await ben.sign_in("U0BEN")
        told = (await ben.claim(url)).json()
    assert set(told) == {"envelope", "context", "lease_until", "about"}
    assert set(told["context"]) == {"team", "holder", "grant", "key", "link", "expires"}
    assert (told["context"]["team"], told["context"]["holder"]) == (TEAM, "U0BEN")
    assert told["about"]["fingerprint"] == "exa…wxyz"
    assert VALUE not in str(told)


async def test_without_the_seeds_token_nothing_is_burnt(desk: World) -> None:
    """Whoever lacks the fragment is refused, even signed in as the holder; the link stays open."""
    url = await desk.link()
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({}, 400, "no_token"),
        ({"token": None}, 400, "no_token"),
        ({"token": ["A" * 43]}, 400, "no_token"),
        ({"token": "A" * 42}, 400, "no_token"),
        ({"token": "A" * 44}, 400, "no_token"),
        ({"token": "\ud800" * 43}, 400, "no_token"),
        ({"token": "A" * 43}, 403, "not_allowed"),
    ]
    async with Browser(desk.url) as ben:
        await ben.sign_in("U0BEN")
        for verb in ("claim", "acknowledge"):
            for body, status, code in cases:
                answer = await ben.post(f"/api/links/{split(url)[0]}/{verb}", body)
                assert (answer.status_code, answer.json()["error"]) == (status, code), (verb, body)
                assert (await desk.stored(url)).state is LinkState.OPEN
        assert await ben.reveal(url) == VALUE


async def test_another_member_learns_nothing(desk: World) -> None:
    """With link and seed in hand they read the same as for a link that never was; the refusal is recorded."""
    url = await desk.link()
    never = f"{desk.url}/k/AAAAAAAAAAAAAAAAAAAAAA#{'A' * 43}"
    async with Browser(desk.url) as cara:
        await cara.sign_in("U0CARA")
        for verb in ("look", "claim", "acknowledge"):
            answers = [
                await cara.post(f"/api/links/{split(one)[0]}/{verb}", {"token": "A" * 43}) for one in (url, never)
            ]
            assert [answer.status_code for answer in answers] == [403, 403]
            assert answers[0].json() == answers[1].json()
            assert answers[0].json()["error"] == "not_yours"
        assert (await cara.claim(url)).status_code == 403
    assert (await desk.stored(url)).state is LinkState.OPEN
    refused = [(entry.actor, entry.act) for entry in await desk.entries()][-4:]
    assert refused == [("U0CARA", "refused")] * 4


async def test_a_guest_can_sign_in_and_open_nothing(desk: World) -> None:
    """Whether one is a full member is asked at the claim, of the directory."""
    url = await desk.link("U0CARA")
    desk.people.known["U0CARA"] = desk.people.known["U0GUS"]
    async with Browser(desk.url) as gus:
        assert (await gus.sign_in("U0CARA")).status_code == 303
        answer = await gus.claim(url)
        assert (answer.status_code, answer.json()["error"]) == (403, "not_welcome")
    assert (await desk.stored(url)).state is LinkState.OPEN


async def test_a_second_session_gets_nothing(desk: World) -> None:
    """The holder's other browser is told that this one has it; and after the reveal, that it was shown."""
    url = await desk.link()
    async with Browser(desk.url) as first, Browser(desk.url) as second:
        await first.sign_in("U0BEN")
        await second.sign_in("U0BEN")
        assert (await first.claim(url)).status_code == 200
        late = await second.claim(url)
        assert (late.status_code, late.json()["error"]) == (409, "claimed_elsewhere")
        assert "envelope" not in late.json()
        assert (await second.acknowledge(url)).status_code == 403
        looked = (await second.post(f"/api/links/{split(url)[0]}/look", {})).json()
        assert (looked["state"], looked["error"]) == ("over", "claimed_elsewhere")
        assert (await first.acknowledge(url)).status_code == 204
        late = await second.claim(url)
        assert (late.status_code, late.json()["error"]) == (409, "already_revealed")
        assert "another browser" in late.json()["message"]
        again = await first.claim(url)
        assert (again.status_code, again.json()["error"]) == (409, "already_revealed")
        assert "in this browser" in again.json()["message"]


async def test_of_many_at_once_one_wins(desk_on_each: World) -> None:
    """Eight sessions of the holder race for one link: one envelope goes out."""
    desk = desk_on_each
    url = await desk.link()
    browsers = [Browser(desk.url) for _ in range(8)]
    try:
        for browser in browsers:
            await browser.sign_in("U0BEN")
        answers = await asyncio.gather(*(browser.claim(url) for browser in browsers))
    finally:
        for browser in browsers:
            await browser.http.aclose()
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    assert sum("envelope" in answer.json() for answer in answers) == 1
    assert [entry.act for entry in await desk.entries()].count("link.claimed") == 1


async def test_a_reload_inside_the_lease_delivers_again(desk: World) -> None:
    """To the same session, the same bytes; and still when two of its requests cross."""
    url = await desk.link()
    async with Browser(desk.url) as ben:
        await ben.sign_in("U0BEN")
        once, twice = await asyncio.gather(ben.claim(url), ben.claim(url))
        assert once.status_code == twice.status_code == 200
        assert once.json()["envelope"] == twice.json()["envelope"]
        looked = (await ben.post(f"/api/links/{split(url)[0]}/look", {})).json()
        assert looked["state"] == "claimed"
        assert await ben.reveal(url) == VALUE


async def test_acknowledging_again_is_fine(desk: World) -> None:
    """An answer that got lost on its way may be asked for again; one entry is left."""
    url = await desk.link()
    async with Browser(desk.url) as ben:
        await ben.sign_in("U0BEN")
        await ben.claim(url)
        answers = await asyncio.gather(*(ben.acknowledge(url) for _ in range(3)))
        assert [answer.status_code for answer in answers] == [204] * 3
    assert [entry.act for entry in await desk.entries()].count("link.revealed") == 1


async def test_signing_in_anew_is_a_new_session(desk: World) -> None:
    """A lease belongs to one sign-in: after signing out and in, the same browser is another session."""
    url = await desk.link()
    async with Browser(desk.url) as ben:
        await ben.sign_in("U0BEN")
        assert (await ben.claim(url)).status_code == 200
        assert (await ben.post("/auth/logout", {})).status_code == 204
        assert (await ben.acknowledge(url)).status_code == 401
        await ben.sign_in("U0BEN")
        assert (await ben.claim(url)).json()["error"] == "claimed_elsewhere"


class TestEndings:
    """Each end of a link says what happened and what to do."""

    async def _ending(self, desk: World, url: str) -> tuple[str, str, str]:
        """What `look` and `claim` say, which is the same."""
        async with Browser(desk.url) as ben:
            await ben.sign_in("U0BEN")
            looked = (await ben.post(f"/api/links/{split(url)[0]}/look", {})).json()
            claimed = await ben.claim(url)
        assert claimed.status_code == 409
        assert looked == {"state": "over", **claimed.json()}
        return looked["error"], looked["message"], looked["next_step"]

    async def test_lapsed(self, desk: World) -> None:
        """Nobody opened it in time."""
        url = await desk.link()
        await desk.pass_time(timedelta(minutes=16))
        code, message, onwards = await self._ending(desk, url)
        assert code == "lapsed"
        assert "Nobody opened" in message
        assert "pick up again" in onwards

    async def test_lapsed_before_the_sweep(self, desk: World) -> None:
        """Time is judged at the claim, not by the sweep."""
        url = await desk.link()
        desk.clock.ahead += timedelta(minutes=15, seconds=1)
        async with Browser(desk.url) as ben:
            await ben.sign_in("U0BEN")
            assert (await ben.claim(url)).json()["error"] == "lapsed"

    async def test_unacknowledged(self, desk: World) -> None:
        """A page took the key and never said that it showed it."""
        url = await desk.link()
        async with Browser(desk.url) as ben:
            await ben.sign_in("U0BEN")
            await ben.claim(url)
            desk.clock.ahead += timedelta(minutes=3)
            late = await ben.claim(url)
            assert (late.status_code, late.json()["error"]) == (409, "unacknowledged")
            await desk.watch.reconcile()
            late = await ben.acknowledge(url)
            assert (late.status_code, late.json()["error"]) == (409, "unacknowledged")
        code, message, onwards = await self._ending(desk, url)
        assert code == "unacknowledged"
        assert "never confirmed" in message
        assert "pick up again" in onwards

    async def test_replaced(self, desk: World) -> None:
        """The holder picked up again."""
        grant = await desk.approved()
        url = (await desk.pick_up(grant)).url
        newer = (await desk.pick_up(grant)).url
        code, message, onwards = await self._ending(desk, url)
        assert code == "replaced"
        assert "newer link" in message
        assert "newest link" in onwards
        async with Browser(desk.url) as ben:
            await ben.sign_in("U0BEN")
            assert await ben.reveal(newer) == VALUE
        assert "with you already" in (await self._ending(desk, url))[2]

    async def test_revoked(self, desk: World) -> None:
        """The grant was given back before the link was opened."""
        grant = await desk.approved()
        url = (await desk.pick_up(grant)).url
        await desk.grants.revoke(Actor(TEAM, "U0BEN"), grant.id)
        code, message, onwards = await self._ending(desk, url)
        assert code == "revoked"
        assert "was revoked" in message
        assert "/apikey request" in onwards

    async def test_whatever_closed_it(self, desk: World) -> None:
        """Whatever it was, and wherever the grant stands since: each has its words."""
        grant = await desk.approved()
        link = await desk.stored((await desk.pick_up(grant)).url)
        story = await desk.stories.of(TEAM, grant.request_id)
        assert story.grant is not None
        who = SignedIn(Session(Actor(TEAM, "U0BEN"), "laptop"), "Ben Okafor", "csrf")
        said = dict[Cause, set[str]]()
        for cause, state in product(Cause, GrantState):
            closed = replace(link, state=LinkState.CLOSED, closed_because=cause)
            over = ending(closed, replace(story, grant=replace(story.grant, state=state)), who)
            assert (over.status, over.code) == (409, cause)
            assert over.next_step
            said.setdefault(cause, set()).add(over.message)
        assert all(len(messages) == 1 for messages in said.values())
        assert len(set.union(*said.values())) == len(Cause)

    async def test_ended_by_policy(self, desk: World) -> None:
        """A grant that nothing used ended while the link waited: the page says so, and not that the desk is broken."""
        grant = await desk.approved()
        url = (await desk.pick_up(grant)).url

        def end(tx: Transaction) -> None:
            found = tx.grant(TEAM, grant.id)
            assert found is not None
            desk.grants.end(tx, found, desk.clock(), by="system", because=Cause.IDLE, recorded_as=Act.IDLE)

        await desk.store.write(end)
        code, message, onwards = await self._ending(desk, url)
        assert code == "idle"
        assert "Nothing used this key" in message
        assert "/apikey request" in onwards

    async def test_revealed_and_over(self, desk: World) -> None:
        """Also after the grant's time the link says what it did."""
        url = await desk.link()
        async with Browser(desk.url) as ben:
            await ben.sign_in("U0BEN")
            await ben.reveal(url)
        await desk.pass_time(timedelta(days=8))
        assert (await self._ending(desk, url))[0] == "already_revealed"


class Forger:
    """Somebody who can send anything from the holder's signed-in browser, and knows the link's id."""

    def __init__(self, ben: Browser, url: str) -> None:
        self._ben = ben
        self.path = f"/api/links/{split(url)[0]}/claim"

    async def send(self, content: bytes = b'{"token": "x"}', **headers: str | bytes | None) -> tuple[int, str]:
        """The answer's status and code. Underscores in names of headers are hyphens; None leaves one away."""
        sent = {"content_type": "application/json", "x_csrf_token": self._ben.csrf, **headers}
        raw = {
            name.replace("_", "-").encode(): value if isinstance(value, bytes) else value.encode()
            for name, value in sent.items()
            if value is not None
        }
        answer = await self._ben.http.post(self.path, headers=raw, content=content)
        return answer.status_code, answer.json()["error"]


class TestForgery:
    """What another site, or a careless script, could send in the holder's name. Nothing of it acts."""

    @pytest.fixture
    async def forger(self, desk: World) -> AsyncIterator[Forger]:
        """With the holder's session; the link is as it was when the test is over."""
        url = await desk.link()
        async with Browser(desk.url) as ben:
            await ben.sign_in("U0BEN")
            yield Forger(ben, url)
        assert (await desk.stored(url)).state is LinkState.OPEN

    async def test_without_the_sessions_csrf_token(self, desk: World, forger: Forger) -> None:
        """403; so too with the token of another session of the same member."""
        async with Browser(desk.url) as other:
            await other.sign_in("U0BEN")
            for token in (None, "", "wrong", "ünicode".encode(), other.csrf):
                assert await forger.send(x_csrf_token=token) == (403, "csrf")

    async def test_from_another_origin(self, desk: World, forger: Forger) -> None:
        """403, also with everything else right."""
        for origin in ("https://evil.example", "null", "", "http://127.0.0.1", desk.url + ".evil.example"):
            assert await forger.send(origin=origin) == (403, "foreign_origin")
        assert await forger.send(origin=desk.url) == (400, "no_token")

    async def test_as_a_form_could(self, forger: Forger) -> None:
        """415: a form of another site cannot send JSON."""
        for kind in (None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            assert await forger.send(content_type=kind) == (415, "not_json")

    async def test_not_an_object(self, forger: Forger) -> None:
        """400, however odd the JSON."""
        for content in (b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 16_000, b"1" * 10_000):
            assert await forger.send(content) == (400, "not_an_object")

    async def test_too_large(self, forger: Forger) -> None:
        """413, before it is read to its end."""
        assert await forger.send(b'{"token": "' + b"x" * 17_000 + b'"}') == (413, "too_large")

    async def test_signed_out(self, desk: World, forger: Forger) -> None:
        """401."""
        async with httpx.AsyncClient(base_url=desk.url) as nobody:
            answer = await nobody.post(forger.path, json={"token": "A" * 43}, headers={"X-CSRF-Token": ""})
        assert (answer.status_code, answer.json()["error"]) == (401, "signed_out")

    async def test_by_another_method(self, desk: World, forger: Forger) -> None:
        """405: what acts is posted."""
        async with httpx.AsyncClient(base_url=desk.url) as client:
            for method in ("GET", "PUT", "DELETE"):
                answer = await client.request(method, forger.path)
                assert (answer.status_code, answer.json()["error"]) == (405, "method_not_allowed")
                assert answer.headers["allow"] == "POST"

    async def test_an_id_that_cannot_be(self, forger: Forger) -> None:
        """404, whatever stands where the id belongs."""
        for odd in ("%00", "a%2Fb", "a" * 65, "%23"):
            forger.path = f"/api/links/{odd}/look"
            assert (await forger.send())[0] == 404
