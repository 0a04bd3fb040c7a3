"""People who leave: what they hold is revoked, and what they asked for is over."""

import logging

from bot.desk.audit import Act
from bot.desk.bell import Bell
from bot.desk.grants import Grants
from bot.desk.model import Actor, Cause
from bot.desk.ports import Clock, Directory, Store, Transaction
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

    async def look(self, member: Actor) -> bool:
        """Whether the member left; if so, their grants end, their keys are to be revoked, their pending requests are over.

        Asked whenever something about a member changed, however late or often: what counts is what the directory says
        now. Only its word that they are deactivated or a guest counts: nobody is taken for gone because it does not
        know them or cannot be asked. Raises `Unavailable`, and `Superseded` when somebody moved the same thing in this
        moment; look again then.
        """
        if not await self._store.read(lambda tx: _has_something(tx, member)):
            return False  # most changes are of a name or a picture, of somebody without a key: Slack is not asked
        person = await self._directory.person(member.id, fresh=True)
        if person is None or not (person.deleted or person.guest):
            return False
        why = "deactivated" if person.deleted else "guest"
        while await self._store.write(lambda tx: self._end_some(tx, member, why)):
            self._bell.ring()
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


def _has_something(tx: Transaction, member: Actor) -> bool:
    return bool(tx.living_grants_of(member.team, member.id, 1) or tx.pending_of(member.team, member.id, 1))
