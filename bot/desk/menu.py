"""What may be asked for: the menu of a member, and whether what they chose can be had."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bot.desk.approvers import Approvers
from bot.desk.audit import Act
from bot.desk.door import Door
from bot.desk.errors import DraftRejected, NotAllowed, ProviderAuth, ProviderError
from bot.desk.model import NEW_PROJECT, Actor, Draft, Person, Wish
from bot.desk.offer import Ability, Permission, Probe, Project
from bot.desk.policy import ANY, DEPOSIT, Rule
from bot.desk.ports import Provider, Store
from bot.desk.providers import Providers
from bot.desk.states import GrantState

PROJECT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{1,59}")  # of one that is to be made
LEAST_BUDGET = 100  # cents a month
MODELS_AT_MOST = 20  # of one key
GRANTS_AT_MOST = 1000  # of one holder, looked through


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
        needed = {Ability.MINT, Ability.NEW_PROJECT}  # it is made with the key: where a person brings that, none is
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


class Menus:
    """Knows what each provider offers now, and what of it policy lets whom ask for."""

    def __init__(self, *, store: Store, door: Door, approvers: Approvers, providers: Providers) -> None:
        self._store = store
        self._door = door
        self._approvers = approvers
        self._providers = providers

    async def of(self, actor: Actor) -> Menu:
        """What this member may ask for. Raises `NotWelcome`, or `NotAllowed` when no rule admits them."""
        await self._door.admit(actor, to=Act.SUBMITTED, subject="a new request")
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

    async def check(self, person: Person, draft: Draft) -> None:
        """Whether this can be asked for at all, whatever policy says of it. Raises `DraftRejected`."""
        if not draft.reason.strip():
            raise DraftRejected("reason", "Say in a sentence what the key is for.")
        least = LEAST_BUDGET if draft.wish is Wish.KEY and self._providers.meters(draft.scope.provider) else 0
        if draft.scope.monthly_budget_cents < least:
            raise DraftRejected("monthly_budget_cents", "A budget is at least $1 a month.")
        if len(draft.scope.models) > MODELS_AT_MOST:
            raise DraftRejected("models", f"Choose {MODELS_AT_MOST} models at most, or none for all of them.")
        if draft.wish is Wish.INVITATION:
            await self._may_be_invited(person, draft)

    async def _may_be_invited(self, person: Person, draft: Draft) -> None:
        if person.email is None:
            raise DraftRejected("project", "Slack shows the desk no mail address of yours, so nobody can be invited.")
        held = await self._store.read(lambda tx: tx.grants_of(person.team, person.id, GRANTS_AT_MOST))
        for grant in held:
            scope = grant.draft.scope
            there = (scope.provider, scope.project) == (draft.scope.provider, draft.scope.project)
            if there and grant.state in (GrantState.INVITING, GrantState.INVITED):
                raise DraftRejected("project", "You are invited to this project already. `/apikey list` shows it.")

    async def named(self, draft: Draft) -> Draft:
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
