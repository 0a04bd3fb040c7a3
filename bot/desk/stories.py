"""What is told: the story of a request, the messages that tell it, and what a member sees of the desk."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from bot.desk.approvers import Approvers
from bot.desk.door import unwelcome
from bot.desk.errors import NotThere
from bot.desk.ids import new_id
from bot.desk.model import (
    AccessRequest,
    Actor,
    Decision,
    Grant,
    Home,
    Key,
    Notice,
    NoticeKind,
    Reminded,
    Story,
    TimerKind,
)
from bot.desk.offer import Ability, Environment
from bot.desk.overview import Overview
from bot.desk.policy import Idle, Overdue
from bot.desk.ports import Directory, Provider, Random, Store, Transaction
from bot.desk.providers import Providers, mints
from bot.desk.retrying import STUCK_AFTER
from bot.desk.states import GrantState, KeyState, RequestState

SHOWN_AT_MOST = 20  # of my requests, and of an approver's queue; Slack's Home takes 100 blocks
PENDING_AT_MOST = 200  # among which an approver's queue is looked for


class Stories:
    """Tells requests as they stand now, one by one or as a member's Home."""

    def __init__(
        self,
        *,
        store: Store,
        directory: Directory,
        approvers: Approvers,
        providers: Providers,
        overview: Overview,
        public_url: str,
    ) -> None:
        self._store = store
        self._directory = directory
        self._approvers = approvers
        self._providers = providers
        self._overview = overview
        self._public_url = public_url

    async def of(self, team: str, request_id: str) -> Story:
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
    active = grant is not None and grant.state is GrantState.ACTIVE
    extension = tx.extension_of(team, grant.id) if grant and grant.expires_at else None
    question = tx.timer(team, TimerKind.IDLE, grant.id) if grant and active else None
    # A provider that cannot tell which of its keys it was brought cannot revoke that one either.
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


def _can(provider: Provider | None, ability: Ability) -> bool:
    return provider is not None and ability in provider.abilities


def stuck(key: Key) -> bool:
    """Whether the key keeps failing to be revoked."""
    return key.state is KeyState.REVOKING and key.attempts >= STUCK_AFTER


def goes_on(grant: Grant) -> bool:
    """Whether the grant is there still when its key is to be rotated."""
    return grant.rotates_at is not None and (grant.expires_at is None or grant.rotates_at < grant.expires_at)


def came_of(tx: Transaction, grant: Grant) -> tuple[AccessRequest | None, Decision | None]:
    """What was asked for, and what was decided, that the grant came of."""
    return tx.request(grant.team, grant.request_id), tx.decision(grant.team, grant.request_id)


def new_notice(
    kind: NoticeKind,
    of: AccessRequest | Grant,
    recipient: str,
    *,
    due_at: datetime,
    random: Random,
    waits: bool = False,
) -> Notice:
    """A message about a request, or about the one that a grant came of; one that `waits`, in its recipient's working hours."""
    return Notice(
        team=of.team,
        id=new_id("n", random),
        kind=kind,
        about=of.id if isinstance(of, AccessRequest) else of.request_id,
        recipient=recipient,
        wanted=1,
        shown=0,
        due_at=due_at,
        waits=waits,
    )
