"""The registry of providers. A new one is a file here and a line in `PROVIDERS`."""

from collections.abc import Callable, Mapping
from typing import Protocol

from bot.desk.ports import Clock, Provider
from bot.providers import anthropic, litellm, openai, openrouter


class Settings(openai.Settings, openrouter.Settings, litellm.Settings, anthropic.Settings, Protocol):
    """What the providers need of the settings."""


PROVIDERS: Mapping[str, Callable[[Settings, Clock], Provider | None]] = {
    openai.OpenAI.name: openai.from_settings,
    openrouter.OpenRouter.name: openrouter.from_settings,
    litellm.LiteLLM.name: litellm.from_settings,
    anthropic.Anthropic.name: anthropic.from_settings,
}


def build(settings: Settings, clock: Clock) -> Mapping[str, Provider]:
    """The providers that the settings hold a credential for, by name."""
    built = ((name, factory(settings, clock)) for name, factory in PROVIDERS.items())
    return {name: provider for name, provider in built if provider is not None}
