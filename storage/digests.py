"""Digests: the part of a transaction that says whose is due, and sums up what they tell."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import date, datetime
from typing import Any, cast

from sqlalchemy import and_, case, func, literal, or_, select, update
from sqlalchemy.engine import RowMapping

from bot.desk.errors import Superseded
from bot.desk.model import AccessRequest, Cause, Decision, Grant, Key, Link, Notice, NoticeKind, Ruling
from bot.desk.states import GrantState, KeyState, RequestState
from bot.desk.week import Days, ProjectWeek, Say, Spent, Subscription, TeamKey
from storage.rows import table
from storage.tables import DigestRow, IncidentRow, UsageRow
from storage.usage import UsageStatements

_ROWS: Any = cast(Any, DigestRow).__table__
_USED: Any = cast(Any, UsageRow).__table__
_INCIDENTS: Any = cast(Any, IncidentRow).__table__
OVER = (GrantState.ENDING.value, GrantState.ENDED.value)


def _subscription(row: RowMapping) -> Subscription:
    return Subscription(**dict(row))


class DigestStatements(UsageStatements):
    """What a transaction may do about digests."""

    # ---- whose is due

    def subscribe(self, team: str, members: Iterable[str], at: datetime) -> None:
        """These have a digest from now on; who has one already keeps theirs."""
        for member in members:
            self._insert_new(
                DigestRow, team=team, member=member, since=at, weekday=0, hour=9, off=False, due_at=at, attempts=0
            )

    def unsubscribed(self, limit: int) -> Sequence[tuple[str, str]]:
        """Holders of living grants, and who approved them, of all teams, that have no subscription: team and member."""
        grants, decisions = table(Grant), table(Decision)
        living = grants.c.state.not_in(OVER)
        approved = (decisions.c.team == grants.c.team) & (decisions.c.request_id == grants.c.request_id)
        found: set[tuple[str, str]] = set()
        for who, source in (
            (grants.c.holder, grants),
            (decisions.c.approver, grants.join(decisions, approved)),
        ):
            none = ~select(literal(1)).where(_ROWS.c.team == grants.c.team, _ROWS.c.member == who).exists()
            query = select(grants.c.team, who).select_from(source).where(living, none).distinct().limit(limit)
            found |= {(team, member) for team, member in self._db.execute(query)}
        return sorted(found)

    def subscription(self, team: str, member: str) -> Subscription | None:
        """The member's, or None."""
        query = select(_ROWS).where(_ROWS.c.team == team, _ROWS.c.member == member)
        row = self._db.execute(query).mappings().first()
        return _subscription(row) if row else None

    def put_subscription(self, subscription: Subscription) -> None:
        """It is so from now on, whatever it was."""
        values = {field.name: getattr(subscription, field.name) for field in fields(subscription)}
        new = self._dialect.insert(_ROWS)
        changed = {name: new.excluded[name] for name in values if name not in ("team", "member")}
        self._db.execute(new.on_conflict_do_update(index_elements=["team", "member"], set_=changed), values)

    def lease_subscriptions(self, now: datetime, until: datetime, sender: str, limit: int) -> Sequence[Subscription]:
        """Those that are due, leased to this sender. None while another has some: Slack's limit is for all together."""
        others = (_ROWS.c.sender.is_not(None), _ROWS.c.sender != sender, _ROWS.c.due_at > now)
        if self._db.execute(select(literal(1)).where(*others).limit(1)).first():
            return []
        query = select(_ROWS).where(_ROWS.c.due_at <= now).order_by(_ROWS.c.due_at, _ROWS.c.member).limit(limit)
        found = [_subscription(row) for row in self._db.execute(query).mappings()]
        for one in found:
            self.move_subscription(one, due_at=until, sender=sender, attempts=one.attempts + 1)
        return [replace(one, due_at=until, sender=sender) for one in found]

    def move_subscription(self, subscription: Subscription, **changes: Any) -> None:
        """Guarded by its lease: raises `Superseded` when that ended and another took it over."""
        mine = (
            _ROWS.c.team == subscription.team,
            _ROWS.c.member == subscription.member,
            _ROWS.c.due_at == subscription.due_at,
            _ROWS.c.sender.is_not_distinct_from(subscription.sender),
        )
        if not self._db.execute(update(_ROWS).where(*mine), changes).rowcount:
            raise Superseded("Another process sends this digest.", found="taken over")

    # ---- what it tells

    def models_used(self, team: str, holder: str, since: date) -> Mapping[str, frozenset[str]]:
        """Which models each of the holder's grants used since that day; none where its provider does not say."""
        held = self.keys_held(team, holder)
        mine = (_USED.c.team == team, _USED.c.key_id.in_(list(held)), _USED.c.day >= since, _USED.c.requests > 0)
        found: dict[str, set[str]] = {}
        for key_id, model in self._db.execute(select(_USED.c.key_id, _USED.c.model).where(*mine).distinct()):
            found.setdefault(held[key_id], set()).add(model)
        return {grant_id: frozenset(models) for grant_id, models in found.items()}

    def lapsed_links(self, team: str, holder: str, since: datetime) -> int:
        """How many links to the holder's keys lapsed unopened since then."""
        links = table(Link)
        mine = (links.c.team == team, links.c.key_id.in_(list(self.keys_held(team, holder))))
        lapsed = (links.c.closed_because == Cause.LAPSED.value, links.c.created_at >= since)
        return int(self._db.execute(select(func.count()).select_from(links).where(*mine, *lapsed)).scalar_one())

    def asked_of(self, team: str, approver: str, limit: int) -> Sequence[str]:
        """The ids of pending requests that the approver was asked to decide, oldest first."""
        requests, notices = table(AccessRequest), table(Notice)
        query = (
            select(requests.c.id)
            .join(notices, (notices.c.team == requests.c.team) & (notices.c.about == requests.c.id))
            .where(requests.c.team == team, requests.c.state == RequestState.PENDING.value)
            .where(notices.c.recipient == approver, notices.c.kind == NoticeKind.APPROVAL.value)
            .order_by(requests.c.created_at, requests.c.id)
            .limit(limit)
        )
        return list(self._db.execute(query).scalars())

    def approved_for(self, team: str, approver: str, rules: Collection[str]) -> Sequence[str]:
        """The holders of living grants that this member approved by these rules."""
        grants, requests, decisions = table(Grant), table(AccessRequest), table(Decision)
        approved = select(decisions.c.request_id).where(
            decisions.c.team == team, decisions.c.approver == approver, decisions.c.ruling == Ruling.APPROVE.value
        )
        ids = list(self._db.execute(approved).scalars())
        if not ids:
            return []  # most approved nothing
        query = (
            select(grants.c.holder)
            .join(requests, (requests.c.team == grants.c.team) & (requests.c.id == grants.c.request_id))
            .where(grants.c.team == team, grants.c.request_id.in_(ids), grants.c.state.not_in(OVER))
            .where(requests.c.rule.in_(rules))
            .distinct()
            .order_by(grants.c.holder)
        )
        return list(self._db.execute(query).scalars())

    def team_spent(self, say: Say, days: Days, top: int) -> tuple[Spent, Sequence[TeamKey]]:
        """What the keys spent that an approver has a say in: whole, and those that spent the most."""
        by_grant = self._by_grant(days, *_of_team(say)).subquery()
        whole = self._db.execute(select(func.sum(by_grant.c.week), func.sum(by_grant.c.before))).one()
        grants = table(Grant)
        most = (
            select(grants, by_grant.c.week, by_grant.c.before)
            .join(by_grant, by_grant.c.grant_id == grants.c.id)
            .where(grants.c.team == say.actor.team, by_grant.c.week > 0)
            .order_by(by_grant.c.week.desc(), grants.c.id)
            .limit(top)
        )
        found = [_team_key(row) for row in self._db.execute(most).mappings()]
        return Spent(int(whole[0] or 0), int(whole[1] or 0)), found

    def team_living(self, say: Say) -> int:
        """How many grants that an approver has a say in are neither ending nor over."""
        source, *where = _of_team(say)
        query = select(func.count()).select_from(source).where(*where, table(Grant).c.state.not_in(OVER))
        return int(self._db.execute(query).scalar_one())

    def team_idle(
        self, say: Say, providers: Collection[str], unused_since: datetime, limit: int
    ) -> tuple[int, Sequence[TeamKey]]:
        """The living keys of these, at these providers, older than that and unused since: how many, and some."""
        grants, keys = table(Grant), table(Key)
        source, *where = _of_team(say)
        source = source.join(keys, (keys.c.team == grants.c.team) & (keys.c.id == grants.c.key_id))
        used = select(literal(1)).where(
            _USED.c.team == keys.c.team, _USED.c.key_id == keys.c.id, _USED.c.day >= unused_since.date()
        )
        idle = (
            grants.c.state == GrantState.ACTIVE.value,
            keys.c.state == KeyState.LIVE.value,
            keys.c.provider.in_(providers),
            keys.c.intended_at < unused_since,
            ~used.exists(),
        )
        whole = self._db.execute(select(func.count()).select_from(source).where(*where, *idle)).scalar_one()
        some = select(grants).select_from(source).where(*where, *idle).order_by(keys.c.intended_at, grants.c.id)
        return int(whole), [_team_key(row) for row in self._db.execute(some.limit(limit)).mappings()]

    def team_overdue(self, say: Say, now: datetime, limit: int) -> tuple[int, Sequence[TeamKey]]:
        """The keys of these that were to be rotated by now: how many, and those that are it for longest."""
        grants = table(Grant)
        source, *where = _of_team(say)
        overdue = _overdue(now)
        whole = self._db.execute(select(func.count()).select_from(source).where(*where, *overdue)).scalar_one()
        some = select(grants).select_from(source).where(*where, *overdue).order_by(grants.c.rotates_at, grants.c.id)
        return int(whole), [_team_key(row) for row in self._db.execute(some.limit(limit)).mappings()]

    def overdue_rotations(self, team: str, now: datetime) -> int:
        """How many keys were to be rotated by now."""
        query = select(func.count()).select_from(table(Grant)).where(table(Grant).c.team == team, *_overdue(now))
        return int(self._db.execute(query).scalar_one())

    def spent_by_project(self, team: str, days: Days, limit: int) -> tuple[Spent, Sequence[ProjectWeek], int]:
        """What all keys spent: whole, by provider and project, the most first, and how many projects more there are."""
        grants = table(Grant)
        by_grant = self._by_grant(days, grants, grants.c.team == team).subquery()
        week, before = func.sum(by_grant.c.week), func.sum(by_grant.c.before)
        query = (
            select(grants.c.provider, grants.c.project, func.max(grants.c.provider_name).label("provider_name"))
            .add_columns(
                func.max(grants.c.project_name).label("project_name"), week.label("week"), before.label("before")
            )
            .join(by_grant, by_grant.c.grant_id == grants.c.id)
            .where(grants.c.team == team)
            .group_by(grants.c.provider, grants.c.project)
            .order_by(week.desc(), grants.c.project)
        )
        found = [
            ProjectWeek(row["provider_name"], row["project_name"], Spent(int(row["week"]), int(row["before"])))
            for row in self._db.execute(query).mappings()
        ]
        whole = Spent(sum(one.spent.week for one in found), sum(one.spent.before for one in found))
        return whole, found[:limit], max(len(found) - limit, 0)

    def unusual_since(self, team: str, since: datetime, limit: int) -> tuple[int, Sequence[tuple[str, str]]]:
        """The incidents opened since then: how many, and of the newest the ids of request and incident."""
        grants = table(Grant)
        lately = (_INCIDENTS.c.team == team, _INCIDENTS.c.opened_at >= since)
        whole = self._db.execute(select(func.count()).select_from(_INCIDENTS).where(*lately)).scalar_one()
        newest = (
            select(grants.c.request_id, _INCIDENTS.c.id)
            .join(grants, (grants.c.team == _INCIDENTS.c.team) & (grants.c.id == _INCIDENTS.c.grant_id))
            .where(*lately)
            .order_by(_INCIDENTS.c.opened_at.desc(), _INCIDENTS.c.id)
            .limit(limit)
        )
        return int(whole), [(request_id, incident_id) for request_id, incident_id in self._db.execute(newest)]

    def keys_by_hand(self, team: str) -> int:
        """How many keys wait for a person to revoke them."""
        keys = table(Key)
        query = select(func.count()).select_from(keys)
        return int(
            self._db.execute(query.where(keys.c.team == team, keys.c.state == KeyState.BY_HAND.value)).scalar_one()
        )

    def _by_grant(self, days: Days, source: Any, *where: Any) -> Any:
        """What each of these grants spent in the week, and in the one before."""
        grants, keys = table(Grant), table(Key)
        return (
            select(
                grants.c.id.label("grant_id"),
                func.sum(case((_USED.c.day >= days.first, _USED.c.cost_micros), else_=0)).label("week"),
                func.sum(case((_USED.c.day < days.first, _USED.c.cost_micros), else_=0)).label("before"),
            )
            .select_from(source)
            .join(keys, (keys.c.team == grants.c.team) & (keys.c.grant_id == grants.c.id))
            .join(_USED, (_USED.c.team == keys.c.team) & (_USED.c.key_id == keys.c.id))
            .where(*where, _USED.c.day >= days.before, _USED.c.day <= days.last)
            .group_by(grants.c.id)
        )


