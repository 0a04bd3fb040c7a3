"""Asking, deciding, cancelling."""

from dataclasses import replace
from datetime import datetime

from bot.desk import waiting
from bot.desk.approvers import Approvers
from bot.desk.audit import Act
from bot.desk.bell import Bell
from bot.desk.door import Door, unwelcome
from bot.desk.errors import DraftRejected, NotAllowed, Superseded
from bot.desk.ids import new_id
from bot.desk.keys import new_key
from bot.desk.menu import Menus
from bot.desk.model import AccessRequest, Actor, Decision, Draft, Grant, Notice, NoticeKind, Ruling, Story, Wish
from bot.desk.policy import Refuse
from bot.desk.ports import Clock, Directory, Random, Store, Transaction
from bot.desk.providers import Providers
from bot.desk.states import GrantState, KeyState, RequestState
from bot.desk.stories import Stories, new_notice, tell


class Requests:
    """The life of an ask until somebody decided on it."""

    def __init__(
        self,
        *,
        store: Store,
        directory: Directory,
        door: Door,
        approvers: Approvers,
        providers: Providers,
        menus: Menus,
        stories: Stories,
        bell: Bell,
        clock: Clock,
        random: Random,
    ) -> None:
        self._store = store
        self._directory = directory
        self._door = door
        self._approvers = approvers
        self._providers = providers
        self._menus = menus
        self._stories = stories
        self._bell = bell
        self._clock = clock
        self._random = random

    async def submit(self, actor: Actor, draft: Draft, *, origin: str, extends: str | None = None) -> Story:
        """Asks. The same `origin` (the modal it came from) asks once, however often it is delivered.

        `extends` is the grant whose key the asked one is to follow: the actor may extend it, or take it over. Raises
        `DraftRejected` on the field that policy or the provider does not accept, or when the form asked before, for
        something else; `Superseded` when the grant that it extends is over, or is being extended already; and `NotWelcome`.
        """
        person = await self._door.admit(actor, to=Act.SUBMITTED, subject="a new request")
        await self._menus.check(person, draft)
        verdict = await self._approvers.verdict(actor.id, draft)
        if isinstance(verdict, Refuse):
            raise DraftRejected(verdict.field, verdict.because)
        deciders = await self._approvers.people(actor, verdict)
        if not deciders:
            raise DraftRejected("reason", "Nobody who may approve this is here now. Ask your operator to name others.")
        draft = await self._menus.named(draft)

        now = self._clock()
        request = AccessRequest(
            team=actor.team,
            id=new_id("r", self._random),
            requester=actor.id,
            draft=draft,
            rule=verdict.rule,
            state=RequestState.PENDING,
            created_at=now,
            origin=origin,
            lapses_at=now + self._approvers.policy.decide_within,
            extends=extends,
        )

        def act(tx: Transaction) -> Story:
            # Marking the form waits for whoever marks it in this moment; only then is their request there to be found.
            if not tx.first_time(actor.team, origin, now) and (earlier := tx.request_from(actor.team, origin)):
                if earlier.draft != draft:
                    raise DraftRejected(
                        "reason",
                        "This form did arrive before, as it was then. To change it, cancel it on Home, ask anew.",
                    )
                return tell(tx, actor.team, earlier.id, self._providers)
            if extends is not None:
                may_extend(tx, actor.team, extends)
            tx.add(request)
            waiting.for_decision(tx, request)
            tx.add(self._notice(NoticeKind.RECEIPT, request, actor.id))
            channel = self._approvers.policy.file.approval_channel
            for recipient in (*sorted(deciders), *([channel] if channel else [])):
                tx.add(self._notice(NoticeKind.APPROVAL, request, recipient))
            tx.record(
                team=actor.team,
                at=now,
                actor=actor.id,
                act=Act.SUBMITTED,
                subject=request.id,
                provider=draft.scope.provider,
                project=draft.scope.project,
                permission=draft.scope.permission,
                models=" ".join(draft.scope.models),
                wish=draft.wish,
                monthly_budget_cents=draft.scope.monthly_budget_cents,
                duration_seconds=int(draft.duration.total_seconds()),
                rule=verdict.rule,
                **({"extends": extends} if extends else {}),
            )
            if extends is not None:
                redraw_extended(tx, request, now)
            return tell(tx, actor.team, request.id, self._providers)

        story = await self._store.write(act)
        self._bell.ring()
        return story

    async def decide(self, actor: Actor, request_id: str, ruling: Ruling, reason: str = "") -> Story:
        """Decides, once: the same decision by the same person again changes nothing and answers the same.

        Raises `Superseded` when the request was decided or cancelled before, `NotAllowed`, `DraftRejected` for a
        denial without a reason.
        """
        done = Act.APPROVED if ruling is Ruling.APPROVE else Act.DENIED
        await self._door.admit(actor, to=done, subject=request_id)
        story = await self._stories.of(actor.team, request_id)
        request = story.request
        if story.decision and (story.decision.approver, story.decision.ruling) == (actor.id, ruling):
            return story
        await self._authorise(actor, request, ruling, done)
        if ruling is Ruling.DENY and not reason.strip():
            raise DraftRejected("reason", "Say why, so that they know what to ask for instead.")

        brought = request.draft.wish is Wish.KEY and not self._providers.mints(request.draft.scope.provider)
        depositors = await self._approvers.depositors(request, actor.id) if brought else None
        now = self._clock()

        def act(tx: Transaction) -> Story:
            tx.move(request, RequestState.APPROVED if ruling is Ruling.APPROVE else RequestState.DENIED)
            tx.add(Decision(actor.team, request.id, actor.id, ruling, reason.strip(), now))
            if ruling is Ruling.APPROVE:
                self._grant(tx, request, depositors, now)
            redraw_extended(tx, request, now)
            tx.redraw(request.team, request.id, now)
            tx.add(self._notice(NoticeKind.OUTCOME, request, request.requester))
            tx.record(
                team=actor.team, at=now, actor=actor.id, act=done, subject=request.id, requester=request.requester
            )
            return tell(tx, actor.team, request.id, self._providers)

        story = await self._store.write(act)
        self._bell.ring()
        return story

    def _grant(self, tx: Transaction, request: AccessRequest, depositors: frozenset[str] | None, now: datetime) -> None:
        """What an approval comes to: a key to pick up, which these people bring first where it is not minted, or an invitation."""
        policy = self._approvers.policy
        grant = Grant(
            team=request.team,
            id=new_id("g", self._random),
            request_id=request.id,
            holder=request.requester,
            draft=request.draft,
            state=GrantState.READY,
            created_at=now,
            lapses_at=now + policy.pick_up_within,
        )
        if request.draft.wish is Wish.INVITATION:
            tx.add(replace(grant, state=GrantState.INVITING, due_at=now, lapses_at=None))
        elif depositors is None:
            tx.add(grant)
            waiting.for_pick_up(tx, grant, now)
        else:
            key = new_key(grant, KeyState.AWAITED, now, self._random)
            tx.add(replace(grant, state=GrantState.AWAITED, key_id=key.id, lapses_at=now + policy.bring_within))
            tx.add(key)
            waiting.for_deposit(tx, key)
            for depositor in sorted(depositors):
                tx.add(self._notice(NoticeKind.DEPOSIT, request, depositor))

    async def _authorise(self, actor: Actor, request: AccessRequest, ruling: Ruling, done: Act) -> None:
        """Whether this member may decide on this request, by the policy and the directory of this moment."""
        if request.state is not RequestState.PENDING:
            raise Superseded(f"This request is {request.state} already.", found=request.state)
        requester = Actor(request.team, request.requester)
        refusal: NotAllowed | None = None
        if actor.id == request.requester:
            refusal = NotAllowed("Nobody decides on their own request. One of the other approvers will.")
        elif not await self._approvers.may_decide(actor, requester, request.draft):
            refusal = NotAllowed("By today's policy you are not an approver of this request.")
        elif ruling is Ruling.APPROVE:
            because = unwelcome(requester, await self._directory.person(request.requester, fresh=True))
            if because is not None:
                refusal = NotAllowed(f"This cannot be approved any more. Who asked may not hold keys: {because}")
        if refusal is not None:
            raise await self._door.refuse(actor, refusal, to=done, subject=request.id)

    async def cancel(self, actor: Actor, request_id: str) -> Story:
        """The requester takes the ask back. Raises `Superseded` when it was decided before, `NotAllowed`."""
        await self._door.admit(actor, to=Act.CANCELLED, subject=request_id)
        story = await self._stories.of(actor.team, request_id)
        request = story.request
        if actor.id != request.requester:
            refusal = NotAllowed("Only who asked can cancel a request.")
            raise await self._door.refuse(actor, refusal, to=Act.CANCELLED, subject=request_id)
        if request.state is RequestState.CANCELLED:
            return story
        if request.state is not RequestState.PENDING:
            raise Superseded(f"This request is {request.state} already.", found=request.state)

        now = self._clock()

        def act(tx: Transaction) -> Story:
            tx.move(request, RequestState.CANCELLED)
            tx.redraw(request.team, request.id, now)
            redraw_extended(tx, request, now)
            tx.record(team=actor.team, at=now, actor=actor.id, act=Act.CANCELLED, subject=request.id)
            return tell(tx, actor.team, request.id, self._providers)

        story = await self._store.write(act)
        self._bell.ring()
        return story

    def _notice(self, kind: NoticeKind, request: AccessRequest, recipient: str) -> Notice:
        return new_notice(kind, request, recipient, due_at=self._clock(), random=self._random)


