"""The models of the pretend OpenRouter, and the endpoints that a key opens."""

from dataclasses import dataclass

from sandbox.inference import Answering, complete_chat, embed
from sandbox.metering import PRICES, Price
from sandbox.wire import Json


@dataclass(frozen=True)
class Model:
    """A model by its slug; `canonical` is the slug that never changes, `bare` its maker's own name for it."""

    slug: str
    canonical: str
    name: str
    bare: str

    @property
    def price(self) -> Price:
        """What it costs."""
        return PRICES[self.bare]

    @property
    def kind(self) -> str:
        """The sort of endpoint that it answers at."""
        return "embeddings" if "embedding" in self.bare else "completions"

    @property
    def maker(self) -> str:
        """Who serves it."""
        return self.name.partition(":")[0]

    def shown(self) -> Json:
        """As OpenRouter lists it."""
        output = "embeddings" if self.kind == "embeddings" else "text"
        return {
            "id": self.slug,
            "canonical_slug": self.canonical,
            "name": self.name,
            "created": 1_750_000_000,
            "description": "A pretend model.",
            "context_length": 128_000,
            "architecture": {
                "modality": f"text->{output}",
                "input_modalities": ["text"],
                "output_modalities": [output],
                "tokenizer": "Claude" if self.maker == "Anthropic" else "GPT",
                "instruct_type": None,
            },
            # OpenRouter's prices are those of one token, in words.
            "pricing": {
                "prompt": f"{self.price.asked / 1_000_000:f}",
                "completion": f"{self.price.answered / 1_000_000:f}",
            },
            "top_provider": {"context_length": 128_000, "max_completion_tokens": None, "is_moderated": False},
            "per_request_limits": None,
            "supported_parameters": ["max_tokens"],
            "default_parameters": None,
            "supported_voices": None,
            "links": {"details": f"/api/v1/models/{self.canonical}/endpoints"},
        }


MODELS = (
    Model("openai/gpt-5-mini", "openai/gpt-5-mini-2025-08-07", "OpenAI: GPT-5 Mini", "gpt-5-mini"),
    Model("openai/gpt-4.1-mini", "openai/gpt-4.1-mini-2025-04-14", "OpenAI: GPT-4.1 Mini", "gpt-4.1-mini"),
    Model(
        "anthropic/claude-sonnet-4.5",
        "anthropic/claude-4.5-sonnet-20250929",
        "Anthropic: Claude Sonnet 4.5",
        "claude-sonnet-4-5",
    ),
    Model(
        "anthropic/claude-haiku-4.5",
        "anthropic/claude-4.5-haiku-20251001",
        "Anthropic: Claude Haiku 4.5",
        "claude-haiku-4-5",
    ),
    Model(
        "openai/text-embedding-3-small",
        "openai/text-embedding-3-small",
        "OpenAI: Text Embedding 3 Small",
        "text-embedding-3-small",
    ),
)

ENDPOINTS: dict[str, Answering] = {"/chat/completions": complete_chat, "/embeddings": embed}


def model(slug: object) -> Model | None:
    """The model of this slug, canonical or not."""
    return next((it for it in MODELS if slug in (it.slug, it.canonical)), None)
