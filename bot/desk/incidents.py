"""Incidents: unusual use of a key is told to its holder and to who approved it, once, and they say what it was.

A round that finds new use sets a timer for the grant; its handler holds the use against the grant's own history. What it
finds goes into the one incident that is open, or opens one. An incident is open until somebody answers it, or until
nothing unusual came for a day. Such messages wait for nobody's working hours: a stolen key does not either.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from bot.desk.approvers import Approvers
from bot.desk.audit import Act
from bot.desk.bell import Bell
from bot.desk.door import Door
from bot.desk.errors import NotAllowed, NotThere, Superseded
from bot.desk.findings import Finding, Unusual
from bot.desk.growth import DAY, HOUR
from bot.desk.ids import new_id
from bot.desk.model import (
    SYSTEM,
    AccessRequest,
    Actor,
    Answer,
    Decision,
    Grant,
    HourUse,
    Incident,
    NoticeKind,
    Story,
    Timer,
    TimerKind,
)
from bot.desk.offer import Ability
from bot.desk.ports import Clock, Directory, Random, Store, Transaction
from bot.desk.providers import Providers
from bot.desk.states import GrantState, KeyState
from bot.desk.stories import came_of, new_notice, tell
from bot.desk.switching import Switching
from bot.desk.timers import Act as TimersAct
from bot.desk.unusual import WEEKS, Baseline, ModelDay
from bot.desk.zones import known_tz

log = logging.getLogger(__name__)

LOOKED_BACK_ON = timedelta(weeks=WEEKS, days=7)
MODELS_KNOWN_FOR = timedelta(days=400)  # a model of last year is no new one
JUDGED = DAY  # the hours that are judged, should nobody have been able to look for a while
SEEN_LATE = 2 * HOUR  # use is seen by the round after it
QUIET_AFTER = DAY  # without anything unusual, an incident that nobody answered is over
# Use that nobody owned up to counts as usual after so long: it is how the key is used.
NO_MEASURE_FOR = timedelta(days=14)
REMEMBERED = 100  # incidents of one grant
WORTH_A_LOOK = (5, 10_000, 50_000)  # requests, tokens, micros; below what can be unusual even by sums of a day


def worth_a_look(use: HourUse) -> bool:
    """Whether so much was used that it could be unusual."""
    figures = (use.requests, use.tokens, use.cost_micros)
    return any(figure >= least for figure, least in zip(figures, WORTH_A_LOOK, strict=True))


class Incidents:
    """Finds unusual use, and takes the answers to it."""

    def __init__(
        self,
        *,
        store: Store,
        directory: Directory,
        door: Door,
        approvers: Approvers,
        providers: Providers,
        switching: Switching,
        bell: Bell,
        clock: Clock,
        random: Random,
    ) -> None:
        self._store = store
        self._directory = directory
        self._door = door
        self._approvers = approvers
        self._providers = providers
        self._switching = switching
        self._bell = bell
        self._clock = clock
        self._random = random

    # ---- what time does

    async def look(self, timer: Timer) -> TimersAct:
        """Handles a timer about a grant whose keys were used. Raises `Unavailable` while its holder's zone is not known."""

        def asked(tx: Transaction) -> tuple[Grant, AccessRequest, Decision] | None:
            grant = tx.grant(timer.team, timer.about)
            request, decision = came_of(tx, grant) if grant else (None, None)
            return (grant, request, decision) if grant and request and decision else None

        about = await self._store.read(asked)
        if about is None or about[0].state is not GrantState.ACTIVE:
            return _over
        grant, request, decision = about
        tz = await known_tz(grant.holder, self._directory)
        hears = sorted(await self._approvers.who_hears(request, decision.approver))

        def act(tx: Transaction) -> None:
            found = tx.grant(timer.team, timer.about)
            if found is not None and found.state is GrantState.ACTIVE:
                self._judge(tx, found, tz, self._clock(), hears=hears)

        return act

    async def become_quiet(self, timer: Timer) -> TimersAct:
        """Handles a timer about an incident: whether it is over though nobody answered it."""

        def act(tx: Transaction) -> Timer | None:
            incident, now = tx.incident(timer.team, timer.about), self._clock()
            grant = tx.grant(timer.team, incident.grant_id) if incident else None
            if incident is None or grant is None or incident.closed_at is not None:
                return None
            if grant.state is not GrantState.ACTIVE:
                self._close(tx, grant, incident, Answer.OVER, now, by=SYSTEM)
            elif now < incident.seen_at + QUIET_AFTER:
                return replace(timer, due_at=incident.seen_at + QUIET_AFTER)
            else:
                self._close(tx, grant, incident, Answer.QUIET, now, by=SYSTEM)
            return None

        return act

    # ---- finding

    def _judge(self, tx: Transaction, grant: Grant, tz: str, now: datetime, *, hears: Sequence[str]) -> None:
        incidents = tx.incidents_of(grant.team, grant.id, REMEMBERED)
        hours = tx.hours_of(grant.team, grant.id, now - LOOKED_BACK_ON)
        days = tx.model_days_of(grant.team, grant.id, (now - MODELS_KNOWN_FOR).date())
        baseline = _baseline(tz, hours, days, incidents)
        closed_at = max((one.closed_at for one in incidents if one.closed_at), default=None)
        since = now - JUDGED if closed_at is None else max(now - JUDGED, closed_at)
        findings: list[Finding] = []
        seen_at: datetime | None = None
        for use in hours:
            if use.span == 1 and use.hour + HOUR > since and (found := baseline.hour(use.hour)):
                findings += found
                seen_at = use.hour + HOUR
        answer = next((one.answer for one in incidents if one.closed_at == closed_at), None)
        for day in (now - DAY, now):
            # A day of which the half was not theirs stays unusual, however quiet its other half is.
            over = closed_at is not None and answer is not Answer.MINE and day.date() <= closed_at.date()
            uses = [one for one in days if one.day == day.date()]
            if day.date() >= since.date() and not over and (found := baseline.day(uses)):
                findings += found
                midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
                seen_at = now if day == now else max(seen_at or midnight, midnight)
        if seen_at is not None:
            self._tell(tx, grant, incidents, findings, hears=hears, seen_at=min(seen_at, now), now=now)

    def _tell(
        self,
        tx: Transaction,
        grant: Grant,
        incidents: Sequence[Incident],
        findings: Sequence[Finding],
        *,
        hears: Sequence[str],
        seen_at: datetime,
        now: datetime,
    ) -> None:
        if incidents and incidents[0].closed_at is None:
            known = incidents[0]
            merged = _most(known.findings, findings)
            if merged != known.findings or seen_at > known.seen_at:
                tx.move_incident(known, findings=merged, seen_at=max(seen_at, known.seen_at))
            if merged != known.findings:
                tx.redraw(grant.team, grant.request_id, now)
            return
        incident = Incident(
            team=grant.team,
            id=new_id("i", self._random),
            grant_id=grant.id,
            opened_at=now,
            seen_at=seen_at,
            findings=_most((), findings),
        )
        tx.add_incident(incident)
        tx.set_timer(grant.team, TimerKind.QUIET, incident.id, seen_at + QUIET_AFTER)
        # The messages of the incident before, if there was one, must not tell of this one.
        tx.let_go(grant.team, grant.request_id, (NoticeKind.UNUSUAL, NoticeKind.SUSPECTED))
        told = [(NoticeKind.UNUSUAL, grant.holder), *((NoticeKind.SUSPECTED, who) for who in hears)]
        for kind, recipient in told:
            tx.add(new_notice(kind, grant, recipient, due_at=self._clock(), random=self._random))
        tx.record(
            team=grant.team,
            at=now,
            actor=SYSTEM,
            act=Act.UNUSUAL,
            subject=incident.id,
            grant=grant.id,
            kinds=" ".join(dict.fromkeys(one.kind.value for one in incident.findings)),
        )

    # ---- answering

    async def mine(self, actor: Actor, incident_id: str) -> Story:
        """Holder or approver says that it was theirs: the incident is over, and such use is usual from now on.

        Again, or where it was closed meanwhile: nothing more happens. Raises `NotAllowed`, `NotThere`.
        """
        await self._authorise(actor, incident_id, to=Act.EXPLAINED)
        now = self._clock()

        def act(tx: Transaction) -> Story:
            incident, grant, _, _ = _told(tx, actor.team, incident_id)
            if incident.answer in _MAY_BE_EXPLAINED:
                self._close(tx, grant, incident, Answer.MINE, now, by=actor.id)
            return tell(tx, actor.team, grant.request_id, self._providers)

        story = await self._store.write(act)
        self._bell.ring()
        return story

    async def pause(self, actor: Actor, incident_id: str) -> Story:
        """Holder or approver has the key switched off until somebody switches it on. Again: nothing more happens.

        Raises `NotAllowed`, `NotThere`, and `Superseded` where there is nothing to pause, or its provider cannot.
        """
        await self._authorise(actor, incident_id, to=Act.DISABLE_ASKED)
        now = self._clock()

        def act(tx: Transaction) -> Story:
            incident, grant, _, _ = _told(tx, actor.team, incident_id)
            if grant.state is not GrantState.ACTIVE:
                raise Superseded("This grant is over; there is nothing to pause.", found=grant.state)
            if not self._providers.offers(grant.draft.scope.provider, Ability.DISABLE):
                raise Superseded("Keys there cannot be switched off and on. Revoking it is the way.", found=grant.state)
            keys = [key for key in tx.keys_of(grant.team, grant.id) if key.state in _IN_HAND]
            for key in keys:
                self._switching.pause(tx, key, now, by=actor.id)
            if incident.answer is None:
                self._close(tx, grant, incident, Answer.PAUSED, now, by=actor.id)
            return tell(tx, actor.team, grant.request_id, self._providers)

        story = await self._store.write(act)
        self._bell.ring()
        return story

    async def _authorise(self, actor: Actor, incident_id: str, *, to: Act) -> None:
        """Holder and approvers, by the policy and the directory of this moment, and who approved it."""
        await self._door.admit(actor, to=to, subject=incident_id)
        _, grant, request, decision = await self._store.read(lambda tx: _told(tx, actor.team, incident_id))
        own = {grant.holder, decision.approver if decision else grant.holder}
        if actor.id not in own and not await self._approvers.may_decide(
            actor, Actor(grant.team, grant.holder), request.draft
        ):
            refusal = NotAllowed("Only its holder or an approver can say what becomes of this.")
            raise await self._door.refuse(actor, refusal, to=to, subject=incident_id)

    def _close(
        self, tx: Transaction, grant: Grant, incident: Incident, answer: Answer, now: datetime, *, by: str
    ) -> None:
        tx.move_incident(incident, closed_at=now, answer=answer, answered_by=by)
        tx.redraw(grant.team, grant.request_id, now)
        tx.record(
            team=grant.team,
            at=now,
            actor=by,
            act=Act.EXPLAINED if answer is Answer.MINE else Act.INCIDENT_CLOSED,
            subject=incident.id,
            grant=grant.id,
            answer=answer,
        )


