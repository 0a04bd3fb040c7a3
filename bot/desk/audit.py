"""The audit log: the vocabulary of acts, the chain, and its verification.

Each team has one chain. An entry is canonical JSON (RFC 8785 for the subset used here: strings, integers, booleans,
null, arrays and objects with ASCII keys) that carries a contiguous index from 0 and the leaf hash of the entry before
it. A leaf hash is SHA-256 over 0x00 and the entry (RFC 6962, section 2.1), so a Merkle tree can stand on the same
leaves. The head, kept beside the chain, says how long it is: cutting off its end shows too.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

GENESIS = "0" * 64
"""What the first entry of a chain carries in place of a hash before it."""


class Act(StrEnum):
    """Everything that leaves an entry. The past tense says that it is done."""

    SUBMITTED = "request.submitted"
    APPROVED = "request.approved"
    DENIED = "request.denied"
    CANCELLED = "request.cancelled"
    REQUESTER_LEFT = "request.requester_left"
    LESSON_ACKNOWLEDGED = "lesson.acknowledged"
    ASKED_ANEW = "request.asked_anew"
    STRANDED = "request.stranded"
    LAPSED = "request.lapsed"
    PICK_UP_STARTED = "grant.pick_up_started"
    PICK_UP_BROKEN = "grant.pick_up_broken"
    MINTED = "key.minted"
    FOUND = "key.found"
    DEPOSITED = "key.deposited"
    UNWRAPPED = "key.unwrapped"
    DISABLE_ASKED = "key.disable_asked"
    DISABLED = "key.disabled"
    ENABLE_ASKED = "key.enable_asked"
    ENABLED = "key.enabled"
    BY_HAND = "key.by_hand"
    STUCK = "key.stuck"
    VANISHED = "key.vanished"
    STRAY_REVOKED = "key.stray_revoked"
    PROJECT_MADE = "project.made"
    INVITED = "grant.invited"
    WITHDRAWN = "grant.withdrawn"
    WARNED = "grant.budget_warned"
    OVERSPENT = "grant.overspent"
    UNUSUAL = "incident.opened"
    EXPLAINED = "incident.explained"
    INCIDENT_CLOSED = "incident.closed"
    CLAIMED = "link.claimed"
    REVEALED = "link.revealed"
    LINK_CLOSED = "link.closed"
    ROTATION_STARTED = "grant.rotation_started"
    ROTATION_PUT_OFF = "grant.rotation_put_off"
    ROTATION_OVERDUE = "grant.rotation_overdue"
    NOT_ROTATED = "grant.not_rotated"
    ROTATION_LAPSED = "grant.rotation_lapsed"
    ROTATED = "grant.rotated"
    ROTATED_AT_ONCE = "grant.rotated_at_once"
    RETIRED = "key.retired"
    REVOKE_ASKED = "grant.revoke_asked"
    EXPIRED = "grant.expired"
    OFFER_LAPSED = "grant.lapsed"
    SUCCEEDED = "grant.succeeded"
    IDLE_ASKED = "grant.idle_asked"
    KEPT = "grant.kept"
    IDLE = "grant.idle"
    HOLDER_LEFT = "grant.holder_left"
    HAND_OVER_OFFERED = "grant.hand_over_offered"
    REVOKED = "key.revoked"
    VOIDED = "key.voided"
    ENDED = "grant.ended"
    APP_REMOVED = "app.removed"
    APP_BACK = "app.back"
    DIGEST_SET = "digest.set"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a team's audit log. `at` is UTC; `detail` holds strings, integers, booleans and None only."""

    team: str
    index: int
    at: datetime
    actor: str
    act: str
    subject: str
    detail: dict[str, Any]
    previous: str
    leaf: str


@dataclass(frozen=True, slots=True)
class Head:
    """How many entries a chain has, and the leaf hash of its last."""

    size: int
    leaf: str


@dataclass(frozen=True, slots=True)
class Flaw:
    """The first place where a chain does not fit."""

    index: int
    because: str


def stamp(at: datetime) -> str:
    """RFC 3339 in UTC with microseconds, as entries carry it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def leaf_hash(
    *, team: str, index: int, at: datetime, actor: str, act: str, subject: str, detail: dict[str, Any], previous: str
) -> str:
    """The hash an entry with this content must carry, in hex."""
    canonical = json.dumps(
        {
            "act": act,
            "actor": actor,
            "at": stamp(at),
            "detail": detail,
            "index": index,
            "previous": previous,
            "subject": subject,
            "team": team,
            "version": 1,
        },
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )
    return hashlib.sha256(b"\x00" + canonical.encode()).hexdigest()


def chained(
    head: Head | None, *, team: str, at: datetime, actor: str, act: Act, subject: str, detail: dict[str, Any]
) -> Entry:
    """The entry that follows `head`."""
    index, previous = (head.size, head.leaf) if head else (0, GENESIS)
    leaf = leaf_hash(
        team=team, index=index, at=at, actor=actor, act=act, subject=subject, detail=detail, previous=previous
    )
    return Entry(
        team=team,
        index=index,
        at=at,
        actor=actor,
        act=act,
        subject=subject,
        detail=detail,
        previous=previous,
        leaf=leaf,
    )


def verify(entries: Iterable[Entry], head: Head | None) -> Flaw | None:
    """The first entry that does not fit, or None: contiguous from 0, chained, unaltered, and as long as the head says."""
    index, previous = 0, GENESIS
    for entry in entries:
        if entry.index != index:
            return Flaw(index, f"missing: the next entry found is number {entry.index}")
        if entry.previous != previous:
            return Flaw(index, "does not carry the hash of the entry before it")
        true_leaf = leaf_hash(
            team=entry.team,
            index=entry.index,
            at=entry.at,
            actor=entry.actor,
            act=entry.act,
            subject=entry.subject,
            detail=entry.detail,
            previous=entry.previous,
        )
        if entry.leaf != true_leaf:
            return Flaw(index, "was altered: its hash is not that of its content")
        index, previous = index + 1, entry.leaf
    if head is None:
        return Flaw(index, "has no head beside the chain") if index else None
    if head.size != index:
        return Flaw(min(index, head.size), f"the chain has {index} entries where its head says {head.size}")
    if head.leaf != previous:
        return Flaw(max(index - 1, 0), "is not the entry that the head ends with")
    return None
