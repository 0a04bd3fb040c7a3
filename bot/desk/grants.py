"""Pick up, revoke.

Approval mints nothing. A pick-up stores its intention, mints, and seals the key behind a link (`links`). A key is
revoked in two steps: the decision to, committed with its audit entry, and the carrying out (`revoking`).
"""

import asyncio
import logging
from datetime import datetime, timedelta

from bot.desk import envelope
from bot.desk.approvers import Approvers
from bot.desk.audit import Act, stamp
from bot.desk.bell import Bell
from bot.desk.deposits import Deposits
from bot.desk.door import Door
from bot.desk.errors import (
    AlreadyDelivered,
    NotAllowed,
    NotThere,
    OutcomeUnknown,
    ProviderError,
    Superseded,
    present,
)
from bot.desk.keys import begin_delivery, deliver_next, may_follow, not_delivered, put_away, still_theirs, within_budget
from bot.desk.lessons import heed
from bot.desk.links import LINK_LIVES
from bot.desk.model import (
    SYSTEM,
    Actor,
    Cause,
    Context,
    Grant,
    Handover,
    Key,
    Link,
    Minted,
    NoticeKind,
    Story,
)
from bot.desk.offer import Project
from bot.desk.ports import Clock, Random, Store, Transaction
from bot.desk.providers import Providers
from bot.desk.revoking import living
from bot.desk.states import GrantState, KeyState, LinkState
from bot.desk.stories import came_of, new_notice, tell

log = logging.getLogger(__name__)

SHORTEST_LIFE = timedelta(minutes=1)  # that a provider is asked for
GRANTS_AT_MOST = 1000  # of one holder, among which one is looked for by name
LEAST_OF_A_NAME = 4  # characters
MINT_PATIENCE = timedelta(seconds=25)  # after this a mint's outcome counts as unknown
OF_A_KEY_THAT_WORKS = (
    NoticeKind.PICK_UP,
    NoticeKind.BUDGET,
    NoticeKind.EXPIRING,
    NoticeKind.IDLE,
    NoticeKind.ROTATION_DUE,
    NoticeKind.ROTATION_OVERDUE,
    NoticeKind.NOT_ROTATED,
    NoticeKind.ORPHANED,
)
"""What waits to be said of a grant, for its reader's morning or for Slack, is not said any more once it is over."""