_IN_HAND = (KeyState.LIVE, KeyState.DISABLING, KeyState.DISABLED, KeyState.ENABLING)


_MAY_BE_EXPLAINED = (None, Answer.PAUSED, Answer.QUIET)  # somebody may find out later what it was


def _over(tx: Transaction) -> None:
    """Nothing is left to do."""


def _baseline(tz: str, hours: Sequence[HourUse], days: Sequence[ModelDay], incidents: Sequence[Incident]) -> Baseline:
    """What the grant usually does, with what its people said of it."""
    baseline = Baseline(tz)
    for use in hours:
        baseline.add(use)
    for day in days:
        baseline.add_day(day)
    for incident in incidents:
        if incident.answer is Answer.MINE:
            for finding in incident.findings:
                baseline.accept(finding)
        elif incident.closed_at is not None:
            until = min(incident.seen_at, incident.opened_at + NO_MEASURE_FOR)
            baseline.leave_out(incident.opened_at - SEEN_LATE, until)
        for finding in incident.findings:
            if finding.kind is Unusual.MODEL:
                baseline.know(finding.model)
    return baseline


def _most(known: Sequence[Finding], found: Sequence[Finding]) -> tuple[Finding, ...]:
    """Of each kind, measure and new model the finding with the most, in the order in which they came."""
    most = {(one.kind, one.measure, one.model): one for one in known}
    for one in found:
        was = most.get((one.kind, one.measure, one.model))
        if was is None or one.found > was.found:
            most[one.kind, one.measure, one.model] = one
    return tuple(most.values())


def _told(tx: Transaction, team: str, incident_id: str) -> tuple[Incident, Grant, AccessRequest, Decision | None]:
    incident = tx.incident(team, incident_id)
    grant = tx.grant(team, incident.grant_id) if incident else None
    request = tx.request(team, grant.request_id) if grant else None
    if incident is None or grant is None or request is None:
        raise NotThere("There is no such incident here.")
    return incident, grant, request, tx.decision(team, grant.request_id)
