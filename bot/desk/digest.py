"""The weekly digest: what each person is told of their week, put together; `Mailing` sends it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

from bot.desk.approvers import Approvers
from bot.desk.limits import MICROS_IN_A_CENT
from bot.desk.model import AccessRequest, Actor, DayUse, Person, RoundKind, Story, Wish
from bot.desk.offer import Ability
from bot.desk.policy import MANAGER
from bot.desk.ports import Clock, Store, Transaction
from bot.desk.providers import Providers
from bot.desk.retrying import STUCK_AFTER
from bot.desk.states import GrantState, KeyState
from bot.desk.stories import tell
from bot.desk.waiting import IDLE_AFTER
from bot.desk.week import (
    ONE_DAY,
    ONE_WEEK,
    AdminWeek,
    Advice,
    ApproverWeek,
    Days,
    Digest,
    Failing,
    HolderWeek,
    KeyWeek,
    Say,
    Spent,
    Tip,
)

GRANTS_AT_MOST = 200  # of one holder, looked through
PENDING_AT_MOST = 200  # among which an approver's are looked for
ROTATING_SHOWN = 2  # those due first: the largest digest is 49 blocks so
KEYS_SHOWN, ATTENTION_SHOWN, TOP_SHOWN, PENDING_SHOWN, PROJECTS_SHOWN = 6, 3, 5, 3, 8  # a message takes 50 blocks
JUMP, JUMP_FROM = 3, 5_000_000  # so many times the week before, and from $5 on: below that a jump says nothing
ROOMY = 10  # a budget of which less than the tenth part is used
HALF_A_MONTH = 15  # before that day of a month, little of its budget is used anyway
LONG_LIVED = timedelta(days=60)


class Digests:
    """Puts digests together: of a week that is over, or of the seven days until now."""

    def __init__(self, *, store: Store, approvers: Approvers, providers: Providers, clock: Clock) -> None:
        self._store = store
        self._approvers = approvers
        self._providers = providers
        self._clock = clock

    async def of(self, actor: Actor, person: Person, *, week: date | None, last: date) -> Digest:
        """What this member is told of the seven days that end with `last`; whoever calls has admitted them.

        What they may see is theirs to see by the policy and the directory of this moment.
        """
        days, now = Days.until(last), self._clock()
        say = await self._say(actor)
        pending = await self._pending(say)
        admin = await self._approvers.is_among(actor.id, self._approvers.policy.file.admins)

        def look(tx: Transaction) -> Digest:
            return Digest(
                team=actor.team,
                member=actor.id,
                week=week,
                days=days,
                tz=person.tz,
                holder=self._holder(tx, actor, days, now),
                approver=self._approver(tx, say, days, now, pending),
                admin=self._admin(tx, actor.team, days) if admin else None,
            )

        return await self._store.read(look)

    # ---- for a holder

    def _holder(self, tx: Transaction, actor: Actor, days: Days, now: datetime) -> HolderWeek | None:
        month = days.last.replace(day=1)
        used = tx.used_by(actor.team, actor.id, min(month, days.before))
        of_grant: dict[str, list[DayUse]] = {}
        for one in used:
            of_grant.setdefault(one.grant_id, []).append(one)
        grants = [
            grant
            for grant in tx.grants_of(actor.team, actor.id, GRANTS_AT_MOST)
            if grant.state not in (GrantState.ENDING, GrantState.ENDED) or _spent(of_grant.get(grant.id, ()), days).week
        ]
        if not grants:
            return None
        by_use = sorted(grants, key=lambda grant: -_spent(of_grant.get(grant.id, ()), days).week)
        stories = {grant.id: tell(tx, actor.team, grant.request_id, self._providers) for grant in by_use[:KEYS_SHOWN]}

        def story(grant_id: str, request_id: str) -> Story:
            return stories.get(grant_id) or tell(tx, actor.team, request_id, self._providers)

        keys = [self._key_week(one, of_grant.get(grant_id, ()), days) for grant_id, one in stories.items()]
        ends = now + ONE_WEEK
        ending = [
            story(grant.id, grant.request_id)
            for grant in grants
            if grant.state is GrantState.ACTIVE and grant.expires_at and now < grant.expires_at <= ends
        ]
        rotating = [
            one
            for one in (
                story(grant.id, grant.request_id)
                for grant in grants
                if grant.state is GrantState.ACTIVE and grant.rotates_at and grant.rotates_at <= ends
            )
            if one not in ending
        ]
        unused = [grant for grant in grants if grant.state is GrantState.ACTIVE and not _since(of_grant, grant.id, now)]
        idle = [
            one
            for one in (story(grant.id, grant.request_id) for grant in unused)
            if self._lies_idle(tx, one, now) and one not in ending and one not in rotating
        ]
        waiting = [story(grant.id, grant.request_id) for grant in grants if grant.state is GrantState.READY]
        spent = _spent(used, days)
        return HolderWeek(
            spent=spent,
            month=_in_month(used, days),
            budget_cents=sum(
                grant.draft.scope.monthly_budget_cents for grant in grants if grant.state is GrantState.ACTIVE
            ),
            days=_by_day(used, days.first),
            days_before=_by_day(used, days.before),
            keys=tuple(keys),
            more=len(grants) - len(keys),
            ending=tuple(sorted(ending, key=_end)[:ATTENTION_SHOWN]),
            rotating=tuple(sorted(rotating, key=_rotates)[:ROTATING_SHOWN]),
            idle=tuple(idle[:ATTENTION_SHOWN]),
            waiting=tuple(waiting[:ATTENTION_SHOWN]),
            advice=self._advice(tx, actor, days, keys, idle),
            estimated=any(one.estimated for one in used if days.first <= one.day <= days.last),
        )

    def _key_week(self, story: Story, used: Sequence[DayUse], days: Days) -> KeyWeek:
        draft = story.request.draft
        return KeyWeek(
            story=story,
            spent=_spent(used, days),
            month=_in_month(used, days),
            last_day=max((one.day for one in used if one.requests), default=None),
            reported=draft.wish is Wish.KEY and self._providers.offers(draft.scope.provider, Ability.USAGE),
        )

    def _lies_idle(self, tx: Transaction, story: Story, now: datetime) -> bool:
        """Whether nobody used it for long, as far as its provider tells: what was never read says nothing."""
        key = story.key
        if key is None or key.state is not KeyState.LIVE or key.intended_at > now - IDLE_AFTER:
            return False
        return key.provider in self._read(tx, key.team)

    def _read(self, tx: Transaction, team: str) -> frozenset[str]:
        """The providers whose usage the desk has read."""
        rounds = [one for one in tx.rounds(team) if one.kind is RoundKind.USAGE and one.ended_at]
        return frozenset(one.provider for one in rounds if self._providers.offers(one.provider, Ability.USAGE))

    def _advice(
        self, tx: Transaction, actor: Actor, days: Days, keys: Sequence[KeyWeek], idle: Sequence[Story]
    ) -> Advice:
        """One of those that fit what they did; another each week, where several do."""
        fitting = [Advice(Tip.IDLE, story) for story in idle]
        models = tx.models_used(actor.team, actor.id, days.before)
        for one in keys:
            grant = one.story.grant
            if grant is not None and grant.state is GrantState.ACTIVE and one.spent.week:
                fitting += self._advice_on(one, models.get(grant.id, frozenset()), days)
        if tx.lapsed_links(actor.team, actor.id, self._clock() - 2 * ONE_WEEK):
            fitting.append(Advice(Tip.LINK))
        # Of each kind the first, as what is used most stands first.
        kinds = list({advice.tip: advice for advice in reversed(fitting)}.values())[::-1]
        return kinds[days.last.toordinal() // ONE_WEEK.days % len(kinds)] if kinds else Advice(Tip.STORE)

    def _advice_on(self, one: KeyWeek, models: frozenset[str], days: Days) -> Iterator[Advice]:
        """What fits the use of one key."""
        draft = one.story.request.draft
        if one.spent.before and one.spent.week >= max(JUMP_FROM, JUMP * one.spent.before):
            yield Advice(Tip.JUMP, one.story)
        held_to_any = not draft.scope.models and self._providers.can(draft.scope.provider, Ability.MODELS)
        if held_to_any and len(models) == 1 and "" not in models:
            yield Advice(Tip.ONE_MODEL, one.story, next(iter(models)))
        budget = draft.scope.monthly_budget_cents * MICROS_IN_A_CENT
        if days.last.day > HALF_A_MONTH and one.spent.before and one.month * ROOMY < budget:
            yield Advice(Tip.ROOMY, one.story)
        if draft.duration >= LONG_LIVED:
            yield Advice(Tip.LONG, one.story)

    # ---- for an approver

    async def _say(self, actor: Actor) -> Say:
        """What this member has a say in today.

        By a rule that names managers, of what they approved themselves, where they are that holder's manager still.
        """
        rules, managed = set[str](), set[str]()
        for rule in self._approvers.policy.file.rule:
            if await self._approvers.is_among(actor.id, [who for who in rule.approvers if who != MANAGER]):
                rules.add(rule.name)
            elif MANAGER in rule.approvers:
                managed.add(rule.name)
        approved = await self._store.read(lambda tx: tx.approved_for(actor.team, actor.id, managed)) if managed else ()
        holders = [who for who in approved if await self._approvers.manages(actor.id, who)]
        return Say(actor, frozenset(rules), frozenset(managed), frozenset(holders))

    async def _pending(self, say: Say) -> Sequence[str]:
        """The requests that wait for this member's decision, by the policy of this moment."""
        actor = say.actor

        def look(tx: Transaction) -> Sequence[AccessRequest]:
            if say.rules:
                return tx.pending(actor.team, PENDING_AT_MOST)
            asked = [tx.request(actor.team, one) for one in tx.asked_of(actor.team, actor.id, PENDING_AT_MOST)]
            return [request for request in asked if request]

        return [
            request.id
            for request in await self._store.read(look)
            if await self._approvers.may_decide(actor, Actor(actor.team, request.requester), request.draft)
        ]

    def _approver(
        self, tx: Transaction, say: Say, days: Days, now: datetime, pending: Sequence[str]
    ) -> ApproverWeek | None:
        stories = [tell(tx, say.actor.team, request_id, self._providers) for request_id in pending[:PENDING_SHOWN]]
        if not (say.rules or say.holders or pending):
            return None  # most have no say: the whole team's use need not be looked through for them
        living = tx.team_living(say)
        spent, top = tx.team_spent(say, days, TOP_SHOWN)
        if not (pending or living or spent.week):
            return None
        idle_count, idle = tx.team_idle(say, self._read(tx, say.actor.team), now - IDLE_AFTER, ATTENTION_SHOWN)
        overdue_count, overdue = tx.team_overdue(say, now, ATTENTION_SHOWN)
        return ApproverWeek(
            spent=spent,
            living=living,
            top=tuple(top),
            pending=tuple(stories),
            pending_count=len(pending),
            idle=tuple(idle),
            idle_count=idle_count,
            overdue=tuple(overdue),
            overdue_count=overdue_count,
        )

    # ---- for an admin

    def _admin(self, tx: Transaction, team: str, days: Days) -> AdminWeek | None:
        spent, projects, more = tx.spent_by_project(team, days, PROJECTS_SHOWN)
        states = [
            Failing(
                self._providers[name].label, self._providers.known(name).flaw, tx.stuck_keys(team, name, STUCK_AFTER)
            )
            for name in self._providers
        ]
        failing = tuple(one for one in states if one.flaw or one.stuck)
        outsiders, by_hand = tuple(tx.outsiders(team)), tx.keys_by_hand(team)
        overdue = tx.overdue_rotations(team, self._clock())
        unusual_count, unusual = tx.unusual_since(team, self._clock() - ONE_WEEK, ATTENTION_SHOWN)
        if not (projects or failing or outsiders or by_hand or overdue or unusual_count):
            return None
        return AdminWeek(
            spent=spent,
            projects=tuple(projects),
            more=more,
            outsiders=outsiders,
            failing=failing,
            by_hand=by_hand,
            overdue=overdue,
            unusual=tuple(
                replace(tell(tx, team, request_id, self._providers), incident=tx.incident(team, incident_id))
                for request_id, incident_id in unusual
            ),
            unusual_count=unusual_count,
        )


