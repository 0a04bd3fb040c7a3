"""What must be true of a desk, told from its audit log alone.

The model keeps facts, not states: who asked, who decided, which key was sealed, opened, followed, given up, is gone. Each entry
of the log must be possible after those before it, and adds its fact; the states that the desk must then be in are worked
out from the facts. So a change without its entry, an entry without its change, and a change that no rule allows all
show. It knows nothing of the desk's code: times and rules are those of `docs/lifecycle.md`.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bot.desk.audit import Entry
from bot.desk.model import SYSTEM
from tests.desk.world import ANA, BEN, CARA, DEV

APPROVERS = {BEN.id: {ANA.id, CARA.id, DEV.id}, CARA.id: {DEV.id}}
"""Who may decide on whose request: the leads and one's manager, never oneself."""
LINK_LIVES = timedelta(minutes=15)
LEASE = timedelta(minutes=2)
STALLED = timedelta(minutes=2)
QUARANTINE = timedelta(minutes=10)
GRACE = timedelta(hours=24)
OLD_AT_MOST = 3
"""Old keys of one grant that work on beside the one in hand."""
WORTH_ROTATING = timedelta(minutes=15)
"""What must be left of a grant's time."""

LEAVES = {
    "ask": {"request.submitted"},
    "decide": {"request.approved", "request.denied", "refused"},
    "cancel": {"request.cancelled", "refused"},
    "press": {"grant.pick_up_started", "grant.pick_up_broken", "link.closed", "key.minted", "refused"},
    "rotate": {"grant.rotation_started", "grant.pick_up_broken", "link.closed", "key.minted", "refused"},
    "switch": {"key.retired", "refused"},
    "rotate at once": {"link.closed", "grant.rotated_at_once", "refused"},
    "look": {"refused"},
    "claim": {"link.claimed", "refused"},
    "acknowledge": {"grant.rotated", "link.revealed", "refused"},
    "revoke": {"grant.revoke_asked", "link.closed", "grant.ended", "refused"},
    "reconcile": {"grant.pick_up_broken", "link.closed", "grant.expired", "grant.ended", "key.retired"},
    "retire": {"key.found", "key.revoked", "key.voided", "grant.ended"},
    "deliver": set[str](),
}
"""Which entries an act may leave."""


@dataclass
class Ask:
    """One request."""

    requester: str
    decided: tuple[str, str] | None = None
    cancelled: bool = False

    @property
    def state(self) -> str:
        """As the desk must have it."""
        if self.decided:
            return self.decided[1]
        return "cancelled" if self.cancelled else "pending"


@dataclass
class Link:
    """One delivery."""

    id: str
    opened_at: datetime
    session: str | None = None
    lease_until: datetime | None = None
    shown: bool = False
    closed_at: datetime | None = None

    @property
    def state(self) -> str:
        """As the desk must have it."""
        if self.closed_at:
            return "closed"
        return "revealed" if self.shown else "claimed" if self.session else "open"


@dataclass
class Key:
    """One intention to mint, and what came of it."""

    id: str
    grant: "Grant"
    intended_at: datetime
    link: Link | None = None
    handle: str | None = None
    grace_ends: datetime | None = None
    given_up: bool = False
    gone: str | None = None
    found: bool = False

    @property
    def state(self) -> str:
        """As the desk must have it."""
        if self.gone or self.given_up:
            return self.gone or "revoking"
        if self.grace_ends:
            return "retiring"
        return ("live" if self.link.shown else "sealed") if self.link else "minting"


