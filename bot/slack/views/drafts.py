"""A draft in words: what was asked for, at which provider, and what holds it to that."""

from bot.desk.model import Draft, Grant, Wish
from bot.desk.offer import AppliedLimit, Enforcer, LimitKind
from bot.desk.policy import DEPOSIT
from bot.slack.text import escaped, money, name, span, when

MODELS_SHOWN = 3


def key_to(draft: Draft) -> str:
    """ "a key to search-prod at OpenAI", "an invitation to …"; "a key for Mapbox" where it is a deposit of policy's own"""
    if elsewhere(draft):
        return f"a key for {name(draft.project_name)}"
    return f"{'an invitation' if invited(draft) else 'a key'} to {_where(draft)} at {name(draft.provider_name)}"


def elsewhere(draft: Draft) -> bool:
    """Whether the key is for something that has no provider here."""
    return draft.scope.provider == DEPOSIT


def at(draft: Draft) -> str:
    """Where the key is made and revoked: "OpenAI", "Mapbox"."""
    return name(draft.project_name if elsewhere(draft) else draft.provider_name)


def key_named(draft: Draft) -> str:
    """ "key to search-prod at OpenAI", after somebody's"""
    return key_to(draft).partition(" ")[2]


def invited(draft: Draft) -> bool:
    """Whether it is about an invitation, not a key."""
    return draft.wish is Wish.INVITATION


def terms(draft: Draft) -> str:
    """ "Chat completions with gpt-5-mini · 7 days · $25 a month" """
    scope = draft.scope
    if invited(draft):
        return "An invitation to the provider's own organisation, in place of a key"
    budget = [f"{money(scope.monthly_budget_cents)} a month"] if scope.monthly_budget_cents else []
    return " · ".join([may_do(draft), span(draft.duration), *budget])


def may_do(draft: Draft) -> str:
    """The permission and the models, in words."""
    models = draft.scope.models
    shown = ", ".join(name(model, 60) for model in models[:MODELS_SHOWN])
    more = f" and {len(models) - MODELS_SHOWN} more" if len(models) > MODELS_SHOWN else ""
    return f"{name(draft.permission_name)}{f' with {shown}{more}' if models else ''}"


def in_words(draft: Draft, grant: Grant | None = None) -> str:
    """ "Can use Responses with gpt-5-mini in search-prod, at most $50 a month, until 22 Dec." """
    if invited(draft):
        return f"Joins *{_where(draft)}* at {name(draft.provider_name)} with the least role there, and can make keys there."
    if elsewhere(draft):
        return f"A key for *{name(draft.project_name)}*, for {span(draft.duration)} from pick-up."
    scope = draft.scope
    budget = f", at most {money(scope.monthly_budget_cents)} a month" if scope.monthly_budget_cents else ""
    until = (
        f"until {when(grant.expires_at)}" if grant and grant.expires_at else f"for {span(draft.duration)} from pick-up"
    )
    return f"Can use {may_do(draft)} in *{_where(draft)}*{budget}, {until}."


def _where(draft: Draft) -> str:
    new = "the new project " if draft.scope.new_project is not None else ""
    return f"{new}{name(draft.project_name)}"


def limit(applied: AppliedLimit, draft: Draft) -> str:
    """One limit, and who really holds the key to it."""
    who = {
        Enforcer.KEY: f"{name(draft.provider_name)} enforces it on the key",
        Enforcer.PROJECT: f"{name(draft.provider_name)} enforces it on the whole project, not on this key",
        Enforcer.DESK: _desk_holds(applied),
        Enforcer.NOBODY: "agreed between you, enforced by nobody",
    }[applied.enforcer]
    what = applied.what[:1].upper() + applied.what[1:]
    return " ".join(f"• *{name(what)}*: {who}. {escaped(applied.note, 300)}".split())


def _desk_holds(applied: AppliedLimit) -> str:
    if applied.kind is not LimitKind.BUDGET:
        return "Keydesk watches it and revokes the key"
    late = f", and may be up to {span(applied.lag)} late" if applied.lag else ""
    return f"Keydesk watches what is spent{late}"
