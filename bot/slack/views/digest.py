"""The weekly digest as one message, and the form that moves it or switches it off."""

import re
from collections.abc import Sequence
from datetime import date, timedelta

from bot.desk.limits import MICROS_IN_A_CENT
from bot.desk.model import Story
from bot.desk.states import GrantState, KeyState
from bot.desk.week import (
    HOURS,
    AdminWeek,
    Advice,
    ApproverWeek,
    Days,
    Digest,
    Failing,
    HolderWeek,
    KeyWeek,
    ProjectWeek,
    Spent,
    Subscription,
    TeamKey,
    Tip,
)
from bot.slack.chart import Chart
from bot.slack.text import cost, escaped, mention, money, name, when
from bot.slack.views import buttons, drafts
from bot.slack.views.home import to_decide
from bot.slack.views.kit import (
    Block,
    Message,
    View,
    actions,
    button,
    divider,
    entry,
    header,
    modal,
    option,
    plain_text,
    section,
    small,
)
from bot.slack.views.unusual import came_of, line

SETTINGS_FORM = "digest_settings"
"""The form's callback id."""
DIGEST_SETTINGS = "set_digest"
"""The button that opens it."""
WEEKDAY, HOUR, COMES = "weekday", "hour", "comes"
"""The form's fields."""
ON, OFF = "on", "off"
DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
NOW = "now"  # in place of the week, where somebody asked for it
_MARK = re.compile(r"digest (now|[0-9-]{10}) ([0-9-]{10}) [0-9]+")
OUTSIDERS_SHOWN = 5
NOT_YET = (GrantState.AWAITED, GrantState.READY, GrantState.ISSUING, GrantState.DELIVERING)
CHARTED = 6  # projects
SAID_AT_MOST = 300
MANIFOLD = 10  # from so many times the week before on, percents say less than both sums


def digest(told: Digest, *, chart: Block | None = None) -> Message:
    """One message with the parts that are theirs; `chart` stands below the sums that it shows."""
    about = _days(told.days)
    title = f"Your week: {about}" if told.week else f"The last seven days: {about}"
    lead = told.holder or told.approver or told.admin
    unseen = told.holder is not None and _unseen(told.holder)
    summary = f"{title}. {cost(lead.spent.week)} spent." if lead and not unseen else f"{title}."
    if told.empty:
        text = "There is nothing to tell: you have no key in use, and nothing waits for your decision."
        return {"text": text, "blocks": [section(text)]}
    blocks = [header(title)]
    if told.holder:
        blocks += _holder(told.holder, told.days, chart)
        chart = None
    if told.approver:
        blocks += [*([divider()] if told.holder else []), *_approver(told.approver)]
    if told.admin:
        blocks += [*([divider()] if told.holder or told.approver else []), *_admin(told.admin, chart)]
    blocks += [actions(button("When it comes…", DIGEST_SETTINGS)), small(_IN_UTC + (_MORE if told.holder else ""))]
    return {"text": summary, "blocks": _marked(blocks, told)}


def chart_of(told: Digest) -> Chart | None:
    """What a picture says better: a holder's days, else what the projects of the whole desk used; none of what is less than a cent."""
    holder, admin = told.holder, told.admin
    if holder and max(*holder.days, *holder.days_before) >= MICROS_IN_A_CENT:
        return Chart(
            title="What your keys used, day by day",
            unit="US dollars",
            categories=tuple(f"{told.days.first + timedelta(days=number):%a}" for number in range(7)),
            series=(("The week before", _dollars(holder.days_before)), ("This week", _dollars(holder.days))),
        )
    shown = admin.projects[:CHARTED] if admin else ()
    if any(max(one.spent.week, one.spent.before) >= MICROS_IN_A_CENT for one in shown):
        return Chart(
            title="What the projects used",
            unit="US dollars",
            categories=tuple(one.project_name for one in shown),
            series=(
                ("The week before", _dollars([one.spent.before for one in shown])),
                ("This week", _dollars([one.spent.week for one in shown])),
            ),
        )
    return None


# ---- for a holder


