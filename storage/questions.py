"""Who holds, and who was asked: the part of a transaction that speaks of them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, exists, or_, select, union

from bot.desk.model import AccessRequest, Grant, Key, Notice, NoticeKind
from bot.desk.states import GrantState, KeyState, RequestState
from storage.rows import table, to_domain
from storage.silences import SilenceStatements


class QuestionStatements(SilenceStatements):
    """What a transaction may ask about holders, and about those whose answer is waited for."""

    def holders(self, team: str) -> frozenset[str]:
        """Whoever has a living grant, one not offered to others since they left, or a pending request."""
        grants, requests = table(Grant), table(AccessRequest)
        over = (GrantState.ENDING.value, GrantState.ENDED.value)
        query = union(
            select(grants.c.holder).where(
                grants.c.team == team, grants.c.state.not_in(over), grants.c.left_at.is_(None)
            ),
            select(requests.c.requester).where(requests.c.team == team, requests.c.state == RequestState.PENDING.value),
        )
        return frozenset(self._db.execute(query).scalars())

    def questions(self, team: str, after: str, limit: int) -> Sequence[str]:
        """Requests about which somebody's answer is waited for, those after `after`."""
        requests, grants, keys = table(AccessRequest), table(Grant), table(Key)
        here = grants.c.team == team
        by_people = (KeyState.AWAITED.value, KeyState.BY_HAND.value)  # awaited beside a key that goes on, too
        on_people = and_(keys.c.team == team, keys.c.grant_id == grants.c.id, keys.c.state.in_(by_people))
        waiting = union(
            select(requests.c.id).where(requests.c.team == team, requests.c.state == RequestState.PENDING.value),
            select(grants.c.request_id).where(here).join(keys, on_people),
            select(grants.c.request_id).where(here, *_orphaned()),
        ).subquery()
        query = select(waiting.c.id).where(waiting.c.id > after).order_by(waiting.c.id).limit(limit)
        return list(self._db.execute(query).scalars())

    def asked(self, team: str, member: str) -> Sequence[str]:
        """Those of them about which this member was asked."""
        notices, requests, grants, keys = table(Notice), table(AccessRequest), table(Grant), table(Key)
        pending = exists().where(
            requests.c.team == team,
            requests.c.id == notices.c.about,
            requests.c.state == RequestState.PENDING.value,
        )
        of_it = and_(grants.c.team == team, grants.c.request_id == notices.c.about)
        awaited = exists().where(
            of_it, keys.c.team == team, keys.c.grant_id == grants.c.id, keys.c.state == KeyState.AWAITED.value
        )
        by_hand = exists().where(
            of_it, keys.c.team == team, keys.c.grant_id == grants.c.id, keys.c.state == KeyState.BY_HAND.value
        )
        orphaned = exists().where(of_it, *_orphaned())
        query = select(notices.c.about).where(
            notices.c.team == team,
            notices.c.recipient == member,
            or_(
                and_(notices.c.kind == NoticeKind.APPROVAL.value, pending),
                and_(notices.c.kind == NoticeKind.DEPOSIT.value, awaited),
                and_(notices.c.kind == NoticeKind.BY_HAND.value, by_hand),
                and_(notices.c.kind == NoticeKind.ORPHANED.value, orphaned),
            ),
        )
        return sorted(set(self._db.execute(query).scalars()))

    def notices(self, team: str, about: str) -> Sequence[Notice]:
        """All about this request."""
        rows = table(Notice)
        query = select(rows).where(rows.c.team == team, rows.c.about == about).order_by(rows.c.id)
        return [to_domain(Notice, row) for row in self._db.execute(query).mappings()]


def _orphaned() -> tuple[Any, ...]:
    """Grants whose holder left, and whose key others may take over."""
    grants = table(Grant)
    return grants.c.state == GrantState.ACTIVE.value, grants.c.left_at.is_not(None)
