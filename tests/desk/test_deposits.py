"""Deposits: who brings, what is refused, where a value rests and when it is gone, and what only people can revoke."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.desk.deposits import rewrap
from bot.desk.errors import (
    DepositRejected,
    KekFlaw,
    NotAllowed,
    NotWelcome,
    NotYours,
    ProviderAuth,
    ProviderTransient,
    Superseded,
    Unavailable,
)
from bot.desk.model import Actor, Cause, Handover, Key, NoticeKind, Secret, Session
from bot.desk.offer import Ability
from bot.desk.states import GrantState, KeyState, LinkState
from bot.desk.vault import Vault, parsed
from bot.slack.views.deposits import by_hand_card
from storage.store import SqlStore
from tests.desk.depositing import FIRST, SECOND, Depositing, sealed
from tests.desk.world import ANA, BEN, CARA, CHANNEL, DEV, GUEST, MINUTE, TEAM, unsealed


@pytest.fixture
async def desk(store: SqlStore) -> AsyncIterator[Depositing]:
    """A desk with a Console and a deposit kind."""
    made = Depositing(store)
    yield made
    await made.must_hold()


async def test_approval_asks_the_depositors(desk: Depositing) -> None:
    """The rule's depositors are asked, or who approved; the key and the grant wait; nothing exists anywhere."""
    key = await desk.awaited()
    await desk.sweep()
    assert (key.state, (await desk.grant_of(key)).state) == (KeyState.AWAITED, GrantState.AWAITED)
    for lead in (CARA, DEV):
        [story] = desk.slack.standing(NoticeKind.DEPOSIT, lead)
        assert story.deposit_url == f"https://desk.example/d/{key.id}"
        assert story.making is not None
        assert story.making.prefix == "con-"
    assert desk.slack.standing(NoticeKind.DEPOSIT, ANA) == []
    other = await desk.awaited("deposit", approver=ANA)
    await desk.sweep()
    [story] = desk.slack.standing(NoticeKind.DEPOSIT, ANA)
    assert story.key == other


async def test_a_holder_never_brings_their_own_key(desk: Depositing) -> None:
    """A lead who asked is no depositor of it, though the rule names the leads; where none but they are left, approvers are."""
    key = await desk.awaited(by=DEV)
    await desk.sweep()
    assert desk.slack.standing(NoticeKind.DEPOSIT, DEV) == []
    with pytest.raises(NotYours):
        await desk.bring(key, desk.console.made(key.marker), by=DEV)
    desk.people.groups["S0LEADS"] = {DEV.id}
    await desk.bring(key, desk.console.made(key.marker), by=CARA)


@pytest.mark.parametrize("actor", [BEN, ANA, GUEST], ids=["holder", "another", "guest"])
async def test_nobody_else_brings_or_looks(desk: Depositing, actor: Actor) -> None:
    """Refused and recorded, at the look and at the bringing, whatever page they hold."""
    key = await desk.awaited()
    task = await desk.deposits.look(Session(CARA, "laptop"), key.id)
    assert task.recipient is not None
    for attempt in (
        desk.deposits.look(Session(actor, "laptop"), key.id),
        desk.deposits.deposit(Session(actor, "laptop"), key.id, b"x" * 100, task.recipient.kek),
    ):
        with pytest.raises(NotWelcome if actor == GUEST else NotYours):
            await attempt
        assert (await desk.last_entry()).act == "refused"


async def test_whoever_is_no_depositor_any_more_is_refused_at_the_click(desk: Depositing) -> None:
    """Dev was asked, and left the leads: today's group decides."""
    key = await desk.awaited()
    desk.people.groups["S0LEADS"] = {CARA.id}
    with pytest.raises(NotYours):
        await desk.bring(key, desk.console.made(key.marker), by=DEV)
    await desk.bring(key, desk.console.made(key.marker), by=CARA)


