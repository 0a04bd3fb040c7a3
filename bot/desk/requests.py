"""Asking, deciding, cancelling."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from bot.desk import waiting
from bot.desk.approvers import Approvers
from bot.desk.audit import Act
from bot.desk.bell import Bell
from bot.desk.door import Door, unwelcome
from bot.desk.errors import DraftRejected, NotAllowed, NotThere, ProviderAuth, ProviderError, Superseded
from bot.desk.ids import new_id
from bot.desk.model import (
    NEW_PROJECT,
    AccessRequest,
    Actor,
    Decision,
    Draft,
    Grant,
    Home,
    Key,
    Notice,
    NoticeKind,
    Person,
    Reminded,
    Ruling,
    Story,
    TimerKind,
    Wish,
)
from bot.desk.offer import Ability, Environment, Permission, Probe, Project
from bot.desk.overview import Overview
from bot.desk.policy import ANY, DEPOSIT, Idle, Overdue, Refuse, Rule, parse_duration
from bot.desk.ports import Clock, Directory, Provider, Random, Store, Transaction
from bot.desk.providers import Providers, mints
from bot.desk.retrying import STUCK_AFTER
from bot.desk.states import GrantState, KeyState, RequestState

PROJECT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{1,59}")  # of one that is to be made
LEAST_BUDGET = 100  # cents a month
MODELS_AT_MOST = 20  # of one key
GRANTS_AT_MOST = 1000  # of one holder, looked through
SHOWN_AT_MOST = 20  # of my requests, and of an approver's queue; Slack's Home takes 100 blocks
PENDING_AT_MOST = 200  # among which an approver's queue is looked for


@dataclass(frozen=True, slots=True)
class Choice:
    """One provider that a member may ask at: what it can do now, and the rules that admit this member there."""

    provider: Provider
    probe: Probe
    rules: tuple[Rule, ...]
    only_project: Project | None = None  # where there is one alone, and it is known without asking anybody

    @property
    def invites(self) -> bool:
        """Whether an invitation may be asked for instead of a key."""
        return Ability.INVITE in self.probe.abilities and any(rule.invitations for rule in self.rules)

    @property
    def has_models(self) -> bool:
        """Whether a key can be held to models."""
        return Ability.MODELS in self.probe.abilities

    @property
    def makes_projects(self) -> bool:
        """Whether a key may be asked for in a project that is made for it."""
        needed = {
            Ability.MINT,
            Ability.NEW_PROJECT,
        }  # it is made with the key, so where a person brings the key, none is
        return needed <= self.probe.abilities and any(rule.new_projects for rule in self.rules)

    @property
    def permissions(self) -> tuple[Permission, ...]:
        """The presets that some rule lets this member ask for."""
        allowed = {permission for rule in self.rules for permission in rule.permissions}
        return tuple(one for one in self.provider.permissions if ANY in allowed or one.id in allowed)


@dataclass(frozen=True, slots=True)
class Menu:
    """What a member may ask for, provider by provider; never empty."""

    choices: tuple[Choice, ...]

    def of(self, provider: str) -> Choice:
        """The choice of this name, or the first: a form may be older than the policy."""
        return next((choice for choice in self.choices if choice.provider.name == provider), self.choices[0])


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
        overview: Overview,
        bell: Bell,
        clock: Clock,
        random: Random,
        public_url: str,
    ) -> None:
        self._public_url = public_url
        self._store = store
        self._directory = directory
        self._door = door
        self._approvers = approvers
        self._providers = providers
        self._overview = overview
        self._bell = bell
        self._clock = clock
        self._random = random

    async def menu(self, actor: Actor) -> Menu:
        """What this member may ask for. Raises `NotWelcome`, or `NotAllowed` when no rule admits them."""
        await self._door.admit(actor, to=Act.SUBMITTED, subject="a new request")
        return await self._menu(actor)

    async def _menu(self, actor: Actor) -> Menu:
        rules = self._approvers.policy.rules_for(await self._approvers.facts(actor.id))
        choices = [
            Choice(
                self._providers[name],
                self._providers.known(name),
                tuple(rule for rule in rules if rule.provider == name),
                await self._only_project(name),
            )
            for name in dict.fromkeys(rule.provider for rule in rules)
            if name in self._providers
        ]
        # What people bring comes last: whoever looks for a provider by name sees those first.
        choices.sort(key=lambda choice: choice.provider.name == DEPOSIT)
        if not choices:
            refusal = NotAllowed("Policy has no rule that lets you ask for a key. Your operator can add one.")
            raise await self._door.refuse(actor, refusal, to=Act.SUBMITTED, subject="a new request")
        return Menu(tuple(choices))

    async def _only_project(self, provider: str) -> Project | None:
        """Of what policy itself lists: no form waits for a vendor."""
        projects = await self._providers[provider].projects() if provider == DEPOSIT else ()
        return projects[0] if len(projects) == 1 else None

    async def projects(self, provider: str) -> Sequence[Project]:
        """The projects a key can be asked for in. Raises `ProviderError`."""
        return await self._providers[provider].projects() if provider in self._providers else ()

    async def models(self, provider: str, project: str) -> Sequence[str]:
        """The models that a key of this project may be held to, of any project where it is not chosen yet.

        None where the provider has no such limit. Raises `ProviderError`.
        """
        if not self._providers.can(provider, Ability.MODELS):
            return ()
        there = {one.id for one in await self._providers[provider].projects()}
        return await self._providers[provider].models(project=project if project in there else NEW_PROJECT)

    async def submit(self, actor: Actor, draft: Draft, *, origin: str, extends: str | None = None) -> Story:
        """Asks. The same `origin` (the modal it came from) asks once, however often it is delivered.

        `extends` is the grant whose key the asked one is to follow: the actor may extend it, or take it over. Raises
        `DraftRejected` on the field that policy or the provider does not accept, or when the form asked before, for
        something else; `Superseded` when the grant that it extends is over, or is being extended already; and `NotWelcome`.
        """
        person = await self._door.admit(actor, to=Act.SUBMITTED, subject="a new request")
        if not draft.reason.strip():
            raise DraftRejected("reason", "Say in a sentence what the key is for.")
        least = LEAST_BUDGET if draft.wish is Wish.KEY and self._providers.meters(draft.scope.provider) else 0
        if draft.scope.monthly_budget_cents < least:
            raise DraftRejected("monthly_budget_cents", "A budget is at least $1 a month.")
        if len(draft.scope.models) > MODELS_AT_MOST:
            raise DraftRejected("models", f"Choose {MODELS_AT_MOST} models at most, or none for all of them.")
        if draft.wish is Wish.INVITATION:
            await self._may_be_invited(person, draft)
        verdict = await self._approvers.verdict(actor.id, draft)
        if isinstance(verdict, Refuse):
            raise DraftRejected(verdict.field, verdict.because)
        deciders = await self._approvers.people(actor, verdict)
        if not deciders:
            raise DraftRejected("reason", "Nobody who may approve this is here now. Ask your operator to name others.")
        draft = await self._named(draft)

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
            lapses_at=now + parse_duration(self._approvers.policy.file.decide_within),
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

    async def _may_be_invited(self, person: Person, draft: Draft) -> None:
        if person.email is None:
            raise DraftRejected("project", "Slack shows the desk no mail address of yours, so nobody can be invited.")
        held = await self._store.read(lambda tx: tx.grants_of(person.team, person.id, GRANTS_AT_MOST))
        for grant in held:
            there = (grant.draft.scope.provider, grant.draft.scope.project) == (
                draft.scope.provider,
                draft.scope.project,
            )
            if there and grant.state in (GrantState.INVITING, GrantState.INVITED):
                raise DraftRejected("project", "You are invited to this project already. `/apikey list` shows it.")

    async def decide(self, actor: Actor, request_id: str, ruling: Ruling, reason: str = "") -> Story:
        """Decides, once: the same decision by the same person again changes nothing and answers the same.

        Raises `Superseded` when the request was decided or cancelled before, `NotAllowed`, `DraftRejected` for a
        denial without a reason.
        """
        done = Act.APPROVED if ruling is Ruling.APPROVE else Act.DENIED
        await self._door.admit(actor, to=done, subject=request_id)
        story = await self.story(actor.team, request_id)
        request = story.request
        if story.decision and (story.decision.approver, story.decision.ruling) == (actor.id, ruling):
            return story
        await self._authorise(actor, request, ruling, done)
        if ruling is Ruling.DENY and not reason.strip():
            raise DraftRejected("reason", "Say why, so that they know what to ask for instead.")

        invited = request.draft.wish is Wish.INVITATION
        brought = not invited and not self._providers.mints(request.draft.scope.provider)
        depositors = await self._approvers.depositors(request, actor.id) if brought else ()
        file = self._approvers.policy.file
        patience = parse_duration(file.bring_within if brought else file.pick_up_within)
        now = self._clock()

        def act(tx: Transaction) -> Story:
            tx.move(request, RequestState.APPROVED if ruling is Ruling.APPROVE else RequestState.DENIED)
            tx.add(Decision(actor.team, request.id, actor.id, ruling, reason.strip(), now))
            if ruling is Ruling.APPROVE:
                grant = Grant(
                    team=request.team,
                    id=new_id("g", self._random),
                    request_id=request.id,
                    holder=request.requester,
                    draft=request.draft,
                    state=GrantState.INVITING if invited else GrantState.READY,
                    created_at=now,
                    due_at=now if invited else None,
                    lapses_at=None if invited else now + patience,
                )
                if brought:
                    key = new_key(grant, KeyState.AWAITED, now, self._random)
                    tx.add(replace(grant, state=GrantState.AWAITED, key_id=key.id))
                    tx.add(key)
                    waiting.for_deposit(tx, key)
                    for depositor in sorted(depositors):
                        tx.add(self._notice(NoticeKind.DEPOSIT, request, depositor))
                else:
                    tx.add(grant)
                    if not invited:
                        waiting.for_pick_up(tx, grant, now)
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
        story = await self.story(actor.team, request_id)
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

    async def story(self, team: str, request_id: str) -> Story:
        """All there is to tell of a request. Raises `NotThere`."""
        return await self._store.read(lambda tx: self._told(tx, team, request_id))

    def _told(self, tx: Transaction, team: str, request_id: str) -> Story:
        story = tell(tx, team, request_id, self._providers)
        key = story.under_way
        if key is None or key.state is not KeyState.AWAITED:
            return story
        return replace(story, deposit_url=f"{self._public_url}/d/{key.id}")

    async def home(self, actor: Actor) -> Home:
        """What the member sees of the desk. Looking is no act: it records nothing and refuses nothing."""
        if because := unwelcome(actor, await self._directory.person(actor.id)):
            return Home(actor.id, unwelcome=because)

        def look(tx: Transaction) -> tuple[tuple[Story, ...], Sequence[AccessRequest]]:
            mine = {request.id: request for request in tx.requests_of(actor.team, actor.id, SHOWN_AT_MOST)}
            # A grant may outlive twenty later requests, and its holder must still find its buttons.
            for grant in tx.grants_of(actor.team, actor.id, SHOWN_AT_MOST):
                if grant.request_id not in mine and (request := tx.request(actor.team, grant.request_id)):
                    mine[request.id] = request
            stories = tuple(story_of(tx, request, self._providers) for request in mine.values())
            return stories, tx.pending(actor.team, PENDING_AT_MOST)

        mine, pending = await self._store.read(look)
        queue: list[AccessRequest] = []
        for request in pending:
            if len(queue) < SHOWN_AT_MOST and await self._approvers.may_decide(
                actor, Actor(actor.team, request.requester), request.draft
            ):
                queue.append(request)

        def tell_queue(tx: Transaction) -> tuple[Story, ...]:
            """Of those that are shown alone. One decided meanwhile goes when its card does: that draws the Home anew."""
            return tuple(story_of(tx, request, self._providers) for request in queue)

        stories = await self._store.read(tell_queue) if queue else ()
        overview = await self._overview.of(actor)

        def tell_unusual(tx: Transaction) -> tuple[Story, ...]:
            grants = (tx.grant(actor.team, one.grant_id) for one in tx.open_incidents(actor.team, SHOWN_AT_MOST))
            return tuple(tell(tx, actor.team, grant.request_id, self._providers) for grant in grants if grant)

        unusual = await self._store.read(tell_unusual) if overview else ()
        return Home(actor.id, mine=mine, queue=stories, overview=overview, unusual=unusual)

    async def _named(self, draft: Draft) -> Draft:
        """The draft with the provider's names. All that it chose must be there at this moment: forms can be old."""
        provider, scope = self._providers[draft.scope.provider], draft.scope
        try:
            projects = {project.id: project.name for project in await provider.projects()}
            models = await self.models(provider.name, scope.project) if scope.models else ()
        except ProviderAuth:
            raise DraftRejected(
                "provider", f"{provider.label} does not accept the desk's credential. Your operator can mend it."
            ) from None
        except ProviderError:
            raise DraftRejected(
                "provider", f"{provider.label} does not answer now. Nothing is lost: try again in a minute."
            ) from None
        if scope.new_project is not None:
            project_name = self._new_project(provider, scope.new_project, projects)
        elif scope.project in projects:
            project_name = projects[scope.project]
        else:
            raise DraftRejected("project", f"This project is no longer there at {provider.label}. Choose another.")
        if unknown := [model for model in scope.models if model not in models]:
            raise DraftRejected("models", f"{provider.label} offers no {unknown[0]!r} here. Choose another.")
        if draft.wish is Wish.INVITATION:
            if not self._providers.can(provider.name, Ability.INVITE):
                raise DraftRejected("provider", f"{provider.label} cannot invite anybody. Ask for a key instead.")
            permission_name = "Invitation"
        else:
            permissions = {permission.id: permission.label for permission in provider.permissions}
            if scope.permission not in permissions:
                raise DraftRejected("permission", f"{provider.label} has no such permission. Choose another.")
            permission_name = permissions[scope.permission]
        return replace(draft, provider_name=provider.label, project_name=project_name, permission_name=permission_name)

    def _new_project(self, provider: Provider, name: str, projects: Mapping[str, str]) -> str:
        able = self._providers.can(provider.name, Ability.NEW_PROJECT) and self._providers.mints(provider.name)
        if not able:
            raise DraftRejected(
                "project", f"{provider.label} lets the desk make no projects. Choose one that is there."
            )
        if not PROJECT_NAME.fullmatch(name):
            raise DraftRejected("project", "A new project's name has 2 to 60 letters, digits, spaces, dots or dashes.")
        if name.casefold() in {known.casefold() for known in projects.values()}:
            raise DraftRejected("project", f"There is a project {name!r} already. Choose it from the list.")
        return name

    def _notice(self, kind: NoticeKind, request: AccessRequest, recipient: str) -> Notice:
        return new_notice(kind, request.team, request.id, recipient, clock=self._clock, random=self._random)


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