def _of_team(say: Say) -> tuple[Any, ...]:
    """The grants that an approver has a say in: what to select from, and where."""
    grants, requests, decisions = table(Grant), table(AccessRequest), table(Decision)
    asked = (requests.c.team == grants.c.team) & (requests.c.id == grants.c.request_id)
    decided = (decisions.c.team == grants.c.team) & (decisions.c.request_id == grants.c.request_id)
    themselves = and_(
        decisions.c.approver == say.actor.id,
        decisions.c.ruling == Ruling.APPROVE.value,
        requests.c.rule.in_(say.managed),
        grants.c.holder.in_(say.holders),
    )
    return (
        grants.join(requests, asked).outerjoin(decisions, decided),
        grants.c.team == say.actor.team,
        grants.c.holder != say.actor.id,
        or_(requests.c.rule.in_(say.rules), themselves),
    )


def _overdue(now: datetime) -> tuple[Any, ...]:
    """To be rotated by now, and not to end before."""
    grants = table(Grant)
    ends_later = or_(grants.c.expires_at.is_(None), grants.c.expires_at > grants.c.rotates_at)
    return grants.c.state == GrantState.ACTIVE.value, grants.c.rotates_at <= now, ends_later


def _team_key(row: RowMapping) -> TeamKey:
    return TeamKey(
        request_id=row["request_id"],
        grant_id=row["id"],
        holder=row["holder"],
        provider_name=row["provider_name"],
        project_name=row["project_name"],
        spent=Spent(int(row.get("week") or 0), int(row.get("before") or 0)),
    )
