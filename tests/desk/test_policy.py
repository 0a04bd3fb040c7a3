"""The policy file: what it allows, and what is refused when it is read, with line and mend."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from bot.desk.errors import PolicyFlaw
from bot.desk.linting import kinds, lint_people, load
from bot.desk.model import Draft, Person, Scope
from bot.desk.offer import Permission
from bot.desk.policy import Ask, Facts, Overdue, Policy, Refuse, parse_duration

ROOT = Path(__file__).parents[2]
PRESETS = {
    "openai": [
        Permission("read_only", "Read only"),
        Permission("embeddings", "Embeddings"),
        Permission("responses", "Responses"),
        Permission("all", "Everything"),
    ]
}
RULE = """\
[[rule]]
name = "small"
requesters = ["everyone"]
provider = "openai"
projects = ["*"]
permissions = ["responses"]
approvers = ["U0ANA", "manager"]
max_duration = "7d"
max_monthly_budget = 50
"""
WIDE = """\
[[rule]]
name = "wide"
requesters = ["S0LEADS"]
provider = "openai"
projects = ["proj_a"]
permissions = ["*"]
approvers = ["U0CARA"]
max_duration = "30d"
max_monthly_budget = 500
"""
HEAD = 'version = 1\nmanager_field = "Xf0BOSS"\n'
ROTATION = """[[rotation]]
provider = "openai"
remind = ["7d"]
"""


def policy(text: str = HEAD + RULE + WIDE) -> Policy:
    return load(text, permissions=PRESETS)


def draft(*, permission: str = "responses", days: int = 1, dollars: int = 10, project: str = "proj_a") -> Draft:
    return Draft(Scope("openai", project, permission, dollars * 100), "search", timedelta(days=days), "to try")


def facts(*groups: str, requester: str = "U0BEN", manager: str | None = None) -> Facts:
    return Facts(requester, frozenset(groups), manager)


def test_the_shipped_example_is_sound() -> None:
    """Whoever copies policy.example.toml starts from a file that reads."""
    load((ROOT / "policy.example.toml").read_text(), permissions=PRESETS)


def test_first_rule_that_fits_whole_decides() -> None:
    """A draft within the first rule goes to its approvers; the manager is named by the requester's profile."""
    assert policy().judge(draft(), facts(manager="U0DEV")) == Ask("small", ("U0ANA", "U0DEV"))
    assert policy().judge(draft(days=20), facts("S0LEADS")) == Ask("wide", ("U0CARA",))


def test_without_a_manager_the_others_decide_and_nobody_asks_themselves() -> None:
    """An approver's own request goes to the other approvers; where none is left, nobody can approve."""
    assert policy().judge(draft(), facts()) == Ask("small", ("U0ANA",))
    assert policy().judge(draft(), facts(requester="U0ANA", manager="U0DEV")) == Ask("small", ("U0DEV",))
    refused = policy().judge(draft(), facts(requester="U0ANA"))
    assert isinstance(refused, Refuse)
    assert "Nobody could approve" in refused.because