def may_extend(tx: Transaction, team: str, grant_id: str) -> None:
    """Raises `Superseded` where there is nothing to extend, or an extension is under way."""
    grant = tx.grant(team, grant_id)
    if grant is None or grant.state is not GrantState.ACTIVE:
        raise Superseded(
            "This key is over, or is not picked up: there is nothing to extend. `/apikey request` asks for a new one.",
            found=grant.state if grant else "gone",
        )
    asked = tx.extension_of(team, grant_id)
    if asked is None:
        return
    if asked.state is RequestState.PENDING:
        who = "Somebody asked to take this key over" if grant.left_at else "You asked to extend this key"
        raise Superseded(f"{who} already. An approver decides next.", found=asked.state)
    if succeeded_by(tx, grant) is not None:
        approved = (
            "Somebody takes this key over already." if grant.left_at else "Extending this key was approved already."
        )
        raise Superseded(f"{approved} `/apikey list` shows its holder the key that follows it.", found=asked.state)


def succeeded_by(tx: Transaction, grant: Grant) -> Grant | None:
    """The grant that follows this one by a request that was approved, unless that is over."""
    asked = tx.extension_of(grant.team, grant.id)
    found = tx.grant_of(grant.team, asked.id) if asked else None
    return found if found and found.state not in (GrantState.ENDING, GrantState.ENDED) else None


def redraw_extended(tx: Transaction, request: AccessRequest, now: datetime) -> None:
    """What is told of the key that a request extends tells of the request, too."""
    old = tx.grant(request.team, request.extends) if request.extends else None
    if old is not None:
        tx.redraw(old.team, old.request_id, now)
