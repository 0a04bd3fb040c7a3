"""What one transaction may do: the same statements on both databases."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import case, delete, insert, literal, select, update

from bot.desk.audit import Act, Entry, Head, chained
from bot.desk.errors import Superseded
from bot.desk.model import AccessRequest, Decision, Deposit, Grant, Key, Link, Notice
from bot.desk.ports import Moving
from bot.desk.states import MOVES, GrantState, KeyState, LinkState, RequestState
from storage import due
from storage.digests import DigestStatements
from storage.incidents import IncidentStatements
from storage.rows import Thing, plain, table, to_domain, to_row
from storage.tables import AuditEntryRow, AuditHeadRow, DeliveryRow, LessonRow, UtcTime


class SqlTransaction(DigestStatements, IncidentStatements):
    """One transaction; implements `bot.desk.ports.Transaction`.

    Values stand beside a statement, not in it: SQLAlchemy then knows the statement again without looking at each of
    them, which spares a write a third of its time.
    """

    # ---- writing

    def first_time(self, team: str, delivery: str, at: datetime) -> bool:
        """Whether this delivery, or whatever is to happen once, is seen for the first time."""
        return self._insert_new(DeliveryRow, team=team, id=delivery, at=at)

    def add(self, thing: AccessRequest | Decision | Deposit | Grant | Key | Link | Notice) -> None:
        """Stores a new row."""
        self._db.execute(insert(table(type(thing))), to_row(thing))

    def move(
        self, thing: Moving, to: RequestState | GrantState | KeyState | LinkState | None = None, **changes: Any
    ) -> Moving:
        """Guarded update."""
        if to is not None and to not in MOVES[type(thing.state)][thing.state]:
            raise ValueError(f"no move leads from {thing.state!r} to {to!r}")
        rows = table(type(thing))
        values = {name: plain(value) for name, value in {**changes, "state": to or thing.state}.items()}
        moved = self._db.execute(
            update(rows)
            .where(rows.c.team == thing.team, rows.c.id == thing.id, rows.c.state == thing.state.value)
            .returning(*rows.c),
            values,
        ).mappings()
        row = moved.first()
        if row is None:
            found = self._db.execute(
                select(rows.c.state).where(rows.c.team == thing.team, rows.c.id == thing.id)
            ).scalar()
            raise Superseded("Somebody was faster.", found=str(found))
        return to_domain(type(thing), row)

    def know_handle(self, key: Key, handle: str, fingerprint: str, now: datetime) -> None:
        """The one move that is not guarded: a key that exists must never be forgotten."""
        rows = table(Key)
        self._db.execute(
            update(rows)
            .where(rows.c.team == key.team, rows.c.id == key.id)
            .values(handle=handle, fingerprint=fingerprint, state=KeyState.REVOKING.value, due_at=now)
        )

    def record(self, *, team: str, at: datetime, actor: str, act: Act, subject: str, **detail: Any) -> Entry:
        """Appends to the chain."""
        heads = cast(Any, AuditHeadRow).__table__
        row = self._db.execute(select(heads.c.size, heads.c.leaf).where(heads.c.team == team)).first()
        head = Head(row.size, row.leaf) if row else None
        written = {name: plain(value) for name, value in detail.items()}
        entry = chained(head, team=team, at=at, actor=actor, act=act, subject=subject, detail=written)
        self._db.execute(
            insert(cast(Any, AuditEntryRow).__table__),
            {
                "team": entry.team,
                "index": entry.index,
                "at": entry.at,
                "actor": entry.actor,
                "act": entry.act,
                "subject": entry.subject,
                "detail": entry.detail,
                "previous": entry.previous,
                "leaf": entry.leaf,
            },
        )
        now: dict[str, Any] = {"size": entry.index + 1, "leaf": entry.leaf}
        if row:
            self._db.execute(update(heads).where(heads.c.team == team), now)
        else:
            self._db.execute(insert(heads), {"team": team, **now})
        return entry

    def destroy_deposit(self, team: str, key_id: str) -> None:
        """The deposited value is gone."""
        rows = table(Deposit)
        self._db.execute(delete(rows).where(rows.c.team == team, rows.c.key_id == key_id))

    def rewrap(self, deposit: Deposit, *, sealed: bytes, kek: str) -> bool:
        """Replaces the wrapping, guarded by the KEK that it had."""
        rows = table(Deposit)
        same = (rows.c.team == deposit.team, rows.c.key_id == deposit.key_id, rows.c.kek == deposit.kek)
        return self._db.execute(update(rows).where(*same).values(sealed=sealed, kek=kek)).rowcount == 1

    def shown(self, notice: Notice, *, channel: str | None, ts: str | None) -> None:
        """The recipient sees version `notice.wanted`; one wanted meanwhile is due now."""
        rows = table(Notice)
        self._db.execute(
            update(rows)
            .where(rows.c.team == notice.team, rows.c.id == notice.id)
            # The lease pushed `due_at` into the future; what changed since then must not wait for it.
            .values(shown=notice.wanted, channel=channel, ts=ts, attempts=0, due_at=notice.due_at)
        )

    def put_off(self, notice: Notice, until: datetime) -> None:
        """Due again then, and one attempt older."""
        rows = table(Notice)
        self._db.execute(
            update(rows)
            .where(rows.c.team == notice.team, rows.c.id == notice.id)
            .values(due_at=until, attempts=notice.attempts + 1)
        )

    def redraw(self, team: str, about: str, now: datetime) -> None:
        """Every notice about this request is to be shown anew."""
        rows = table(Notice)
        self._db.execute(
            update(rows)
            .where(rows.c.team == team, rows.c.about == about)
            # One that is behind already is due, put off, or being shown now. Taking its lease away would post it twice;
            # it becomes due again when that showing is written down.
            .values(
                wanted=rows.c.wanted + 1,
                due_at=case((rows.c.shown >= rows.c.wanted, literal(now, UtcTime())), else_=rows.c.due_at),
            )
        )

    def lesson(self, team: str, member: str) -> datetime | None:
        """When this member last acknowledged how to keep a key safe, or None."""
        rows = cast(Any, LessonRow).__table__
        at: datetime | None = self._db.execute(
            select(rows.c.at).where(rows.c.team == team, rows.c.member == member)
        ).scalar()
        return at

    def learn(self, team: str, member: str, at: datetime) -> None:
        """This member does so now."""
        rows = cast(Any, LessonRow).__table__
        self._db.execute(delete(rows).where(rows.c.team == team, rows.c.member == member))
        self._db.execute(insert(rows), {"team": team, "member": member, "at": at})

    def lease_keys(self, now: datetime, until: datetime, limit: int) -> Sequence[Key]:
        """Keys to revoke, disable or enable that are due, now leased."""
        return self._lease(Key, due.keys_to_act_on(now), until, limit)

    def lease_invitations(self, now: datetime, until: datetime, limit: int) -> Sequence[Grant]:
        """Grants whose invitation is to be sent or withdrawn and due, now leased."""
        return self._lease(Grant, due.invitations(now), until, limit)

    def lease_notices(self, now: datetime, until: datetime, limit: int) -> Sequence[Notice]:
        """Notices behind what they should show that are due, now leased."""
        return self._lease(Notice, due.notices(now), until, limit)

    def _lease(self, kind: type[Thing], when: tuple[Any, ...], until: datetime, limit: int) -> list[Thing]:
        rows = table(kind)
        query = select(rows).where(*when).order_by(rows.c.due_at).limit(limit)
        found = [to_domain(kind, row) for row in self._db.execute(query).mappings()]
        for thing in found:
            row = cast(Any, thing)
            self._db.execute(update(rows).where(rows.c.team == row.team, rows.c.id == row.id).values(due_at=until))
        return found

    # ---- looking

    def _one(self, kind: type[Thing], *where: Any) -> Thing | None:
        row = self._db.execute(select(table(kind)).where(*where)).mappings().first()
        return to_domain(kind, row) if row else None

    def _many(self, kind: type[Thing], *where: Any, order: Sequence[Any], limit: int) -> list[Thing]:
        query = select(table(kind)).where(*where).order_by(*order).limit(limit)
        return [to_domain(kind, row) for row in self._db.execute(query).mappings()]

    def request(self, team: str, request_id: str) -> AccessRequest | None:
        """The team's request, or None."""
        rows = table(AccessRequest)
        return self._one(AccessRequest, rows.c.team == team, rows.c.id == request_id)

    def request_from(self, team: str, origin: str) -> AccessRequest | None:
        """The request that this form made, or None."""
        rows = table(AccessRequest)
        return self._one(AccessRequest, rows.c.team == team, rows.c.origin == origin)

    def extension_of(self, team: str, grant_id: str) -> AccessRequest | None:
        """The newest request that asks to extend this grant, or None."""
        rows = table(AccessRequest)
        these = (rows.c.team == team, rows.c.extends == grant_id)
        order = [rows.c.created_at.desc(), rows.c.id]
        return next(iter(self._many(AccessRequest, *these, order=order, limit=1)), None)

    def decision(self, team: str, request_id: str) -> Decision | None:
        """What was decided, or None."""
        rows = table(Decision)
        return self._one(Decision, rows.c.team == team, rows.c.request_id == request_id)

    def grant(self, team: str, grant_id: str) -> Grant | None:
        """The team's grant, or None."""
        rows = table(Grant)
        return self._one(Grant, rows.c.team == team, rows.c.id == grant_id)

    def grant_of(self, team: str, request_id: str) -> Grant | None:
        """The grant that came of a request, or None."""
        rows = table(Grant)
        return self._one(Grant, rows.c.team == team, rows.c.request_id == request_id)

    def key(self, team: str, key_id: str) -> Key | None:
        """The team's key, or None."""
        rows = table(Key)
        return self._one(Key, rows.c.team == team, rows.c.id == key_id)

    def link(self, link_id: str) -> Link | None:
        """By id alone: the URL names no team."""
        return self._one(Link, table(Link).c.id == link_id)

    def link_of(self, team: str, key_id: str) -> Link | None:
        """The newest link that delivers a key, or None."""
        rows = table(Link)
        these = (rows.c.team == team, rows.c.key_id == key_id)
        return next(iter(self._many(Link, *these, order=[rows.c.created_at.desc(), rows.c.id], limit=1)), None)

    def deposit(self, team: str, key_id: str) -> Deposit | None:
        """The value that rests for this key, sealed, or None."""
        rows = table(Deposit)
        return self._one(Deposit, rows.c.team == team, rows.c.key_id == key_id)

    def deposits_beside(self, keks: Collection[str], limit: int) -> Sequence[Deposit]:
        """Those of all teams that none of these KEKs wraps."""
        rows = table(Deposit)
        return self._many(Deposit, rows.c.kek.not_in(keks), order=[rows.c.at, rows.c.key_id], limit=limit)

    def requests_of(self, team: str, requester: str, limit: int) -> Sequence[AccessRequest]:
        """The requester's, newest first."""
        rows = table(AccessRequest)
        mine = (rows.c.team == team, rows.c.requester == requester)
        return self._many(AccessRequest, *mine, order=[rows.c.created_at.desc(), rows.c.id], limit=limit)

    def pending(self, team: str, limit: int) -> Sequence[AccessRequest]:
        """All pending requests of the team, oldest first."""
        rows = table(AccessRequest)
        these = (rows.c.team == team, rows.c.state == RequestState.PENDING.value)
        return self._many(AccessRequest, *these, order=[rows.c.created_at, rows.c.id], limit=limit)

    def grants_of(self, team: str, holder: str, limit: int) -> Sequence[Grant]:
        """The holder's, those not over first, then newest first."""
        rows = table(Grant)
        over = case((rows.c.state == GrantState.ENDED.value, 1), else_=0)
        mine = (rows.c.team == team, rows.c.holder == holder)
        return self._many(Grant, *mine, order=[over, rows.c.created_at.desc(), rows.c.id], limit=limit)

    def living_grants_of(self, team: str, holder: str, limit: int) -> Sequence[Grant]:
        """The holder's that are neither ending nor ended, nor offered to others since they left; oldest first."""
        rows = table(Grant)
        over = (GrantState.ENDING.value, GrantState.ENDED.value)
        mine = (rows.c.team == team, rows.c.holder == holder)
        these = (*mine, rows.c.state.not_in(over), rows.c.left_at.is_(None))
        return self._many(Grant, *these, order=[rows.c.created_at, rows.c.id], limit=limit)

    def pending_of(self, team: str, requester: str, limit: int) -> Sequence[AccessRequest]:
        """The requester's that nobody decided on, oldest first."""
        rows = table(AccessRequest)
        these = (rows.c.team == team, rows.c.requester == requester, rows.c.state == RequestState.PENDING.value)
        return self._many(AccessRequest, *these, order=[rows.c.created_at, rows.c.id], limit=limit)

    def keys_of(self, team: str, grant_id: str) -> Sequence[Key]:
        """Every key the grant ever had, oldest first."""
        rows = table(Key)
        these = (rows.c.team == team, rows.c.grant_id == grant_id)
        return self._many(Key, *these, order=[rows.c.intended_at, rows.c.id], limit=1000)

    def keys_metered(self, team: str, provider: str, meter: str) -> Sequence[Key]:
        """Those whose usage is reported under this id."""
        rows = table(Key)
        these = (rows.c.team == team, rows.c.provider == provider, rows.c.meter == meter)
        return self._many(Key, *these, order=[rows.c.intended_at, rows.c.id], limit=1000)

    def stalled_mints(self, intended_before: datetime, limit: int) -> Sequence[Key]:
        """Minting since before then."""
        order = [table(Key).c.intended_at]
        return self._many(Key, *due.stalled_mints(intended_before), order=order, limit=limit)

    def overdue_links(self, now: datetime, limit: int) -> Sequence[Link]:
        """Open past their expiry, or claimed past their lease."""
        return self._many(Link, *due.overdue_links(now), order=[table(Link).c.expires_at], limit=limit)

    def expired_grants(self, now: datetime, limit: int) -> Sequence[Grant]:
        """Past their end and not over; those of which nobody held a key yet have none."""
        return self._many(Grant, *due.expired_grants(now), order=[table(Grant).c.expires_at], limit=limit)

    def disabled_keys(self, now: datetime, limit: int) -> Sequence[Key]:
        """Switched off until now."""
        return self._many(Key, *due.disabled_keys(now), order=[table(Key).c.due_at], limit=limit)

    def retired_keys(self, now: datetime, limit: int) -> Sequence[Key]:
        """Those whose grace ended until now."""
        return self._many(Key, *due.retired_keys(now), order=[table(Key).c.due_at], limit=limit)
