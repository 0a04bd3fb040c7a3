"""State machines as data. The comment on each state says whose turn it is.

A move that is not listed in `MOVES` is a programming error; a listed move that finds its thing in another state was
lost to somebody faster, which is an ordinary outcome (`errors.Superseded`). `docs/lifecycle.md` tells what a crash
leaves in each state.
"""

from collections.abc import Mapping
from enum import StrEnum


class RequestState(StrEnum):
    """What became of one ask."""

    PENDING = "pending"  # an approver's turn
    APPROVED = "approved"  # nobody's: the grant goes on from here
    DENIED = "denied"  # nobody's: over
    CANCELLED = "cancelled"  # nobody's: over


class GrantState(StrEnum):
    """Where a holder stands with their right to a key."""

    READY = "ready"  # the holder's turn: pick up
    ISSUING = "issuing"  # the desk's turn: a key is being minted
    DELIVERING = "delivering"  # the holder's turn: open the link
    ACTIVE = "active"  # nobody's: the holder has the key
    ENDING = "ending"  # the desk's turn: the key is being revoked
    ENDED = "ended"  # nobody's: over, no key of it lives


class KeyState(StrEnum):
    """What the desk knows of one provider-side key."""

    MINTING = "minting"  # the desk's turn: the intention is stored, the provider may or may not have acted
    SEALED = "sealed"  # the holder's turn: the key lives, its value lies sealed behind a link
    LIVE = "live"  # nobody's: in its holder's hands
    REVOKING = "revoking"  # the desk's turn: it must die, or be shown never to have lived
    REVOKED = "revoked"  # nobody's: the provider said it is gone
    VOID = "void"  # nobody's: it was never minted


class LinkState(StrEnum):
    """How far a one-time delivery got."""

    OPEN = "open"  # the holder's turn: reveal
    CLAIMED = "claimed"  # the browser's turn: one session holds the lease and acknowledges
    REVEALED = "revealed"  # nobody's: acknowledged, the envelope is destroyed
    CLOSED = "closed"  # nobody's: closed unread, the envelope is destroyed


State = RequestState | GrantState | KeyState | LinkState

MOVES: Mapping[State, frozenset[State]] = {
    RequestState.PENDING: frozenset({RequestState.APPROVED, RequestState.DENIED, RequestState.CANCELLED}),
    RequestState.APPROVED: frozenset(),
    RequestState.DENIED: frozenset(),
    RequestState.CANCELLED: frozenset(),
    GrantState.READY: frozenset({GrantState.ISSUING, GrantState.ENDING, GrantState.ENDED}),
    GrantState.ISSUING: frozenset({GrantState.DELIVERING, GrantState.READY, GrantState.ENDING}),
    GrantState.DELIVERING: frozenset({GrantState.ACTIVE, GrantState.READY, GrantState.ISSUING, GrantState.ENDING}),
    GrantState.ACTIVE: frozenset({GrantState.ENDING}),
    GrantState.ENDING: frozenset({GrantState.ENDED}),
    GrantState.ENDED: frozenset(),
    KeyState.MINTING: frozenset({KeyState.SEALED, KeyState.REVOKING, KeyState.VOID}),
    KeyState.SEALED: frozenset({KeyState.LIVE, KeyState.REVOKING}),
    KeyState.LIVE: frozenset({KeyState.REVOKING}),
    KeyState.REVOKING: frozenset({KeyState.REVOKED, KeyState.VOID}),
    KeyState.REVOKED: frozenset(),
    KeyState.VOID: frozenset(),
    LinkState.OPEN: frozenset({LinkState.CLAIMED, LinkState.CLOSED}),
    LinkState.CLAIMED: frozenset({LinkState.REVEALED, LinkState.CLOSED}),
    LinkState.REVEALED: frozenset(),
    LinkState.CLOSED: frozenset(),
}
