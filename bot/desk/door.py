"""The one door: who is asking, and may they. Refusals are recorded; what cannot be recorded is not done."""

from bot.desk.audit import Act
from bot.desk.errors import NotWelcome, NotYours, Refused, present
from bot.desk.model import Actor, Grant, Person
from bot.desk.ports import Clock, Directory, Store


def unwelcome(actor: Actor, person: Person | None) -> str | None:
    """Why this person may not deal with the desk at all, or None. Fails closed: an unknown person may not."""
    if person is None or person.stranger or person.team != actor.team:
        return "Keydesk serves members of its own workspace only. Ask a colleague there to request the key."
    if person.deleted:
        return "This account is deactivated, so it cannot hold or approve keys."
    if person.bot:
        return "Bots cannot hold or approve keys. Ask as a person."
    if person.guest:
        return "Guests cannot hold or approve keys. Ask a full member of the workspace to request it."
    return None


class Door:
    """Admits full, living, human members of the team, asked anew at every act."""

    def __init__(self, *, store: Store, directory: Directory, clock: Clock) -> None:
        self._store = store
        self._directory = directory
        self._clock = clock

    async def admit(self, actor: Actor, *, to: str, subject: str) -> Person:
        """The person behind the actor, as the directory knows them now. Raises `NotWelcome`, which is recorded."""
        person = await self._directory.person(actor.id, fresh=True)
        because = unwelcome(actor, person)
        if person is None or because is not None:
            raise await self.refuse(actor, NotWelcome(because), to=to, subject=subject)
        return person

    async def admit_holder(self, actor: Actor, grant_id: str, *, to: str, otherwise: str) -> Grant:
        """The grant, as its holder asks for it. Raises `NotWelcome`, `NotThere`, and `NotYours`, which says `otherwise`."""
        await self.admit(actor, to=to, subject=grant_id)
        grant = present(await self._store.read(lambda tx: tx.grant(actor.team, grant_id)))
        if grant.holder != actor.id:
            raise await self.refuse(actor, NotYours(otherwise), to=to, subject=grant_id)
        return grant

    async def welcomes(self, actor: Actor) -> bool:
        """Whether this person could be admitted; may be a few minutes old, so it only chooses whom to ask."""
        return unwelcome(actor, await self._directory.person(actor.id)) is None

    async def refuse(self, actor: Actor, refusal: Refused, *, to: str, subject: str) -> Refused:
        """Records the refusal and hands it back to be raised."""
        now = self._clock()
        await self._store.write(
            lambda tx: tx.record(
                team=actor.team,
                at=now,
                actor=actor.id,
                act=Act.REFUSED,
                subject=subject,
                to=to,
                because=str(refusal),
            )
        )
        return refusal