async def test_brought_picked_up_shown_and_gone(desk: Depositing) -> None:
    """The holder hears of it and opens it; the value is the one that was brought, and rests nowhere from then on."""
    key, value = await desk.rested()
    await desk.sweep()
    assert (key.state, key.handle, key.fingerprint) == (KeyState.DEPOSITED, "key_0", "…wxyz")
    assert len(desk.slack.standing(NoticeKind.DEPOSITED, BEN)) == 1
    handover = await desk.link_to(key)
    assert unsealed(handover.url, await desk.claim(handover)) == value
    assert await desk.at_rest(key)
    await desk.acknowledge(handover)
    assert not await desk.at_rest(key)
    assert (await desk.key(key.id)).state is KeyState.LIVE
    assert desk.vendor.minted == []


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        (ProviderAuth("no"), Unavailable, "own credential"),
        (ProviderTransient("no"), Unavailable, "try again in a minute"),
    ],
)
async def test_a_provider_that_cannot_be_asked_takes_nothing(
    desk: Depositing, fault: Exception, error: type[Exception], says: str
) -> None:
    """The depositor hears why; the key is awaited still, and taken when the provider is back."""
    key = await desk.awaited()
    value = desk.console.made(key.marker)
    desk.console.faults = [fault]
    with pytest.raises(error, match=says):
        await desk.bring(key, value)
    assert (await desk.key(key.id)).state is KeyState.AWAITED
    await desk.bring(key, value)


async def test_a_dead_key_and_somebody_elses_are_refused(desk: Depositing) -> None:
    """The provider says it is gone; or another holder has this very key."""
    first, value = await desk.rested()
    key = await desk.awaited()
    with pytest.raises(DepositRejected, match="Name it"):
        await desk.bring(key, value)
    await desk.grants.revoke(BEN, first.grant_id)
    await desk.sweep()
    with pytest.raises(DepositRejected, match="gone"):
        await desk.bring(key, value)
    with pytest.raises(DepositRejected, match="starts with con-"):
        await desk.bring(key, "other-0123456789")
    with pytest.raises(DepositRejected, match="name that the key should have"):
        await desk.bring(key, key.marker)
    assert not await desk.at_rest(key)
    await desk.bring(key, desk.console.made(key.marker))


@pytest.mark.parametrize("way", ["unopened", "unacknowledged", "replaced"])
async def test_a_link_that_did_not_come_to_its_end_brings_the_key_back_to_rest(desk: Depositing, way: str) -> None:
    """Nothing is revoked, nothing is lost: the holder picks up again and opens the same key, by another link."""
    key, value = await desk.rested()
    handover = await desk.link_to(key)
    if way == "unacknowledged":
        await desk.claim(handover)
    if way == "replaced":
        again = await desk.link_to(key)
    else:
        await desk.sweep(16 * MINUTE)
        kind = NoticeKind.LAPSED if way == "unopened" else NoticeKind.UNACKNOWLEDGED
        assert len(desk.slack.standing(kind, BEN)) == 1
        assert (await desk.key(key.id)).state is KeyState.DEPOSITED
        assert (await desk.grant_of(key)).state is GrantState.READY
        again = await desk.link_to(key)
    assert (await desk.link(handover)).state is LinkState.CLOSED
    assert (await desk.link(handover)).envelope is None
    with pytest.raises(Superseded):
        await desk.claim(handover)
    assert unsealed(again.url, await desk.claim(again)) == value
    await desk.acknowledge(again)
    await desk.sweep()
    assert desk.console.revoked == []
    assert (await desk.grant_of(key)).state is GrantState.ACTIVE


async def test_two_pick_ups_at_once_make_one_link(desk: Depositing) -> None:
    """One link opens it; the other pick-up hears that it came too late."""
    key, value = await desk.rested()
    grant = await desk.grant_of(key)
    both = [await desk.picked_up(grant), await desk.picked_up(grant)]
    made = await asyncio.gather(*(desk.grants.issue(one) for one in both), return_exceptions=True)
    [handover] = [one for one in made if not isinstance(one, BaseException)]
    [lost] = [one for one in made if isinstance(one, BaseException)]
    assert isinstance(lost, Superseded)
    assert unsealed(handover.url, await desk.claim(handover)) == value


@pytest.mark.parametrize("when", ["awaited", "deposited", "sealed", "live"])
async def test_taken_back_at_any_time(desk: Depositing, when: str) -> None:
    """The deposit is destroyed at once, the key revoked; one that nobody brought never was, and cannot be brought."""
    if when == "awaited":
        key = await desk.awaited()
    else:
        key, _ = await desk.rested()
        handover = await desk.link_to(key) if when != "deposited" else None
        if handover and when == "live":
            await desk.claim(handover)
            await desk.acknowledge(handover)
    await desk.grants.revoke(BEN, key.grant_id)
    assert not await desk.at_rest(key)
    await desk.sweep()
    assert (await desk.grant_of(key)).state is GrantState.ENDED
    assert (await desk.key(key.id)).state is (KeyState.VOID if when == "awaited" else KeyState.REVOKED)
    assert desk.console.revoked == ([] if when == "awaited" else ["key_0"])
    with pytest.raises(Superseded):
        await desk.deposits.deposit(Session(CARA, "laptop"), key.id, b"x" * 100, "0" * 12)


