"""The policy: who may ask for what, who approves, for how long and how much.

`linting.load` reads and lints policy.toml; `Policy.judge` is pure. The first rule that fits a draft whole decides. An
empty list means nobody and is refused at load; nothing is ever allowed because something is missing.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bot.desk.model import Draft, Scope, Wish

EVERYONE = "everyone"
MANAGER = "manager"
ANY = "*"
DEPOSIT = "deposit"  # the provider whose projects are the policy's own [[deposit]] tables
SHORTEST = timedelta(hours=1)
LONGEST = timedelta(days=365)

_DURATION = re.compile(r"([1-9][0-9]{0,3})([hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def parse_duration(text: str) -> timedelta:
    """ "12h", "30d" or "4w". Raises ValueError with what to write instead."""
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None:
        raise ValueError('write a number and h, d or w: "12h", "30d", "4w"')
    duration = int(found[1]) * _UNITS[found[2]]
    if not SHORTEST <= duration <= LONGEST:
        raise ValueError('must be between "1h" and "365d"')
    return duration


def _duration(text: str) -> str:
    parse_duration(text)
    return text


def _member_or_group(allowed: Mapping[str, str]) -> AfterValidator:
    """Ids of members (U…, W…) and user groups (S…), or one of the given words."""

    def check(who: str) -> str:
        if who not in allowed and not re.fullmatch(r"[UWS][A-Z0-9]{2,}", who):
            words = "".join(f', or "{word}" ({meaning})' for word, meaning in allowed.items())
            raise ValueError(f"{who!r} is nobody. Mend: write a member id (U…), a user group id (S…){words}")
        return who

    return AfterValidator(check)


Requester = Annotated[str, _member_or_group({EVERYONE: "every full member"})]
Approver = Annotated[str, _member_or_group({MANAGER: "the requester's manager"})]
Depositor = Annotated[str, _member_or_group({})]
Admin = Annotated[str, _member_or_group({})]
Duration = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,3}[hdw]$"), AfterValidator(_duration)]
Dollars = Annotated[int, Field(ge=1, le=1_000_000)]


class OverBudget(StrEnum):
    """What the desk does when a key has used up a month's budget that its provider does not hold it to."""

    TELL = "tell"  # the holder and whoever approved; the key goes on
    DISABLE = "disable"  # switched off until the month is over, or an approver switches it on; else revoked
    REVOKE = "revoke"  # the grant ends


class Idle(StrEnum):
    """What the desk does about a key that nothing uses."""

    LEAVE = "leave"  # nothing
    ASK = "ask"  # asks its holder whether it is still needed, and asks again
    REVOKE = "revoke"  # asks, and ends the grant when no answer comes


class OnLeaving(StrEnum):
    """What becomes of a key whose holder left."""

    HAND_OVER = "hand_over"  # it is offered to who approved it, to be followed by a key of theirs; else revoked
    REVOKE = "revoke"  # the grant ends at once


class Overdue(StrEnum):
    """What the desk does about a key whose rotation is overdue."""

    TELL = "tell"  # the holder and whoever approved; the key goes on
    DISABLE = "disable"  # and after a while switches it off, until it is rotated; where that cannot be, revokes it


Term = TypeVar("Term", bound=StrEnum)
"""What a rule says follows; the strictest is the last of its kind."""


