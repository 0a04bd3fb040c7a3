"""Races against real desk processes: one on SQLite, two on PostgreSQL.

Each kind is tried a few times on each database. `make races` tries each 300 times, and says how they came out.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest

from bot.desk import envelope, revoking
from bot.desk.audit import Act
from bot.desk.model import AccessRequest, Decision, Grant, Key, Link, Notice, NoticeKind, Ruling
from bot.desk.ports import Transaction
from bot.desk.states import GrantState, KeyState, RequestState
from sandbox.client import Ack, Message, Snapshot
from sandbox.server import Running
from sandbox.server import running as sandbox_running
from tests.flows.browsing import from_base64url
from tests.promises import racing
from tests.promises.racing import Rows
from tests.promises.world import Desks

TRIES = int(os.environ.get("KEYDESK_RACES", "10"))  # of each kind, on each database
READINGS = max(TRIES, 50)  # these are quick
AT_ONCE = 10  # so many requests wait at a time: a Home lists them all
ANA, CARA = "U0ANA", "U0CARA"
DEAD = (KeyState.REVOKED, KeyState.VOID)


@pytest.fixture
def servers() -> Iterator[Running]:
    """A Slack with more patience than the real one: this is about who wins, however busy the machine is."""
    with sandbox_running(ack_seconds=racing.PATIENCE) as servers:
        yield servers


@pytest.fixture
async def rows(database_url: str) -> AsyncIterator[Rows]:
    """The desks' database, from outside."""
    async with Rows(database_url) as open_rows:
        yield open_rows


@pytest.mark.parametrize("count", [2, 8])
async def test_one_reader_of_a_link_gets_the_envelope(several: Desks, count: int) -> None:
    """Links, each claimed by 2 or by 8 sessions of its holder in the same moment: one gets the envelope, each time.

    What the others get holds no byte of it, and the log has one claim of each link.
    """
    links = await racing.sealed_links(several, READINGS)
    winners: list[int] = []
    async with racing.readers(several, count) as readers:
        for link in links:
            for reader in readers:
                reader.claim(link)
            answers = [await reader.hear() for reader in readers]
            won = [answer for answer in answers if answer.status == 200]
            winners.append(len(won))
            for answer in won:
                sealed = from_base64url(answer.told["envelope"])
                assert envelope.open_sealed(sealed, seed=link.seed, context=link.context).expose() == link.secret
            for answer in answers:
                if answer.status != 200:
                    assert (answer.status, set(answer.told)) == (409, {"error", "message", "next_step"})
                    assert answer.told["error"] == "claimed_elsewhere"
                    assert not link.traces_in(answer.raw)
    told = Counter(winners)
    print(f"{len(winners)} links, {count} readers each, {len(several.processes)} desks: {told[1]} with one winner")
    assert told == {1: READINGS}
    log = await racing.entries(several)
    claimed = [entry.subject for entry in log if entry.act == Act.CLAIMED]
    assert sorted(claimed) == sorted(link.id for link in links)
    refused = [entry.subject for entry in log if entry.act == Act.REFUSED]
    assert sorted(refused) == sorted(link.id for link in links for _ in range(count - 1))


async def asked(several: Desks, rows: Rows, count: int) -> tuple[list[AccessRequest], dict[tuple[str, str], Message]]:
    """So many requests of Ben's, with a card in front of Ana and of Cara, and his receipt."""
    requests = [racing.request(RequestState.PENDING) for _ in range(count)]

    def act(tx: Transaction) -> None:
        for one in requests:
            tx.add(one)

    await several.flow.store.write(act)
    wanted = [(one, NoticeKind.APPROVAL, who) for one in requests for who in (ANA, CARA)]
    receipts = [(one, NoticeKind.RECEIPT, racing.HOLDER) for one in requests]
    return requests, await racing.told_about(several, rows, [*wanted, *receipts])


async def at_once(*acts: Awaitable[Ack]) -> Sequence[Ack]:
    """All of them, in the same moment; each must be acknowledged, the losers' too."""
    acks = await asyncio.gather(*acts)
    assert all(ack.acknowledged for ack in acks), acks
    return acks


