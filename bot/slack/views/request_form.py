"""The form that asks for a key, or to be invited. It follows the provider that is chosen in it.

Slack keeps what was typed into a field whose block and action keep their ids when a form is drawn anew. Fields whose
choices are one provider's carry its name in their action's id: another provider's begin empty, all others stay.
"""

from bot.desk.menu import MODELS_AT_MOST, PROJECT_NAME, Choice, Menu
from bot.desk.model import NEW_PROJECT, Wish
from bot.desk.offer import Ability, Permission, Project
from bot.desk.policy import DEPOSIT, parse_duration
from bot.desk.providers import mints
from bot.slack.text import escaped, span
from bot.slack.views.kit import (
    OPTION_TEXT,
    OPTIONS,
    PLACEHOLDER_TEXT,
    Block,
    View,
    entry,
    modal,
    option,
    plain_text,
    section,
    small,
)

REQUEST_FORM = "request_form"
"""Its callback id."""

PROVIDER, WISH, PROJECT, PERMISSION, MODELS, DURATION, BUDGET, REASON = (
    "provider",
    "wish",
    "project",
    "permission",
    "models",
    "duration",
    "budget",
    "reason",
)
"""The names of the fields: block ids, and what action ids start with."""


def request_form(menu: Menu, *, provider: str = "", wish: Wish = Wish.KEY, warning: str = "") -> View:
    """The form for this provider and wish, filled in with what policy proposes; the first provider unless told."""
    choice = menu.of(provider)
    wish = wish if choice.invites else Wish.KEY
    providers = [option(one.provider.label, one.provider.name) for one in menu.choices[:OPTIONS]]
    chosen = next(one for one in providers if one["value"] == choice.provider.name)
    blocks = [
        entry(
            PROVIDER,
            "Provider",
            {"type": "static_select", "options": providers, "initial_option": chosen},
            acts=len(providers) > 1,
        )
    ]
    if not mints(choice.provider):
        blocks.append(small("A person makes this key and brings it, sealed; you pick it up like any other."))
    if flaw := warning or choice.probe.flaw:
        blocks.append(section(f":warning: {escaped(flaw, 600)}"))
    if choice.invites:
        blocks.append(_wish(choice, wish))
    blocks.append(_project(choice, wish))
    if wish is Wish.KEY:
        blocks += _terms(choice)
    blocks.append(
        entry(
            REASON,
            "Why",
            {
                "type": "plain_text_input",
                "multiline": True,
                "placeholder": plain_text("What it is for: your approver reads this", PLACEHOLDER_TEXT),
            },
        )
    )
    return modal(
        "Request an API key",
        blocks,
        close="Cancel",
        submit=plain_text("Ask for it", 24),
        callback_id=REQUEST_FORM,
    )


def project_options(choice: Choice, projects: list[Project], query: str) -> list[Block]:
    """The projects that fit what was typed; where policy allows it, a new one of that name."""
    wanted = query.casefold()
    found = [one for one in projects if wanted in one.name.casefold() or wanted in one.id.casefold()]
    options = [_project_option(one) for one in found[:OPTIONS]]
    name = query.strip()
    taken = any(one.name.casefold() == name.casefold() for one in projects)
    if choice.makes_projects and not taken and PROJECT_NAME.fullmatch(name) and len(NEW_PROJECT + name) <= OPTION_TEXT:
        options = [*options[: OPTIONS - 1], option(f"New project: {name}", f"{NEW_PROJECT}{name}")]
    return options


def _project_option(project: Project) -> Block:
    return option(project.name or project.id, project.id)


def permission_options(choice: Choice, query: str) -> list[Block]:
    """The presets that fit what was typed."""
    return [option(one.label, one.id) for one in choice.permissions if _fits(one, query)][:OPTIONS]


def model_options(models: list[str], query: str) -> list[Block]:
    """The models that fit what was typed."""
    return [option(one, one) for one in models if query.casefold() in one.casefold()][:OPTIONS]


def _fits(permission: Permission, query: str) -> bool:
    return query.casefold() in f"{permission.label} {permission.id}".casefold()


def _wish(choice: Choice, wish: Wish) -> Block:
    wishes = [
        option("A key of my own", Wish.KEY.value),
        option(f"Invite me to {choice.provider.label} instead", Wish.INVITATION.value),
    ]
    return entry(
        WISH,
        "What you need",
        {
            "type": "radio_buttons",
            "action_id": _of(WISH, choice),
            "options": wishes,
            "initial_option": wishes[0 if wish is Wish.KEY else 1],
        },
        hint="For work by hand in the provider's own pages an invitation serves better than a key.",
        acts=True,
    )


def _project(choice: Choice, wish: Wish) -> Block:
    new = choice.makes_projects and wish is Wish.KEY
    brought = choice.provider.name == DEPOSIT
    element: Block = {
        "type": "external_select",
        "action_id": _of(PROJECT, choice),
        "min_query_length": 0,
        "placeholder": plain_text(
            "What the key is for" if brought else f"One of the projects at {choice.provider.label}", PLACEHOLDER_TEXT
        ),
    }
    if choice.only_project:
        element["initial_option"] = _project_option(choice.only_project)
    hint = "Not there yet? Type a name, and a project of that name is made with your key." if new else ""
    if brought:
        hint = "What policy names and no other provider here has. Is something missing? Your operator adds it to the policy."
    return entry(PROJECT, "Service" if brought else "Project", element, hint=hint)


def _terms(choice: Choice) -> list[Block]:
    longest = max(parse_duration(rule.max_duration) for rule in choice.rules)
    largest = max(rule.max_monthly_budget for rule in choice.rules)
    proposed = choice.rules[0]
    permission: Block = {
        "type": "external_select",
        "action_id": _of(PERMISSION, choice),
        "min_query_length": 0,
        "placeholder": plain_text("As little as does the job", PLACEHOLDER_TEXT),
    }
    if len(choice.permissions) == 1:
        [only] = choice.permissions
        permission["initial_option"] = option(only.label, only.id)
    blocks = [entry(PERMISSION, "What the key may do", permission)]
    if choice.has_models:
        blocks.append(
            entry(
                MODELS,
                "Models",
                {
                    "type": "multi_external_select",
                    "action_id": _of(MODELS, choice),
                    "min_query_length": 0,
                    "max_selected_items": MODELS_AT_MOST,
                    "placeholder": plain_text("All that the permission allows", PLACEHOLDER_TEXT),
                },
                optional=True,
            )
        )
    blocks.append(
        entry(
            DURATION,
            "How long",
            {"type": "plain_text_input", "initial_value": proposed.default_duration, "max_length": 20},
            hint=f"Like 12h, 7d or 4w, counted from pick-up. At most {span(longest)}.",
        )
    )
    if choice.provider.abilities & {Ability.MINT, Ability.USAGE}:  # else nobody meters, and a budget means nothing
        blocks.append(
            entry(
                BUDGET,
                "Monthly budget in US dollars",
                {"type": "plain_text_input", "initial_value": str(proposed.default_monthly_budget), "max_length": 20},
                hint=f"Like 25 or 12.50. At most ${largest:,}.",
            )
        )
    return blocks


def _of(field: str, choice: Choice) -> str:
    """The action's id of a field whose choices are this provider's."""
    return f"{field}@{choice.provider.name}"