class Rule(BaseModel):
    """One rule: who may ask for what, who approves it, and how much at most."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Annotated[str, Field(min_length=1, max_length=80, description="What people call it; recorded with requests.")]
    requesters: Annotated[
        tuple[Requester, ...],
        Field(min_length=1, description='Who may ask: member ids (U…), user group ids (S…), or "everyone".'),
    ]
    provider: Annotated[str, Field(min_length=1, description='Which provider: "openai".')]
    projects: Annotated[
        tuple[str, ...], Field(min_length=1, description='Which of its projects, by id; "*" for every one.')
    ]
    permissions: Annotated[
        tuple[str, ...],
        Field(min_length=1, description='Which permission presets of the provider; "*" for every one.'),
    ]
    approvers: Annotated[
        tuple[Approver, ...],
        Field(
            min_length=1,
            description='Who decides; one of them is enough: member ids, user group ids, or "manager". Nobody '
            "decides on their own request.",
        ),
    ]
    max_duration: Annotated[Duration, Field(description='The longest a key may live: "12h", "30d", "4w".')]
    max_monthly_budget: Annotated[Dollars, Field(description="The largest monthly budget, in whole US dollars.")]
    depositors: Annotated[
        tuple[Depositor, ...],
        Field(
            min_length=1,
            description="Who makes the key and brings it, where the provider mints none: member ids and user group ids. "
            "Unless set, whoever approved. Never its holder.",
        ),
    ] = ()
    default_duration: Annotated[Duration, Field(description="What the form proposes.")] = "1d"
    default_monthly_budget: Annotated[Dollars, Field(description="What the form proposes, in whole US dollars.")] = 10
    over_budget: Annotated[
        OverBudget,
        Field(
            description="What the desk does when a key has used up its monthly budget: tell, disable or revoke. The "
            "holder is told at 50, 80 and 100 per cent, the approver at 100, in any case."
        ),
    ] = OverBudget.TELL
    idle: Annotated[
        Idle,
        Field(
            description="What the desk does about a key that was not used for 14 days: leave it, ask its holder whether it is "
            "still needed, or ask and revoke it when no answer comes within 7 days."
        ),
    ] = Idle.ASK
    on_leaving: Annotated[
        OnLeaving,
        Field(
            description="What becomes of a key whose holder left: revoke it at once, or hand_over: who approved it is asked "
            "to take it over. They ask for a key that follows it, like anybody; without that it is revoked after "
            "hand_over_within. Until then whoever left still knows it."
        ),
    ] = OnLeaving.REVOKE
    models: Annotated[
        tuple[str, ...],
        Field(
            min_length=1,
            description='Which models a key may be asked for, by id; "*" for every one. Anything else means that '
            "models have to be chosen.",
        ),
    ] = (ANY,)
    new_projects: Annotated[
        bool, Field(description="Whether a key may be asked for in a project that is made for it.")
    ] = False
    invitations: Annotated[
        bool,
        Field(
            description="Whether an invitation to the provider's own organisation may be asked for instead of a key."
        ),
    ] = False

    def concerns(self, draft: Draft, facts: "Facts") -> bool:
        """Whether the rule speaks of this requester and of what is asked for at all."""
        if draft.wish is Wish.INVITATION:
            scope = draft.scope
            return (
                self.admits(facts)
                and self.provider == scope.provider
                and self.invitations
                and scope.new_project is None
                and self._has_project(scope)
            )
        return self.admits(facts) and self.speaks_of(draft.scope)

    def speaks_of(self, scope: Scope) -> bool:
        """Whether the rule is about this provider, project, permission and models."""
        return (
            self.provider == scope.provider
            and self._has_project(scope)
            and (ANY in self.permissions or scope.permission in self.permissions)
            and (ANY in self.models or (bool(scope.models) and set(scope.models) <= set(self.models)))
        )

    def _has_project(self, scope: Scope) -> bool:
        # The id of a project that is still to be made is not known, so no list of ids can name it.
        return self.new_projects if scope.new_project else ANY in self.projects or scope.project in self.projects

    def admits(self, facts: "Facts") -> bool:
        """Whether this requester may ask by this rule."""
        return bool(({EVERYONE, facts.requester} | facts.groups) & set(self.requesters))

    def covers(self, other: "Rule") -> bool:
        """Whether every draft that `other` allows is allowed by this rule already."""

        def wider(mine: tuple[str, ...], theirs: tuple[str, ...], all_of: str) -> bool:
            return all_of in mine or set(theirs) <= set(mine)

        return (
            self.provider == other.provider
            and wider(self.requesters, other.requesters, EVERYONE)
            and wider(self.projects, other.projects, ANY)
            and wider(self.permissions, other.permissions, ANY)
            and wider(self.models, other.models, ANY)
            and self.new_projects >= other.new_projects
            and self.invitations >= other.invitations
            and parse_duration(self.max_duration) >= parse_duration(other.max_duration)
            and self.max_monthly_budget >= other.max_monthly_budget
        )


class DepositKind(BaseModel):
    """One kind of key that people bring: for whatever has no provider of its own here."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    id: Annotated[
        str,
        Field(
            pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$",
            description='What rules name it by, under projects: small letters, digits, "-" and "_".',
        ),
    ]
    name: Annotated[str, Field(min_length=1, max_length=60, description="What people call it.")]
    instructions: Annotated[
        str,
        Field(
            min_length=1,
            max_length=2000,
            description="How to make such a key, told to whoever is to bring it: where, with which rights.",
        ),
    ]
    rotation_interval: Annotated[Duration, Field(description="How often such a key is to be made anew.")] = "90d"


