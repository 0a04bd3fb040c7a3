"""Who may decide: the policy's answer, with groups and managers looked up in the directory."""

from bot.desk.door import Door
from bot.desk.model import Actor, Draft
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

    async def deciders(self, actor: Actor, draft: Draft) -> frozenset[str]:
        """Who may decide on the actor's draft today; empty when policy refuses it. Never holds the actor."""
        verdict = await self.verdict(actor.id, draft)
        return frozenset() if isinstance(verdict, Refuse) else await self.people(actor, verdict)

    async def people(self, actor: Actor, ask: Ask) -> frozenset[str]:
        """The members behind the answer who could be admitted; never the actor who asks."""
        named = [await self._directory.members(who) if who[0] == "S" else frozenset({who}) for who in ask.approvers]
        everybody = frozenset().union(*named) - {actor.id}
        return frozenset([who for who in everybody if await self._door.welcomes(Actor(actor.team, who))])