def _can(provider: Provider | None, ability: Ability) -> bool:
    return provider is not None and ability in provider.abilities


def new_key(grant: Grant, state: KeyState, now: datetime, random: Random) -> Key:
    """A key that is intended: its marker, which is to be its name at the provider, bears its id."""
    key_id = new_id("k", random)
    return Key(
        team=grant.team,
        id=key_id,
        grant_id=grant.id,
        provider=grant.draft.scope.provider,
        project=grant.draft.scope.project,
        marker=f"keydesk-{key_id}",
        state=state,
        intended_at=now,
    )


def new_notice(
    kind: NoticeKind,
    team: str,
    request_id: str,
    recipient: str,
    *,
    clock: Clock,
    random: Random,
    waits: bool = False,
) -> Notice:
    """A notice that is due at once; one that `waits`, in its recipient's working hours."""
    return Notice(
        team=team,
        id=new_id("n", random),
        kind=kind,
        about=request_id,
        recipient=recipient,
        wanted=1,
        shown=0,
        due_at=clock(),
        waits=waits,
    )


def came_of(tx: Transaction, grant: Grant) -> tuple[AccessRequest | None, Decision | None]:
    """What was asked for, and what was decided, that the grant came of."""
    return tx.request(grant.team, grant.request_id), tx.decision(grant.team, grant.request_id)