async def test_bringing_against_taking_back(desk: Depositing) -> None:
    """Who commits first wins; either way nothing rests, and no grant is left half-way."""
    for _ in range(6):
        key = await desk.awaited()
        value = desk.console.made(key.marker)
        brought, _ = await asyncio.gather(
            desk.bring(key, value), desk.grants.revoke(BEN, key.grant_id), return_exceptions=True
        )
        await desk.sweep()
        state = (await desk.key(key.id)).state
        assert state is (KeyState.VOID if isinstance(brought, BaseException) else KeyState.REVOKED)
        assert (await desk.grant_of(key)).state is GrantState.ENDED
        assert not await desk.at_rest(key)


# ---- what only people can revoke


async def ended(desk: Depositing, *, named: bool = True) -> Key:
    """A key that its holder had and gave back."""
    key, _ = await desk.rested(named=named)
    handover = await desk.link_to(key)
    await desk.claim(handover)
    await desk.acknowledge(handover)
    await desk.grants.revoke(BEN, key.grant_id)
    await desk.sweep()
    return await desk.key(key.id)


async def test_by_hand_until_somebody_says_so(desk: Depositing) -> None:
    """Depositors are asked; the grant is ending until one of them, or an approver, confirms; again changes nothing."""
    desk.console.abilities = frozenset()
    key = await ended(desk)
    assert key.state is KeyState.BY_HAND
    assert (await desk.grant_of(key)).state is GrantState.ENDING
    for lead in (CARA, DEV):
        [story] = desk.slack.standing(NoticeKind.BY_HAND, lead)
        assert story.by_hand
    for nobody in (BEN, ANA):
        with pytest.raises(NotAllowed):
            await desk.deposits.revoked_by_hand(nobody, key.id)
        assert (await desk.last_entry()).act == "refused"
    await desk.sweep(60 * 24 * MINUTE)
    assert (await desk.key(key.id)).state is KeyState.BY_HAND
    story = await desk.deposits.revoked_by_hand(DEV, key.id)
    assert story.grant is not None
    assert story.grant.state is GrantState.ENDED
    acts = await desk.acts()
    await desk.deposits.revoked_by_hand(CARA, key.id)
    assert await desk.acts() == acts
    assert acts[-2:] == ["key.revoked", "grant.ended"]
    assert "key.by_hand" in acts
    await desk.sweep()
    assert all(story.key and story.key.state is KeyState.REVOKED for story in desk.slack.standing(NoticeKind.BY_HAND))


async def test_two_keys_to_revoke_by_hand_stand_on_one_card(desk: Depositing) -> None:
    """The old one, when its holder switched, and the one that followed, when they gave it back."""
    desk.console.recognises, desk.console.abilities = False, frozenset()
    key, _ = await desk.rested()
    await opened(desk, await desk.link_to(key))
    grant = await desk.grant_of(key)
    new = await desk.rotation.rotate(BEN, grant.id, delivery="a")
    await desk.bring(new, desk.console.made(new.marker))
    await opened(desk, await desk.grants.issue(await desk.grants.pick_up(BEN, grant.id, delivery="b")))
    await desk.rotation.switched(BEN, grant.id)
    await desk.sweep()
    await desk.grants.revoke(BEN, grant.id)
    await desk.sweep()
    [card] = [by_hand_card(story) for story in desk.slack.standing(NoticeKind.BY_HAND, CARA)]
    assert all(f"`{one.marker}`" in str(card["blocks"]) for one in (key, new))
    assert str(card["blocks"]).count("I revoked it") == 2


async def test_nobody_left_is_told_at_each_rotation(desk: Depositing) -> None:
    """Nobody is here who could bring the next key; later there is; then, at another rotation, nobody again."""
    key, _ = await desk.rested(duration=timedelta(days=30))
    await opened(desk, await desk.link_to(key))
    grant = await desk.grant_of(key)
    for number in range(2):
        new = await desk.rotation.rotate(BEN, grant.id, delivery=f"r{number}")
        for deleted in (True, False):
            for who in (ANA, CARA, DEV):
                desk.people.people[who.id] = replace(desk.people.people[who.id], deleted=deleted)
            await desk.replacing.review(TEAM)
            for _ in range(2):
                await desk.sweep(after=timedelta(days=1))
        assert len(desk.slack.standing(NoticeKind.STRANDED, BEN)) == number + 1
        await desk.bring(new, desk.console.made(new.marker))
        await opened(desk, await desk.grants.issue(await desk.grants.pick_up(BEN, grant.id, delivery=f"p{number}")))