class Grants:
    """The life of a grant, its keys and their links."""

    def __init__(
        self,
        *,
        store: Store,
        door: Door,
        approvers: Approvers,
        providers: Providers,
        deposits: Deposits,
        bell: Bell,
        clock: Clock,
        random: Random,
        public_url: str,
    ) -> None:
        self._deposits = deposits
        self._store = store
        self._door = door
        self._approvers = approvers
        self._providers = providers
        self._bell = bell
        self._clock = clock
        self._random = random
        self._public_url = public_url

    # ---- by name

    async def named(self, actor: Actor, text: str) -> str:
        """The id of the grant that a member means: by its id or its beginning, or by how its key ends, among their own.

        Anybody else's is known by its whole id alone. Raises `NotThere`, which says what to type instead.
        """
        end = text.lstrip("….")

        def look(tx: Transaction) -> list[str]:
            whole = tx.grant(actor.team, text)
            if whole is not None:
                return [whole.id]
            found = []
            for grant in tx.living_grants_of(actor.team, actor.id, GRANTS_AT_MOST):
                key = tx.key(grant.team, grant.key_id) if grant.key_id else None
                ends = len(end) >= LEAST_OF_A_NAME and key is not None and (key.fingerprint or "").endswith(end)
                if ends or (len(text) >= LEAST_OF_A_NAME and grant.id.startswith(text)):
                    found.append(grant.id)
            return found

        found = await self._store.read(look)
        if len(found) == 1:
            return found[0]
        if found:
            raise NotThere(
                f"More than one of your keys is called so: {', '.join(f'`{one}`' for one in found)}. Type one of these."
            )
        raise NotThere("No key of yours is called so. Type its id as it stands here (`g_…`), or how the key ends.")

    # ---- pick up

    async def pick_up(self, actor: Actor, grant_id: str, *, delivery: str, acknowledged: bool = False) -> Key:
        """Stores the intention to mint a key; `issue` carries it out. A retried `delivery` starts nothing.

        `acknowledged`: the member does so now, how to keep a key safe. Raises `LessonDue` where they neither do nor did
        so within a year, and starts nothing.

        A key that was deposited is taken out instead: nothing is minted, and a link that was lost is only closed. A holder
        who lost the link picks up again: the sealed key behind it is revoked, unread; so, too, while a rotation is under
        way (`Rotation.rotate` begins one). Raises `Superseded` when a key is being minted already or the grant is over,
        `NotYours`, `AlreadyDelivered`.
        """
        await self._door.admit_holder(
            actor,
            grant_id,
            to=Act.PICK_UP_STARTED,
            otherwise="This key is for somebody else. `/apikey request` asks for one of your own.",
        )
        now = self._clock()

        def act(tx: Transaction) -> Key:
            if not tx.first_time(actor.team, delivery, now):
                raise AlreadyDelivered("This click was taken already.")
            grant = present(tx.grant(actor.team, grant_id))
            if grant.state is GrantState.ACTIVE and grant.next_key_id is not None:
                may_follow(tx, grant)
            elif grant.state not in (GrantState.READY, GrantState.DELIVERING):
                raise Superseded(_WHY_NOT_PICK_UP[grant.state], found=grant.state)
            still_theirs(grant)
            if grant.held_since is not None:
                within_budget(tx, grant, now, self._providers)
            heed(tx, actor, now, acknowledged=acknowledged)
            key = deliver_next(tx, grant, now, self._random)
            return begin_delivery(tx, grant, key, now, by=actor.id, recorded_as=Act.PICK_UP_STARTED)

        key = await self._store.write(act)
        self._bell.ring()
        return key

    async def follows(self, key: Key) -> bool:
        """Whether the key is to follow one that its holder has: where its mint breaks off, they rotate again."""
        return (await self._grant(key.team, key.grant_id)).state is GrantState.ACTIVE

    async def issue(self, key: Key) -> Handover:
        """Mints the key whose intention is stored, or takes out the deposited one, and seals it.

        The URL is in the answer and nowhere else.

        Raises `ProviderError` when nothing was handed over (the holder may pick up again), `Superseded` when the
        grant was revoked meanwhile; what was minted is then revoked.
        """
        grant = await self._grant(key.team, key.grant_id)
        if key.state is KeyState.DEPOSITED:
            taken = await self._deposits.taken_out(key)
            try:
                return await self._seal(grant, key, taken)
            except Superseded as lost:
                raise Superseded(_OVERTAKEN, found=lost.found) from None
        lifetime = grant.draft.duration
        if grant.held_since and grant.expires_at:
            # Its clock runs on as keys follow each other.
            lifetime = max(grant.expires_at - self._clock(), SHORTEST_LIFE)
        try:
            provider = self._providers[key.provider]
            async with asyncio.timeout(MINT_PATIENCE.total_seconds()):
                if (name := grant.draft.scope.new_project) is not None:
                    key, grant = await self._placed(
                        key, grant, await provider.create_project(name=name, scope=grant.draft.scope)
                    )
                minted = await provider.mint(marker=key.marker, scope=grant.draft.scope, lifetime=lifetime)
        except ProviderError as error:
            await self._break_off(key, certain=not isinstance(error, OutcomeUnknown), because=type(error).__name__)
            raise
        except TimeoutError:
            await self._break_off(key, certain=False, because="time-out")
            raise OutcomeUnknown(f"{key.provider} did not answer in time") from None
        except Exception as error:
            # A defect of ours or of an adapter's: whether a key was minted is not known.
            await self._break_off(key, certain=False, because=type(error).__name__)
            raise
        try:
            return await self._seal(grant, key, minted)
        except Superseded:
            # Revoked, or given up by a sweep, while the provider was minting: the key must not live on unknown.
            def minted_too_late(tx: Transaction) -> None:
                self._minted_too_late(tx, key, minted)

            await self._store.write(minted_too_late)
            self._bell.ring()
            raise

    async def _placed(self, key: Key, grant: Grant, project: Project) -> tuple[Key, Grant]:
        """The key and its grant, in the project that was made for them: written down before any key is made there."""
        now = self._clock()

        def act(tx: Transaction) -> tuple[Key, Grant]:
            placed = tx.move(key, project=project.id)
            found = tx.move(present(tx.grant(grant.team, grant.id)), project=project.id, project_name=project.name)
            tx.record(
                team=key.team,
                at=now,
                actor=SYSTEM,
                act=Act.PROJECT_MADE,
                subject=grant.id,
                provider=key.provider,
                project=project.id,
                name=project.name,
            )
            return placed, found

        return await self._store.write(act)

    async def _seal(self, grant: Grant, key: Key, minted: Minted) -> Handover:
        now = self._clock()
        seed = envelope.Seed(self._random(envelope.SEED_BYTES))
        link_id = envelope.base64url(self._random(16))
        expires_at = now + LINK_LIVES
        context = Context(
            team=grant.team,
            holder=grant.holder,
            grant=grant.id,
            key=key.id,
            link=link_id,
            expires=stamp(expires_at),
        )
        sealed = envelope.seal(minted.secret, seed=seed, nonce=self._random(envelope.NONCE_BYTES), context=context)
        link = Link(
            team=grant.team,
            id=link_id,
            grant_id=grant.id,
            key_id=key.id,
            holder=grant.holder,
            state=LinkState.OPEN,
            token_hash=envelope.token_hash(envelope.access_token(seed)),
            envelope=sealed,
            created_at=now,
            expires_at=expires_at,
        )

        def act(tx: Transaction) -> Grant:
            issuing = present(tx.grant(grant.team, grant.id))
            if issuing.under_way != key.id:
                raise Superseded("Another pick-up followed this one.", found=issuing.state)
            held = issuing.held_since is not None and issuing.expires_at is not None
            ends = issuing.expires_at if held else now + grant.draft.duration
            handle = minted.handle or None
            tx.move(
                key,
                KeyState.SEALED,
                handle=handle,
                fingerprint=minted.fingerprint,
                expires_at=ends,
                meter=key.meter or minted.meter or handle,
            )
            if issuing.state is GrantState.ACTIVE:
                delivering = tx.move(issuing)  # the key before it stays in its holder's hands
            else:
                delivering = tx.move(issuing, GrantState.DELIVERING, expires_at=ends)
            tx.add(link)
            tx.redraw(grant.team, grant.request_id, now)
            tx.record(
                team=grant.team,
                at=now,
                actor=grant.holder,
                act=Act.UNWRAPPED if key.state is KeyState.DEPOSITED else Act.MINTED,
                subject=key.id,
                grant=grant.id,
                provider=key.provider,
                project=key.project,
                handle=handle,
                fingerprint=minted.fingerprint,
                link=link_id,
            )
            return delivering

        delivering = await self._store.write(act)
        self._bell.ring()
        # Nowhere else, not even under a name: some reports of errors show the locals of every frame.
        return Handover(
            url=f"{self._public_url}/k/{link_id}#{envelope.base64url(seed)}",
            expires_at=expires_at,
            grant=delivering,
        )

    def _minted_too_late(self, tx: Transaction, key: Key, minted: Minted) -> None:
        now = self._clock()
        tx.know_handle(key, minted.handle, minted.fingerprint, now)
        tx.record(
            team=key.team,
            at=now,
            actor=SYSTEM,
            act=Act.MINTED,
            subject=key.id,
            grant=key.grant_id,
            provider=key.provider,
            project=key.project,
            handle=minted.handle,
            fingerprint=minted.fingerprint,
            link=None,
        )

    async def _break_off(self, key: Key, *, certain: bool, because: str) -> None:
        now = self._clock()

        def act(tx: Transaction) -> None:
            self.break_off(tx, key, now, certain=certain, because=because)

        try:
            await self._store.write(act)
        except Superseded:
            log.info("pick-up %s was overtaken while it broke off", key.id)
        self._bell.ring()

    def break_off(self, tx: Transaction, key: Key, now: datetime, *, certain: bool, because: str) -> None:
        """A mint did not come to its end: the grant goes back to where its holder can pick up, or rotate, again.

        When it is not certain that nothing was minted, the marker goes into quarantine and is looked for.
        """
        if certain:
            tx.move(key, KeyState.VOID)
        else:
            tx.move(key, KeyState.REVOKING, due_at=now)
        grant = present(not_delivered(tx, key))
        tx.redraw(grant.team, grant.request_id, now)
        tx.record(
            team=key.team,
            at=now,
            actor=SYSTEM,
            act=Act.PICK_UP_BROKEN,
            subject=grant.id,
            key=key.id,
            certain=certain,
            because=because,
        )

    # ---- revoke

    async def revoke(self, actor: Actor, grant_id: str) -> Story:
        """The holder gives a grant back, or an approver takes it. Again: nothing more happens.

        The key dies at the provider as soon as it can be reached; until then the grant is ending. Raises
        `NotAllowed`, `NotThere`.
        """
        await self._door.admit(actor, to=Act.REVOKE_ASKED, subject=grant_id)
        grant = await self._grant(actor.team, grant_id)
        asked, decision = await self._store.read(lambda tx: came_of(tx, grant))
        if not await self._approvers.may_take_back(actor, present(asked), decision):
            refusal = NotAllowed("Only its holder or an approver can revoke a key.")
            raise await self._door.refuse(actor, refusal, to=Act.REVOKE_ASKED, subject=grant_id)
        now = self._clock()

        def act(tx: Transaction) -> Story:
            grant = present(tx.grant(actor.team, grant_id))
            if grant.state not in (GrantState.ENDING, GrantState.ENDED):
                self.end(tx, grant, now, by=actor.id, because=Cause.REVOKED, recorded_as=Act.REVOKE_ASKED)
            return tell(tx, actor.team, grant.request_id, self._providers)

        story = await self._store.write(act)
        self._bell.ring()
        return story

    def end(
        self,
        tx: Transaction,
        grant: Grant,
        now: datetime,
        *,
        by: str,
        because: Cause,
        recorded_as: Act,
        tell_at: datetime | None = None,
    ) -> None:
        """Ends a grant: its link is closed, its living keys are to be revoked, and the holder is told at once.

        With `tell_at`, when they next work: then it can wait.
        """
        for key in living(tx, grant):
            put_away(tx, grant, key, now, because=because)
        # An invitation that nobody began to send leaves nothing at the provider.
        invited = grant.state is GrantState.INVITED or (
            grant.state is GrantState.INVITING and not _untouched(grant, now)
        )
        alive = invited or bool(living(tx, grant))
        tx.move(
            grant,
            GrantState.ENDING if alive else GrantState.ENDED,
            next_key_id=None,
            ended_by=by,
            ended_because=because,
            ended_at=now,
            due_at=now if invited else None,
            attempts=0,
        )
        tx.redraw(grant.team, grant.request_id, now)
        tx.drop_unposted(grant.team, grant.request_id, OF_A_KEY_THAT_WORKS)
        due_at, waits = tell_at or now, tell_at is not None
        tx.add(new_notice(NoticeKind.ENDED, grant, grant.holder, due_at=due_at, random=self._random, waits=waits))
        tx.record(team=grant.team, at=now, actor=by, act=recorded_as, subject=grant.id, key=grant.key_id)
        if not alive:
            tx.record(team=grant.team, at=now, actor=SYSTEM, act=Act.ENDED, subject=grant.id)

    def take_back(self, tx: Transaction, link: Link, now: datetime, *, because: Cause, kind: NoticeKind) -> None:
        """A link was not opened, or not acknowledged, in time: its key dies, its holder may pick up, or rotate, again.

        Raises `Superseded` when the holder moved on since `link` was read.
        """
        found = present(tx.link(link.id))
        if found.state is not link.state:
            raise Superseded("The holder was faster.", found=found.state)
        grant, key = present(tx.grant(link.team, link.grant_id)), present(tx.key(link.team, link.key_id))
        put_away(tx, grant, key, now, because=because)
        not_delivered(tx, key)
        tx.redraw(grant.team, grant.request_id, now)
        tx.add(new_notice(kind, grant, grant.holder, due_at=self._clock(), random=self._random))

    async def _grant(self, team: str, grant_id: str) -> Grant:
        return present(await self._store.read(lambda tx: tx.grant(team, grant_id)))


def _untouched(grant: Grant, now: datetime) -> bool:
    return not grant.attempts and grant.due_at is not None and grant.due_at <= now


_OVERTAKEN = "Another pick-up was faster, or the key was taken back. `/apikey list` shows how it stands."
_WHY_NOT_PICK_UP = {
    GrantState.AWAITED: "Somebody still has to bring this key. You hear here when it can be picked up.",
    GrantState.INVITING: "There is no key to pick up: you are being invited to the provider's own organisation.",
    GrantState.INVITED: "There is no key to pick up: you are invited to the provider's own organisation.",
    GrantState.ISSUING: "Your key is being made right now. Its link follows in a moment.",
    GrantState.ACTIVE: "You have picked this key up already. Lost it? `/apikey rotate` makes a new one.",
    GrantState.ENDING: "This grant is over, its key is being revoked. `/apikey request` asks for a new one.",
    GrantState.ENDED: "This grant is over. `/apikey request` asks for a new one.",
}
