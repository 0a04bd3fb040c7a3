"""Invitations to a provider's own organisation, instead of a key: sent, and withdrawn.

The decision is committed first; a sweep carries it out at the provider, which is asked for one that is there before
anybody is invited, so that asking twice invites once. Nothing secret passes through the desk.
"""

import logging
from datetime import datetime, timedelta

from bot.desk.audit import Act
from bot.desk.bell import Bell
from bot.desk.errors import ProviderError, Unavailable
from bot.desk.model import Actor, Grant
from bot.desk.offer import Invitation
from bot.desk.ports import Clock, Directory, Store, Transaction
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
        """Sends or withdraws. What fails is tried again, later and later. Raises `Superseded` when it moved on."""
        try:
            invitation = await self._at_provider(grant)
        except (ProviderError, Unavailable) as error:
            wait = wait_before(grant.attempts, error)
            log.warning("the invitation of %s failed (%s), again in %s", grant.id, type(error).__name__, wait)
            again = self._clock() + wait
            await self._store.write(lambda tx: tx.move(grant, due_at=again, attempts=grant.attempts + 1))
            return
        now = self._clock()

        def write_down(tx: Transaction) -> None:
            self._write_down(tx, grant, invitation, now)

        # Superseded: taken back while the provider was inviting. The grant is ENDING then, and its own pass withdraws.
        await self._store.write(write_down)
        self._bell.ring()

    def _write_down(self, tx: Transaction, grant: Grant, invitation: Invitation, now: datetime) -> None:
        sending = grant.state is not GrantState.ENDING
        again = now + ASK_AGAIN if invitation.pending and now < grant.created_at + ASKED_FOR else None
        if grant.state is GrantState.INVITED:
            tx.move(grant, invitation=invitation.handle, due_at=again, attempts=0)
            return
        if not sending and not invitation.handle and now < (grant.ended_at or now) + QUARANTINE:
            # An invitation that was under way when it was taken back may land after it was looked for.
            tx.move(grant, due_at=now + LOOK_AGAIN, attempts=grant.attempts + 1)
            return
        tx.move(
            grant,
            GrantState.INVITED if sending else GrantState.ENDED,
            invitation=invitation.handle or None,
            due_at=again,
            attempts=0,
        )
        tx.redraw(grant.team, grant.request_id, now)
        by = Actor.system(grant.team).id
        tx.record(
            team=grant.team,
            at=now,
            actor=by,
            act=Act.INVITED if sending else Act.WITHDRAWN,
            subject=grant.id,
            provider=grant.draft.scope.provider,
            project=grant.draft.scope.project,
            holder=grant.holder,
            invitation=invitation.handle,
        )
        if not sending:
            tx.record(team=grant.team, at=now, actor=by, act=Act.ENDED, subject=grant.id)

    async def _at_provider(self, grant: Grant) -> Invitation:
        scope = grant.draft.scope
        provider = self._providers.get(scope.provider)
        if provider is None:
            raise ProviderError(f"provider {scope.provider} is not set up")
        person = await self._directory.person(grant.holder, fresh=True)
        email = person.email if person else None
        if grant.state is not GrantState.ENDING:
            if email is None:
                raise Unavailable(f"Slack shows no mail address of {grant.holder}.")
            return await provider.invite(email=email, project=scope.project)
        invitation = Invitation(grant.invitation or "", email or "")
        if invitation.handle or invitation.email:
            await provider.withdraw(invitation=invitation, project=scope.project)
        return invitation
