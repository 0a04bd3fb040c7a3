"""The registry offers the providers that the settings hold a credential for."""

from datetime import UTC, datetime
from typing import Any

import pytest

from bot.providers import PROVIDERS, build, deposit
from bot.settings import Settings, SettingsFlaw, load
from tests.test_settings import GOOD

CREDENTIALS: dict[str, dict[str, str]] = {
    "openai": {"openai_admin_key": "sk-admin-1234"},
    "openrouter": {"openrouter_management_key": "sk-or-v1-1234"},
    "litellm": {"litellm_master_key": "sk-1234", "litellm_base_url": "https://litellm.example.com/"},
    "anthropic": {"anthropic_admin_key": "sk-ant-admin01-1234"},
}


def settings(**given: str) -> Settings:
    return load(_env_file=None, **GOOD, **given)


def clock() -> datetime:
    return datetime(2027, 1, 15, tzinfo=UTC)


async def test_a_provider_is_offered_where_its_credential_is_set_and_only_there() -> None:
    """Each alone, and all together, under the names that policy and storage use."""
    assert build(settings(), clock) == {}
    everything: dict[str, Any] = {}
    for name, given in CREDENTIALS.items():
        everything |= given
        built = build(settings(**given), clock)
        assert list(built) == [name]
        assert built[name].name == name
        await built[name].aclose()
    whole = build(settings(**everything), clock)
    assert list(whole) == [name for name in PROVIDERS if name in CREDENTIALS]
    for provider in whole.values():
        await provider.aclose()


async def test_each_key_is_read_from_the_variable_that_its_vendors_libraries_read() -> None:
    """The page that shows a key names it; LiteLLM's needs the proxy's address beside it. A kind that people bring has its own."""
    whole = build(settings(**{name: what for given in CREDENTIALS.values() for name, what in given.items()}), clock)
    assert {name: provider.environment("p").variable for name, provider in whole.items()} == {
        "openai": "OPENAI_API_KEY",
        "openrouter": "OPENROUTER_API_KEY",
        "litellm": "LITELLM_PROXY_API_KEY",
        "anthropic": "ANTHROPIC_API_KEY",
    }
    beside = {name: provider.environment("p").beside for name, provider in whole.items()}
    assert beside.pop("litellm") == (("LITELLM_PROXY_API_BASE", "https://litellm.example.com"),)
    assert set(beside.values()) == {()}
    kinds = deposit.Deposits([])
    named = {"mapbox": "MAPBOX_API_KEY", "maps-2_x": "MAPS_2_X_API_KEY", "3d": "KEY_3D_API_KEY"}
    assert {kind: kinds.environment(kind).variable for kind in named} == named
    for provider in whole.values():
        await provider.aclose()


@pytest.mark.parametrize(
    ("given", "flaw"),
    [
        ({"openrouter_management_key": "sk-admin-1"}, "OPENROUTER_MANAGEMENT_KEY does not start with sk-or-"),
        ({"anthropic_admin_key": "sk-ant-api03-1"}, "ANTHROPIC_ADMIN_KEY does not start with sk-ant-admin"),
        ({"litellm_master_key": "sk-1234"}, "LITELLM_MASTER_KEY and LITELLM_BASE_URL go together"),
        ({"litellm_base_url": "https://litellm.example.com"}, "LITELLM_MASTER_KEY and LITELLM_BASE_URL go together"),
        ({"litellm_master_key": "sk-1234", "litellm_base_url": "litellm"}, "LITELLM_BASE_URL is not a URL"),
    ],
)
def test_half_a_credential_stops_the_start(given: dict[str, str], flaw: str) -> None:
    """With a line that names the setting and its mend."""
    with pytest.raises(SettingsFlaw, match=flaw):
        settings(**given)
