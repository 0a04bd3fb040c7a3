"""Invitations to a provider's own organisation, instead of a key: sent, and withdrawn.

The decision is committed first; a sweep carries it out at the provider, which is asked for one that is there before
anybody is invited, so that asking twice invites once. Nothing secret passes through the desk.
"""

import logging
from datetime import datetime, timedelta

from bot.desk.audit import Act
from bot.desk.bell import Bell
from bot.desk.door import unwelcome
from bot.desk.errors import ProviderError, Superseded, Unavailable
from bot.desk.model import SYSTEM, Actor, Cause, Grant
from bot.desk.offer import Invitation
from bot.desk.ports import Clock, Directory, Provider, Store, Transaction
from bot.desk.providers import Providers
from bot.desk.retrying import wait_before
from bot.desk.revoking import LOOK_AGAIN, QUARANTINE
from bot.desk.states import GrantState

log = logging.getLogger(__name__)

ASK_AGAIN = timedelta(hours=1)  # whether it was accepted; some providers give the project only to who did
ASKED_FOR = timedelta(days=30)  # longer than any provider's invitation stands open


class Invitations:
    """Takes invitations from the decision to the provider's word, and back."""

    def __init__(self, *, store: Store, providers: Providers, directory: Directory, bell: Bell, clock: Clock) -> None:
        self._store = store
        self._providers = providers
        self._directory = directory
        self._bell = bell
        self._clock = clock

    async def carry_out(self, grant: Grant) -> None:
        """Sends, follows or withdraws. What fails is tried again, later and later.

        Raises `Superseded` when it moved on meanwhile.
        """
        steps = {GrantState.INVITING: self._send, GrantState.INVITED: self._follow}
        try:
            await steps.get(grant.state, self._withdraw)(grant)
        except (ProviderError, Unavailable) as error:
            wait = wait_before(grant.attempts, error)
            log.warning("the invitation of %s failed (%s), again in %s", grant.id, type(error).__name__, wait)
            again = self._clock() + wait
            await self._store.write(lambda tx: tx.move(grant, due_at=again, attempts=grant.attempts + 1))
        self._bell.ring()

    async def _send(self, grant: Grant) -> None:
        person = await self._directory.person(grant.holder, fresh=True)
        if unwelcome(Actor(grant.team, grant.holder), person) is not None or person is None:
            await self._store.write(lambda tx: self._end(tx, grant, self._clock()))
            return
        if grant.email is None:
            if person.email is None:
                raise Unavailable(f"Slack shows no mail address of {grant.holder}.")
            # Written down before it is used: it may be another one when the invitation is withdrawn.
            addressed = await self._store.write(lambda tx: tx.move(grant, email=person.email))
        else:
            addressed = grant
        provider, project = self._provider(grant), grant.draft.scope.project
        invitation = await provider.invite(email=addressed.email or "", project=project)
        try:
            await self._store.write(lambda tx: self._invited(tx, addressed, invitation, self._clock()))
        except Superseded:
            # Taken back while the provider was inviting: the pass that withdraws has to know what.
            await self._store.write(lambda tx: self._learnt(tx, addressed, invitation))
            raise

    async def _follow(self, grant: Grant) -> None:
        known = Invitation(grant.invitation or "", grant.email or "", pending=True)
        found = await self._provider(grant).follow(invitation=known, project=grant.draft.scope.project)
        again = self._again(grant, found)
        await self._store.write(lambda tx: tx.move(grant, invitation=found.handle, due_at=again, attempts=0))

    async def _withdraw(self, grant: Grant) -> None:
        # An empty handle: they were in the project before the desk came, and stay.
        if grant.invitation != "" and (grant.invitation or grant.email):
            invitation = Invitation(grant.invitation or "", grant.email or "")
            await self._provider(grant).withdraw(invitation=invitation, project=grant.draft.scope.project)
        now = self._clock()
        if grant.invitation is None and now < (grant.ended_at or now) + QUARANTINE:
            # One that was under way when it was taken back may land after it was looked for.
            later = now + LOOK_AGAIN
            await self._store.write(lambda tx: tx.move(grant, due_at=later, attempts=grant.attempts + 1))
            return
        await self._store.write(lambda tx: self._withdrawn(tx, grant, now))

    def _provider(self, grant: Grant) -> Provider:
        provider = self._providers.get(grant.draft.scope.provider)
        if provider is None:
            raise ProviderError(f"provider {grant.draft.scope.provider} is not set up")
        return provider

    def _again(self, grant: Grant, invitation: Invitation) -> datetime | None:
        now = self._clock()
        return now + ASK_AGAIN if invitation.pending and now < grant.created_at + ASKED_FOR else None

    def _invited(self, tx: Transaction, grant: Grant, invitation: Invitation, now: datetime) -> None:
        again = self._again(grant, invitation)
        tx.move(grant, GrantState.INVITED, invitation=invitation.handle, due_at=again, attempts=0)
        self._record(tx, grant, Act.INVITED, now, invitation=invitation.handle, holder=grant.holder)
        tx.redraw(grant.team, grant.request_id, now)

    def _learnt(self, tx: Transaction, grant: Grant, invitation: Invitation) -> None:
        found = tx.grant(grant.team, grant.id)
        if found is not None and found.state is GrantState.ENDING:
            tx.move(found, invitation=invitation.handle)

    def _withdrawn(self, tx: Transaction, grant: Grant, now: datetime) -> None:
        tx.move(grant, GrantState.ENDED, due_at=None, attempts=0)
        self._record(tx, grant, Act.WITHDRAWN, now, invitation=grant.invitation, holder=grant.holder)
        self._record(tx, grant, Act.ENDED, now)
        tx.redraw(grant.team, grant.request_id, now)

    def _end(self, tx: Transaction, grant: Grant, now: datetime) -> None:
        """Who was to be invited may not be any more: left, or a guest now."""
        tx.move(grant, GrantState.ENDED, ended_at=now, ended_by=SYSTEM, ended_because=Cause.REVOKED, due_at=None)
        self._record(tx, grant, Act.ENDED, now)
        tx.redraw(grant.team, grant.request_id, now)

    def _record(self, tx: Transaction, grant: Grant, act: Act, now: datetime, **detail: str | None) -> None:
        scope = grant.draft.scope
        tx.record(
            team=grant.team,
            at=now,
            actor=SYSTEM,
            act=act,
            subject=grant.id,
            provider=scope.provider,
            project=scope.project,
            **detail,
        )
