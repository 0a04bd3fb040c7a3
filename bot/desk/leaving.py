"""People who leave: what they hold is revoked or offered to who approved it, and what they asked for is over."""

import logging
from collections.abc import Mapping
from datetime import datetime

from bot.desk.approvers import Approvers
from bot.desk.audit import Act, stamp
from bot.desk.bell import Bell
from bot.desk.grants import Grants
from bot.desk.hours import next_working
from bot.desk.keys import put_away
from bot.desk.model import SYSTEM, AccessRequest, Actor, Cause, Grant, NoticeKind, Person, TimerKind
from bot.desk.policy import OnLeaving
from bot.desk.ports import Clock, Directory, Random, Store, Transaction
from bot.desk.providers import Providers
from bot.desk.replacing import set_timers
from bot.desk.requests import redraw_extended, succeeded_by
from bot.desk.revoking import living
from bot.desk.states import GrantState, RequestState
from bot.desk.stories import came_of, new_notice
from bot.desk.zones import known_tz

log = logging.getLogger(__name__)

BATCH = 100  # grants, and requests, that one transaction ends

Heirs = Mapping[str, datetime]
"""Who may take a key over, with when each of them next works."""


class Leaving:
    """Takes back what somebody has here who is deactivated, or was turned into a guest."""

    def __init__(
        self,
        *,
        store: Store,
        directory: Directory,
        approvers: Approvers,
        providers: Providers,
        grants: Grants,
        bell: Bell,
        clock: Clock,
        random: Random,
    ) -> None:
        self._store = store
        self._directory = directory
        self._approvers = approvers
        self._providers = providers
        self._grants = grants
        self._bell = bell
        self._clock = clock
        self._random = random

    async def look(self, member: Actor, *, unlisted: bool = False) -> bool:
        """Whether the member left; if so, their grants end, their keys are to be revoked, their pending requests are over.

        Where policy says so, a key in use is offered to who approved it instead, and works on for a while. What the member
        was asked, others are asked. Asked whenever something about a member changed, however late or often: what counts
        is what the directory says now. Only its word that they are deactivated or a guest counts: nobody is taken for
        gone because it does not know them, unless its whole list does not name them either (`unlisted`), or because it
        cannot be asked. Raises `Unavailable`, and `Superseded` when somebody moved the same thing in this moment; look
        again then.
        """
        if not await self._store.read(lambda tx: _has_something(tx, member)):
            return False  # most changes are of a name or a picture, of somebody without a key: Slack is not asked
        person = await self._directory.person(member.id, fresh=True)
        why = why_gone(person)
        if why is None and unlisted and (person is None or person.stranger):
            why = "not a member"
        if why is None:
            return False
        more = True
        while more:
            offers = await self._offers(member)
            more = await self._store.write(lambda tx, offers=offers: self._end_some(tx, member, why, offers))  # type: ignore[misc]  # bound for each
            self._bell.ring()

        def ask_others(tx: Transaction) -> None:
            set_timers(tx, member.team, tx.asked(member.team, member.id), self._clock())

        await self._store.write(ask_others)
        log.info(
            "%s left (%s): what they held is revoked or offered to others, their pending requests over", member.id, why
        )
        return True

    async def _offers(self, member: Actor) -> Mapping[str, Heirs]:
        """By grant, who may take its key over: of those whose keys the member has, and that policy wants handed over."""

        def look(tx: Transaction) -> list[tuple[Grant, AccessRequest, str]]:
            held = [one for one in tx.living_grants_of(member.team, member.id, BATCH) if one.state is GrantState.ACTIVE]
            # One that another key in their hands follows already is not needed any more.
            asked = [
                (one, *came_of(tx, one))
                for one in held
                if (next_one := succeeded_by(tx, one)) is None or next_one.state is not GrantState.ACTIVE
            ]
            return [(one, request, decision.approver) for one, request, decision in asked if request and decision]

        offers = {}
        for grant, request, approver in await self._store.read(look):
            if self._providers.on_leaving(request) is OnLeaving.HAND_OVER:
                heirs = await self._approvers.who_approved(request, approver)
                offers[grant.id] = {who: await self._works(who) for who in heirs}
        return offers

    async def _works(self, who: str) -> datetime:
        return next_working(self._clock(), await known_tz(who, self._directory))

    def _end_some(self, tx: Transaction, member: Actor, why: str, offers: Mapping[str, Heirs]) -> bool:
        """Whether there was anything to end. What is not in use, or that nobody can take over, ends at once."""
        now = self._clock()
        grants = tx.living_grants_of(member.team, member.id, BATCH)
        for grant in grants:
            if grant.state is GrantState.ACTIVE and (heirs := offers.get(grant.id)):
                self._offer(tx, grant, heirs, now)
            else:
                self._grants.end(tx, grant, now, by=SYSTEM, because=Cause.LEFT, recorded_as=Act.HOLDER_LEFT)
        requests = tx.pending_of(member.team, member.id, BATCH)
        for request in requests:
            tx.move(request, RequestState.LEFT)
            tx.redraw(request.team, request.id, now)
            redraw_extended(tx, request, now)
            tx.record(team=request.team, at=now, actor=SYSTEM, act=Act.REQUESTER_LEFT, subject=request.id, because=why)
        return bool(grants or requests)

    def _offer(self, tx: Transaction, grant: Grant, heirs: Heirs, now: datetime) -> None:
        """The key works on for a while, and its heirs are asked who takes it over. No other key of the grant does."""
        ends = now + self._approvers.policy.hand_over_within
        ends = min(ends, grant.expires_at or ends)
        # They would ask somebody who left.
        for kind in (TimerKind.EXPIRY, TimerKind.IDLE, TimerKind.ROTATION, TimerKind.ROTATE_LATER):
            tx.drop_timer(grant.team, kind, grant.id)
        for key in living(tx, grant):
            if key.id != grant.key_id:
                put_away(tx, grant, key, now, because=Cause.LEFT)
        tx.move(grant, left_at=now, expires_at=ends, next_key_id=None, rotates_at=None, overdue_since=None)
        tx.redraw(grant.team, grant.request_id, now)
        for who, works in heirs.items():
            tx.add(new_notice(NoticeKind.ORPHANED, grant, who, due_at=works, random=self._random, waits=True))
        tx.record(
            team=grant.team,
            at=now,
            actor=SYSTEM,
            act=Act.HAND_OVER_OFFERED,
            subject=grant.id,
            to=" ".join(sorted(heirs)),
            ends=stamp(ends),
        )


def why_gone(person: Person | None) -> str | None:
    """By which of the directory's words somebody is no full member any more; None where it has none."""
    if person is None:
        return None
    return "deactivated" if person.deleted else "guest" if person.guest else None


def _has_something(tx: Transaction, member: Actor) -> bool:
    """A grant, a request, or a question to answer."""
    return bool(
        tx.living_grants_of(member.team, member.id, 1)
        or tx.pending_of(member.team, member.id, 1)
        or tx.asked(member.team, member.id)
    )
