"""What a LiteLLM proxy answers, and how it takes the master key and shapes its errors."""

import json
from collections.abc import Iterator, Mapping

from pydantic import AwareDatetime, Field, RootModel, SecretStr

from bot.desk.errors import NotOffered, ProviderError, ProviderForbidden, ProviderInvalid
from bot.providers.calls import Read, Refusal, Vendor

# LiteLLM has no codes for these: what it says is all there is to know them by.
_SAID: Mapping[str, tuple[str, ...]] = {
    "no_database": ("db not connected", "database not connected", "not connected to db", "connect proxy to database"),
    "no_licence": ("litellm_license", "litellm enterprise", "premium user"),
    "values_not_chosen": ("custom api key values are disabled",),
}


def _words(content: bytes) -> Iterator[str | None]:
    try:
        error = json.loads(content)["error"]
        message = str(error["message"]).lower()
    except (ValueError, TypeError, KeyError, RecursionError):
        return
    yield from (word for word, signs in _SAID.items() if any(sign in message for sign in signs))
    yield from (word for word in (error.get("type"), error.get("param")) if isinstance(word, str))


VENDOR = Vendor(
    label="LiteLLM",
    credential="master key",
    setting="LITELLM_MASTER_KEY",
    headers=lambda key: {"Authorization": f"Bearer {key}"},
    words=_words,
)


class AliasTaken(ProviderInvalid):
    """There is a key with this alias."""


class ValuesNotChosen(ProviderInvalid):
    """This proxy makes the values of its keys itself."""


def refused(refusal: Refusal) -> ProviderError | None:
    """What LiteLLM refuses in a way of its own. What it lacks comes as a failure of the server, and is none."""
    said = refusal.said
    if "no_database" in refusal.words:
        return ProviderForbidden(f"LiteLLM runs without a database ({said}). Mend: set DATABASE_URL for the proxy.")
    if "no_licence" in refusal.words:
        return NotOffered(f"This LiteLLM has no licence for that ({said}).")
    if "values_not_chosen" in refusal.words:
        return ValuesNotChosen(f"This LiteLLM does not let values be chosen ({said}).")
    if refusal.status == 400 and "key_alias" in refusal.words:
        return AliasTaken(f"LiteLLM has a key with this alias ({said}).")
    return None


class Key(Read):
    """A key. `token` is the hash of its value, and names it."""

    token: str = Field(min_length=1)
    key_alias: str | None = None
    key_name: str | None = None
    team_id: str | None = None
    models: list[str] = Field(default_factory=list)
    max_budget: float | None = None
    budget_duration: str | None = None
    allowed_routes: list[str] | None = None
    expires: AwareDatetime | None = None
    blocked: bool | None = None
    created_at: AwareDatetime | None = None


class NewKey(Key):
    """A new key, with its value."""

    key: SecretStr = Field(min_length=16)


class Keys(Read):
    """A page of keys."""

    keys: list[Key]
    total_pages: int | None = None


class Deleted(Read):
    """What was deleted."""

    deleted_keys: list[str]


class Team(Read):
    """A team. Without models it may use all."""

    team_id: str
    team_alias: str | None = None
    models: list[str] = Field(default_factory=list)
    max_budget: float | None = None


class Teams(RootModel[list[Team]]):
    """All teams."""


class TeamInfo(Read):
    """One team, by id."""

    team_id: str


class Model(Read):
    """A model that the proxy routes."""

    id: str


class Models(Read):
    """All models."""

    data: list[Model]


class Readiness(Read):
    """What the proxy's probe tells everybody."""

    db: str = ""


class Metrics(Read):
    """What was used. `spend` is in US dollars."""

    spend: float = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    api_requests: int = 0


class OfKey(Read):
    """What one key used."""

    metrics: Metrics


class OfModel(Read):
    """What was used of a model, and by which keys."""

    api_key_breakdown: dict[str, OfKey] = Field(default_factory=dict)


class Breakdown(Read):
    """A day, by model."""

    models: dict[str, OfModel] = Field(default_factory=dict)


class Day(Read):
    """Those of a day's figures that are on this page."""

    date: str
    breakdown: Breakdown = Field(default_factory=Breakdown)


class Paging(Read):
    """Whether there is another page."""

    has_more: bool = False


class Activity(Read):
    """A page of what was used."""

    results: list[Day]
    metadata: Paging = Field(default_factory=Paging)
