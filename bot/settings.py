"""Settings: frozen, from the environment and `.env`, failing closed. Each error names the setting and the mend."""

import re
import shlex
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from bot.logs import Form


class SettingsFlaw(Exception):
    """Settings the desk cannot start with: one line for each, naming the setting and the mend."""


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("is not a URL. Mend: write it as https://host, with nothing behind the path")
    return text.rstrip("/")


def _public_url(text: str) -> str:
    url = _url(text)
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise ValueError("must be https: browsers open envelopes on secure pages only. Mend: put TLS before the desk")
    if parts.path:
        raise ValueError(
            "must have no path: the link page sits at its root. Mend: give the desk a host name of its own"
        )
    return url


def _database_url(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("sqlite:///", "postgresql://")):
        raise ValueError("names no database. Mend: sqlite:///keydesk.db or postgresql://user:password@host/name")
    # What follows the first would be taken for the host, and errors of the connection name the host.
    if url.get_secret_value().startswith("postgresql:") and url.get_secret_value().count("@") > 1:
        raise ValueError("has more than one @. Mend: write each @ of user and password as %40")
    return url


def _starting(prefix: str, where: str) -> BeforeValidator:
    def check(value: Any) -> Any:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(text, str) and text and not text.startswith(prefix):
            raise ValueError(f"does not start with {prefix}. Mend: copy it from {where}")
        return value

    return BeforeValidator(check)


