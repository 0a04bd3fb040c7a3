"""What is told of usage, budgets and providers: true, short enough for Slack, and misleading nobody."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from bot.desk.due import SweepName, SweepState
from bot.desk.limits import COLLECTED_EVERY
from bot.desk.model import DeskState, Home, KeyUse, MyUsage, Outsiders, ProviderState, ReportedBy, Round, RoundKind
from bot.desk.offer import AppliedLimit, Enforcer, LimitKind
from bot.desk.states import KeyState
from bot.slack import views
from bot.slack.text import cost
from bot.slack.views.usage import sparkline
from tests.slack import stories
from tests.slack.limits import fits_message, fits_view
from tests.slack.test_views import buttons, harmless, texts

NOVEMBER = date(2026, 11, 1)
HOURLY = AppliedLimit(LimitKind.BUDGET, "$25 a month", Enforcer.DESK, "The key is then revoked.", 2 * COLLECTED_EVERY)


def use_of(draft: object = stories.DRAFT, micros: int = 12_345_678) -> KeyUse:
    story = stories.spent(micros, stories.DRAFT if draft is stories.DRAFT else stories.HOSTILE_DRAFT)
    return KeyUse(story, micros, 41, 123_456, 7_890, date(2026, 11, 22), (*range(13), 26), estimated=True)


def mine(*keys: KeyUse, more: int = 0, label: str = "OpenAI") -> MyUsage:
    sources = (
        ReportedBy(label, stories.NOW, timedelta(hours=1)),
        ReportedBy("Other", None, timedelta(hours=1)),
        ReportedBy("Deposits", None, timedelta(), reports=False),
    )
    return MyUsage(NOVEMBER, sum(key.cost_micros for key in keys), keys, sources, more)


def test_my_usage_says_how_much_of_what_and_how_sure() -> None:
    """Total, by key, of the budget, left, trend, last used; when it was read, and what may be missing."""
    message = views.my_usage(mine(use_of()))
    plain = "\n".join([message["text"], *texts(message["blocks"])])
    for told in (
        "Used in November 2026: $12.35",
        "$12.35 (estimate) of $25",
        "$12.65 left",
        "41 requests, 123,456 tokens in, 7,890 out",
        "last used 22 Nov",
        "▁▂▂▂▃▃▃▃▄▄▄▄▅█",
        "last 2 hours may be missing",
        "Other: not read yet",
        "Deposits reports no usage",
    ):
        assert told in plain
    assert "/apikey request" in views.my_usage(MyUsage(NOVEMBER, 0, (), ()))["text"]


def test_many_keys_with_hostile_names_fit() -> None:
    """Slack's limits hold, and nothing in a name does anything."""
    message = views.my_usage(mine(*[use_of(None)] * 15, more=99, label=stories.HOSTILE))
    fits_message(message)
    harmless([message["text"], *texts(message["blocks"])], message)


@pytest.mark.parametrize(
    ("micros", "said"),
    [(0, "$0.00"), (1, "under $0.01"), (4_999, "under $0.01"), (5_000, "$0.01"), (1_234_565_000, "$1,234.57")],
)
def test_costs_are_told_to_the_cent(micros: int, said: str) -> None:
    """Half a cent counts as one; less is not called nothing."""
    assert cost(micros) == said


def test_a_line_of_nothing_is_flat() -> None:
    """And whatever was used shows above it."""
    assert sparkline((0, 0)) == "▁▁"
    assert sparkline((0, 1, 10**9)) == "▁▂█"
    assert sparkline(()) == ""


def test_an_overspent_key_can_be_switched_on_by_its_approver_alone() -> None:
    """The button is on the approver's messages, while the key is off, and not on the holder's."""
    off = stories.spent(26_000_000, key=KeyState.DISABLED)
    for message in (views.overspent(off), views.approval_card(off)):
        assert buttons(message["blocks"]) == ["switch_on", "revoke"]
    for message in (views.budget(off), views.outcome(off)):
        assert "switch_on" not in buttons(message["blocks"])
    on = stories.spent(26_000_000)
    assert "switch_on" not in buttons(views.overspent(on)["blocks"])
    assert "used 104% of its $25 in November 2026" in views.budget(off)["text"]