async def decided_once(several: Desks, rows: Rows, requests: Sequence[AccessRequest]) -> Counter[str]:
    """Asserts that each of these has one outcome, everywhere alike; how often each outcome came."""
    await rows.all_is_shown()
    ids = {one.id for one in requests}
    outcomes = (Act.APPROVED, Act.DENIED, Act.CANCELLED)
    logged = {one.subject: (one.act, one.actor) for one in await racing.entries(several) if one.act in outcomes}
    log = [one.subject for one in await racing.entries(several) if one.act in outcomes]
    assert sorted(one for one in log if one in ids) == sorted(ids), "one entry of each outcome"
    states = {one.id: one.state for one in await rows.of(AccessRequest)}
    decisions = {one.request_id: one for one in await rows.of(Decision)}
    granted = Counter(one.request_id for one in await rows.of(Grant))
    outcome_notices = Counter(one.about for one in await rows.of(Notice) if one.kind is NoticeKind.OUTCOME)
    cards = await racing.messages(several, rows, NoticeKind.APPROVAL)
    for id in ids:
        act, by = logged[id]
        if act == Act.CANCELLED:
            assert (states[id], granted[id], outcome_notices[id]) == (RequestState.CANCELLED, 0, 0)
            assert id not in decisions
            says = f"Cancelled by <@{by}>"
        else:
            approved = act == Act.APPROVED
            assert (decisions[id].approver, decisions[id].ruling is Ruling.APPROVE) == (by, approved)
            assert states[id] is (RequestState.APPROVED if approved else RequestState.DENIED)
            assert (granted[id], outcome_notices[id]) == (int(approved), 1)
            says = f"{'Approved' if approved else 'Denied'} by <@{by}>"
        for who in (ANA, CARA):
            card = cards[id, who]
            assert says in card.plain
            assert not {"approve", "deny"} & set(card.buttons)
    posted = [call for call in (await several.flow.sandbox.record())["calls"] if call["method"] == "chat.postMessage"]
    assert len(posted) == len(await rows.of(Notice)), "each notice is one message"
    return Counter(logged[id][0] for id in ids)