class RotationTerms(BaseModel):
    """How keys of one provider follow each other."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    provider: Annotated[str, Field(min_length=1, description='Which provider: "openai".')]
    interval: Annotated[
        Duration,
        Field(
            description="How long after its pick-up a key is to be rotated. What policy said at pick-up, or at the last "
            "rotation, counts. Kinds of [[deposit]] have a rotation_interval of their own instead."
        ),
    ] = "90d"
    remind: Annotated[
        tuple[Duration, ...],
        Field(
            description="How long before that its holder is reminded, each time once, in their working hours. Empty: only "
            "when it is due."
        ),
    ] = ("14d", "7d", "1d")
    overdue: Annotated[
        Overdue,
        Field(
            description="What follows when nobody rotated: tell whoever approved, or also disable the key after a while. "
            "A provider that cannot switch keys off has it revoked."
        ),
    ] = Overdue.TELL
    disable_after: Annotated[
        Duration,
        Field(
            description='How long after whoever approved was told an overdue key is switched off, with overdue = "disable".'
        ),
    ] = "7d"
    grace: Annotated[
        Duration,
        Field(
            description="How long an old key works on beside the one that took its place, at most. It is revoked before, "
            "as soon as usage shows that the new one is used and the old one silent."
        ),
    ] = "24h"


class PolicyFile(BaseModel):
    """What policy.toml holds."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, title="Keydesk policy")

    version: Annotated[Literal[1], Field(description="The version of this format.")]
    approval_channel: Annotated[
        str | None,
        Field(pattern=r"^[CG][A-Z0-9]{2,}$", description="A channel (C…) that also gets each approval card."),
    ] = None
    manager_field: Annotated[
        str | None,
        Field(
            pattern=r"^Xf[A-Za-z0-9]+$",
            description="The id (Xf…) of the profile field of type user that names a member's manager.",
        ),
    ] = None
    admins: Annotated[
        tuple[Admin, ...],
        Field(
            description="Who sees, on their Home, how the desk stands with its providers, and is told of a credential "
            "that does not work any more: member ids (U…) and user group ids (S…). Empty: nobody."
        ),
    ] = ()
    decide_within: Annotated[
        Duration, Field(description="How long a request waits for a decision before it lapses.")
    ] = "3d"
    pick_up_within: Annotated[
        Duration, Field(description="How long an approved key waits to be picked up before it lapses.")
    ] = "7d"
    bring_within: Annotated[
        Duration, Field(description="How long a key that a person is to bring is waited for before it lapses.")
    ] = "7d"
    hand_over_within: Annotated[
        Duration,
        Field(description="How long a key works on whose holder left, where a rule says hand_over, to be taken over."),
    ] = "3d"
    rule: Annotated[tuple[Rule, ...], Field(min_length=1, description="The rules; the first that fits decides.")]
    deposit: Annotated[
        tuple[DepositKind, ...],
        Field(description='Keys that people bring: the projects of the provider "deposit".'),
    ] = ()
    rotation: Annotated[
        tuple[RotationTerms, ...],
        Field(description="How keys follow each other, by provider; what is not set has its default."),
    ] = ()


@dataclass(frozen=True, slots=True)
class Rotating:
    """What policy says of how the keys of a grant follow each other. `remind`: how long before, the longest first."""

    interval: timedelta
    remind: tuple[timedelta, ...]
    grace: timedelta
    overdue: Overdue
    disable_after: timedelta


@dataclass(frozen=True, slots=True)
class Facts:
    """What policy needs to know of a requester: the groups among those it names, and who their manager is."""

    requester: str
    groups: frozenset[str]
    manager: str | None


@dataclass(frozen=True, slots=True)
class Ask:
    """Policy's answer: these may decide; members (U…) and user groups (S…)."""

    rule: str
    approvers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refuse:
    """Policy's answer: no, because; `field` is the draft's attribute it sits on."""

    field: str
    because: str


Verdict = Ask | Refuse