def stuck(key: Key) -> bool:
    """Whether the key keeps failing to be revoked."""
    return key.state is KeyState.REVOKING and key.attempts >= STUCK_AFTER


def goes_on(grant: Grant) -> bool:
    """Whether the grant is there still when its key is to be rotated."""
    return grant.rotates_at is not None and (grant.expires_at is None or grant.rotates_at < grant.expires_at)


def _reminded(tx: Transaction, grant: Grant, providers: Providers) -> Reminded | None:
    """What the holder of a grant was told of its rotation, since its key was picked up."""
    if not goes_on(grant):
        return None
    timer = tx.timer(grant.team, TimerKind.ROTATION, grant.id)
    if (timer is None or not timer.step) and grant.overdue_since is None:
        return None
    later = tx.timer(grant.team, TimerKind.ROTATE_LATER, grant.id)
    disables = providers.rotation(grant.draft.scope).overdue is Overdue.DISABLE
    return Reminded(
        again_at=later.due_at if later else None,
        disables=disables,
        off_at=timer.due_at if timer and disables and grant.overdue_since else None,
    )


def tell(tx: Transaction, team: str, request_id: str, providers: Providers) -> Story:
    """The story of a request as it stands. Raises `NotThere`."""
    request = tx.request(team, request_id)
    if request is None:
        raise NotThere("There is no such request here.")
    return story_of(tx, request, providers)