@pytest.mark.parametrize(
    ("asked", "who", "field", "because"),
    [
        (draft(days=8), facts(), "duration", "7d"),
        (draft(dollars=51), facts(), "monthly_budget_cents", "$50 a month"),
        (draft(days=31), facts("S0LEADS"), "duration", "30d"),
        (draft(days=20, dollars=501), facts("S0LEADS"), "monthly_budget_cents", "$500"),
        (draft(permission="all"), facts(), "permission", "no rule"),
        (draft(permission="all", project="proj_b"), facts("S0LEADS"), "permission", "no rule"),
    ],
)
def test_refusals_say_what_would_do(asked: Draft, who: Facts, field: str, because: str) -> None:
    """A refusal sits on the field that has to change and names the largest that is allowed."""
    verdict = policy().judge(asked, who)
    assert isinstance(verdict, Refuse)
    assert verdict.field == field
    assert because in verdict.because


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("version = 1\nrule = = 1", 2, "not TOML"),
        ("version = 2\n" + RULE, 1, "version"),
        ("version = 1\n", 1, "'rule' is missing"),
        ('version = 1\nchannel = "C0KEYS"\n' + HEAD[12:] + RULE, 2, "unknown key 'channel'"),
        (HEAD + RULE.replace("requesters", "requestors"), 5, "unknown key 'requestors'"),
        (HEAD + RULE.replace('["U0ANA", "manager"]', "[]"), 9, "would mean nobody"),
        (HEAD + RULE.replace('["everyone"]', "[]"), 5, "would mean nobody"),
        (HEAD + RULE.replace("U0ANA", "ana"), 9, "'ana' is nobody. Mend"),
        (HEAD + RULE.replace('"7d"', '"7 days"'), 10, "max_duration"),
        (HEAD + RULE.replace('"7d"', '"9999w"'), 10, "between"),
        (HEAD + RULE.replace("= 50", "= -1"), 11, "max_monthly_budget"),
        (HEAD + RULE.replace('"openai"', '"openia"'), 6, "Mend: one of: openai"),
        (HEAD + RULE.replace('"responses"', '"response"'), 8, "no permission preset 'response'"),
        ("version = 1\n" + RULE, 8, "manager_field"),
        (HEAD + RULE.replace("everyone", "U0ANA").replace(', "manager"', ""), 9, "only the requester"),
        (HEAD + RULE + 'default_duration = "8d"\n', 12, "Mend: lower default_duration"),
        (HEAD + RULE.replace('"7d"', '"12h"'), 10, "Mend: write a default_duration"),
        (HEAD + RULE + RULE.replace("small", "again"), 13, "never reached"),
        (HEAD + RULE + WIDE.replace("wide", "small"), 13, "two rules"),
        (HEAD + RULE + ROTATION.replace("openai", "openia"), 13, "Mend: one of: openai"),
        (HEAD + RULE + ROTATION + ROTATION, 16, "two [[rotation]] tables"),
        (HEAD + RULE + ROTATION + 'interval = "7d"\n', 14, "7d before is before there is a key"),
        (HEAD + RULE + ROTATION + 'overdue = "shout"\n', 15, "overdue"),
        (HEAD + RULE + ROTATION.replace("openai", "deposit") + 'interval = "7d"\n', 15, "rotation_interval"),
    ],
)
def test_a_flaw_names_line_and_mend(text: str, line: int, says: str) -> None:
    """Whatever does not fit stops the reading with its line in the file and what to do."""
    with pytest.raises(PolicyFlaw) as caught:
        policy(text)
    message = str(caught.value)
    assert f"line {line}" in message
    assert says in message
    assert "Mend" in message or "write" in message or "must" in message


def test_all_flaws_are_told_at_once() -> None:
    """What cannot be read in one rule, what nobody could use in another, and a file's own key: one run names them all, in order."""
    text = (
        'version = 1\nchannel = "C0KEYS"\nmanager_field = "Xf0BOSS"\n'
        + RULE.replace('"7d"', '"7 days"')
        + WIDE.replace('"openai"', '"openia"')
        + RULE.replace("small", "late").replace('"responses"', '"response"').replace("= 50", "= -1")
    )
    with pytest.raises(PolicyFlaw) as caught:
        policy(text)
    told = str(caught.value).splitlines()
    says = ["unknown key 'channel'", "max_duration", "no provider 'openia'", "max_monthly_budget"]
    assert len(told) == len(says)
    for line, what in zip(told, says, strict=True):
        assert what in line
    numbers = [int(line.split("line ")[1].split(":")[0]) for line in told]
    assert numbers == sorted(numbers)


