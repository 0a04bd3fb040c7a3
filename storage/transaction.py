"""What one transaction may do: the same statements on both databases."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import case, select, update

from bot.desk.audit import Act, Entry, Head, chained
from bot.desk.errors import Superseded
from bot.desk.model import AccessRequest, Decision, Deposit, Grant, Key, Link, Notice
from bot.desk.ports import Moving
from bot.desk.states import MOVES, GrantState, KeyState, LinkState, RequestState
from storage import due, statements
from storage.digests import DigestStatements
from storage.incidents import IncidentStatements
from storage.rows import Thing, plain, table, to_domain, to_row
from storage.statements import its
from storage.tables import AuditEntryRow, AuditHeadRow, DeliveryRow, LessonRow

_NOTICES, _GRANTS = table(Notice), table(Grant)
_ENTRIES, _HEADS, _LESSONS = (cast(Any, row).__table__ for row in (AuditEntryRow, AuditHeadRow, LessonRow))

# One that is behind already is due, put off, or being shown now. Taking its lease away would post it twice; it becomes due
# again when that showing is written down.
_REDRAWN = statements.changed(_NOTICES, "team", "about").values(
    wanted=_NOTICES.c.wanted + 1,
    due_at=case((_NOTICES.c.shown >= _NOTICES.c.wanted, statements.NOW), else_=_NOTICES.c.due_at),
)
_HELD = (
    statements.one(_GRANTS, "team", "holder")
    .order_by(case((_GRANTS.c.state == GrantState.ENDED.value, 1), else_=0), _GRANTS.c.created_at.desc(), _GRANTS.c.id)
    .limit(statements.LIMIT)
)


class SqlTransaction(DigestStatements, IncidentStatements):
    """One transaction; implements `bot.desk.ports.Transaction`."""

    # ---- writing

    def first_time(self, team: str, delivery: str, at: datetime) -> bool:
        """Whether this delivery, or whatever is to happen once, is seen for the first time."""
        return self._insert_new(DeliveryRow, team=team, id=delivery, at=at)

    def add(self, thing: AccessRequest | Decision | Deposit | Grant | Key | Link | Notice) -> None:
        """Stores a new row."""
        self._db.execute(statements.new(table(type(thing))), to_row(thing))

    def move(
        self, thing: Moving, to: RequestState | GrantState | KeyState | LinkState | None = None, **changes: Any
    ) -> Moving:
        """Guarded update."""
        if to is not None and to not in MOVES[type(thing.state)][thing.state]:
            raise ValueError(f"no move leads from {thing.state!r} to {to!r}")
        rows = table(type(thing))
        values = {name: plain(value) for name, value in {**changes, "state": to or thing.state}.items()}
        this = its(team=thing.team, id=thing.id, state=thing.state.value)
        row = self._db.execute(statements.moved(rows, "team", "id", "state"), {**values, **this}).mappings().first()
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
        row = self._db.execute(statements.one(_HEADS, "team"), {"team": team}).first()
        head = Head(row.size, row.leaf) if row else None
        written = {name: plain(value) for name, value in detail.items()}
        entry = chained(head, team=team, at=at, actor=actor, act=act, subject=subject, detail=written)
        self._db.execute(
            statements.new(_ENTRIES),
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
            self._db.execute(statements.changed(_HEADS, "team"), {**now, **its(team=team)})
        else:
            self._db.execute(statements.new(_HEADS), {"team": team, **now})
        return entry

    def destroy_deposit(self, team: str, key_id: str) -> None:
        """The deposited value is gone."""
        self._db.execute(statements.gone(table(Deposit), "team", "key_id"), {"team": team, "key_id": key_id})

    def rewrap(self, deposit: Deposit, *, sealed: bytes, kek: str) -> bool:
        """Replaces the wrapping, guarded by the KEK that it had."""
        rows = table(Deposit)
        same = (rows.c.team == deposit.team, rows.c.key_id == deposit.key_id, rows.c.kek == deposit.kek)
        return self._db.execute(update(rows).where(*same).values(sealed=sealed, kek=kek)).rowcount == 1

    def shown(self, notice: Notice, *, channel: str | None, ts: str | None) -> None:
        """The recipient sees version `notice.wanted`; one wanted meanwhile is due now."""
        # The lease pushed `due_at` into the future; what changed since then must not wait for it.
        values = {"shown": notice.wanted, "channel": channel, "ts": ts, "attempts": 0, "due_at": notice.due_at}
        self._change(notice, values)

    def put_off(self, notice: Notice, until: datetime, *, failed: bool = True) -> None:
        """Due again then; where it `failed`, one attempt older."""
        self._change(notice, {"due_at": until, "attempts": notice.attempts + failed})

    def _change(self, notice: Notice, values: dict[str, Any]) -> None:
        self._db.execute(statements.changed(_NOTICES, "team", "id"), {**values, **its(team=notice.team, id=notice.id)})

    def redraw(self, team: str, about: str, now: datetime) -> None:
        """Every notice about this request is to be shown anew."""
        self._db.execute(_REDRAWN, {"now": now, **its(team=team, about=about)})

    def lesson(self, team: str, member: str) -> datetime | None:
        """When this member last acknowledged how to keep a key safe, or None."""
        row = self._db.execute(statements.one(_LESSONS, "team", "member"), {"team": team, "member": member}).first()
        return row.at if row else None

    def learn(self, team: str, member: str, at: datetime) -> None:
        """This member does so now."""
        this = {"team": team, "member": member}
        self._db.execute(statements.gone(_LESSONS, "team", "member"), this)
        self._db.execute(statements.new(_LESSONS), {**this, "at": at})

    def lease_keys(self, now: datetime, until: datetime, limit: int) -> Sequence[Key]:
        """Keys to revoke, disable or enable that are due, now leased."""
        return self._lease(Key, due.keys_to_act_on, now, until, limit)

    def lease_invitations(self, now: datetime, until: datetime, limit: int) -> Sequence[Grant]:
        """Grants whose invitation is to be sent or withdrawn and due, now leased."""
        return self._lease(Grant, due.invitations, now, until, limit)

    def lease_notices(self, now: datetime, until: datetime, limit: int) -> Sequence[Notice]:
        """Notices behind what they should show that are due, now leased."""
        return self._lease(Notice, due.notices, now, until, limit)

    def _lease(
        self, kind: type[Thing], when: statements.Conditions, now: datetime, until: datetime, limit: int
    ) -> list[Thing]:
        rows = table(kind)
        found = self._all(kind, statements.leased(rows, when), now=now, limit=limit)
        if found:
            these = [{"due_at": until, **its(team=row.team, id=row.id)} for row in cast(Any, found)]
            self._db.execute(statements.changed(rows, "team", "id"), these)
        return found

    # ---- looking

    def _one(self, kind: type[Thing], **these: Any) -> Thing | None:
        row = self._db.execute(statements.one(table(kind), *these), these).mappings().first()
        return to_domain(kind, row) if row else None

    def _by(self, kind: type[Thing], *order: str, limit: int, **these: Any) -> list[Thing]:
        return self._all(kind, statements.many(table(kind), *these, order=order), **these, limit=limit)

    def _many(self, kind: type[Thing], *where: Any, order: Sequence[Any], limit: int) -> list[Thing]:
        return self._all(kind, select(table(kind)).where(*where).order_by(*order).limit(limit))

    def _all(self, kind: type[Thing], query: Any, **told: Any) -> list[Thing]:
        return [to_domain(kind, row) for row in self._db.execute(query, told).mappings()]

    def request(self, team: str, request_id: str) -> AccessRequest | None:
        """The team's request, or None."""
        return self._one(AccessRequest, team=team, id=request_id)

    def request_from(self, team: str, origin: str) -> AccessRequest | None:
        """The request that this form made, or None."""
        return self._one(AccessRequest, team=team, origin=origin)

    def extension_of(self, team: str, grant_id: str) -> AccessRequest | None:
        """The newest request that asks to extend this grant, or None."""
        return next(iter(self._by(AccessRequest, "-created_at", "id", limit=1, team=team, extends=grant_id)), None)

    def decision(self, team: str, request_id: str) -> Decision | None:
        """What was decided, or None."""
        return self._one(Decision, team=team, request_id=request_id)

    def grant(self, team: str, grant_id: str) -> Grant | None:
        """The team's grant, or None."""
        return self._one(Grant, team=team, id=grant_id)

    def grant_of(self, team: str, request_id: str) -> Grant | None:
        """The grant that came of a request, or None."""
        return self._one(Grant, team=team, request_id=request_id)

    def key(self, team: str, key_id: str) -> Key | None:
        """The team's key, or None."""
        return self._one(Key, team=team, id=key_id)

    def link(self, link_id: str) -> Link | None:
        """By id alone: the URL names no team."""
        return self._one(Link, id=link_id)

    def link_of(self, team: str, key_id: str) -> Link | None:
        """The newest link that delivers a key, or None."""
        return next(iter(self._by(Link, "-created_at", "id", limit=1, team=team, key_id=key_id)), None)

    def deposit(self, team: str, key_id: str) -> Deposit | None:
        """The value that rests for this key, sealed, or None."""
        return self._one(Deposit, team=team, key_id=key_id)

    def deposits_beside(self, keks: Collection[str], limit: int) -> Sequence[Deposit]:
        """Those of all teams that none of these KEKs wraps."""
        rows = table(Deposit)
        return self._many(Deposit, rows.c.kek.not_in(keks), order=[rows.c.at, rows.c.key_id], limit=limit)

    def requests_of(self, team: str, requester: str, limit: int) -> Sequence[AccessRequest]:
        """The requester's, newest first."""
        return self._by(AccessRequest, "-created_at", "id", limit=limit, team=team, requester=requester)

    def pending(self, team: str, limit: int) -> Sequence[AccessRequest]:
        """All pending requests of the team, oldest first."""
        state = RequestState.PENDING.value
        return self._by(AccessRequest, "created_at", "id", limit=limit, team=team, state=state)

    def grants_of(self, team: str, holder: str, limit: int) -> Sequence[Grant]:
        """The holder's, those not over first, then newest first."""
        return self._all(Grant, _HELD, team=team, holder=holder, limit=limit)

    def living_grants_of(self, team: str, holder: str, limit: int) -> Sequence[Grant]:
        """The holder's that are neither ending nor ended, nor offered to others since they left; oldest first."""
        rows = table(Grant)
        over = (GrantState.ENDING.value, GrantState.ENDED.value)
        mine = (rows.c.team == team, rows.c.holder == holder)
        these = (*mine, rows.c.state.not_in(over), rows.c.left_at.is_(None))
        return self._many(Grant, *these, order=[rows.c.created_at, rows.c.id], limit=limit)

    def pending_of(self, team: str, requester: str, limit: int) -> Sequence[AccessRequest]:
        """The requester's that nobody decided on, oldest first."""
        mine = {"team": team, "requester": requester, "state": RequestState.PENDING.value}
        return self._by(AccessRequest, "created_at", "id", limit=limit, **mine)

    def keys_of(self, team: str, grant_id: str) -> Sequence[Key]:
        """Every key the grant ever had, oldest first."""
        return self._by(Key, "intended_at", "id", limit=1000, team=team, grant_id=grant_id)

    def keys_metered(self, team: str, provider: str, meter: str) -> Sequence[Key]:
        """Those whose usage is reported under this id."""
        return self._by(Key, "intended_at", "id", limit=1000, team=team, provider=provider, meter=meter)

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