def _holder(told: HolderWeek, days: Days, chart: Block | None) -> list[Block]:
    sure = " This is an estimate until it is billed." if told.estimated else ""
    month = f"In {days.last:%B} {cost(told.month)}"
    of_all = f" of {money(told.budget_cents)}, the limits of all your keys together" if told.budget_cents else ""
    seen = f"*You spent {_against(told.spent)}.*{sure}\n{month}{of_all}."
    blocks = [section("*Keydesk does not see what your keys spend.*" if _unseen(told) else seen)]
    if chart:
        blocks.append(chart)
    if told.spent.week or told.spent.before:
        blocks.append(
            small(f"{_by_day(days.first, told.days)}\nThe week before: {_by_day(days.before, told.days_before)}")
        )
    lines = [_key(one, days) for one in told.keys]
    if told.more:
        lines.append(f"… and {told.more} more. `/apikey list` shows all.")
    blocks.append(section("*Your keys*\n" + "\n".join(lines)))
    for story in told.ending:
        ends = f" It ends {when(story.grant.expires_at)}." if story.grant and story.grant.expires_at else ""
        blocks += _asks(f"*Your {drafts.key_named(story.request.draft)} ends this week.*{ends}", story)
    for story in told.rotating:
        by = f" by {when(story.grant.rotates_at)}" if story.grant and story.grant.rotates_at else ""
        late = story.grant and story.grant.rotates_at and story.grant.rotates_at.date() <= days.last
        due = f"should have been rotated{by}" if late else f"is to be rotated{by}"
        blocks += _asks(f"*Your {drafts.key_named(story.request.draft)} {due}.*", story)
    for story in told.idle:
        why = "Nobody used it for two weeks or more. What is not needed is better given back: it cannot leak then."
        blocks += _asks(f"*Your {drafts.key_named(story.request.draft)} lies idle.* {why}", story)
    for story in told.waiting:
        blocks += _asks(f"*Your {drafts.key_named(story.request.draft)} waits for you.*", story)
    blocks.append(section(f"Tip of the week: {_tip(told.advice)}"))
    return blocks


def _unseen(told: HolderWeek) -> bool:
    """Whether no provider of theirs reports what is used."""
    return not told.more and not told.spent.week and not any(one.reported for one in told.keys)


def _asks(text: str, story: Story) -> list[Block]:
    """Something that asks for an act, with what its holder can do now."""
    offered = buttons.for_requester(story)
    return [section(text), *([actions(*offered)] if offered else [])]


def _key(one: KeyWeek, days: Days) -> str:
    draft = one.story.request.draft
    title = drafts.key_named(draft)
    print_ = f" `{name(one.story.key.fingerprint, 40)}`" if one.story.key and one.story.key.fingerprint else ""
    over = "" if one.story.grant and buttons.alive(one.story.grant) else " (over)"
    off = " (switched off)" if one.story.key and one.story.key.state is KeyState.DISABLED and not over else ""
    return f"• {title[:1].upper()}{title[1:]}{print_}{over}{off}: {_used(one, days)}"


def _used(one: KeyWeek, days: Days) -> str:
    if one.story.grant and one.story.grant.state in NOT_YET and not (one.spent.week or one.spent.before):
        return "not picked up yet"
    if not one.reported:
        return "Keydesk does not see what it spends"
    budget_cents = one.story.request.draft.scope.monthly_budget_cents
    limit = f", {cost(one.month)} of {money(budget_cents)} in {days.last:%B}" if budget_cents else ""
    last = f", last used {one.last_day.day} {one.last_day:%b}" if one.last_day else ""
    return f"{_change(one.spent)}{limit}{last}"


def _tip(advice: Advice) -> str:
    key = f"your {drafts.key_named(advice.story.request.draft)}" if advice.story else "your key"
    match advice.tip:
        case Tip.IDLE:
            return f"*Give back what you do not use.* Nobody uses {key}; a key that is dead cannot be stolen."
        case Tip.JUMP:
            return f"*Look at where it is used.* What {key} used is three times the week before, or more. If that was not you, revoke it at once: a new one is a minute away."
        case Tip.ROOMY:
            return f"*Ask for a smaller limit.* Of the limit of {key} less than a tenth is used. Whoever finds a key can spend its limit, and no more."
        case Tip.ONE_MODEL:
            return f"*Hold it to the model that you use.* With {key} you only used {name(advice.what, 60)}. Ask for the next one with that model alone: it is worth less to a thief."
        case Tip.LINK:
            return "*Pick up where you need it.* A link of yours ran out before it was opened. Press *Pick up* when the place for the key is open in front of you: `.env`, a password manager, a secret of your CI."
        case Tip.LONG:
            return f"*Ask for a shorter time.* {key[:1].upper()}{key[1:]} lives for months. The shorter a key lives, the shorter an old copy of it is good for anything."
        case Tip.STORE:
            return "*Keep it where only your program reads it.* In a password manager, a secret of your CI, or an `.env` that git ignores: not in code, and not in chat."