def _spent(used: Sequence[DayUse], days: Days) -> Spent:
    return Spent(
        sum(one.cost_micros for one in used if days.first <= one.day <= days.last),
        sum(one.cost_micros for one in used if days.before <= one.day < days.first),
    )


def _by_day(used: Sequence[DayUse], first: date) -> tuple[int, ...]:
    cost: dict[date, int] = {}
    for one in used:
        cost[one.day] = cost.get(one.day, 0) + one.cost_micros
    return tuple(cost.get(first + number * ONE_DAY, 0) for number in range(7))


def _in_month(used: Sequence[DayUse], days: Days) -> int:
    """What was spent in the month that the last day lies in; on the first of the next, that one is over."""
    return sum(one.cost_micros for one in used if (one.day.year, one.day.month) == (days.last.year, days.last.month))


def _since(of_grant: Mapping[str, Sequence[DayUse]], grant_id: str, now: datetime) -> bool:
    """Whether it was used lately."""
    return any(one.day >= (now - IDLE_AFTER).date() for one in of_grant.get(grant_id, ()))


def _rotates(story: Story) -> datetime:
    if story.grant is None or story.grant.rotates_at is None:
        raise ValueError("only what is to be rotated is sorted by it")
    return story.grant.rotates_at


def _end(story: Story) -> datetime:
    if story.grant is None or story.grant.expires_at is None:
        raise ValueError("only what has an end is sorted by it")
    return story.grant.expires_at