async def opened(desk: Depositing, handover: Handover) -> None:
    """Its holder is shown it."""
    await desk.claim(handover)
    await desk.acknowledge(handover)


@pytest.mark.parametrize(
    ("abilities", "recognises", "named", "comes_to"),
    [
        ({Ability.LIST, Ability.REVOKE}, True, True, KeyState.REVOKED),  # its handle is known
        ({Ability.LIST, Ability.REVOKE}, False, True, KeyState.REVOKED),  # found by its name
        ({Ability.LIST, Ability.REVOKE}, False, False, KeyState.BY_HAND),  # neither
        ({Ability.REVOKE}, False, True, KeyState.BY_HAND),  # nothing can be looked for
        ({Ability.LIST}, True, True, KeyState.BY_HAND),  # known, and the provider revokes nothing
    ],
)
async def test_the_desk_revokes_what_it_can_find(
    desk: Depositing, abilities: set[Ability], recognises: bool, named: bool, comes_to: KeyState
) -> None:
    """By handle, else by the name that the card asked for; a person is asked only where neither will do."""
    desk.console.abilities, desk.console.recognises = frozenset(abilities), recognises
    key = await ended(desk, named=named)
    assert key.state is comes_to
    assert bool(desk.console.revoked) is (comes_to is KeyState.REVOKED)


async def test_a_key_of_another_name_could_be_somebody_elses(desk: Depositing) -> None:
    """Known by what the provider shows of its value alone, the desk could end a key that is none of its own: refused."""
    key = await desk.awaited()
    with pytest.raises(DepositRejected, match=f"Name it {key.marker}"):
        await desk.bring(key, desk.console.made("production"))
    assert not await desk.at_rest(key)
    assert desk.console.revoked == []


