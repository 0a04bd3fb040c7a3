"""What the workspace and its app know each other by, all made up."""

import secrets
from dataclasses import dataclass, field


def _made(prefix: str, size: int = 18) -> str:
    return prefix + secrets.token_hex(size)


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Tokens and secrets, random where not given."""

    bot_token: str = field(default_factory=lambda: _made("xoxb-0-0-"))
    app_token: str = field(default_factory=lambda: _made("xapp-1-A0KEYDESK-0-"))
    signing_secret: str = field(default_factory=lambda: _made("", 16))
    client_id: str = field(default_factory=lambda: f"1000.{secrets.randbelow(10**12):012}")
    client_secret: str = field(default_factory=lambda: _made("", 16))
    openai_admin_key: str = field(default_factory=lambda: _made("sk-admin-"))
    litellm_master_key: str = field(default_factory=lambda: _made("sk-"))
    openrouter_management_key: str = field(default_factory=lambda: _made("sk-or-v1-", 32))
    anthropic_admin_key: str = field(default_factory=lambda: _made("sk-ant-admin01-"))
    verification_token: str = field(default_factory=lambda: _made("", 12))
