"""Who was asked and cannot answer any more is replaced: to decide, to bring a key, to say that it is revoked by hand, to take one over.

People leave, user groups and the policy change. Each question that is open is looked at when something of that may have
happened: somebody who was asked left, a group changed, the desk started, a night passed. Where somebody who was asked
may answer no more, those who may by today's policy are asked; where there is nobody, those who wait and the admins are told.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.desk.approvers import Approvers
from bot.desk.audit import Act
from bot.desk.errors import Unavailable
from bot.desk.hours import next_working
from bot.desk.model import SYSTEM, AccessRequest, Actor, Grant, NoticeKind, Timer, TimerKind
from bot.desk.policy import Refuse
from bot.desk.ports import Clock, Directory, Random, Store, Transaction
from bot.desk.requests import succeeded_by
from bot.desk.states import GrantState, KeyState, RequestState
from bot.desk.stories import new_notice
from bot.desk.timers import Act as Done
from bot.desk.zones import known_tz

log = logging.getLogger(__name__)

BATCH = 200  # questions that one transaction sets a timer for
GROUPS_SETTLE = timedelta(seconds=90)  # after a group changed: what is known of it may be a minute old until then


@dataclass(frozen=True, slots=True)
class Question:
    """What the desk waits for, and whom it asked. `approver` is who approved, once somebody did."""

    request: AccessRequest
    kind: NoticeKind
    asked: frozenset[str]
    told: frozenset[str]
    approver: str = ""


class Replacing:
    """Sees to it that each question is asked of people who can answer it."""

    def __init__(
        self, *, store: Store, directory: Directory, approvers: Approvers, clock: Clock, random: Random
    ) -> None:
        self._store = store
        self._directory = directory
        self._approvers = approvers
        self._clock = clock
        self._random = random

    async def review(self, team: str, *, after: timedelta = timedelta()) -> None:
        """Every open question is looked at, in a while."""
        due_at, last = self._clock() + after, ""
        while some := await self._store.write(lambda tx, last=last: _set_some(tx, team, last, due_at)):  # type: ignore[misc]  # bound for each
            last = some[-1]

    async def group_changed(self, group: str, team: str) -> None:
        """A user group has other members: it may be one whose members were asked."""
        file = self._approvers.policy.file
        named = (who for rule in file.rule for who in (*rule.requesters, *rule.approvers, *rule.depositors))
        if group in {*named, *file.admins}:
            await self.review(team, after=GROUPS_SETTLE)

    async def look(self, timer: Timer) -> Done:
        """Asks those who may answer today, where one of those who were asked may not. Raises `Unavailable`."""
        question = await self._store.read(lambda tx: _question(tx, timer.team, timer.about))
        if question is None:
            return _over
        able = await self._able(question)
        if question.asked and question.asked <= able:
            return _over
        new, waiting = sorted(able - question.asked), list[str]()
        if not able and question.kind is not NoticeKind.ORPHANED:  # what nobody takes over ends at its time
            admins = await self._approvers.admins(timer.team)
            waiting = sorted({question.request.requester, *admins} - question.told)
        dues = {who: await self._working(who) for who in (*new, *waiting)}

        def act(tx: Transaction) -> None:
            now = _question(tx, timer.team, timer.about)
            if now is not None and now.kind is question.kind:
                self._ask(tx, now, question.asked - able, [who for who in new if who not in now.asked], dues)
                self._strand(tx, now, [who for who in waiting if who not in now.told], dues)

        return act

    async def _able(self, question: Question) -> frozenset[str]:
        request = question.request
        if question.kind is NoticeKind.ORPHANED:
            return await self._approvers.who_approved(request, question.approver)
        if question.kind is not NoticeKind.APPROVAL:
            return await self._approvers.depositors(request, question.approver)
        verdict = await self._approvers.verdict(request.requester, request.draft)
        if isinstance(verdict, Refuse):
            return frozenset()
        return await self._approvers.people(Actor(request.team, request.requester), verdict)

    async def _working(self, who: str) -> datetime:
        """When this member next works: an answer that was waited for so long can wait until then."""
        try:
            tz = await known_tz(who, self._directory)
        except Unavailable:
            return self._clock()
        return next_working(self._clock(), tz)

    def _ask(
        self,
        tx: Transaction,
        question: Question,
        gone: Iterable[str],
        people: Sequence[str],
        dues: dict[str, datetime],
    ) -> None:
        if not people:
            return
        self._tell(tx, question, question.kind, people, dues)
        self._record(tx, question, Act.ASKED_ANEW, asked=" ".join(people), instead_of=" ".join(sorted(gone)))

    def _strand(self, tx: Transaction, question: Question, people: Sequence[str], dues: dict[str, datetime]) -> None:
        if not people:
            return
        requester = question.request.requester
        log.warning("nobody is left who may answer (%s) about %s", question.kind, question.request.id)
        # Who would go on with a key that nobody revokes by hand is not the one to tell.
        if requester in people and question.kind is not NoticeKind.BY_HAND:
            self._tell(tx, question, NoticeKind.STRANDED, [requester], dues)
        self._tell(tx, question, NoticeKind.NOBODY, [who for who in people if who != requester], dues)
        self._record(tx, question, Act.STRANDED, waits_for=question.kind)

    def _tell(
        self, tx: Transaction, question: Question, kind: NoticeKind, people: Iterable[str], dues: dict[str, datetime]
    ) -> None:
        for who in people:
            tx.add(new_notice(kind, question.request, who, due_at=dues[who], random=self._random, waits=True))

    def _record(self, tx: Transaction, question: Question, act: Act, **detail: str) -> None:
        request = question.request
        tx.record(team=request.team, at=self._clock(), actor=SYSTEM, act=act, subject=request.id, **detail)


def _question(tx: Transaction, team: str, request_id: str) -> Question | None:
    """What is waited for about this request, if anything."""
    request = tx.request(team, request_id)
    if request is None:
        return None
    kind, approver = None, ""
    if request.state is RequestState.PENDING:
        kind = NoticeKind.APPROVAL
    elif (grant := tx.grant_of(team, request_id)) and (decision := tx.decision(team, request_id)):
        approver = decision.approver
        coming = tx.key(team, grant.next_key_id) if grant.next_key_id else None
        if grant.state is GrantState.AWAITED or (coming is not None and coming.state is KeyState.AWAITED):
            kind = NoticeKind.DEPOSIT
        elif any(key.state is KeyState.BY_HAND for key in tx.keys_of(team, grant.id)):
            kind = NoticeKind.BY_HAND
        elif grant.left_at is not None and grant.state is GrantState.ACTIVE and not _taken_over(tx, grant):
            kind = NoticeKind.ORPHANED
    if kind is None:
        return None
    notices = tx.notices(team, request_id)
    asked = frozenset(one.recipient for one in notices if one.kind is kind and one.recipient[0] in "UW")
    told = frozenset(one.recipient for one in notices if one.kind in (NoticeKind.STRANDED, NoticeKind.NOBODY))
    return Question(request, kind, asked, told, approver)


def _taken_over(tx: Transaction, grant: Grant) -> bool:
    """Whether somebody asked to take the key of this grant over, or does."""
    asked = tx.extension_of(grant.team, grant.id)
    return asked is not None and (asked.state is RequestState.PENDING or succeeded_by(tx, grant) is not None)


def _set_some(tx: Transaction, team: str, after: str, due_at: datetime) -> Sequence[str]:
    some = tx.questions(team, after, BATCH)
    set_timers(tx, team, some, due_at)
    return some


def set_timers(tx: Transaction, team: str, requests: Iterable[str], due_at: datetime) -> None:
    """The questions about these requests are looked at then."""
    for request_id in requests:
        tx.set_timer(team, TimerKind.ASKED, request_id, due_at)


def _over(_: Transaction) -> None:
    """There is nothing to do."""
