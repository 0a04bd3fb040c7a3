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
    LEFT = "left"  # nobody's: over, its requester is no member any more
    LAPSED = "lapsed"  # nobody's: over, nobody decided in time


class GrantState(StrEnum):
    """Where a holder stands with their right to a key."""

    AWAITED = "awaited"  # a depositor's turn: bring the key
    READY = "ready"  # the holder's turn: pick up
    ISSUING = "issuing"  # the desk's turn: a key is being minted
    DELIVERING = "delivering"  # the holder's turn: open the link
    ACTIVE = "active"  # nobody's: the holder has the key
    INVITING = "inviting"  # the desk's turn: the provider is asked to invite the holder
    INVITED = "invited"  # nobody's: the holder was invited to the provider's organisation instead
    ENDING = "ending"  # the desk's turn: the key is being revoked, or the invitation withdrawn
    ENDED = "ended"  # nobody's: over, no key of it lives


class KeyState(StrEnum):
    """What the desk knows of one provider-side key."""

    AWAITED = "awaited"  # a depositor's turn: make it at the provider, bring it
    DEPOSITED = "deposited"  # the holder's turn: the key lives, its value rests sealed under the KEK
    MINTING = "minting"  # the desk's turn: the intention is stored, the provider may or may not have acted
    SEALED = "sealed"  # the holder's turn: the key lives, its value lies sealed behind a link
    LIVE = "live"  # nobody's: in its holder's hands
    RETIRING = "retiring"  # the holder's turn: another key took its place, this one works until grace ends
    DISABLING = "disabling"  # the desk's turn: to be switched off at the provider
    DISABLED = "disabled"  # nobody's: in its holder's hands, and switched off
    ENABLING = "enabling"  # the desk's turn: to be switched on again
    REVOKING = "revoking"  # the desk's turn: it must die, or be shown never to have lived
    BY_HAND = "by_hand"  # a person's turn: the provider lets nobody but a person revoke it
    REVOKED = "revoked"  # nobody's: the provider said it is gone
    VOID = "void"  # nobody's: it was never minted


class LinkState(StrEnum):
    """How far a one-time delivery got."""

    OPEN = "open"  # the holder's turn: reveal
    CLAIMED = "claimed"  # the browser's turn: one session holds the lease and acknowledges
    REVEALED = "revealed"  # nobody's: acknowledged, the envelope is destroyed
    CLOSED = "closed"  # nobody's: closed unread, the envelope is destroyed


State = RequestState | GrantState | KeyState | LinkState

_REQUEST: Mapping[State, frozenset[State]] = {
    RequestState.PENDING: frozenset(
        {
            RequestState.APPROVED,
            RequestState.DENIED,
            RequestState.CANCELLED,
            RequestState.LEFT,
            RequestState.LAPSED,
        }
    ),
    RequestState.APPROVED: frozenset(),
    RequestState.DENIED: frozenset(),
    RequestState.CANCELLED: frozenset(),
    RequestState.LEFT: frozenset(),
    RequestState.LAPSED: frozenset(),
}
_GRANT: Mapping[State, frozenset[State]] = {
    GrantState.AWAITED: frozenset({GrantState.READY, GrantState.ENDING, GrantState.ENDED}),
    GrantState.READY: frozenset({GrantState.ISSUING, GrantState.DELIVERING, GrantState.ENDING, GrantState.ENDED}),
    GrantState.ISSUING: frozenset({GrantState.DELIVERING, GrantState.READY, GrantState.ENDING}),
    GrantState.DELIVERING: frozenset({GrantState.ACTIVE, GrantState.READY, GrantState.ISSUING, GrantState.ENDING}),
    GrantState.ACTIVE: frozenset({GrantState.READY, GrantState.AWAITED, GrantState.ENDING}),
    GrantState.INVITING: frozenset({GrantState.INVITED, GrantState.ENDING, GrantState.ENDED}),
    GrantState.INVITED: frozenset({GrantState.ENDING}),
    GrantState.ENDING: frozenset({GrantState.ENDED}),
    GrantState.ENDED: frozenset(),
}
_KEY: Mapping[State, frozenset[State]] = {
    KeyState.MINTING: frozenset({KeyState.SEALED, KeyState.REVOKING, KeyState.VOID}),
    KeyState.AWAITED: frozenset({KeyState.DEPOSITED, KeyState.VOID}),
    KeyState.DEPOSITED: frozenset({KeyState.SEALED, KeyState.REVOKING}),
    KeyState.SEALED: frozenset({KeyState.LIVE, KeyState.DEPOSITED, KeyState.REVOKING}),
    KeyState.LIVE: frozenset({KeyState.RETIRING, KeyState.DISABLING, KeyState.REVOKING}),
    KeyState.RETIRING: frozenset({KeyState.REVOKING}),
    KeyState.DISABLING: frozenset({KeyState.DISABLED, KeyState.REVOKING}),
    KeyState.DISABLED: frozenset({KeyState.ENABLING, KeyState.REVOKING}),
    KeyState.ENABLING: frozenset({KeyState.LIVE, KeyState.REVOKING}),
    KeyState.REVOKING: frozenset({KeyState.REVOKED, KeyState.VOID, KeyState.BY_HAND}),
    KeyState.BY_HAND: frozenset({KeyState.REVOKED}),
    KeyState.REVOKED: frozenset(),
    KeyState.VOID: frozenset(),
}
_LINK: Mapping[State, frozenset[State]] = {
    LinkState.OPEN: frozenset({LinkState.CLAIMED, LinkState.CLOSED}),
    LinkState.CLAIMED: frozenset({LinkState.REVEALED, LinkState.CLOSED}),
    LinkState.REVEALED: frozenset(),
    LinkState.CLOSED: frozenset(),
}
# By kind: a grant and a key may both be "awaited", and as texts the two are equal.
MOVES: Mapping[type[State], Mapping[State, frozenset[State]]] = {
    RequestState: _REQUEST,
    GrantState: _GRANT,
    KeyState: _KEY,
    LinkState: _LINK,
}