def test_what_people_bring_is_known_whatever_else_is_wrong() -> None:
    """A flaw elsewhere does not make a rule for such keys look as if there were none."""
    good = '[[deposit]]\nid = "mapbox"\nname = "Mapbox"\ninstructions = "In the account page."\n'
    text = HEAD + RULE.replace('"7d"', '"7 days"') + good + good.replace("mapbox", "Not an id")
    assert [kind.id for kind in kinds(text)] == ["mapbox"]
    with pytest.raises(PolicyFlaw, match="not TOML"):
        kinds("rule = = 1")


class Workspace:
    """A directory of a few people; beyond the process, so it may be pretended."""

    async def person(self, member: str, *, fresh: bool = False) -> Person | None:
        people = {
            "U0ANA": Person("U0ANA", "T0", "Ana"),
            "U0GUS": Person("U0GUS", "T0", "Gus", guest=True),
            "U0CARA": Person("U0CARA", "T0", "Cara"),
        }
        return people.get(member)

    def remembered(self, member: str) -> Person | None:
        """Nobody asks."""
        return None

    async def know_everybody(self) -> None:
        """They are few."""

    async def members(self, group: str) -> frozenset[str]:
        return frozenset({"U0ANA"}) if group == "S0LEADS" else frozenset()

    async def manager(self, member: str, profile_field: str) -> str | None:
        return None

    async def everybody(self) -> AsyncIterator[Sequence[Person]]:
        yield ()


@pytest.mark.parametrize(
    ("change", "line", "says"),
    [
        (("U0CARA", "U0NOBODY"), 18, "U0NOBODY cannot be named"),
        (("U0CARA", "U0GUS"), 18, "Guests cannot"),
        (("S0LEADS", "S0EMPTY"), 14, "no members of user group S0EMPTY"),
        (('approvers = ["U0CARA"]', 'approvers = ["U0ANA"]'), 18, "only the requester"),
    ],
)
async def test_people_and_groups_that_slack_does_not_know(change: tuple[str, str], line: int, says: str) -> None:
    """Ids are looked up, too: a typing error in one must not wait for the first request to show."""
    text = HEAD + RULE + WIDE.replace(*change)
    with pytest.raises(PolicyFlaw) as caught:
        await lint_people(policy(text), directory=Workspace(), team="T0", text=text)
    assert f"line {line}: " in str(caught.value)
    assert says in str(caught.value)


def test_how_keys_follow_each_other_by_provider() -> None:
    """What is set for a provider, else the defaults; what people bring has its own interval."""
    kind = '[[deposit]]\nid = "mapbox"\nname = "Mapbox"\ninstructions = "Make one."\nrotation_interval = "30d"\n'
    said = policy(HEAD + RULE + ROTATION + 'interval = "8d"\noverdue = "disable"\n' + kind)
    ours, brought, other = (
        said.rotation(Scope(provider, project, "use", 0))
        for provider, project in (("openai", "p"), ("deposit", "mapbox"), ("litellm", "p"))
    )
    week = timedelta(days=7)
    assert (ours.interval, ours.remind, ours.overdue) == (timedelta(days=8), (week,), Overdue.DISABLE)
    assert (brought.interval, other.interval) == (timedelta(days=30), timedelta(days=90))
    assert other.remind == (2 * week, week, timedelta(days=1))
    assert (other.grace, other.overdue, other.disable_after) == (timedelta(days=1), Overdue.TELL, week)


async def test_people_who_are_there_pass() -> None:
    """A policy whose people exist is sound."""
    await lint_people(policy(), directory=Workspace(), team="T0", text=HEAD + RULE + WIDE)


@pytest.mark.parametrize(("text", "hours"), [("1h", 1), ("12H", 12), (" 7d ", 168), ("4w", 672), ("365d", 8760)])
def test_durations(text: str, hours: int) -> None:
    """Hours, days and weeks, as people write them."""
    assert parse_duration(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "0d", "d", "7", "-1d", "366d", "1.5d", "7d7h", "٧d"])
def test_what_is_no_duration(text: str) -> None:
    """Anything else is refused, digits of other scripts too."""
    with pytest.raises(ValueError, match=r"write|must"):
        parse_duration(text)
