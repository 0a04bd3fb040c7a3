"""Extending a key: its holder asks for another one like it, which follows it; where its holder left, somebody who takes it over.

It is a request like any other, judged by today's policy and decided by an approver, with a grant of its own. So what was
decided, by whom, for how long, stands beside each key; and as most providers cannot move the end of a key that exists,
there has to be another key in any case. Once its holder has it, the old one goes on for a day at most, and ends by itself.
"""

from dataclasses import replace
from datetime import timedelta

from bot.desk.approvers import Approvers
from bot.desk.audit import Act
from bot.desk.door import Door
from bot.desk.errors import NotYours, present
from bot.desk.model import AccessRequest, Actor, Decision, Grant, Story
from bot.desk.ports import Store, Transaction
from bot.desk.providers import Providers
from bot.desk.requests import Requests, may_extend
from bot.desk.stories import came_of, tell


class Extending:
    """Asks to have a key followed by another."""

    def __init__(
        self, *, store: Store, door: Door, approvers: Approvers, requests: Requests, providers: Providers
    ) -> None:
        self._store = store
        self._door = door
        self._approvers = approvers
        self._requests = requests
        self._providers = providers

    async def look(self, actor: Actor, grant_id: str) -> Story:
        """What there is to extend. Raises `NotYours`, `NotThere`, and `Superseded` when it cannot be, or is already."""
        grant = await self._to_follow(actor, grant_id)

        def story(tx: Transaction) -> Story:
            may_extend(tx, grant.team, grant.id)
            return tell(tx, grant.team, grant.request_id, self._providers)

        return await self._store.read(story)

    async def ask(self, actor: Actor, grant_id: str, *, duration: timedelta, reason: str, origin: str) -> Story:
        """Asks. Raises what `Requests.submit` does, and `NotYours`, `NotThere`."""
        grant = await self._to_follow(actor, grant_id)
        draft = replace(grant.draft, duration=duration, reason=reason)
        return await self._requests.submit(actor, draft, origin=origin, extends=grant.id)

    async def _to_follow(self, actor: Actor, grant_id: str) -> Grant:
        """The grant, where it is the actor's own, or was offered to them when its holder left."""
        await self._door.admit(actor, to=Act.SUBMITTED, subject=grant_id)
        grant, asked, decision = await self._store.read(lambda tx: self._found(tx, actor.team, grant_id))
        if grant.left_at is None:
            may = grant.holder == actor.id
            refusal = NotYours("This key is somebody else's. Only who holds it can ask to extend it.")
        else:
            may = actor.id in await self._approvers.who_approved(asked, decision.approver)
            refusal = NotYours("This key was not offered to you. Who approved it can take it over.")
        if not may:
            raise await self._door.refuse(actor, refusal, to=Act.SUBMITTED, subject=grant_id)
        return grant

    def _found(self, tx: Transaction, team: str, grant_id: str) -> tuple[Grant, AccessRequest, Decision]:
        grant = present(tx.grant(team, grant_id))
        asked, decision = came_of(tx, grant)
        return grant, present(asked), present(decision)