# ---- for an approver


def _approver(told: ApproverWeek) -> list[Block]:
    keys = "1 key" if told.living == 1 else f"{told.living} keys"
    blocks = [section(f"*Your team spent {_against(told.spent)}.*\nYou have a say in {keys} of theirs now.")]
    if told.top:
        lines = [f"{number}. {_team_key(one)}: {_change(one.spent)}" for number, one in enumerate(told.top, 1)]
        blocks.append(section("*Most used*\n" + "\n".join(lines)))
    if told.pending_count:
        waits = "1 request waits" if told.pending_count == 1 else f"{told.pending_count} requests wait"
        blocks.append(section(f"*{waits} for your decision*"))
        for story in told.pending:
            blocks += to_decide(story)
        if told.pending_count > len(told.pending):
            blocks.append(small(f"… and {told.pending_count - len(told.pending)} more, on this app's Home."))
    if told.idle_count:
        lie = "1 key lies" if told.idle_count == 1 else f"{told.idle_count} keys lie"
        lines = [f"• {_team_key(one)}" for one in told.idle]
        if told.idle_count > len(told.idle):
            lines.append(f"… and {told.idle_count - len(told.idle)} more")
        blocks.append(section(f"*{lie} idle*, unused for two weeks or more\n" + "\n".join(lines)))
    if told.overdue_count:
        were = "1 key was" if told.overdue_count == 1 else f"{told.overdue_count} keys were"
        lines = [f"• {_team_key(one)}" for one in told.overdue]
        if told.overdue_count > len(told.overdue):
            lines.append(f"… and {told.overdue_count - len(told.overdue)} more")
        blocks.append(section(f"*{were} not rotated in time*\n" + "\n".join(lines)))
    return blocks


def _team_key(one: TeamKey) -> str:
    return f"{mention(one.holder)}, {name(one.project_name)} at {name(one.provider_name)}"


# ---- for an admin


def _admin(told: AdminWeek, chart: Block | None) -> list[Block]:
    blocks = [section(f"*The whole desk spent {_against(told.spent)}.*")]
    if chart:
        blocks.append(chart)
    if told.projects:
        lines = [_project(one) for one in told.projects]
        if told.more:
            lines.append(f"… and {told.more} more projects")
        blocks.append(section("*By provider and project*\n" + "\n".join(lines)))
    if told.outsiders:
        lines = [
            f"• {one.keys} in {name(one.project_name)} ({name(one.provider)})"
            for one in told.outsiders[:OUTSIDERS_SHOWN]
        ]
        if len(told.outsiders) > OUTSIDERS_SHOWN:
            lines.append(f"… and {len(told.outsiders) - OUTSIDERS_SHOWN} more projects with such keys")
        blocks.append(section("*Keys that are nobody's*: made outside of this desk\n" + "\n".join(lines)))
    if told.unusual_count:
        lines = [f"• {line(one)}{' ' + came_of(one.incident) if one.incident else ''}" for one in told.unusual]
        if told.unusual_count > len(told.unusual):
            lines.append(f"… and {told.unusual_count - len(told.unusual)} more")
        blocks.append(section("*Unusual use*\n" + "\n".join(lines)))
    trouble = [_failing(one) for one in told.failing]
    if told.by_hand:
        keys = "1 key waits" if told.by_hand == 1 else f"{told.by_hand} keys wait"
        trouble.append(f"• {keys} for a person to revoke by hand.")
    if told.overdue:
        were, them = ("1 key was", "it") if told.overdue == 1 else (f"{told.overdue} keys were", "them")
        trouble.append(f"• {were} not rotated in time. Whoever approved {them} was told.")
    if trouble:
        blocks.append(section(":warning: *What fails*\n" + "\n".join(trouble)))
    return blocks


def _project(one: ProjectWeek) -> str:
    return f"• {name(one.project_name)} at {name(one.provider_name)}: {_change(one.spent)}"