class Policy:
    """A policy file that was found sound."""

    def __init__(self, file: PolicyFile) -> None:
        self.file = file
        self.decide_within = parse_duration(file.decide_within)
        self.pick_up_within = parse_duration(file.pick_up_within)
        self.bring_within = parse_duration(file.bring_within)
        self.hand_over_within = parse_duration(file.hand_over_within)
        self.groups = frozenset(
            who for rule in file.rule for who in (*rule.requesters, *rule.approvers) if who[0] == "S"
        )

    def over_budget(self, rule: str, scope: Scope) -> OverBudget:
        """What follows when a budget is used up, by the rule that granted it."""
        return self._says(rule, scope, lambda one: one.over_budget, OverBudget.TELL)

    def idle(self, rule: str, scope: Scope) -> Idle:
        """What follows when nothing uses a key, by the rule that granted it."""
        return self._says(rule, scope, lambda one: one.idle, Idle.ASK)

    def on_leaving(self, rule: str, scope: Scope) -> OnLeaving:
        """What follows when a key's holder leaves, by the rule that granted it."""
        return self._says(rule, scope, lambda one: one.on_leaving, OnLeaving.REVOKE)

    def _says(self, rule: str, scope: Scope, term: Callable[[Rule], Term], otherwise: Term) -> Term:
        """What this rule says today. Where no rule is called so any more: the strictest of those that speak of the scope."""
        if (one := self.rule(rule)) is not None:
            return term(one)
        said = {term(one) for one in self.file.rule if one.speaks_of(scope)}
        return next((one for one in reversed(type(otherwise)) if one in said), otherwise)

    def rotation(self, scope: Scope) -> Rotating:
        """How the keys of a grant with this scope follow each other, by today's policy."""
        terms = next((one for one in self.file.rotation if one.provider == scope.provider), None)
        terms = terms or RotationTerms(provider=scope.provider)
        kind = next((one for one in self.file.deposit if scope.provider == DEPOSIT and one.id == scope.project), None)
        return Rotating(
            interval=parse_duration(kind.rotation_interval if kind else terms.interval),
            remind=tuple(sorted({parse_duration(one) for one in terms.remind}, reverse=True)),
            grace=parse_duration(terms.grace),
            overdue=terms.overdue,
            disable_after=parse_duration(terms.disable_after),
        )

    def rules_for(self, facts: Facts) -> Sequence[Rule]:
        """The rules by which this requester may ask for something."""
        return [rule for rule in self.file.rule if rule.admits(facts)]

    def rule(self, name: str) -> Rule | None:
        """The rule of this name, if it is still there."""
        return next((rule for rule in self.file.rule if rule.name == name), None)

    def judge(self, draft: Draft, facts: Facts) -> Verdict:
        """Whom to ask about this draft, or why it cannot be asked for."""
        concerned = [rule for rule in self.file.rule if rule.concerns(draft, facts)]
        if not concerned:
            return self._why_none(draft, facts)
        allowing = [rule for rule in concerned if _within(rule, draft)]
        if not allowing:
            return _too_much(concerned, draft)
        for rule in allowing:
            approvers = tuple(
                dict.fromkeys(
                    who for who in (_resolved(name, facts) for name in rule.approvers) if who and who != facts.requester
                )
            )
            if approvers:
                return Ask(rule.name, approvers)
        return Refuse(
            "permission", "Nobody could approve this: your profile names no manager, or you are the only approver."
        )

    def _why_none(self, draft: Draft, facts: Facts) -> Refuse:
        """On the field whose other choice would help."""
        scope = draft.scope
        mine = [rule for rule in self.rules_for(facts) if rule.provider == scope.provider]
        if draft.wish is Wish.INVITATION:
            return Refuse("project", "Policy has no rule that lets you ask to be invited here. Ask for a key instead.")
        if scope.new_project and not any(rule.new_projects for rule in mine):
            return Refuse(
                "project", "Policy has no rule that lets you ask for a new project. Choose one that is there."
            )
        without = replace(draft, scope=replace(scope, models=()))
        allowed = {model for rule in mine for model in rule.models}
        if any(rule.concerns(replace(without, scope=replace(scope, models=rule.models)), facts) for rule in mine):
            return Refuse(
                "models", f"Choose among the models that policy allows here: {', '.join(sorted(allowed - {ANY}))}."
            )
        return Refuse("permission", "Policy has no rule that lets you ask for this here. Try another choice.")


def _within(rule: Rule, draft: Draft) -> bool:
    return (
        draft.duration <= parse_duration(rule.max_duration)
        and draft.scope.monthly_budget_cents <= rule.max_monthly_budget * 100
    )


def _too_much(rules: Sequence[Rule], draft: Draft) -> Refuse:
    longest = max(rules, key=lambda rule: parse_duration(rule.max_duration))
    if draft.duration > parse_duration(longest.max_duration):
        return Refuse("duration", f"The longest that policy allows here is {longest.max_duration}.")
    largest = max(rule.max_monthly_budget for rule in rules if draft.duration <= parse_duration(rule.max_duration))
    return Refuse("monthly_budget_cents", f"The most that policy allows here is ${largest:,} a month.")


def _resolved(approver: str, facts: Facts) -> str | None:
    return facts.manager if approver == MANAGER else approver


if __name__ == "__main__":  # `make schema` writes docs/policy.schema.json with it
    print(json.dumps(PolicyFile.model_json_schema(), indent=2))