def story_of(tx: Transaction, request: AccessRequest, providers: Providers) -> Story:
    """The same, of a request that was just read."""
    team, request_id = request.team, request.id
    # What nobody decided on has neither: many of those are told at a time, in the Homes of approvers.
    decided = request.state in (RequestState.APPROVED, RequestState.DENIED)
    grant = tx.grant_of(team, request_id) if decided else None
    keys = {key.id: key for key in tx.keys_of(team, grant.id)} if grant and grant.key_id else {}
    key = keys.pop(grant.key_id, None) if grant and grant.key_id else None
    coming = keys.get(grant.next_key_id) if grant and grant.next_key_id else None
    delivered = coming or key
    retiring = any(one.state is KeyState.RETIRING for one in keys.values())
    provider = providers.get(request.draft.scope.provider)
    # A provider that cannot tell which of its keys it was brought cannot revoke that one either.
    active = grant is not None and grant.state is GrantState.ACTIVE
    extension = tx.extension_of(team, grant.id) if grant and grant.expires_at else None
    question = tx.timer(team, TimerKind.IDLE, grant.id) if grant and active else None
    unknown = key is not None and key.mint_ended and not key.handle and not _can(provider, Ability.LIST)
    return Story(
        request=request,
        decision=tx.decision(team, request_id) if decided else None,
        grant=grant,
        key=key,
        others=tuple(one for one in keys.values() if one.state not in (KeyState.REVOKED, KeyState.VOID)),
        link=tx.link_of(team, delivered.id) if delivered else None,
        limits=providers.limits(request),
        extended=tx.grant(team, request.extends) if request.extends else None,
        extension=extension,
        successor=tx.grant_of(team, extension.id) if extension else None,
        asked_idle=question is not None and question.step > 0,
        idle_revokes=providers.idle(request) is Idle.REVOKE,
        spending=tx.spending(team, grant.id) if grant and key else None,
        incident=next(iter(tx.incidents_of(team, grant.id, 1)), None) if grant and key else None,
        pausable=providers.offers(request.draft.scope.provider, Ability.DISABLE),
        rotation=_reminded(tx, grant, providers) if grant and active else None,
        used=tx.last_used(team, [key.id, *keys]) if key and retiring else {},
        making=provider.making(request.draft.scope.project) if provider and not mints(provider) else None,
        by_hand=unknown or not _can(provider, Ability.REVOKE),
        stuck=tuple(one for one in (key, *keys.values()) if one and stuck(one)),
        environment=provider.environment(request.draft.scope.project) if provider else Environment(),
    )
