"""How long people wait: until the last of 50 approvers sees a decision, and from a request to the key in hand.

Slack and the vendor are a `FarSide` in this process, so that what arrives there is known at once. The desk is `app.py
run`, reached over HTTP as Slack and a browser reach it.

`last_card`: 50 approvers, the channel and who asked hold a copy of the card, so one decision owes 52 updates. Slack takes
50 calls of `chat.update` a minute (tier 3, for each app and workspace; its windows are minutes), so the last two cannot be
current before 60 seconds have passed: that is the floor. What is above the limit is answered 429 with Retry-After, and a
call that comes before that time is over counts as a violation.

`key_in_hand`: submit, card, approve, offer, pick up, link, claim, acknowledge. The vendor takes 300 ms a call. Its time
is what it spent, added up at its side: a mint is three calls one after another (account, role, key). The first
submission in a minute also lists the projects, once, which counts as the desk's own in that one round. Who asks has read before how to keep a key safe: that is once a year. All the rest is the desk's, this process's part included. Signing in
comes before the clock starts: the session cookie is made here, with the desk's own secret.
"""

import base64
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import itsdangerous

from benchmarks import desks
from benchmarks.desks import FarSide
from benchmarks.figures import Figure, beside
from benchmarks.load import Ask, headers
from bot.desk import envelope
from bot.desk.model import Context

APPROVERS = 50
LIMIT_AIM = 1.05  # of the limit's own floor
ROUNDS = 15
PROVIDER_SECONDS = 0.3
SHARE_LIMIT = 50.0  # milliseconds of the desk's own
MINT_CALLS = 3


