"""Who may decide, and who brings keys: the policy's answer, with groups and managers looked up in the directory."""

import asyncio
from collections.abc import Iterable

from bot.desk.door import Door
from bot.desk.errors import Unavailable
from bot.desk.model import AccessRequest, Actor, Decision, Draft
from bot.desk.policy import Ask, Facts, Policy, Refuse, Verdict
from bot.desk.ports import Directory


class Approvers:
    """Answers, for a requester and a draft, what policy says now and which people that names."""

    def __init__(self, *, policy: Policy, directory: Directory, door: Door) -> None:
        self.policy = policy
        self._directory = directory
        self._door = door

    async def facts(self, requester: str) -> Facts:
        """What policy needs to know of the requester."""
        groups = {group for group in self.policy.groups if requester in await self._directory.members(group)}
        field = self.policy.file.manager_field
        manager = await self._directory.manager(requester, field) if field else None
        return Facts(requester, frozenset(groups), manager)

    async def verdict(self, requester: str, draft: Draft) -> Verdict:
        """What policy says of this draft, today."""
        return self.policy.judge(draft, await self.facts(requester))

    async def may_decide(self, actor: Actor, requester: Actor, draft: Draft) -> bool:
        """Whether this member, whom the door has admitted, may decide on the requester's draft today."""
        verdict = await self.verdict(requester.id, draft)
        return (
            actor != requester
            and not isinstance(verdict, Refuse)
            and any([actor.id in await self.behind(who) for who in verdict.approvers])
        )

    async def may_take_back(self, actor: Actor, request: AccessRequest, decision: Decision | None) -> bool:
        """Whether this member, whom the door has admitted, may end what came of a request: its holder, or an approver.

        Who approved may whatever today's policy says: the holder may have left, or the rule changed.
        """
        own = {request.requester, decision.approver if decision else request.requester}
        holder = Actor(request.team, request.requester)
        return actor.id in own or await self.may_decide(actor, holder, request.draft)

    async def people(self, actor: Actor, ask: Ask) -> frozenset[str]:
        """The members behind the answer who could be admitted; never the actor who asks."""
        everybody = sorted(frozenset().union(*[await self.behind(who) for who in ask.approvers]) - {actor.id})
        # All at once: a group may be large, and who asked waits for the form to close.
        welcome = await asyncio.gather(*(self._door.welcomes(Actor(actor.team, who)) for who in everybody))
        return frozenset(who for who, come in zip(everybody, welcome, strict=True) if come)

    async def depositors(self, request: AccessRequest, approver: str) -> frozenset[str]:
        """Who makes the key of an approved request and brings it, and revokes it where only a person can.

        Whom its rule names today, else who approved it; where none of them is here any more, whoever may decide on it.
        Never its holder.
        """
        rule = self.policy.rule(request.rule)
        named = Ask(request.rule, rule.depositors if rule else ())
        found = await self.people(Actor(request.team, request.requester), named)
        return found or await self.who_approved(request, approver)

    async def who_approved(self, request: AccessRequest, approver: str) -> frozenset[str]:
        """Who approved it; where they are not here any more, whoever may decide on it. Never its holder."""
        holder = Actor(request.team, request.requester)
        if found := await self.people(holder, Ask(request.rule, (approver,))):
            return found
        verdict = await self.verdict(holder.id, request.draft)
        return frozenset() if isinstance(verdict, Refuse) else await self.people(holder, verdict)

    async def who_hears(self, request: AccessRequest, approver: str) -> frozenset[str]:
        """Who is told how an approved key fares: as `who_approved`; while Slack cannot be asked, who approved it.

        What is told goes with what is done about the key, and that does not wait for Slack.
        """
        try:
            return await self.who_approved(request, approver)
        except Unavailable:
            return frozenset({approver})

    async def admins(self, team: str) -> frozenset[str]:
        """The members whom policy names as admins, or a group that they are in now, and who could be admitted."""
        found = [await self.behind(who) for who in self.policy.file.admins]
        everybody = frozenset[str]().union(*found)
        return frozenset([who for who in everybody if await self._door.welcomes(Actor(team, who))])

    async def behind(self, approver: str) -> frozenset[str]:
        """The members that an entry of a rule names: a user group's, or the one member."""
        return await self._directory.members(approver) if approver[0] == "S" else frozenset({approver})

    async def manages(self, member: str, other: str) -> bool:
        """Whether this member is the other's manager now."""
        return (await self.facts(other)).manager == member

    async def is_among(self, member: str, named: Iterable[str]) -> bool:
        """Whether policy names this member, or a group that they are in now."""
        return any([member in await self.behind(who) for who in named])
