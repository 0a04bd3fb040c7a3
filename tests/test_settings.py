"""Settings fail closed: each wrong one stops the start and names its mend."""

from typing import Any

import pytest

from bot.settings import SettingsFlaw, load

GOOD = {
    "slack_bot_token": "xoxb-1",
    "slack_app_token": "xapp-1",
    "slack_client_id": "1.2",
    "slack_client_secret": "shh",
    "public_url": "https://desk.example.com",
    "session_secret": "x" * 32,
}


def given(**changes: Any) -> Any:
    return load(_env_file=None, **{name: value for name, value in {**GOOD, **changes}.items() if value is not None})


def test_complete_settings_load_and_hide_their_secrets() -> None:
    """No secret shows in the settings' repr, which tracebacks print."""
    settings = given(openai_admin_key="sk-admin-1234", database_url="postgresql://desk:hunter2@db/desk")
    assert settings.slack_origin == "https://slack.com"
    shown = repr(settings)
    assert not [
        secret for secret in ("xoxb-1", "xapp-1", "shh", "x" * 32, "sk-admin-1234", "hunter2") if secret in shown
    ]


def test_several_addresses_stand_in_one_setting() -> None:
    """With commas between them, as an environment variable holds them."""
    settings = given(openai_alert_emails="ana@acme.example, ben@acme.example")
    assert settings.openai_alert_emails == ("ana@acme.example", "ben@acme.example")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"slack_bot_token": None}, "SLACK_BOT_TOKEN is missing. Mend"),
        ({"slack_bot_token": "xoxp-9"}, "SLACK_BOT_TOKEN does not start with xoxb-"),
        ({"slack_app_token": "xoxb-9"}, "SLACK_APP_TOKEN does not start with xapp-"),
        ({"slack_app_token": None}, "both missing"),
        ({"openai_admin_key": "sk-proj-9"}, "OPENAI_ADMIN_KEY does not start with sk-admin-"),
        ({"openai_alert_emails": "ana@acme.example,ben-9"}, "OPENAI_ALERT_EMAILS holds something that is no e-mail"),
        ({"openai_requests_per_minute": "0"}, "OPENAI_REQUESTS_PER_MINUTE"),
        ({"public_url": "http://desk.example.com"}, "PUBLIC_URL must be https"),
        ({"public_url": "https://desk.example.com/keys"}, "PUBLIC_URL must have no path"),
        ({"public_url": "desk.example.com"}, "PUBLIC_URL is not a URL"),
        ({"session_secret": "short"}, "SESSION_SECRET"),
        ({"database_url": "mysql://x"}, "DATABASE_URL names no database"),
        ({"port": "70000"}, "PORT"),
        ({"port": "http"}, "PORT"),
        ({"log_level": "loud"}, "LOG_LEVEL"),
        ({"log_format": "xml"}, "LOG_FORMAT"),
        ({"metrics_token": "short-9"}, "METRICS_TOKEN is too short. Mend: METRICS_TOKEN=$(openssl"),
        ({"slack_api_url": "slack.com"}, "SLACK_API_URL is not a URL"),
    ],
)
def test_a_wrong_setting_names_its_mend_and_not_its_value(changes: dict[str, Any], says: str) -> None:
    """The message names the setting and what to do; what was given may be a secret and is not repeated."""
    with pytest.raises(SettingsFlaw) as caught:
        given(**changes)
    message = str(caught.value)
    assert says in message
    assert "Mend" in message
    assert not [value for value in changes.values() if value and "-9" in value and value in message]