def _addresses(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = tuple(address.strip() for address in value.split(","))
    if not all(re.fullmatch(r"[^@\s]+@[^@\s]+", address) for address in found):
        raise ValueError("holds something that is no e-mail address. Mend: ana@example.com,ben@example.com")
    return found


class Settings(BaseSettings):
    """Everything the desk is told from outside. docs/operating.md documents each; a test holds it to that."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    slack_bot_token: Annotated[
        SecretStr,
        _starting("xoxb-", "OAuth & Permissions in your Slack app's settings"),
        Field(description="Bot token (xoxb-…), from OAuth & Permissions."),
    ]
    slack_app_token: Annotated[
        SecretStr | None,
        _starting("xapp-", "Basic Information, App-Level Tokens, in your Slack app's settings"),
        Field(description="App-level token (xapp-…) with connections:write. Set: Socket Mode."),
    ] = None
    slack_signing_secret: Annotated[
        SecretStr | None,
        Field(description="Signing secret, from Basic Information. Set: HTTP, at /slack/events."),
    ] = None
    slack_client_id: Annotated[
        str, Field(min_length=1, description="Client ID, from Basic Information; for Sign in with Slack.")
    ]
    slack_client_secret: Annotated[
        SecretStr, Field(min_length=1, description="Client secret, from Basic Information; for Sign in with Slack.")
    ]
    slack_api_url: Annotated[
        str,
        AfterValidator(lambda text: _url(text) + "/"),
        Field(description="Base of Slack's Web API; another one for GovSlack or a proxy."),
    ] = "https://slack.com/api/"
    public_url: Annotated[
        str,
        AfterValidator(_public_url),
        Field(description="Where browsers reach the link page: https://keydesk.example.com"),
    ]
    session_secret: Annotated[
        SecretStr,
        Field(
            min_length=32,
            description="Signs session cookies; at least 32 characters: `openssl rand -base64 32`.",
        ),
    ]
    database_url: Annotated[
        SecretStr,
        AfterValidator(_database_url),
        Field(description="sqlite:///FILE, or postgresql://… when several replicas share it; may hold a password."),
    ] = SecretStr("sqlite:///keydesk.db")
    policy_file: Annotated[Path, Field(description="The policy; start from policy.example.toml.")] = Path("policy.toml")
    openai_admin_key: Annotated[
        SecretStr | None,
        _starting("sk-admin-", "Organization settings, Admin keys, at OpenAI"),
        Field(description="Admin API key (sk-admin-…). Set: OpenAI is offered."),
    ] = None
    openai_base_url: Annotated[
        str, AfterValidator(_url), Field(description="Base of OpenAI's API; another one for a proxy.")
    ] = "https://api.openai.com/v1"
    openai_alert_emails: Annotated[
        tuple[str, ...] | None,
        NoDecode,
        BeforeValidator(_addresses),
        Field(description="Whom OpenAI mails when a project that the desk made has spent 80 and 100 per cent; a,b."),
    ] = None
    openai_requests_per_minute: Annotated[
        int | None, Field(ge=1, description="Rate limit, for each model, of a project that the desk makes at OpenAI.")
    ] = None
    openrouter_management_key: Annotated[
        SecretStr | None,
        _starting("sk-or-", "Settings, Management keys, at OpenRouter"),
        Field(description="Management key (sk-or-…). Set: OpenRouter is offered."),
    ] = None
    openrouter_base_url: Annotated[
        str, AfterValidator(_url), Field(description="Base of OpenRouter's API; another one for a proxy.")
    ] = "https://openrouter.ai/api/v1"
    litellm_master_key: Annotated[
        SecretStr | None,
        _starting("sk-", "general_settings.master_key in the proxy's configuration"),
        Field(description="Master key (sk-…) of your LiteLLM proxy. Set, with its URL: LiteLLM is offered."),
    ] = None
    litellm_base_url: Annotated[
        str | None,
        AfterValidator(lambda text: None if text is None else _url(text)),
        Field(description="Where your LiteLLM proxy is: https://litellm.example.com"),
    ] = None
    anthropic_admin_key: Annotated[
        SecretStr | None,
        _starting("sk-ant-admin", "Settings, Admin keys, in Anthropic's Console"),
        Field(description="Admin API key (sk-ant-admin…). Set: Anthropic is offered; its keys are deposited."),
    ] = None
    anthropic_base_url: Annotated[
        str, AfterValidator(_url), Field(description="Base of Anthropic's API; another one for a proxy.")
    ] = "https://api.anthropic.com"
    anthropic_console_url: Annotated[
        str, AfterValidator(_url), Field(description="Where people make Anthropic's keys: told to whoever brings one.")
    ] = "https://platform.claude.com/settings/keys"
    kek_file: Annotated[
        Path | None,
        Field(
            description="A file with the KEKs that deposits rest under: base64 of 32 bytes, one a line, the first wraps."
        ),
    ] = None
    kek_command: Annotated[
        str | None,
        Field(min_length=1, description="A command that prints them, run without a shell; in place of KEK_FILE."),
    ] = None
    kek: Annotated[SecretStr | None, Field(min_length=1, description="The KEKs themselves; in place of KEK_FILE.")] = (
        None
    )
    host: Annotated[str, Field(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on.")] = 8080
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="How much is logged; never a secret.")
    ] = "info"
    log_format: Annotated[
        Form,
        Field(description="How it is logged: lines to read, or a line of JSON for each record."),
    ] = "text"

    metrics_token: Annotated[
        SecretStr | None,
        Field(
            min_length=32,
            description="Whoever shows it may read /metrics; at least 32 characters. Not set: there is no such page.",
        ),
    ] = None

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.slack_app_token is None and self.slack_signing_secret is None:
            raise ValueError(
                "SLACK_APP_TOKEN and SLACK_SIGNING_SECRET are both missing, so Slack could not reach the desk. "
                "Mend: set SLACK_APP_TOKEN for Socket Mode, or SLACK_SIGNING_SECRET for HTTP"
            )
        return self

    @model_validator(mode="after")
    def _proxy_has_both(self) -> Self:
        if (self.litellm_master_key is None) != (self.litellm_base_url is None):
            raise ValueError(
                "LITELLM_MASTER_KEY and LITELLM_BASE_URL go together, and one is missing. Mend: set both, or neither"
            )
        return self

    @model_validator(mode="after")
    def _one_source_of_keks(self) -> Self:
        given = [name.upper() for name in ("kek_file", "kek_command", "kek") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(
                f"{' and '.join(given)} are both set. Mend: keep the one that the desk is to read KEKs from"
            )
        try:
            shlex.split(self.kek_command or "")
        except ValueError:
            raise ValueError("KEK_COMMAND has a quotation mark that nothing closes. Mend: close it") from None
        return self

    @property
    def slack_origin(self) -> str:
        """Where Sign in with Slack lives: the origin of the Web API."""
        parts = urlsplit(self.slack_api_url)
        return f"{parts.scheme}://{parts.netloc}"


def load(**given: Any) -> Settings:
    """The settings. `given` stands in for the environment, in the demo and in tests. Raises `SettingsFlaw`."""
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsFlaw("\n".join(_line(flaw) for flaw in error.errors(include_input=False))) from None


def _line(flaw: Any) -> str:
    name = str(flaw["loc"][0]).upper() if flaw["loc"] else ""
    said = str(flaw["msg"]).removeprefix("Value error, ")
    match flaw["type"]:
        case "missing" if name == "SESSION_SECRET":
            return f"{name} is missing. Mend: SESSION_SECRET=$(openssl rand -base64 32), in .env."
        case "missing":
            return f"{name} is missing. Mend: set it in .env; docs/operating.md says where to find it."
        case "value_error":
            return f"{name} {said}.".lstrip()
        case "string_too_short" | "too_short" if name in ("SESSION_SECRET", "METRICS_TOKEN"):
            return f"{name} is too short. Mend: {name}=$(openssl rand -base64 32)."
        case _:
            return f"{name}: {said}. Mend: correct it in .env; docs/operating.md says what it may be."
