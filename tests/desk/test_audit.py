"""The audit log: what an entry's hash is made of, which changes show and where, and who leaves which entry."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.desk.audit import GENESIS, Act, Entry, Head, chained, leaf_hash, stamp, verify
from bot.desk.errors import DeskError
from bot.desk.model import Ruling
from tests.desk.world import BEN, CARA, GUEST, World, draft

AT = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
DETAIL: dict[str, Any] = {"why": "wofür? 🔑", "cents": 2500, "certain": True, "handle": None}


def chain(size: int) -> tuple[list[Entry], Head]:
    """A sound one."""
    entries: list[Entry] = []
    for number in range(size):
        head = Head(number, entries[-1].leaf) if entries else None
        at = AT + timedelta(seconds=number)
        subject = f"r_{number}"
        entries.append(
            chained(head, team="T0", at=at, actor="U0BEN", act=Act.SUBMITTED, subject=subject, detail=DETAIL)
        )
    return entries, Head(size, entries[-1].leaf)


def rehashed(entry: Entry, **changes: Any) -> Entry:
    """What somebody writes who knows how a hash is made."""
    content = {
        name: changes.get(name, getattr(entry, name))
        for name in ("team", "index", "at", "actor", "act", "subject", "detail", "previous")
    }
    return Entry(**content, leaf=leaf_hash(**content))


def test_a_leaf_is_the_hash_of_canonical_json() -> None:
    """Anybody can verify a chain with a JSON and a SHA-256: keys sorted, no spaces, UTF-8, 0x00 before the leaf."""
    (entry,), _ = chain(1)
    written = (
        '{"act":"request.submitted","actor":"U0BEN","at":"2026-03-29T01:30:00.000000Z","detail":{"cents":2500,'
        '"certain":true,"handle":null,"why":"wofür? 🔑"},"index":0,"previous":"' + "0" * 64 + '","subject":"r_0",'
        '"team":"T0","version":1}'
    )
    assert json.loads(written)["detail"] == DETAIL
    assert entry.leaf == hashlib.sha256(b"\x00" + written.encode()).hexdigest()
    assert entry.previous == GENESIS


def test_a_time_is_the_same_in_every_zone() -> None:
    """The same moment, told in another zone, makes the same entry."""
    assert stamp(AT.astimezone(timezone(timedelta(hours=5, minutes=45)))) == stamp(AT) == "2026-03-29T01:30:00.000000Z"


def test_what_json_cannot_say_is_no_entry() -> None:
    """NaN has no canonical form: an act with it is not recorded, so it does not happen."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        chained(None, team="T0", at=AT, actor="U0BEN", act=Act.MINTED, subject="k", detail={"cost": float("nan")})


def test_a_sound_chain_verifies() -> None:
    """Of any length, and where there is none at all."""
    assert verify([], None) is None
    for size in (1, 2, 9):
        assert verify(*chain(size)) is None


@given(
    size=st.integers(1, 8),
    where=st.integers(0, 7),
    change=st.sampled_from(
        [
            {"actor": "U0EVE"},
            {"act": Act.APPROVED},
            {"subject": "r_x"},
            {"team": "T1"},
            {"at": AT + timedelta(microseconds=1)},
            {"detail": {**DETAIL, "cents": 2501}},
            {"detail": {}},
        ]
    ),
)
def test_any_altered_entry_is_named(size: int, where: int, change: dict[str, Any]) -> None:
    """Whichever part of whichever entry was changed, verification stops at that entry."""
    where %= size
    entries, head = chain(size)
    entries[where] = replace(entries[where], **change)
    flaw = verify(entries, head)
    assert flaw is not None
    assert (flaw.index, flaw.because) == (where, "was altered: its hash is not that of its content")


@given(size=st.integers(2, 8), where=st.integers(0, 7))
def test_an_entry_altered_with_its_hash_breaks_the_next(size: int, where: int) -> None:
    """Who writes a fitting hash, too, has to write every entry after it, and the head."""
    where %= size
    entries, head = chain(size)
    entries[where] = rehashed(entries[where], actor="U0EVE")
    flaw = verify(entries, head)
    assert flaw is not None
    assert flaw.index == min(where + 1, size - 1)
    assert "hash of the entry before" in flaw.because or "that the head ends with" in flaw.because