@dataclass
class Grant:
    """One right to a key."""

    id: str
    ask: Ask
    keys: list[Key] = field(default_factory=list)
    expires_at: datetime | None = None
    over: bool = False
    ended: bool = False

    def _in(self, *states: str) -> list[Key]:
        return [key for key in self.keys if key.state in states]

    @property
    def coming(self) -> Key | None:
        """The one on its way to the holder: the first, or the one to follow."""
        return next(iter(self._in("minting", "sealed")), None)

    @property
    def in_hand(self) -> Key | None:
        """The one that the holder works with."""
        return next(iter(self._in("live")), None)

    @property
    def retiring(self) -> list[Key]:
        """Those that others followed, and that work on through their grace."""
        return self._in("retiring")

    @property
    def held(self) -> bool:
        """Whether the holder was ever shown a key: since then the clock runs."""
        return any(key.link and key.link.shown for key in self.keys)

    def past(self, now: datetime) -> bool:
        """Whether its time is over, and it is not."""
        return self.held and not self.over and _past(self.expires_at, now)

    @property
    def all_gone(self) -> bool:
        """Whether no key of it lives."""
        return all(key.gone for key in self.keys)

    @property
    def state(self) -> str:
        """As the desk must have it."""
        if self.over:
            return "ended" if self.ended else "ending"
        if self.in_hand:
            return "active"
        return {"minting": "issuing", "sealed": "delivering"}[self.coming.state] if self.coming else "ready"


