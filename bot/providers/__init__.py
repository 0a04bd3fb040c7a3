"""The registry of providers. A new one is a file here and a line in `PROVIDERS`.

One of another package registers by an entry point of the group `keydesk.providers`: its name is the provider's, and it
leads to a factory like those below. The same name here wins: nothing that is installed takes a built-in one's place.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Protocol

from bot.desk.ports import Clock, Provider
from bot.providers import anthropic, litellm, openai, openrouter


class Settings(openai.Settings, openrouter.Settings, litellm.Settings, anthropic.Settings, Protocol):
    """What the providers need of the settings."""


Factory = Callable[[Settings, Clock], Provider | None]
"""Makes the adapter that the settings describe; None where they hold no credential for it."""

PROVIDERS: Mapping[str, Factory] = {
    openai.OpenAI.name: openai.from_settings,
    openrouter.OpenRouter.name: openrouter.from_settings,
    litellm.LiteLLM.name: litellm.from_settings,
    anthropic.Anthropic.name: anthropic.from_settings,
}


GROUP = "keydesk.providers"


def build(settings: Settings, clock: Clock) -> Mapping[str, Provider]:
    """The providers that the settings hold a credential for, by name."""
    brought = {point.name: point.load() for point in entry_points(group=GROUP)}
    factories: Mapping[str, Factory] = {**brought, **PROVIDERS}
    built = ((name, factory(settings, clock)) for name, factory in factories.items())
    return {name: provider for name, provider in built if provider is not None}
