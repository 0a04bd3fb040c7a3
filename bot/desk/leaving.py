"""People who leave: what they hold is revoked, and what they asked for is over."""

import logging

from bot.desk.audit import Act
from bot.desk.bell import Bell
from bot.desk.grants import Grants
from bot.desk.model import Actor, Cause, Person
from bot.desk.ports import Clock, Directory, Store, Transaction
from bot.desk.replacing import set_timers
from bot.desk.states import RequestState

log = logging.getLogger(__name__)

BATCH = 100  # grants, and requests, that one transaction ends


class Leaving:
    """Takes back what somebody has here who is deactivated, or was turned into a guest."""

    def __init__(self, *, store: Store, directory: Directory, grants: Grants, bell: Bell, clock: Clock) -> None:
        self._store = store
        self._directory = directory
        self._grants = grants
        self._bell = bell
        self._clock = clock

    async def look(self, member: Actor, *, unlisted: bool = False) -> bool:
        """Whether the member left; if so, their grants end, their keys are to be revoked, their pending requests are over.

        What they were asked, others are asked. Asked whenever something about a member changed, however late or often:
        what counts is what the directory says now. Only its word that they are deactivated or a guest counts: nobody is
        taken for gone because it does not know them, unless its whole list does not name them either (`unlisted`), or
        because it cannot be asked. Raises `Unavailable`, and `Superseded` when somebody moved the same thing in this
        moment; look again then.
        """
        if not await self._store.read(lambda tx: _has_something(tx, member)):
            return False  # most changes are of a name or a picture, of somebody without a key: Slack is not asked
        person = await self._directory.person(member.id, fresh=True)
        why = why_gone(person)
        if why is None and unlisted and (person is None or person.stranger):
            why = "not a member"
        if why is None:
            return False
        while await self._store.write(lambda tx: self._end_some(tx, member, why)):
            self._bell.ring()

        def ask_others(tx: Transaction) -> None:
            set_timers(tx, member.team, tx.asked(member.team, member.id), self._clock())

        await self._store.write(ask_others)
        log.info("%s left (%s): their keys are revoked, their pending requests over", member.id, why)
        return True

    def _end_some(self, tx: Transaction, member: Actor, why: str) -> bool:
        """Whether there was anything to end."""
        now, system = self._clock(), Actor.system(member.team).id
        grants = tx.living_grants_of(member.team, member.id, BATCH)
        for grant in grants:
            self._grants.end(tx, grant, now, by=system, because=Cause.LEFT, recorded_as=Act.HOLDER_LEFT)
        requests = tx.pending_of(member.team, member.id, BATCH)
        for request in requests:
            tx.move(request, RequestState.LEFT)
            tx.redraw(request.team, request.id, now)
            tx.record(team=request.team, at=now, actor=system, act=Act.REQUESTER_LEFT, subject=request.id, because=why)
        return bool(grants or requests)


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