def _failing(one: Failing) -> str:
    said = []
    if one.stuck:
        said.append("1 key fails" if one.stuck == 1 else f"{one.stuck} keys fail")
        said[-1] += " to be revoked or switched; it is tried again and again."
    if one.flaw:
        said.append(escaped(one.flaw, SAID_AT_MOST))
    return f"• {name(one.label)}: {' '.join(said)}"


# ---- the form


def settings_form(held: Subscription, tz: str) -> View:
    """When it comes, by their own clock; or not at all."""
    days = [option(day, str(number)) for number, day in enumerate(DAY_NAMES)]
    hours = [option(f"{hour}:00", str(hour)) for hour in HOURS]
    comes = [option("Send it each week", ON), option("Do not send it", OFF)]
    return modal(
        "Your weekly digest",
        [
            section("What your keys used, what ends, what lies idle, and what waits for you: once a week, by message."),
            entry(
                COMES,
                "Shall it come?",
                {"type": "radio_buttons", "options": comes, "initial_option": comes[1 if held.off else 0]},
            ),
            entry(WEEKDAY, "On", _menu(days, held.weekday)),
            entry(
                HOUR, "At", _menu(hours, held.hour - HOURS.start), hint=f"In your own time zone: {tz}. Slack knows it."
            ),
            small("A week in which there is nothing to tell has none. `/apikey digest` shows it at any time."),
        ],
        submit=plain_text("Save", 24),
        callback_id=SETTINGS_FORM,
    )


def settings_kept(kept: Subscription) -> View:
    """What the form answers."""
    if kept.off:
        said = "It does not come any more. `/apikey settings` switches it on again."
    else:
        comes = f" Next: {when(kept.due_at)}." if kept.due_at else ""
        said = f"It comes on {DAY_NAMES[kept.weekday]}s at {kept.hour}:00, by your own clock.{comes}"
    return modal("Your weekly digest", [section(said)])


def _menu(options: Sequence[Block], chosen: int) -> Block:
    return {"type": "static_select", "options": list(options), "initial_option": options[chosen]}


# ---- in words


def _against(spent: Spent) -> str:
    """ "$12.40, 36% more than in the week before ($9.10)" """
    week, before = cost(spent.week), cost(spent.before)
    if not spent.before:
        return f"{week}, and nothing in the week before" if spent.week else "nothing, as in the week before"
    if not spent.week:
        return f"nothing, after {before} in the week before"
    if spent.week >= MANIFOLD * spent.before:
        return f"{week}, after {before} in the week before"
    percent = round((spent.week - spent.before) * 100 / spent.before)
    if percent == 0:
        return f"{week}, as much as in the week before"
    return f"{week}, {abs(percent)}% {'more' if percent > 0 else 'less'} than in the week before ({before})"


def _change(spent: Spent) -> str:
    return f"{cost(spent.week)}, {cost(spent.before)} the week before"


def _by_day(first: date, micros: Sequence[int]) -> str:
    days = [first + timedelta(days=number) for number in range(len(micros))]
    return " · ".join(f"{day:%a} {day.day} {cost(value)}" for day, value in zip(days, micros, strict=True))


def _days(days: Days) -> str:
    """ "16 to 22 November", "28 September to 4 October" """
    first = f"{days.first.day}" if days.first.month == days.last.month else f"{days.first.day} {days.first:%B}"
    return f"{first} to {days.last.day} {days.last:%B}"


def _dollars(micros: Sequence[int]) -> tuple[float, ...]:
    return tuple(value / 1_000_000 for value in micros)


def digest_of(block_id: str) -> tuple[date | None, date] | None:
    """Of which digest a block with buttons is: its week, and the last day that it tells of; None where it is of none."""
    found = _MARK.fullmatch(block_id)
    if found is None:
        return None
    try:
        return None if found[1] == NOW else date.fromisoformat(found[1]), date.fromisoformat(found[2])
    except ValueError:
        return None


def _marked(blocks: list[Block], told: Digest) -> list[Block]:
    """With ids by which `digest_of` knows a press in it."""
    week, last = told.week.isoformat() if told.week else NOW, told.days.last.isoformat()
    buttons = [block for block in blocks if block["type"] == "actions"]
    for number, block in enumerate(buttons):
        block["block_id"] = f"digest {week} {last} {number}"
    return blocks


_IN_UTC = "Days are days of UTC, as providers count them."
_MORE = " `/apikey usage` tells more of your keys."
