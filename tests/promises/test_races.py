"""Races, run by the hundred against real desk processes: one on SQLite, two on PostgreSQL."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Sequence

import pytest

from bot.desk import envelope
from bot.desk.audit import Act
from bot.desk.model import AccessRequest, Decision, Grant, Notice, NoticeKind, Ruling
from bot.desk.ports import Transaction
from bot.desk.states import RequestState
from sandbox.client import Ack, Message
from tests.flows.browsing import from_base64url
from tests.promises import racing
from tests.promises.racing import Rows
from tests.promises.world import Desks

READINGS = 300  # on each database, of 2 and of 8 readers
DECISIONS = 50  # on each database, of each of three kinds: 300 in all
AT_ONCE = 10  # so many requests wait for a decision at a time: a Home lists them all
KEYS = 10  # of each race about a key
ANA, CARA = "U0ANA", "U0CARA"


@pytest.fixture
async def rows(database_url: str) -> AsyncIterator[Rows]:
    """The desks' database, from outside."""
    async with Rows(database_url) as open_rows:
        yield open_rows


@pytest.mark.parametrize("count", [2, 8])
async def test_one_reader_of_a_link_gets_the_envelope(several: Desks, count: int) -> None:
    """300 links, each claimed by 2 or by 8 sessions of its holder in the same moment: one gets the envelope, each time.

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
    """Two approvers approve in the same moment, 50 times: one decision, one entry, one answer; the cards agree."""
    ana, cara = several.flow.ana, several.flow.cara
    told: Counter[str] = Counter()
    for _ in range(DECISIONS // AT_ONCE):
        requests, cards = await asked(several, rows, AT_ONCE)
        for one in requests:
            await at_once(ana.click(cards[one.id, ANA], "approve"), cara.click(cards[one.id, CARA], "approve"))
        told += await decided_once(several, rows, requests)
    print(f"{DECISIONS} races of two approvers, {len(several.processes)} desks: {told[Act.APPROVED]} decided once")
    assert told == {Act.APPROVED: DECISIONS}


async def test_one_decision_of_approve_against_deny(several: Desks, rows: Rows) -> None:
    """One approves while another denies, 50 times: one decision, and all that stands says the same."""
    ana, cara = several.flow.ana, several.flow.cara
    told: Counter[str] = Counter()
    for _ in range(DECISIONS // AT_ONCE):
        requests, cards = await asked(several, rows, AT_ONCE)
        for number, one in enumerate(requests):
            assert (await cara.click(cards[one.id, CARA], "deny")).acknowledged
            form = await cara.expect_modal("Deny")
            deny, approve = cara.submit(form, reason="Not now"), ana.click(cards[one.id, ANA], "approve")
            await at_once(*((deny, approve) if number % 2 else (approve, deny)))
            if left := await cara.modal():  # it says who was faster
                await cara.close(left, all=True)
        told += await decided_once(several, rows, requests)
    print(f"{DECISIONS} races of approve against deny, {len(several.processes)} desks: {dict(told)}")
    assert told[Act.APPROVED] + told[Act.DENIED] == DECISIONS


async def test_one_decision_of_the_same_click_twice(several: Desks, rows: Rows) -> None:
    """Slack delivers a click twice at once, to both desks where there are two, 50 times: it decides once."""
    told: Counter[str] = Counter()
    for _ in range(DECISIONS // AT_ONCE):
        requests, cards = await asked(several, rows, AT_ONCE)
        await several.flow.sandbox.disturb("block_actions", times=AT_ONCE, copies=2)
        for one in requests:
            await at_once(several.flow.ana.click(cards[one.id, ANA], "approve"))
        told += await decided_once(several, rows, requests)
    print(f"{DECISIONS} clicks twice, {len(several.processes)} desks: {told[Act.APPROVED]} decided once")
    assert told == {Act.APPROVED: DECISIONS}


async def test_approve_against_cancel(several: Desks, rows: Rows) -> None:
    """The requester takes it back while it is approved: one of the two, and no grant of a cancelled request."""
    requests, cards = await asked(several, rows, KEYS)
    for number, one in enumerate(requests):
        approve = several.flow.ana.click(cards[one.id, ANA], "approve")
        cancel = several.flow.ben.click(cards[one.id, racing.HOLDER], "cancel")
        await at_once(*((cancel, approve) if number % 2 else (approve, cancel)))
    told = await decided_once(several, rows, requests)
    print(f"{KEYS} races of approve against cancel, {len(several.processes)} desks: {dict(told)}")
    assert told[Act.APPROVED] + told[Act.CANCELLED] == KEYS