async def test_one_decision_of_two_approvers(several: Desks, rows: Rows) -> None:
    """Two approvers approve in the same moment: one decision, one entry, one answer; the cards agree."""
    ana, cara = several.flow.ana, several.flow.cara
    told: Counter[str] = Counter()
    for _ in range(TRIES // AT_ONCE):
        requests, cards = await asked(several, rows, AT_ONCE)
        for one in requests:
            await at_once(ana.click(cards[one.id, ANA], "approve"), cara.click(cards[one.id, CARA], "approve"))
        told += await decided_once(several, rows, requests)
    print(f"{TRIES} races of two approvers, {len(several.processes)} desks: {told[Act.APPROVED]} decided once")
    assert told == {Act.APPROVED: TRIES}


async def test_one_decision_of_approve_against_deny(several: Desks, rows: Rows) -> None:
    """One approves while another denies: one decision, and all that stands says the same."""
    ana, cara = several.flow.ana, several.flow.cara
    told: Counter[str] = Counter()
    for _ in range(TRIES // AT_ONCE):
        requests, cards = await asked(several, rows, AT_ONCE)
        for number, one in enumerate(requests):
            assert (await cara.click(cards[one.id, CARA], "deny")).acknowledged
            form = await cara.expect_modal("Deny")
            deny, approve = cara.submit(form, reason="Not now"), ana.click(cards[one.id, ANA], "approve")
            await at_once(*((deny, approve) if number % 2 else (approve, deny)))
            if left := await cara.modal():  # it says who was faster
                await cara.close(left, all=True)
        told += await decided_once(several, rows, requests)
    print(f"{TRIES} races of approve against deny, {len(several.processes)} desks: {dict(told)}")
    assert told[Act.APPROVED] + told[Act.DENIED] == TRIES


async def test_one_decision_of_the_same_click_twice(several: Desks, rows: Rows) -> None:
    """Slack delivers a click twice at once, to both desks where there are two: it decides once."""
    told: Counter[str] = Counter()
    for _ in range(TRIES // AT_ONCE):
        requests, cards = await asked(several, rows, AT_ONCE)
        await several.flow.sandbox.disturb("block_actions", times=AT_ONCE, copies=2)
        for one in requests:
            await at_once(several.flow.ana.click(cards[one.id, ANA], "approve"))
        told += await decided_once(several, rows, requests)
    print(f"{TRIES} clicks twice, {len(several.processes)} desks: {told[Act.APPROVED]} decided once")
    assert told == {Act.APPROVED: TRIES}


async def test_approve_against_cancel(several: Desks, rows: Rows) -> None:
    """The requester takes it back while it is approved: one of the two, and no grant of a cancelled request."""
    told: Counter[str] = Counter()
    for _ in range(TRIES // AT_ONCE):
        requests, cards = await asked(several, rows, AT_ONCE)
        for number, one in enumerate(requests):
            approve = several.flow.ana.click(cards[one.id, ANA], "approve")
            cancel = several.flow.ben.click(cards[one.id, racing.HOLDER], "cancel")
            await at_once(*((cancel, approve) if number % 2 else (approve, cancel)))
        told += await decided_once(several, rows, requests)
    print(f"{TRIES} races of approve against cancel, {len(several.processes)} desks: {dict(told)}")
    assert told[Act.APPROVED] + told[Act.CANCELLED] == TRIES


async def ready(several: Desks, rows: Rows, count: int) -> tuple[list[Grant], dict[str, Message]]:
    """So many grants of Ben's that wait for his pick-up, and by grant the message that has the button."""
    requests = [racing.request(RequestState.APPROVED) for _ in range(count)]
    approvals = [racing.approved(one, GrantState.READY) for one in requests]

    def act(tx: Transaction) -> None:
        for request, approval in zip(requests, approvals, strict=True):
            for thing in (request, *approval):
                tx.add(thing)

    await several.flow.store.write(act)
    messages = await racing.told_about(several, rows, [(one, NoticeKind.OUTCOME, racing.HOLDER) for one in requests])
    grants = [grant for _, grant in approvals]
    return grants, {grant.id: messages[grant.request_id, racing.HOLDER] for grant in grants}


def among(column: str, ids: Sequence[str]) -> Callable[[Any], Any]:
    """Those whose column has one of these."""
    return lambda rows: rows.c[column].in_(ids)


async def alive(several: Desks) -> set[str]:
    """The markers of the keys that the provider would accept now; none stands twice."""
    markers = [key["name"] for key in await several.flow.sandbox.openai_keys()]
    assert len(markers) == len(set(markers))
    return set(markers)


async def answered(several: Desks, presses: int) -> None:
    """Waits until Ben was told privately what came of each of his presses so far."""

    def told(seen: Snapshot) -> bool:
        return sum(one.ephemeral for one in several.flow.ben.visible(seen)) >= presses

    await several.flow.ben.expect(told, racing.PATIENCE)


@pytest.mark.parametrize("how", ["pressed-twice", "delivered-twice"])
async def test_one_live_key_of_two_pick_ups(several: Desks, rows: Rows, how: str) -> None:
    """Two pick-ups of one grant in the same moment: one key lives, behind the one link that is open.

    Who presses twice is answered twice, who is delivered twice once. A second press that comes when the first key is
    sealed already takes that one back, unread.
    """
    ben, told = several.flow.ben, Counter[str]()
    times = 2 if how == "pressed-twice" else 1
    for batch in range(TRIES // AT_ONCE):
        grants, offers = await ready(several, rows, AT_ONCE)
        if how == "delivered-twice":
            await several.flow.sandbox.disturb("block_actions", times=AT_ONCE, copies=2)
        for grant in grants:
            await at_once(*(ben.click(offers[grant.id], "pick_up") for _ in range(times)))
        await answered(several, (batch + 1) * AT_ONCE * times)
        await rows.all_is_done()
        living, log = await alive(several), await racing.entries(several)
        ids = [grant.id for grant in grants]
        keys = await rows.of(Key, among("grant_id", ids))
        links = await rows.of(Link, among("grant_id", ids))
        for grant in await rows.of(Grant, among("id", ids)):
            assert grant.state is GrantState.DELIVERING
            of_it = [key for key in keys if key.grant_id == grant.id]
            assert [key.marker for key in of_it if key.marker in living] == [f"keydesk-{grant.key_id}"]
            assert {key.id: key.state for key in of_it if key.state not in DEAD} == {grant.key_id: KeyState.SEALED}
            assert [link.key_id for link in links if link.grant_id == grant.id and link.envelope] == [grant.key_id]
            started = [entry for entry in log if (entry.act, entry.subject) == (Act.PICK_UP_STARTED, grant.id)]
            assert len(started) == len(of_it) <= times
            told["one key minted" if len(of_it) == 1 else "the first taken back"] += 1
        minted = [entry.subject for entry in log if entry.act == Act.MINTED and entry.subject in {k.id for k in keys}]
        assert sorted(minted) == sorted(key.id for key in keys)
    print(f"{TRIES} pick-ups {how}, {len(several.processes)} desks: one live key each; {dict(told)}")
    assert sum(told.values()) == TRIES
    said = several.said()
    assert "Traceback" not in said, said[-3000:]


async def test_pick_up_against_revoke(several: Desks, rows: Rows) -> None:
    """The grant is revoked while its holder picks it up: it ends, no key of it lives, and no link opens.

    Half of the revocations come in the same moment, half when the pick-up is committed and its key is being minted. A
    key whose mint broke off for that stays in quarantine for its ten minutes.
    """
    ben, ana, told = several.flow.ben, several.flow.ana, Counter[str]()
    for batch in range(TRIES // AT_ONCE):
        grants, offers = await ready(several, rows, AT_ONCE)
        for number, grant in enumerate(grants):
            pick_up = ben.click(offers[grant.id], "pick_up")
            revoke = ana.command(f"/apikey revoke {grant.id}")
            if number % 2:
                await at_once(revoke, pick_up) if number % 4 == 1 else await at_once(pick_up, revoke)
            else:
                await at_once(pick_up)
                await at_once(revoke)
        await answered(several, (batch + 1) * AT_ONCE)
        await several.flow.pass_time(revoking.QUARANTINE)
        await rows.all_is_done()
        assert await alive(several) == set()
        log, ids = await racing.entries(several), [grant.id for grant in grants]
        keys = await rows.of(Key, among("grant_id", ids))
        assert all(key.state in DEAD for key in keys)
        assert not [link for link in await rows.of(Link) if link.envelope]
        for grant in await rows.of(Grant, among("id", ids)):
            assert (grant.state, grant.ended_by) == (GrantState.ENDED, ANA)
            of_it = [entry.act for entry in log if entry.subject == grant.id and entry.act != Act.REFUSED]
            assert [of_it.count(act) for act in (Act.REVOKE_ASKED, Act.ENDED)] == [1, 1]
            minted = [entry for entry in log if entry.act == Act.MINTED and entry.detail["grant"] == grant.id]
            if Act.PICK_UP_STARTED not in of_it:
                assert not minted
                told["revoked first"] += 1
            else:
                told["minted, and revoked"] += bool(minted)
                told["picked up first"] += 1
        revoked = [entry.subject for entry in log if entry.act in (Act.REVOKED, Act.VOIDED)]
        assert sorted(one for one in revoked if one in {key.id for key in keys}) == sorted(key.id for key in keys)
    print(f"{TRIES} races of pick-up against revoke, {len(several.processes)} desks: no key left; {dict(told)}")
    assert told["revoked first"] + told["picked up first"] == TRIES


async def in_use(several: Desks, rows: Rows, count: int) -> tuple[list[Grant], dict[str, Message]]:
    """So many keys in Ben's hands, and by grant the message that has the button to rotate."""
    made = await racing.keys_in_use(several, count)
    wanted = [(asked, NoticeKind.OUTCOME, racing.HOLDER) for asked, _, _ in made]
    messages = await racing.told_about(several, rows, wanted)
    return [grant for _, grant, _ in made], {one.id: messages[one.request_id, racing.HOLDER] for _, one, _ in made}


async def test_one_next_key_of_two_rotations(several: Desks, rows: Rows) -> None:
    """A holder rotates twice in the same moment: one key is to follow, behind the one link that is open; the old one works on.

    A second press that comes when the first key is sealed already takes that one back, unread.
    """
    ben, told = several.flow.ben, Counter[str]()
    for batch in range(TRIES // AT_ONCE):
        grants, cards = await in_use(several, rows, AT_ONCE)
        for grant in grants:
            await at_once(*(ben.click(cards[grant.id], "rotate") for _ in range(2)))
        await answered(several, (batch + 1) * AT_ONCE * 2)
        await rows.all_is_done()
        living, log = await alive(several), await racing.entries(several)
        ids = [grant.id for grant in grants]
        keys = await rows.of(Key, among("grant_id", ids))
        links = await rows.of(Link, among("grant_id", ids))
        before = {grant.id: grant.key_id for grant in grants}
        for grant in await rows.of(Grant, among("id", ids)):
            assert (grant.state, grant.key_id) == (GrantState.ACTIVE, before[grant.id])
            of_it = [key for key in keys if key.grant_id == grant.id]
            states = {key.id: key.state for key in of_it if key.state not in DEAD}
            assert states == {grant.key_id: KeyState.LIVE, grant.next_key_id: KeyState.SEALED}
            assert {key.id for key in of_it if key.marker in living} == {grant.key_id, grant.next_key_id}
            assert [link.key_id for link in links if link.grant_id == grant.id and link.envelope] == [grant.next_key_id]
            started = [entry for entry in log if (entry.act, entry.subject) == (Act.ROTATION_STARTED, grant.id)]
            assert 1 <= len(started) == len(of_it) - 1 <= 2
            told["one key minted" if len(of_it) == 2 else "the first taken back"] += 1
    print(f"{TRIES} rotations pressed twice, {len(several.processes)} desks: one next key each; {dict(told)}")
    assert sum(told.values()) == TRIES
    said = several.said()
    assert "Traceback" not in said, said[-3000:]


async def test_rotate_against_revoke(several: Desks, rows: Rows) -> None:
    """The grant is revoked while its holder rotates: it ends, and neither the old key lives nor one that was to follow."""
    ben, ana, told = several.flow.ben, several.flow.ana, Counter[str]()
    for batch in range(TRIES // AT_ONCE):
        grants, cards = await in_use(several, rows, AT_ONCE)
        for number, grant in enumerate(grants):
            rotate = ben.click(cards[grant.id], "rotate")
            revoke = ana.command(f"/apikey revoke {grant.id}")
            await at_once(*((rotate, revoke) if number % 2 else (revoke, rotate)))
        await answered(several, (batch + 1) * AT_ONCE)
        await several.flow.pass_time(revoking.QUARANTINE)
        await rows.all_is_done()
        assert await alive(several) == set()
        log, ids = await racing.entries(several), [grant.id for grant in grants]
        assert all(key.state in DEAD for key in await rows.of(Key, among("grant_id", ids)))
        assert not [link for link in await rows.of(Link) if link.envelope]
        for grant in await rows.of(Grant, among("id", ids)):
            assert (grant.state, grant.ended_by) == (GrantState.ENDED, ANA)
            of_it = [entry.act for entry in log if entry.subject == grant.id and entry.act != Act.REFUSED]
            assert [of_it.count(act) for act in (Act.REVOKE_ASKED, Act.ENDED)] == [1, 1]
            told["rotated first" if Act.ROTATION_STARTED in of_it else "revoked first"] += 1
    print(f"{TRIES} races of rotate against revoke, {len(several.processes)} desks: no key left; {dict(told)}")
    assert sum(told.values()) == TRIES