async def test_one_that_was_found_and_revoked_just_before_a_crash_is_nobodys_task(
    desk: Depositing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by its name, its handle is written down before it is revoked: afterwards nothing bears the name."""
    desk.console.recognises = False
    revoke = desk.console.revoke

    async def revoke_and_die(*, handle: str, project: str) -> None:
        await revoke(handle=handle, project=project)
        raise RuntimeError("died")

    with monkeypatch.context() as patched:
        patched.setattr(desk.console, "revoke", revoke_and_die)
        key = await ended(desk, named=True)
    assert (key.state, [key.handle]) == (KeyState.REVOKING, desk.console.revoked)
    await desk.sweep(3 * MINUTE)
    assert (await desk.key(key.id)).state is KeyState.REVOKED


async def test_expiry_is_a_task_for_people_too(desk: Depositing) -> None:
    """A deposit of policy's own kind runs its time: whoever approved is asked, as the rule names nobody."""
    key, _ = await desk.rested("deposit")
    handover = await desk.link_to(key)
    await desk.claim(handover)
    await desk.acknowledge(handover)
    await desk.sweep(8 * 24 * 60 * MINUTE)
    assert (await desk.key(key.id)).state is KeyState.BY_HAND
    assert (await desk.grant_of(key)).ended_because is Cause.EXPIRED
    assert len(desk.slack.standing(NoticeKind.BY_HAND, CARA)) == 1


async def test_where_everybody_left_the_channel_is_asked(desk: Depositing) -> None:
    """Neither depositors nor approvers are here any more: the task is not lost; a failing directory only delays it."""
    desk.console.abilities = frozenset()
    key, _ = await desk.rested()
    for lead in (CARA.id, DEV.id):
        del desk.people.people[lead]
    desk.people.groups["S0LEADS"] = set()
    await desk.grants.revoke(BEN, key.grant_id)
    await desk.sweep()
    assert (await desk.key(key.id)).state is KeyState.BY_HAND
    assert len(desk.slack.standing(NoticeKind.BY_HAND, CHANNEL)) == 1


async def test_a_provider_that_is_set_up_no_more(desk: Depositing, store: SqlStore) -> None:
    """Its credential is gone: of a key that it could not be told apart by, people are asked."""
    desk.console.recognises = False
    key, _ = await desk.rested()
    bare = Depositing(store, beside=desk, console=False)
    await bare.grants.revoke(BEN, key.grant_id)
    await bare.sweep()
    assert (await desk.key(key.id)).state is KeyState.BY_HAND


# ---- KEKs


async def test_without_its_kek_nothing_is_lost(desk: Depositing) -> None:
    """The holder hears that the desk misses it; with the KEK back the same pick-up works. No brought key is taken either."""
    key, value = await desk.rested()
    waiting, page = await desk.awaited(), Session(CARA, "laptop")
    desk.keks.text = SECOND
    other = Depositing(desk.store, beside=desk)
    with pytest.raises(Unavailable, match="KEK"):
        await other.link_to(key)
    desk.keks.text = "not a KEK"
    with pytest.raises(Unavailable, match="KEK"):
        await other.deposits.look(page, waiting.id)
    desk.keks.text = f"{SECOND}\n{FIRST}"
    handover = await other.link_to(key)
    assert unsealed(handover.url, await other.claim(handover)) == value


async def test_a_page_opened_before_a_rotation(desk: Depositing) -> None:
    """It works while the old line is there; after that the depositor is asked to reload, and has lost nothing."""
    key = await desk.awaited()
    value, page = desk.console.made(key.marker), Session(CARA, "laptop")
    task = await desk.deposits.look(page, key.id)
    assert task.recipient is not None
    bytes_ = sealed(value, task.recipient)
    desk.keks.text = SECOND
    fresh = Depositing(desk.store, beside=desk)
    with pytest.raises(DepositRejected, match="Reload"):
        await fresh.deposits.deposit(page, key.id, bytes_, task.recipient.kek)
    desk.keks.text = f"{SECOND}\n{FIRST}"
    await fresh.deposits.deposit(page, key.id, bytes_, task.recipient.kek)
    stored = await desk.store.read(lambda tx: tx.deposit(key.team, key.id))
    assert stored is not None
    assert stored.kek == next(iter(parsed(Secret(SECOND))))


async def test_rotation_under_load_loses_nothing(store: SqlStore, database_url: str) -> None:
    """Two desks take deposits and hand them out while KEKs are rotated by two at once, three times: every value arrives."""
    stores = [store, SqlStore.open(database_url), SqlStore.open(database_url)]
    desk = Depositing(stores[0])
    desks = [desk, Depositing(stores[1], beside=desk)]
    rotators = [Vault(source=desk.keks, random=os.urandom) for _ in range(2)]
    arrived: dict[str, str] = {}
    brought: dict[str, str] = {}

    async def one_after_the_other(number: int) -> None:
        for turn in range(4):
            mine, theirs = desks[(number + turn) % 2], desks[(number + turn + 1) % 2]
            key = await mine.awaited("deposit")
            value = f"value-{number}-{turn}-0123456789"
            await mine.bring(key, value)
            brought[key.id] = value
            if turn == 3:
                continue  # rests until the end
            handover = await theirs.link_to(key)
            if turn == 2:
                handover = await mine.link_to(key)  # the first link was lost
            arrived[key.id] = unsealed(handover.url, await theirs.claim(handover))
            await theirs.acknowledge(handover)

    async def rotate() -> None:
        for number in range(3):
            new = ("Aw", "BA", "BQ")[number] + FIRST[2:]
            desk.keks.text = f"{new}\n{desk.keks.text}"
            await asyncio.gather(*(rewrap(stores[2], vault) for vault in rotators))

    try:
        await asyncio.gather(*(one_after_the_other(number) for number in range(6)), rotate())
        assert await rewrap(stores[2], rotators[0]) >= 0
        assert await rewrap(stores[2], rotators[0]) == 0
        # All that rests is under the newest: the older lines may go.
        desk.keks.text = desk.keks.text.splitlines()[0]
        fresh = Depositing(stores[2], beside=desk)
        for key_id in brought.keys() - arrived.keys():
            handover = await fresh.link_to(await fresh.key(key_id))
            arrived[key_id] = unsealed(handover.url, await fresh.claim(handover))
        assert arrived == brought
        assert len(arrived) == 24
        await desk.must_hold()
    finally:
        for opened in stores[1:]:
            await opened.close()


async def test_a_rotation_names_the_kek_that_is_missing(desk: Depositing) -> None:
    """What can be wrapped anew is; the flaw names what cannot, and the next run goes on when it is back."""
    await desk.rested()
    desk.keks.text = SECOND
    await desk.rested()
    desk.keks.text = (third := "Aw" + FIRST[2:]) + f"\n{SECOND}"
    vault = Vault(source=desk.keks, random=os.urandom)
    with pytest.raises(KekFlaw, match=rf"1 deposits.*{next(iter(parsed(Secret(FIRST))))}"):
        await rewrap(desk.store, vault)
    desk.keks.text = f"{third}\n{SECOND}\n{FIRST}"
    assert await rewrap(desk.store, vault) == 1
    assert await rewrap(desk.store, vault) == 0
