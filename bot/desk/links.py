"""The life of a link: looked at, claimed by one session, acknowledged."""

from datetime import timedelta

from bot.desk import envelope
from bot.desk.audit import Act, stamp
from bot.desk.bell import Bell
from bot.desk.door import Door
from bot.desk.errors import NotAllowed, NotYours, Superseded, present
from bot.desk.model import Context, Link, Sealed, Session, Story
from bot.desk.ports import Clock, Store, Transaction
from bot.desk.providers import Providers
from bot.desk.rotation import Rotation
from bot.desk.states import KeyState, LinkState
from bot.desk.stories import tell

LINK_LIVES = timedelta(minutes=15)
LEASE = timedelta(minutes=2)  # from claim to acknowledgement; the page needs a moment, a reload a few seconds


class Links:
    """What the page asks for its holder: how far the link is, the envelope, and that it was shown."""

    def __init__(
        self, *, store: Store, door: Door, providers: Providers, rotation: Rotation, bell: Bell, clock: Clock
    ) -> None:
        self._store = store
        self._door = door
        self._providers = providers
        self._rotation = rotation
        self._bell = bell
        self._clock = clock

    async def look(self, session: Session, link_id: str) -> tuple[Link, Story]:
        """How far the holder's link is. Changes nothing. Raises `NotYours` for anybody else's, or none."""
        link = await self._link(session, link_id, to="look")

        def story(tx: Transaction) -> Story:
            grant = present(tx.grant(link.team, link.grant_id))
            return tell(tx, link.team, grant.request_id, self._providers)

        return link, await self._store.read(story)

    async def claim(self, session: Session, link_id: str, token: str) -> Sealed:
        """Leases the envelope to this session: one compare-and-set, so one session at most ever receives it.

        A reload inside the lease delivers again to the same session. Raises `NotYours`, `NotAllowed` for a wrong
        token, `Superseded` when the link was claimed, used or closed before.
        """
        await self._door.admit(session.actor, to=Act.CLAIMED, subject=link_id)
        link = await self._link(session, link_id, to=Act.CLAIMED)
        if not envelope.token_fits(token, link.token_hash):
            refusal = NotAllowed("This link is not complete. Copy it again from Slack, whole, or pick up a new one.")
            raise await self._door.refuse(session.actor, refusal, to=Act.CLAIMED, subject=link_id)
        now = self._clock()

        def act(tx: Transaction) -> Link:
            link = present(tx.link(link_id))
            if link.state is LinkState.CLAIMED and link.session == session.id and now < (link.lease_until or now):
                return link
            if link.state is not LinkState.OPEN or now >= link.expires_at:
                raise Superseded("This link cannot be opened any more.", found=link.state)
            claimed = tx.move(link, LinkState.CLAIMED, session=session.id, lease_until=now + LEASE)
            tx.record(team=link.team, at=now, actor=link.holder, act=Act.CLAIMED, subject=link.id, key=link.key_id)
            return claimed

        try:
            claimed = await self._store.write(act)
        except Superseded as lost:
            raise await self._second_claim(session, link_id, lost) from None
        if claimed.envelope is None or claimed.lease_until is None:
            raise Superseded("This link cannot be opened any more.", found=claimed.state)
        context = Context(
            team=claimed.team,
            holder=claimed.holder,
            grant=claimed.grant_id,
            key=claimed.key_id,
            link=claimed.id,
            expires=stamp(claimed.expires_at),
        )
        return Sealed(claimed.envelope, context, claimed.lease_until)

    async def _second_claim(self, session: Session, link_id: str, lost: Superseded) -> Superseded:
        now = self._clock()
        await self._store.write(
            lambda tx: tx.record(
                team=session.actor.team,
                at=now,
                actor=session.actor.id,
                act=Act.REFUSED,
                subject=link_id,
                to=Act.CLAIMED,
                because=f"the link is {lost.found}",
            )
        )
        return lost

    async def acknowledge(self, session: Session, link_id: str, token: str) -> None:
        """The browser shows the key: the envelope is destroyed, the grant is active. Again by the same session: fine.

        Raises `NotYours`, `NotAllowed`, and `Superseded` when the lease ended before.
        """
        await self._door.admit(session.actor, to=Act.REVEALED, subject=link_id)
        link = await self._link(session, link_id, to=Act.REVEALED)
        if not envelope.token_fits(token, link.token_hash) or (link.session is not None and link.session != session.id):
            refusal = NotAllowed("Another browser opened this link.")
            raise await self._door.refuse(session.actor, refusal, to=Act.REVEALED, subject=link_id)
        now = self._clock()

        def act(tx: Transaction) -> None:
            link = present(tx.link(link_id))
            if link.state is LinkState.REVEALED:
                return
            if link.state is not LinkState.CLAIMED or link.session != session.id:
                raise Superseded("The time to show this key is over.", found=link.state)
            tx.move(link, LinkState.REVEALED, envelope=None)
            key = tx.move(present(tx.key(link.team, link.key_id)), KeyState.LIVE)
            tx.destroy_deposit(link.team, link.key_id)
            grant = self._rotation.follow(tx, present(tx.grant(link.team, link.grant_id)), key, now)
            tx.redraw(grant.team, grant.request_id, now)
            tx.record(team=link.team, at=now, actor=link.holder, act=Act.REVEALED, subject=link.id, key=link.key_id)

        await self._store.write(act)
        self._bell.ring()

    async def _link(self, session: Session, link_id: str, *, to: str) -> Link:
        """The session's own link. A stranger's, and one that never was, answer alike: nothing is learnt."""
        link = await self._store.read(lambda tx: tx.link(link_id))
        if link is None or (link.team, link.holder) != (session.actor.team, session.actor.id):
            refusal = NotYours("This link is not for you, or it does not exist. Only who asked for a key can open it.")
            if link is None:
                raise refusal
            raise await self._door.refuse(session.actor, refusal, to=to, subject=link_id)
        return link
