"""Stories in every state, told with plain words and with the longest and most hostile ones."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from bot.desk.findings import Finding, Like, Measure, Unusual
from bot.desk.model import (
    AccessRequest,
    Answer,
    Cause,
    Decision,
    Draft,
    Grant,
    Handover,
    Incident,
    Key,
    Link,
    Reminded,
    Ruling,
    Scope,
    Spending,
    Story,
)
from bot.desk.offer import AppliedLimit, Basis, Enforcer, LimitKind, Making
from bot.desk.states import GrantState, KeyState, LinkState, RequestState

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
HOSTILE = (
    "<!channel> <https://evil.example|Approve> <@U0ANA> & *bold* `code` \u202egnp.exe\u202c \x00\x07\ud800"
    "🔑👩‍🚀\u200b\u2066\r\n> quoted\n\n\n" + "&<>" * 3000 + "\n" * 500 + "x" * 5000
)
PLAIN = "Nightly evaluation of the search prompts"

DRAFT = Draft(
    scope=Scope("openai", "proj_search", "chat", 2500),
    provider_name="OpenAI",
    project_name="search-prod",
    permission_name="Chat completions",
    duration=timedelta(days=7),
    reason=PLAIN,
)
HOSTILE_DRAFT = Draft(
    scope=Scope("openai", "p" * 200, "read_only", 99_999_999_99),
    provider_name=HOSTILE,
    project_name=HOSTILE,
    permission_name=HOSTILE,
    duration=timedelta(days=365),
    reason=HOSTILE,
)
LIMITS = (
    AppliedLimit(LimitKind.EXPIRY, "expires after 7 days", Enforcer.KEY, "The desk revokes it then, too."),
    AppliedLimit(LimitKind.PERMISSION, "permission: chat completions", Enforcer.PROJECT),
    AppliedLimit(LimitKind.EXPIRY, "expires after 7 days", Enforcer.DESK, "It may be up to a minute late."),
    AppliedLimit(LimitKind.BUDGET, "$25 a month", Enforcer.NOBODY, "OpenAI caps the spending of whole projects only."),
)


def pending(draft: Draft = DRAFT) -> Story:
    """Asked, and not decided."""
    request = AccessRequest(
        team="T0ACME",
        id="r_4fzqkx7m2adpw3ye",
        requester="U0BEN",
        draft=draft,
        rule="everyday keys",
        state=RequestState.PENDING,
        created_at=NOW,
        origin="V1",
        lapses_at=NOW + timedelta(days=3),
    )
    return Story(request=request, limits=LIMITS)


def cancelled(draft: Draft = DRAFT) -> Story:
    """Taken back."""
    story = pending(draft)
    return replace(story, request=replace(story.request, state=RequestState.CANCELLED))


def left(draft: Draft = DRAFT) -> Story:
    """Over, as its requester left."""
    story = pending(draft)
    return replace(story, request=replace(story.request, state=RequestState.LEFT))


def denied(draft: Draft = DRAFT, reason: str = "Use the shared sandbox project") -> Story:
    """Said no to."""
    story = pending(draft)
    decision = Decision("T0ACME", story.request.id, "U0ANA", Ruling.DENY, reason, NOW)
    return replace(story, request=replace(story.request, state=RequestState.DENIED), decision=decision)


def granted(state: GrantState, draft: Draft = DRAFT, *, by: str = "U0BEN", because: Cause = Cause.REVOKED) -> Story:
    """Said yes to, and gone on until here."""
    story = pending(draft)
    over = state in (GrantState.ENDING, GrantState.ENDED)
    made = state not in (GrantState.READY, GrantState.ISSUING)
    grant = Grant(
        team="T0ACME",
        id="g_4fzqkx7m2adpw3ye",
        request_id=story.request.id,
        holder="U0BEN",
        draft=draft,
        state=state,
        created_at=NOW,
        key_id="k_1" if state is not GrantState.READY else None,
        expires_at=NOW + draft.duration if made else None,
        ended_at=NOW if over else None,
        ended_by=by if over else None,
        ended_because=because if over else None,
        lapses_at=NOW + timedelta(days=7) if state in (GrantState.AWAITED, GrantState.READY) else None,
    )
    key = Key(
        team="T0ACME",
        id="k_1",
        grant_id=grant.id,
        provider="openai",
        project="proj_search",
        marker="keydesk-k_1",
        state={GrantState.ISSUING: KeyState.MINTING, GrantState.DELIVERING: KeyState.SEALED}.get(state, KeyState.LIVE),
        intended_at=NOW,
        handle="user-1" if made else None,
        fingerprint="…abcd" if made else None,
    )
    link = Link(
        team="T0ACME",
        id="l_1",
        grant_id=grant.id,
        key_id=key.id,
        holder="U0BEN",
        state=LinkState.OPEN,
        token_hash=b"",
        envelope=None,
        created_at=NOW,
        expires_at=NOW + timedelta(minutes=15),
    )
    return replace(
        story,
        request=replace(story.request, state=RequestState.APPROVED),
        decision=Decision("T0ACME", story.request.id, "U0ANA", Ruling.APPROVE, "", NOW),
        grant=grant,
        key=key if grant.key_id else None,
        link=link if state is GrantState.DELIVERING else None,
    )


def brought(state: KeyState, draft: Draft = DRAFT, *, words: str = "Settings, API keys") -> Story:
    """One whose key a person makes and brings, as far as this; its provider revokes nothing by API."""
    grants = {
        KeyState.AWAITED: GrantState.AWAITED,
        KeyState.DEPOSITED: GrantState.READY,
        KeyState.SEALED: GrantState.DELIVERING,
        KeyState.LIVE: GrantState.ACTIVE,
        KeyState.REVOKING: GrantState.ENDING,
        KeyState.BY_HAND: GrantState.ENDING,
    }
    story = granted(grants.get(state, GrantState.ENDED), draft)
    assert story.grant is not None
    unmade = state in (KeyState.AWAITED, KeyState.VOID)
    key = Key(
        team="T0ACME",
        id="k_1",
        grant_id=story.grant.id,
        provider=draft.scope.provider,
        project=draft.scope.project,
        marker="keydesk-k_1",
        state=state,
        intended_at=NOW,
        fingerprint=None if unmade else "…abcd",
    )
    return replace(
        story,
        key=key,
        grant=replace(story.grant, key_id=key.id),
        making=Making(steps=words, url="https://console.example/keys", rotation=timedelta(days=90)),
        deposit_url="https://keydesk.example.com/d/k_1" if state is KeyState.AWAITED else "",
        by_hand=True,
    )


def lapsed(draft: Draft = DRAFT) -> Story:
    """Nobody decided."""
    story = pending(draft)
    return replace(story, request=replace(story.request, state=RequestState.LAPSED))


def unfetched(draft: Draft = DRAFT, because: Cause = Cause.NOT_PICKED_UP) -> Story:
    """Approved, and nobody brought it, or picked it up."""
    return replace(granted(GrantState.ENDED, draft, by="system", because=because), key=None)


def extending(draft: Draft = DRAFT, state: GrantState = GrantState.ACTIVE) -> Story:
    """A request to extend a key that is so far."""
    story = pending(draft)
    asked = replace(story.request, extends="g_4fzqkx7m2adpw3ye")
    return replace(story, request=asked, extended=granted(state, draft).grant)


def extended(draft: Draft = DRAFT, to: GrantState | None = None) -> Story:
    """A key that its holder asked to extend, and how far the one is that follows it; None: nobody decided."""
    story = granted(GrantState.ACTIVE, draft)
    asked = pending(draft).request if to is None else granted(to, draft).request
    return replace(story, extension=asked, successor=granted(to, draft).grant if to else None)


def orphaned(draft: Draft = DRAFT, to: GrantState | None = None) -> Story:
    """A key whose holder left, and how far taking it over is."""
    story = extended(draft, to)
    assert story.grant is not None
    assert story.extension is not None
    taker = replace(story.extension, requester="U0ANA")
    return replace(story, grant=replace(story.grant, left_at=NOW), extension=taker)


def idle(draft: Draft = DRAFT, *, revokes: bool = False, used: bool = True) -> Story:
    """A key of which its holder is asked whether it is needed."""
    story = spent(1_000_000, draft) if used else granted(GrantState.ACTIVE, draft)
    return replace(story, asked_idle=True, idle_revokes=revokes)


def rotating(
    draft: Draft = DRAFT,
    *,
    overdue: bool = False,
    again: bool = False,
    off: bool = False,
    coming: KeyState | None = None,
) -> Story:
    """A key whose holder was told to rotate it: maybe it is overdue, put off, switched off for it, or another is coming."""
    story = spent(1_000_000, draft)
    assert story.grant is not None
    assert story.key is not None
    rotates_at = NOW - timedelta(days=9) if overdue else NOW + timedelta(days=14)
    grant = replace(
        story.grant,
        expires_at=NOW + timedelta(days=200),
        held_since=NOW - timedelta(days=76),
        rotates_at=rotates_at,
        overdue_since=NOW - timedelta(days=8) if overdue else None,
        next_key_id="k_2" if coming else None,
    )
    key = replace(story.key, state=KeyState.DISABLED, paused_by="system") if off else story.key
    next_key = replace(story.key, id="k_2", state=coming) if coming else None
    return replace(
        story,
        grant=grant,
        key=key,
        others=(next_key,) if next_key else (),
        pausable=True,
        rotation=Reminded(
            again_at=NOW + timedelta(days=7) if again else None,
            disables=overdue,
            off_at=NOW + timedelta(days=1) if overdue and not off else None,
        ),
    )


def in_grace(draft: Draft = DRAFT) -> Story:
    """Another key took the place of the one before, which works for a day at most."""
    story = granted(GrantState.ACTIVE, draft)
    assert story.grant is not None
    assert story.key is not None
    old = replace(story.key, id="k_0", state=KeyState.RETIRING, due_at=NOW + timedelta(days=1), fingerprint="…wxyz")
    grant = replace(
        story.grant, expires_at=NOW + timedelta(days=200), held_since=NOW, rotates_at=NOW + timedelta(days=90)
    )
    used = {"k_1": NOW - timedelta(minutes=30), "k_0": NOW - timedelta(hours=5)}
    return replace(story, grant=grant, others=(old,), used=used)


def failing(draft: Draft = DRAFT, keys: int = 1) -> Story:
    """One that is over, and so many of whose keys keep failing to be revoked."""
    story = granted(GrantState.ENDING, draft, because=Cause.EXPIRED, by="system")
    assert story.key is not None
    key = replace(story.key, state=KeyState.REVOKING, attempts=9)
    return replace(story, key=key, stuck=tuple(replace(key, id=f"k_{number}") for number in range(keys)))


def spent(
    micros: int, draft: Draft = DRAFT, *, key: KeyState = KeyState.LIVE, state: GrantState = GrantState.ACTIVE
) -> Story:
    """A key that used so much this month, in millionths of a dollar, and what became of it."""
    story = granted(state, draft, by="system", because=Cause.OVERSPENT)
    assert story.key is not None
    month = NOW.date().replace(day=1)
    spending = Spending(month, micros, 41, 123_456, 7_890, NOW.date(), Basis.ESTIMATED, NOW)
    due_at = NOW + timedelta(days=8) if key is KeyState.DISABLED else None
    return replace(story, key=replace(story.key, state=key, due_at=due_at), spending=spending)


def suspected(
    draft: Draft = DRAFT,
    *,
    answer: Answer | None = None,
    key: KeyState = KeyState.LIVE,
    state: GrantState = GrantState.ACTIVE,
    pausable: bool = True,
) -> Story:
    """A key that was used in every unusual way at once, and what was answered."""
    story = granted(state, draft, by="system", because=Cause.REVOKED)
    assert story.grant is not None
    assert story.key is not None
    tuesday = datetime(2026, 11, 24, 2)
    model = "claude-opus-5-5" if draft is DRAFT else HOSTILE
    incident = Incident(
        team="T0ACME",
        id="i_4fzqkx7m2adpw3ye",
        grant_id=story.grant.id,
        opened_at=NOW,
        seen_at=NOW,
        findings=(
            Finding(Unusual.VOLUME, tuesday, Measure.REQUESTS, 4210, 0, 12, Like.HOUR_OF_WEEK),
            Finding(Unusual.VOLUME, tuesday, Measure.COST, 8_400_000, 0, 240_000, Like.HOUR_OF_WEEK),
            Finding(Unusual.NIGHT, tuesday, Measure.REQUESTS, 4210),
            Finding(Unusual.MODEL, tuesday, Measure.COST, 1, model=model),
            Finding(Unusual.SPEND, tuesday, Measure.COST, 31_000_000, 0, 2_100_000, Like.WORKDAYS),
            Finding(Unusual.VOLUME, tuesday.replace(hour=23), Measure.TOKENS, 9_000_000, 0, 400_000, Like.ALL_HOURS),
        ),
        closed_at=NOW if answer else None,
        answer=answer,
        answered_by="U0BEN" if answer else None,
    )
    paused_by = "U0BEN" if answer is Answer.PAUSED else None
    return replace(story, key=replace(story.key, state=key, paused_by=paused_by), incident=incident, pausable=pausable)


def handed_over(draft: Draft = DRAFT) -> Handover:
    """A pick-up done."""
    grant = granted(GrantState.DELIVERING, draft).grant
    assert grant is not None
    url = f"https://keydesk.example.com/k/{'L' * 22}#{'s' * 43}"
    return Handover(url=url, expires_at=NOW + timedelta(minutes=15), grant=grant)


def every() -> Iterator[tuple[str, Story]]:
    """Each state, plain and hostile, with a name for the test's report."""
    for words, draft in (("plain", DRAFT), ("hostile", HOSTILE_DRAFT)):
        yield f"pending-{words}", pending(draft)
        yield f"cancelled-{words}", cancelled(draft)
        yield f"left-{words}", left(draft)
        yield f"denied-{words}", denied(draft, HOSTILE if words == "hostile" else "Not now")
        for state in GrantState:
            yield f"{state}-{words}", granted(state, draft)
        yield f"failing-{words}", failing(draft, keys=30)
        yield f"lapsed-{words}", lapsed(draft)
        yield f"idle-{words}", idle(draft, revokes=True)
        yield f"unfetched-{words}", unfetched(draft)
        yield f"in-grace-{words}", in_grace(draft)
        yield f"rotating-{words}", rotating(draft)
        yield f"rotating-later-{words}", rotating(draft, again=True)
        yield f"rotating-overdue-{words}", rotating(draft, overdue=True)
        yield f"rotating-off-{words}", rotating(draft, overdue=True, off=True)
        for coming in (KeyState.AWAITED, KeyState.MINTING, KeyState.DEPOSITED, KeyState.SEALED):
            yield f"rotating-to-{coming}-{words}", rotating(draft, coming=coming)
        yield f"extending-{words}", extending(draft)
        for to in (None, *GrantState):
            yield f"extended-{to}-{words}", extended(draft, to)
            yield f"orphaned-{to}-{words}", orphaned(draft, to)
        for key in (KeyState.LIVE, KeyState.DISABLING, KeyState.DISABLED, KeyState.ENABLING):
            yield f"spent-{key}-{words}", spent(26_000_000, draft, key=key)
    elsewhere = replace(DRAFT, scope=replace(DRAFT.scope, provider="deposit"))
    for brought_to in KeyState:
        yield f"brought-{brought_to}-plain", brought(brought_to)
        yield f"brought-{brought_to}-elsewhere", brought(brought_to, elsewhere)
        yield f"brought-{brought_to}-hostile", brought(brought_to, HOSTILE_DRAFT, words=HOSTILE)
    yield "overspent", spent(26_000_000, key=KeyState.REVOKED, state=GrantState.ENDED)
    yield "vanished", granted(GrantState.ENDED, because=Cause.VANISHED, by="system")
    yield "expired", granted(GrantState.ENDED, because=Cause.EXPIRED, by="system")
    yield "holder-left", granted(GrantState.ENDED, because=Cause.LEFT, by="system")
    yield "not-brought", unfetched(because=Cause.NOT_BROUGHT)
    yield "ended-idle", granted(GrantState.ENDED, because=Cause.IDLE, by="system")
    yield "ended-not-rotated", granted(GrantState.ENDED, because=Cause.NOT_ROTATED, by="system")
    yield "extending-over", extending(state=GrantState.ENDED)
    yield "taken", granted(GrantState.ENDING, by="U0ANA")
    yield "never-made", replace(granted(GrantState.ENDED), key=None)
    yield "no-limits", replace(pending(), limits=())