class Model:
    """The facts. Raises `AssertionError` at the first entry that cannot be."""

    def __init__(self, duration: timedelta) -> None:
        self.duration = duration
        self.asks: dict[str, Ask] = {}
        self.grants: dict[str, Grant] = {}
        self.keys: dict[str, Key] = {}
        self.links: dict[str, Link] = {}

    # ---- what was committed

    def follow(self, entries: Iterable[Entry], *, what: str, session: str | None, grants: dict[str, str]) -> None:
        """One commit of the act `what`, made from `session`. `grants` says which grant came of which request."""
        for entry in entries:
            assert entry.act in LEAVES[what], f"{what} left {entry.act}"
            take = getattr(self, "_" + entry.act.replace(".", "_"))
            assert take(entry, session, grants) is not False, f"{what} left {entry.act}, which cannot be: {entry}"
        for grant in self.grants.values():
            assert grant.ended or not (grant.over and grant.all_gone), f"{grant.id} is over and not ended"
            states = Counter(key.state for key in grant.keys)
            assert states["live"] <= 1, f"{grant.id} has two keys in hand"
            assert states["minting"] + states["sealed"] <= 1, f"{grant.id} has two keys on their way"
            assert states["retiring"] <= (OLD_AT_MOST if grant.in_hand else 0), f"{grant.id} has too many old keys"

    def _request_submitted(self, entry: Entry, *_: object) -> bool:
        new = entry.subject not in self.asks and entry.actor in APPROVERS
        self.asks[entry.subject] = Ask(entry.actor)
        return new

    def _decided(self, entry: Entry, ruling: str) -> bool:
        ask = self.asks[entry.subject]
        fits = ask.state == "pending" and entry.actor in APPROVERS[ask.requester]
        ask.decided = (entry.actor, ruling)
        return fits

    def _request_approved(self, entry: Entry, _: object, grants: dict[str, str]) -> bool:
        fits = self._decided(entry, "approved")
        grant_id = grants[entry.subject]
        self.grants[grant_id] = Grant(grant_id, self.asks[entry.subject])
        return fits

    def _request_denied(self, entry: Entry, *_: object) -> bool:
        return self._decided(entry, "denied")

    def _request_cancelled(self, entry: Entry, *_: object) -> bool:
        ask = self.asks[entry.subject]
        fits = ask.state == "pending" and entry.actor == ask.requester
        ask.cancelled = True
        return fits

    def _intended(self, entry: Entry) -> bool:
        grant = self.grants[entry.subject]
        fits = not grant.coming and entry.actor == grant.ask.requester  # a sealed key was put away before this
        key = Key(entry.detail["key"], grant, entry.at)
        self.keys[key.id] = key
        grant.keys.append(key)
        return fits

    def _grant_pick_up_started(self, entry: Entry, *_: object) -> bool:
        grant = self.grants[entry.subject]
        # Beside a key in hand only in place of one that was to follow, whose link was closed for this.
        last = grant.keys[-1].link if grant.keys else None
        fits = grant.state == "ready" or (grant.state == "active" and last is not None and last.closed_at == entry.at)
        return self._intended(entry) and fits

    def _grant_rotation_started(self, entry: Entry, *_: object) -> bool:
        grant = self.grants[entry.subject]
        fits = grant.in_hand is not None and entry.detail["follows"] == grant.in_hand.id and not grant.over
        fits = fits and len(grant.retiring) < OLD_AT_MOST
        fits = fits and grant.expires_at is not None and grant.expires_at >= entry.at + WORTH_ROTATING
        return self._intended(entry) and fits

    def _grant_rotated(self, entry: Entry, *_: object) -> bool:
        grant, old = self.grants[entry.subject], self.keys[entry.detail["follows"]]
        fits = grant.in_hand is old and grant.coming is self.keys[entry.detail["key"]]
        old.grace_ends = entry.at + GRACE if grant.expires_at is None else min(entry.at + GRACE, grant.expires_at)
        return fits and datetime.fromisoformat(entry.detail["grace_ends"]) == old.grace_ends

    def _key_retired(self, entry: Entry, *_: object) -> bool:
        key = self.keys[entry.subject]
        fits = key.state == "retiring"
        match entry.detail["because"]:
            case "grace":
                fits = fits and entry.actor == SYSTEM and _past(key.grace_ends, entry.at)
            case because:
                fits = fits and because == "switched" and entry.actor == key.grant.ask.requester
        key.given_up = True
        return fits

    def _grant_rotated_at_once(self, entry: Entry, *_: object) -> bool:
        grant = self.grants[entry.subject]
        fits = grant.state == "active" and entry.actor in {grant.ask.requester, *APPROVERS[grant.ask.requester]}
        for key in grant.keys:
            key.given_up = True
        return fits

    def _grant_pick_up_broken(self, entry: Entry, *_: object) -> bool:
        key = self.keys[entry.detail["key"]]
        fits = key.state == "minting"
        if entry.detail["certain"]:
            key.gone = "void"
        else:
            key.given_up = True
        return fits

    def _key_minted(self, entry: Entry, *_: object) -> bool:
        key, link = self.keys[entry.subject], entry.detail["link"]
        key.handle = entry.detail["handle"]
        if link is None:  # the answer came when nobody waited any more: the key must die, whatever was thought of it
            fits = key.given_up or key.gone is not None
            key.given_up, key.gone = True, None
            return fits
        fits = key.state == "minting" and not key.grant.over
        key.link = self.links[link] = Link(link, entry.at)
        if not key.grant.held:
            key.grant.expires_at = entry.at + self.duration
        return fits

    def _link_claimed(self, entry: Entry, session: str | None, *_: object) -> bool:
        link, key = self.links[entry.subject], self.keys[entry.detail["key"]]
        fits = link.state == "open" and entry.at < link.opened_at + LINK_LIVES
        fits = fits and key.link is link and entry.actor == key.grant.ask.requester
        link.session, link.lease_until = session, entry.at + LEASE
        return fits

    def _link_revealed(self, entry: Entry, session: str | None, *_: object) -> bool:
        link = self.links[entry.subject]
        fits = link.state == "claimed" and link.session == session  # the key before it was followed just before this
        link.shown = True
        return fits

    def _link_closed(self, entry: Entry, *_: object) -> bool:
        link, key = self.links[entry.subject], self.keys[entry.detail["key"]]
        fits = link.state in ("open", "claimed") and key.link is link
        match entry.detail["because"]:
            case "lapsed":
                fits = fits and link.state == "open" and entry.at >= link.opened_at + LINK_LIVES
            case "unacknowledged":
                fits = fits and link.lease_until is not None and entry.at >= link.lease_until
        link.closed_at, key.given_up = entry.at, True
        return fits

    def _over(self, grant: Grant) -> bool:
        fits = not grant.over
        grant.over = True
        for key in grant.keys:
            key.given_up = True
        return fits

    def _grant_revoke_asked(self, entry: Entry, *_: object) -> bool:
        grant = self.grants[entry.subject]
        return self._over(grant) and entry.actor in {grant.ask.requester, *APPROVERS[grant.ask.requester]}

    def _grant_expired(self, entry: Entry, *_: object) -> bool:
        grant = self.grants[entry.subject]
        fits = grant.past(entry.at)
        return self._over(grant) and fits

    def _gone(self, entry: Entry, gone: str) -> bool:
        key = self.keys[entry.subject]
        fits = key.given_up and key.gone is None
        key.gone = gone
        return fits

    def _key_revoked(self, entry: Entry, *_: object) -> bool:
        key = self.keys[entry.subject]
        assert key.handle is None or key.handle in entry.detail["handle"].split(), f"{key.handle} was never revoked"
        return self._gone(entry, "revoked")

    def _key_found(self, entry: Entry, *_: object) -> bool:
        key = self.keys[entry.subject]
        key.found = True
        return key.state == "revoking" and bool(entry.detail["handle"])

    def _key_voided(self, entry: Entry, *_: object) -> bool:
        key = self.keys[entry.subject]
        assert key.handle is None, f"{key.handle} was forgotten"
        assert not key.found, f"what was found of {key.id} was forgotten"
        return entry.at >= key.intended_at + QUARANTINE and self._gone(entry, "void")

    def _grant_ended(self, entry: Entry, *_: object) -> bool:
        grant = self.grants[entry.subject]
        fits = grant.over and not grant.ended and grant.all_gone
        grant.ended = True
        return fits

    def _refused(self, *_: object) -> None:
        """Leaves everything as it was."""

    # ---- what must be there now

    def states(self) -> dict[str, str]:
        """Of every request, grant, key and link, by its id."""
        things: list[dict[str, Ask] | dict[str, Grant] | dict[str, Key] | dict[str, Link]]
        things = [self.asks, self.grants, self.keys, self.links]
        return {name: thing.state for kind in things for name, thing in kind.items()}

    # ---- what an act must leave when nothing comes between: its entries, and the error it ends with

    def deciding(self, ask_id: str, by: str, ruling: str) -> tuple[list[str], str]:
        """A decision."""
        ask = self.asks[ask_id]
        if ask.decided == (by, ruling):
            return [], ""
        if ask.state != "pending":
            return [], "Superseded"
        if by not in APPROVERS[ask.requester]:
            return ["refused"], "NotAllowed"
        return [f"request.{ruling}"], ""

    def cancelling(self, ask_id: str, by: str) -> tuple[list[str], str]:
        """Taking an ask back."""
        ask = self.asks[ask_id]
        if by != ask.requester:
            return ["refused"], "NotAllowed"
        if ask.state in ("pending", "cancelled"):
            return (["request.cancelled"] if ask.state == "pending" else []), ""
        return [], "Superseded"

    def pressing(self, grant_id: str, by: str, *, again: bool, error: str) -> tuple[list[str], str]:
        """A pick-up whose mint ends with `error`, or well; `again` when this click had its effect before."""
        grant = self.grants[grant_id]
        if by != grant.ask.requester:
            return ["refused"], "NotYours"
        if again:
            return [], "AlreadyDelivered"
        if grant.state not in ("ready", "delivering") and not (grant.in_hand and _sealed(grant)):
            return [], "Superseded"
        return [*_sealed(grant), "grant.pick_up_started", "grant.pick_up_broken" if error else "key.minted"], error

    def rotating(self, grant_id: str, by: str, now: datetime, *, again: bool, error: str) -> tuple[list[str], str]:
        """A rotation whose mint ends with `error`, or well."""
        grant = self.grants[grant_id]
        if by != grant.ask.requester:
            return ["refused"], "NotYours"
        if again:
            return [], "AlreadyDelivered"
        under_way = grant.coming is not None and grant.coming.state == "minting"
        too_late = grant.expires_at is not None and grant.expires_at < now + WORTH_ROTATING
        if grant.state != "active" or under_way or too_late or len(grant.retiring) >= OLD_AT_MOST:
            return [], "Superseded"
        return [*_sealed(grant), "grant.rotation_started", "grant.pick_up_broken" if error else "key.minted"], error

    def switching(self, grant_id: str, by: str) -> tuple[list[str], str]:
        """The old keys are not needed any more."""
        grant = self.grants[grant_id]
        return (["refused"], "NotYours") if by != grant.ask.requester else (["key.retired"] * len(grant.retiring), "")

    def rotating_at_once(self, grant_id: str, by: str) -> tuple[list[str], str]:
        """The keys are not to be trusted any more."""
        grant = self.grants[grant_id]
        if by not in {grant.ask.requester, *APPROVERS[grant.ask.requester]}:
            return ["refused"], "NotAllowed"
        if grant.state == "ready" and grant.held:
            return [], ""
        if grant.state != "active":
            return [], "Superseded"
        return [*_sealed(grant), "grant.rotated_at_once"], ""

    def claiming(self, link_id: str, holder: bool, session: str, now: datetime) -> tuple[list[str], str]:
        """A page that asks for the envelope."""
        link = self.links[link_id]
        if not holder:
            return ["refused"], "NotYours"
        if link.state == "open" and now < link.opened_at + LINK_LIVES:
            return ["link.claimed"], ""
        if link.state == "claimed" and link.session == session and link.lease_until and now < link.lease_until:
            return [], ""
        return ["refused"], "Superseded"

    def acknowledging(self, link_id: str, holder: bool, session: str) -> tuple[list[str], str]:
        """A page that shows the key."""
        link = self.links[link_id]
        if not holder:
            return ["refused"], "NotYours"
        if link.session not in (None, session):
            return ["refused"], "NotAllowed"
        if link.state == "revealed":
            return [], ""
        if link.state == "claimed":
            follows = any(key.link is link and key.grant.in_hand for key in self.keys.values())
            return [*(["grant.rotated"] if follows else []), "link.revealed"], ""
        return [], "Superseded"

    def revoking(self, grant_id: str, by: str) -> tuple[list[str], str]:
        """Giving a grant back, or taking it."""
        grant = self.grants[grant_id]
        if by not in {grant.ask.requester, *APPROVERS[grant.ask.requester]}:
            return ["refused"], "NotAllowed"
        if grant.over:
            return [], ""
        return [*_sealed(grant), "grant.revoke_asked", *(["grant.ended"] if grant.all_gone else [])], ""

    def overdue(self, now: datetime) -> list[str]:
        """The entries of a sweep that puts right what is due."""
        stalled = [key for key in self.keys.values() if key.state == "minting" and key.intended_at < now - STALLED]
        unread = [link for link in self.links.values() if link.state == "open" and link.opened_at + LINK_LIVES <= now]
        kept = [link for link in self.links.values() if link.state == "claimed" and _past(link.lease_until, now)]
        past = [grant for grant in self.grants.values() if grant.past(now)]
        ended = [grant for grant in past if grant.all_gone]
        # With a grant that is over go what waits behind its link, and its old keys.
        cut_off = [grant.coming.link for grant in past if grant.coming and _sealed(grant)]
        links = {link.id for link in (*unread, *kept, *cut_off) if link}
        old = [key for key in self.keys.values() if key.state == "retiring" and _past(key.grace_ends, now)]
        return (
            ["grant.pick_up_broken"] * len(stalled)
            + ["link.closed"] * len(links)
            + ["grant.expired"] * len(past)
            + ["grant.ended"] * len(ended)
            + ["key.retired"] * len([key for key in old if key.grant not in past])
        )


def _sealed(grant: Grant) -> list[str]:
    """The entry with which the key of the grant that waits behind a link is put away, if there is one."""
    return ["link.closed"] if grant.coming and grant.coming.state == "sealed" else []


def _past(end: datetime | None, now: datetime) -> bool:
    return end is not None and end <= now