def test_a_card_says_how_late_the_desk_may_be() -> None:
    """In plain words, where the desk holds a key to its budget."""
    message = views.approval_card(replace(stories.pending(), limits=(HOURLY,)))
    plain = "\n".join(texts(message["blocks"]))
    assert "Keydesk watches what is spent, and may be up to 2 hours late. The key is then revoked." in plain


def state(
    label: str = "OpenAI", *, flaw: str | None = None, projects: int = 1, name: str = "search-prod"
) -> ProviderState:
    return ProviderState(
        label=label,
        said="Sees search-prod.",
        flaw=flaw,
        rounds=(
            Round("T0ACME", "openai", RoundKind.CREDENTIAL, stories.NOW),
            Round(
                "T0ACME", "openai", RoundKind.INVENTORY, stories.NOW, attempts=2, flaw=flaw or "OpenAI failed (500)."
            ),
            Round("T0ACME", "openai", RoundKind.USAGE, stories.NOW, ended_at=stories.NOW),
        ),
        outsiders=tuple(
            Outsiders("T0ACME", "openai", f"p{number}", name, 14 - number % 14, stories.NOW)
            for number in range(projects)
        ),
        stuck=2,
    )


def test_an_admin_reads_how_it_stands() -> None:
    """What is wrong first; keys that are nobody's, by project; when rounds last came to their end."""
    home = views.home(
        Home("U0ANA", overview=DeskState((state("Anthropic"), state(flaw="It does not accept the key. Mend: set it."))))
    )
    fits_view(home)
    plain = "\n".join(texts(home["blocks"]))
    assert plain.index("*OpenAI*") < plain.index("*Anthropic*")
    for told in (
        "It does not accept the key. Mend: set it.",
        "14 keys in *search-prod* are nobody's here.",
        "Keys compared: not yet.",
        "OpenAI failed (500).",
        "2 keys wait to be revoked or switched there",
    ):
        assert told in plain
    assert "Providers" not in str(views.home(Home("U0BEN")))


def sweeps(flaw: str = "KeyError, reference 5d0c1e7a") -> tuple[SweepState, ...]:
    """All of them; one failed."""
    ran = [
        SweepState(name, stories.NOW, timedelta(milliseconds=12), stories.NOW.date(), 1432, timedelta(seconds=2.51))
        for name in SweepName
    ]
    return (*ran[:-1], replace(ran[-1], failures=3, failed_at=stories.NOW, flaw=flaw))


def test_an_admin_reads_how_the_sweeps_go() -> None:
    """When each ran last and how long it took, what failed and where the log tells of it, and which one stands still."""
    seen = views.home(Home("U0ANA", overview=DeskState((state(),), sweeps(), frozenset({SweepName.PROBE}))))
    fits_view(seen)
    plain = "\n".join(texts(seen["blocks"]))
    at = "<!date^"
    assert f"*retire*: {at}" in plain
    assert "in 12 ms; 1,432 handled today, the longest in 2.5 s" in plain
    assert f":warning: *probe*: {at}" in plain
    assert plain.count("is a desk running?") == 1
    assert "failed 3 times today, last " in plain
    assert "KeyError, reference 5d0c1e7a" in plain


def test_an_overview_fits_beside_everything_else() -> None:
    """Many providers with many projects and hostile names, a full queue and many keys."""
    many = tuple(state(stories.HOSTILE, flaw=stories.HOSTILE, projects=40, name=stories.HOSTILE) for _ in range(20))
    full = Home(
        "U0ANA",
        mine=tuple(stories.spent(1, key=KeyState.DISABLED) for _ in range(40)),
        queue=(stories.pending(stories.HOSTILE_DRAFT),) * 20,
        overview=DeskState(many, sweeps(stories.HOSTILE), frozenset(SweepName)),
    )
    home = views.home(full)
    fits_view(home)
    harmless(texts(home["blocks"]), home)
    message = views.provider_flaw(many[0])
    fits_message(message)
    harmless([message["text"], *texts(message["blocks"])], message)