async def last_card() -> list[Figure]:
    """A decision, until every copy of its card says so; and until who asked hears."""
    far = FarSide(approvers=APPROVERS, limited=True, recorded=True)
    async with desks.folder() as folder, far.serving(), httpx.AsyncClient() as http:
        url = f"sqlite:///{folder}/keydesk.db"
        [request] = await desks.fill(url, requests=1, askers=1, approvers=APPROVERS)
        async with desks.desk(folder, far.port, database_url=url) as desk:
            begin = time.perf_counter()
            await _deliver(http, desk, desks.click("approve", request, desks.approver(0), far_port=far.port))
            acknowledged = time.perf_counter() - begin
            owed = APPROVERS + 2

            def updated() -> dict[str, float]:
                """Each card that is current, and when its update was taken."""
                return {
                    f"{call.args['channel']} {call.args['ts']}": call.at - begin
                    for call in far.calls
                    if call.method == "chat.update" and call.status == 200
                }

            await far.expect(lambda: len(updated()) == owed, patience=150)
            await far.expect(lambda: _posted(far, begin, desks.member(0)), patience=60)
            took = sorted(updated().values())
            told = _posted(far, begin, desks.member(0)) or 0.0
    refused = sum(call.status == 429 for call in far.calls)
    why = (
        f"Acknowledged after {acknowledged * 1000:.0f} ms. The {desks.TIERS['chat.update']} updates that the limit "
        f"allows at once were made in {took[desks.TIERS['chat.update'] - 1] * 1000:.0f} ms; who asked was told after "
        f"{told * 1000:.0f} ms. Slack said 429 {refused} times, {far.early.total()} of them to a call that came while it "
        "had been told to wait."
    )
    floor = desks.WINDOW_SECONDS * ((owed - 1) // desks.TIERS["chat.update"])
    return [
        beside(
            "last_card",
            ours=[took[-1]],
            unit="s to the last of 50 approvers",
            against="the limit's own floor",
            theirs=[floor],
            aim=LIMIT_AIM,
            at_most=True,
            profile=why,
        ),
        beside(
            "first_cards",
            ours=[took[desks.TIERS["chat.update"] - 1] * 1000],
            unit="ms for the 50 updates that the limit allows at once",
            against="a second",
            theirs=[1000.0],
            aim=1.0,
            at_most=True,
            profile=why,
        ),
        beside(
            "limit_violations",
            ours=[float(far.early.total())],
            unit="calls while told to wait",
            against="one that is just under way",
            theirs=[1.0],
            aim=1.0,
            at_most=True,
            profile=why,
        ),
    ]


def _posted(far: FarSide, begin: float, who: str) -> float | None:
    """When a message was posted to them, counted from `begin`."""
    place = "D" + who[1:]
    taken = (call for call in far.calls if call.method == "chat.postMessage" and call.status == 200)
    return next((call.at - begin for call in taken if call.args["channel"] == place and call.at > begin), None)


async def key_in_hand() -> list[Figure]:
    """From a submitted form to an acknowledged key: what the desk takes of it."""
    far = FarSide(approvers=3, provider_seconds=PROVIDER_SECONDS, recorded=True)
    shares: list[float] = []
    steps: dict[str, list[float]] = {}
    calls: list[int] = []
    async with desks.folder() as folder, far.serving(), desks.desk(folder, far.port) as desk:
        await desks.everybody_read(f"sqlite:///{folder}/keydesk.db", ROUNDS + 1)
        for number in range(ROUNDS + 1):
            async with httpx.AsyncClient(base_url=desk.url) as http:
                story = _Story(far, desk, http, desks.member(number))
                begin, busy, asked = time.perf_counter(), far.provider_busy, far.counts["vendor"]
                await story.tell()
                own = time.perf_counter() - begin - (far.provider_busy - busy)
            if number:  # the first one lists the projects, and finds everything cold
                shares.append(own * 1000)
                calls.append(far.counts["vendor"] - asked)
                for name, took in story.steps.items():
                    steps.setdefault(name, []).append(took * 1000)
    each = ", ".join(f"{name} {statistics.median(took):.0f}" for name, took in steps.items())
    why = (
        f"Medians of the steps in ms, the vendor's time included: {each}. The vendor was called "
        f"{statistics.median(calls):.0f} times, one after another; {PROVIDER_SECONDS * 1000:.0f} ms each."
    )
    return [
        beside(
            "key_in_hand",
            ours=shares,
            unit="ms of the desk's own from submit to key",
            against="the limit",
            theirs=[SHARE_LIMIT],
            aim=1.0,
            at_most=True,
            profile=why,
        )
    ]


@dataclass
class _Story:
    """One request's whole way, each step of it timed."""

    far: FarSide
    desk: desks.Running
    http: httpx.AsyncClient
    who: str

    def __post_init__(self) -> None:
        self.steps: dict[str, float] = {}
        self._csrf = "benchmark"
        told = {
            "team": desks.TEAM,
            "member": self.who,
            "name": self.who,
            "id": f"session-{self.who}",
            "csrf": self._csrf,
        }
        signer = itsdangerous.TimestampSigner(desks.SESSION_SECRET)
        cookie = signer.sign(base64.b64encode(json.dumps(told).encode())).decode()
        self.http.cookies.set("keydesk_session", cookie, domain="127.0.0.1")

    async def tell(self) -> None:
        """All of it. Raises `RuntimeError` where the desk does not answer as it should."""
        seen = len(self.far.calls)

        def posted(channel: str, action: str) -> Callable[[], Any]:
            def find() -> Any:
                for call in self.far.calls[seen:]:
                    if call.method == "chat.postMessage" and call.args["channel"] == channel:
                        for button in _buttons(call.args["blocks"]):
                            if button["action_id"] == action:
                                return button["value"]
                return None

            return find

        def link() -> Any:
            for call in self.far.calls[seen:]:
                if call.method == "response_url":
                    for button in _buttons(call.args["blocks"]):
                        if "/k/" in button.get("url", ""):
                            return button["url"]
            return None

        approver, home = desks.approver(0), "D" + self.who[1:]
        await self._timed("submit", self._slack(desks.submission(self.who)))
        request = await self._timed("card", self.far.expect(posted("D" + approver[1:], "approve")))
        await self._timed("approve", self._slack(desks.click("approve", request, approver, far_port=self.far.port)))
        grant = await self._timed("offer", self.far.expect(posted(home, "pick_up")))
        await self._timed("pick up", self._slack(desks.click("pick_up", grant, self.who, far_port=self.far.port)))
        url = await self._timed("mint and link", self.far.expect(link))
        link_id, _, seed = url.rpartition("/k/")[2].partition("#")
        token = envelope.access_token(base64.urlsafe_b64decode(seed + "=" * (-len(seed) % 4)))
        told = (await self._timed("claim", self._web(link_id, "claim", token))).json()
        sealed = told["envelope"]
        key = envelope.open_sealed(
            base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4)),
            seed=base64.urlsafe_b64decode(seed + "=" * (-len(seed) % 4)),
            context=Context(**told["context"]),
        )
        if not key.expose().startswith("sk-svcacct-"):
            raise RuntimeError("what was revealed is no key of the vendor's")
        await self._timed("acknowledge", self._web(link_id, "acknowledge", token))

    async def _timed(self, name: str, step: Awaitable[Any]) -> Any:
        begin = time.perf_counter()
        found = await step
        self.steps[name] = time.perf_counter() - begin
        return found

    async def _slack(self, ask: Ask) -> None:
        await _deliver(self.http, self.desk, ask)

    async def _web(self, link_id: str, act: str, token: str) -> httpx.Response:
        headers = {"X-CSRF-Token": self._csrf, "Origin": self.desk.url}
        answer = await self.http.post(f"/api/links/{link_id}/{act}", json={"token": token}, headers=headers)
        if answer.status_code not in (200, 204):
            raise RuntimeError(f"{act} was answered {answer.status_code}: {answer.text}")
        return answer


async def _deliver(http: httpx.AsyncClient, desk: desks.Running, ask: Ask) -> None:
    """As Slack delivers. Raises `RuntimeError` unless it was acknowledged with nothing to complain of."""
    answer = await http.post(f"{desk.url}{ask.path}", content=ask.body, headers=headers(ask, int(time.time())))
    if answer.status_code != 200 or answer.text:
        raise RuntimeError(f"the desk answered {answer.status_code}: {answer.text[:500]}")


def _buttons(blocks: Any) -> list[dict[str, Any]]:
    told = json.loads(blocks) if isinstance(blocks, str) else blocks
    return [one for block in told if block["type"] == "actions" for one in block["elements"]]


BENCHMARKS: dict[str, Callable[[], Awaitable[list[Figure]]]] = {"last_card": last_card, "key_in_hand": key_in_hand}
