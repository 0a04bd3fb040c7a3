"""What OpenRouter answers, and how it takes the management key and shapes its errors."""

from decimal import Decimal

from pydantic import AwareDatetime, Field, SecretStr

from bot.desk.errors import ProviderError, ProviderForbidden
from bot.providers.calls import Read, Refusal, Vendor

VENDOR = Vendor(
    label="OpenRouter",
    credential="management key",
    setting="OPENROUTER_MANAGEMENT_KEY",
    headers=lambda key: {"Authorization": f"Bearer {key}"},
    words=lambda content: (),  # its errors have no codes but the status
)


def refused(refusal: Refusal) -> ProviderError | None:
    """What OpenRouter refuses in a way of its own."""
    if refusal.status == 402:  # 403 would be the key's own cap; this is the whole organisation's purse
        return ProviderForbidden("OpenRouter has no credit left (402). Mend: add credit.")
    return None


class Key(Read):
    """A key, and what it is held to. `hash` names it."""

    hash: str = Field(min_length=1)
    name: str
    disabled: bool
    limit: float | None
    limit_reset: str | None
    expires_at: AwareDatetime | None = None
    created_at: AwareDatetime | None = None
    workspace_id: str


class KeyAnswer(Read):
    """One key."""

    data: Key


class Keys(Read):
    """A page of keys."""

    data: list[Key]


class Created(KeyAnswer):
    """A new key, with its value."""

    key: SecretStr = Field(min_length=20)


class Deleted(Read):
    """What became of a deletion."""

    deleted: bool


class Own(Read):
    """What is told of the key that asks."""

    is_management_key: bool = False


class OwnAnswer(Read):
    """The key that asks."""

    data: Own


class Credits(Read):
    """What was paid in, and what was spent, in US dollars."""

    total_credits: float
    total_usage: float


class CreditsAnswer(Read):
    """The organisation's purse."""

    data: Credits


class Workspace(Read):
    """A workspace."""

    id: str
    name: str


class WorkspaceAnswer(Read):
    """One workspace."""

    data: Workspace


class Workspaces(Read):
    """A page of workspaces."""

    data: list[Workspace]
    total_count: int


class Architecture(Read):
    """What goes into a model and what comes out."""

    output_modalities: list[str] = Field(default_factory=list)


class Model(Read):
    """A model. `canonical_slug` never changes."""

    id: str
    canonical_slug: str
    architecture: Architecture

    @property
    def embeds(self) -> bool:
        """Whether it makes embeddings."""
        return "embeddings" in self.architecture.output_modalities


class Models(Read):
    """A list of models."""

    data: list[Model]


class Guardrail(Read):
    """A guardrail; without a list it allows every model."""

    id: str
    name: str
    allowed_models: list[str] | None = None


class GuardrailAnswer(Read):
    """One guardrail."""

    data: Guardrail


class Guardrails(Read):
    """A page of guardrails."""

    data: list[Guardrail]
    total_count: int


class Assigned(Read):
    """How many keys were bound."""

    assigned_count: int


class Row(Read):
    """What one key used of one model on one day."""

    date__day: AwareDatetime
    api_key_id: str | None = None
    model: str | None = None
    request_count: int = 0
    tokens_prompt: int = 0
    tokens_completion: int = 0
    total_usage: Decimal = Decimal(0)


class Metadata(Read):
    """Whether there were more rows than told."""

    truncated: bool


class Rows(Read):
    """The rows of a query."""

    data: list[Row]
    metadata: Metadata


class RowsAnswer(Read):
    """What a query found."""

    data: Rows