@pytest.mark.parametrize(
    ("tampered", "index", "because"),
    [
        (lambda e, h: (e[1:], h), 0, "missing"),
        (lambda e, h: (e[:2] + e[3:], h), 2, "missing"),
        (lambda e, h: (e[:-1], h), 4, "has 4 entries where its head says 5"),
        (lambda e, h: ([e[0], e[2], e[1], *e[3:]], h), 1, "missing"),
        (lambda e, h: (e, None), 5, "no head"),
        (lambda e, h: ([], h), 0, "has 0 entries"),
        (lambda e, h: (e, replace(h, leaf=GENESIS)), 4, "not the entry that the head ends with"),
        (lambda e, h: (e, Head(4, e[3].leaf)), 4, "has 5 entries where its head says 4"),
        (lambda e, h: ([*e, e[-1]], h), 5, "missing"),
    ],
    ids=["first", "middle", "tail", "order", "head", "all", "other-head", "longer", "twice"],
)
def test_what_was_taken_out_or_put_in_is_named(
    tampered: Callable[[list[Entry], Head], tuple[list[Entry], Head | None]], index: int, because: str
) -> None:
    """The first place that does not fit, and what is wrong there."""
    flaw = verify(*tampered(*chain(5)))
    assert flaw is not None
    assert flaw.index == index
    assert because in flaw.because


async def test_an_act_that_cannot_be_recorded_does_not_happen(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Act and entry are one transaction: where the entry fails, nothing of the act is left."""
    request = (await world.asked()).request
    before = await world.entries()

    def broken(*_: Any, **__: Any) -> Entry:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("storage.transaction.chained", broken)
        with pytest.raises(OSError, match="no space"):
            await world.requests.decide(CARA, request.id, Ruling.APPROVE)
        with pytest.raises(OSError, match="no space"):
            await world.requests.submit(GUEST, draft(), origin="V1")
    story = await world.stories.of(request.team, request.id)
    assert (story.request, story.decision, story.grant) == (request, None, None)
    assert await world.entries() == before


async def test_an_entry_says_who_did_what_when(world: World) -> None:
    """An ask's entry carries what was asked for and by which rule, and not the reason in people's words."""
    story = await world.asked(what=draft(reason="very private"))
    entry = await world.last_entry()
    assert (entry.actor, entry.act, entry.subject, entry.at) == (
        BEN.id,
        Act.SUBMITTED,
        story.request.id,
        world.clock.now,
    )
    assert entry.detail == {
        "provider": "openai",
        "project": "proj_search",
        "permission": "chat",
        "models": "",
        "wish": "key",
        "monthly_budget_cents": 2500,
        "duration_seconds": 7 * 24 * 3600,
        "rule": "everyday keys",
    }
    assert "very private" not in repr(await world.entries())


async def test_every_refusal_at_every_door_leaves_one_entry(world: World) -> None:
    """A guest tries everything there is to press: each try is refused and each refusal recorded, once."""
    grant = await world.active()
    handover = await world.delivering()
    before = len(await world.entries())
    tries = [
        world.menus.of(GUEST),
        world.requests.submit(GUEST, draft(), origin="V1"),
        world.requests.decide(GUEST, grant.request_id, Ruling.APPROVE),
        world.requests.cancel(GUEST, grant.request_id),
        world.grants.pick_up(GUEST, grant.id, delivery="press"),
        world.claim(handover, actor=GUEST),
        world.acknowledge(handover, actor=GUEST),
        world.grants.revoke(GUEST, grant.id),
    ]
    for attempt in tries:
        with pytest.raises(DeskError):
            await attempt
    added = (await world.entries())[before:]
    assert [(entry.actor, entry.act) for entry in added] == [(GUEST.id, Act.REFUSED)] * len(tries)
    assert {entry.detail["to"] for entry in added} == {
        Act.SUBMITTED,
        Act.APPROVED,
        Act.CANCELLED,
        Act.PICK_UP_STARTED,
        Act.CLAIMED,
        Act.REVEALED,
        Act.REVOKE_ASKED,
    }
