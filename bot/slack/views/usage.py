"""What keys used, in words: the answer to `/apikey usage`, and the messages about budgets."""

from datetime import date

from bot.desk.limits import COLLECTED_EVERY
from bot.desk.model import KeyUse, MyUsage, ReportedBy, Spending, Story
from bot.desk.offer import Basis
from bot.desk.states import GrantState, KeyState
from bot.slack.text import cost, mention, money, name, span, when
from bot.slack.views import buttons, drafts, standing
from bot.slack.views.kit import Message, actions, header, section, small

BARS = "▁▂▃▄▅▆▇█"


def my_usage(mine: MyUsage) -> Message:
    """What a member used this month: whole, by key, and how sure that is."""
    seen = mine.more or mine.cost_micros or any(one.reported for one in mine.keys)
    total = f"Used in {month(mine.month)}: {cost(mine.cost_micros) if seen else 'Keydesk does not see it'}"
    if not mine.keys:
        nothing = "You have no key in use, and used none lately. `/apikey request` asks for one."
        return {"text": nothing, "blocks": [section(nothing)]}
    blocks = [header(total), *(section(_key(one, mine.month)) for one in mine.keys)]
    if mine.more:
        blocks.append(small(f"… and {mine.more} more; the sum counts them, too."))
    blocks.append(small("\n".join(_source(source) for source in mine.sources)))
    count = len(mine.keys) + mine.more
    return {"text": f"{total}, {'1 key' if count == 1 else f'{count} keys'}.", "blocks": blocks}


def budget(story: Story) -> Message:
    """To the holder: how much of the month's budget is used, and what follows."""
    draft = story.request.draft
    what = f"Your {drafts.key_named(draft)} {_used_of(story)}"
    return {"text": f"{what}.", "blocks": [section(f"*{what}*\n{_follows(story)}"), *_so_far(story)]}


def overspent(story: Story) -> Message:
    """To who approved: a month's budget is used up, and what they can do."""
    draft = story.request.draft
    what = f"{mention(story.request.requester)}'s {drafts.key_named(draft)} {_used_of(story)}"
    revoke = [buttons.revoke(story)] if story.grant and buttons.alive(story.grant) else []
    offered = [*buttons.switch_on(story), *revoke]
    return {
        "text": f"{what}.",
        "blocks": [
            section(f"*{what}*\n{_follows(story)}"),
            *_so_far(story),
            *([actions(*offered)] if offered else []),
        ],
    }


def month(first: date) -> str:
    """ "November 2026" """
    return f"{first:%B %Y}"


def _used_of(story: Story) -> str:
    budget_cents = story.request.draft.scope.monthly_budget_cents
    if story.spending is None:
        return f"used none of its {money(budget_cents)} a month"
    percent = story.spending.cost_micros // (budget_cents * 100)
    return f"used {percent}% of its {money(budget_cents)} in {month(story.spending.month)}"


def _follows(story: Story) -> str:
    """What becomes of the key."""
    grant, key = story.grant, story.key
    if grant is None or grant.state is not GrantState.ACTIVE or key is None:
        return standing.progress(story) or "It is over."
    match key.state:
        case KeyState.DISABLING:
            return f"It is being switched off at {name(story.request.draft.provider_name)}."
        case KeyState.DISABLED:
            until, can = (f" until {when(key.due_at)}", "it on before") if key.due_at else ("", "it on again")
            return f"It is switched off{until}: calls with it are refused. An approver can switch {can}."
        case KeyState.ENABLING:
            return f"It is being switched on again at {name(story.request.draft.provider_name)}."
        case _:
            held = [limit for limit in story.limits if limit.kind == "budget"]
            return "\n".join(drafts.limit(limit, story.request.draft) for limit in held) or "The key goes on."


def _so_far(story: Story) -> list[dict[str, object]]:
    return [small(_as_of(story.spending))] if story.spending else []


def _as_of(spending: Spending) -> str:
    sure = "as billed" if spending.basis is Basis.BILLED else "an estimate until it is billed"
    return f"{cost(spending.cost_micros)} so far, {sure}, as of {when(spending.as_of)}. `/apikey usage` shows more."


def _key(one: KeyUse, this_month: date) -> str:
    draft, grant = one.story.request.draft, one.story.grant
    budget_cents = draft.scope.monthly_budget_cents
    left = max(budget_cents * 10_000 - one.cost_micros, 0)
    title = drafts.key_named(draft)
    over = "" if grant and buttons.alive(grant) else " (over)"
    fingerprint = f" `{name(one.story.key.fingerprint, 40)}`" if one.story.key and one.story.key.fingerprint else ""
    last = f"last used {one.last_day.day} {one.last_day:%b}" if one.last_day else "no use reported yet"
    tokens = f"{one.requests:,} requests, {one.tokens_in:,} tokens in, {one.tokens_out:,} out"
    off = " · *switched off*" if one.story.key and one.story.key.state is KeyState.DISABLED else ""
    sure = " (estimate)" if one.estimated else ""
    named = f"*{title[:1].upper()}{title[1:]}*{fingerprint}{over}{off}"
    if not one.reported:
        return f"{named}\nKeydesk does not see what it spends."
    budget = f" of {money(budget_cents)} in {month(this_month)}, {cost(left)} left" if budget_cents else ""
    return (
        f"{named}\n"
        f"{cost(one.cost_micros)}{sure}{budget}\n"
        f"`{sparkline(one.trend)}` {len(one.trend)} days · {tokens} · {last}"
    )


def sparkline(values: tuple[int, ...]) -> str:
    """One bar for each value, the highest as high as it gets; nothing used is the lowest."""
    most = max(values, default=0)
    return "".join(BARS[-(-value * (len(BARS) - 1) // most)] if most else BARS[0] for value in values)


def _source(source: ReportedBy) -> str:
    label = name(source.label)
    if not source.reports:
        return f"{label} reports no usage by key to the desk."
    if source.as_of is None:
        return f"{label}: not read yet; the first figures come within minutes."
    late = span(source.lag + COLLECTED_EVERY)
    return f"{label}: read {when(source.as_of)}. What was used in the last {late} may be missing."
