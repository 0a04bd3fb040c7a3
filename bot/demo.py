"""The demo: a pretend Slack and a pretend OpenAI as a process of their own, and settings that fit them."""

import asyncio
import base64
import json
import secrets
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from bot.settings import Settings
from bot.settings import load as load_settings

POLICY = """\
# The demo's policy. Change it and start the demo again.
version = 1
approval_channel = "C0KEYS"
manager_field = "Xf0MANAGER"
admins = ["U0ANA"]

[[rule]]
name = "everyday keys"
requesters = ["everyone"]
provider = "openai"
projects = ["*"]
permissions = ["read_only", "embeddings", "responses", "chat"]
approvers = ["U0ANA", "S0PLATFORM"]
max_duration = "30d"
max_monthly_budget = 200
default_duration = "7d"
default_monthly_budget = 25
new_projects = true
invitations = true

# Keys that no API makes: a person makes one and brings it, and Keydesk hands it on.
[[deposit]]
id = "weather"
name = "Weather service"
instructions = '''
There is no such service: invent a key, like  weather-0123456789abcdef .
At a real one, you would read here where keys are made, and with which rights.
'''
rotation_interval = "90d"

[[rule]]
name = "other services"
requesters = ["everyone"]
provider = "deposit"
projects = ["*"]
permissions = ["use"]
approvers = ["U0ANA", "S0PLATFORM"]
depositors = ["U0ANA", "U0CARA"]
max_duration = "90d"
max_monthly_budget = 200
default_duration = "30d"

[[rule]]
name = "keys for any model, through OpenRouter"
requesters = ["everyone"]
provider = "openrouter"
projects = ["*"]
permissions = ["*"]
approvers = ["U0ANA", "S0PLATFORM"]
max_duration = "30d"
max_monthly_budget = 200
default_duration = "7d"
default_monthly_budget = 5

[[rule]]
name = "keys of our own proxy"
requesters = ["everyone"]
provider = "litellm"
projects = ["*"]
permissions = ["*"]
approvers = ["U0ANA", "S0PLATFORM"]
max_duration = "30d"
max_monthly_budget = 200
default_duration = "7d"
default_monthly_budget = 5

[[rule]]
name = "keys that Anthropic's Console makes"
requesters = ["everyone"]
provider = "anthropic"
projects = ["*"]
permissions = ["*"]
approvers = ["U0ANA", "S0PLATFORM"]
max_duration = "30d"
max_monthly_budget = 200
default_duration = "7d"
default_monthly_budget = 25
over_budget = "disable"
invitations = true

[[rule]]
name = "wide keys, platform leads"
requesters = ["S0PLATFORM"]
provider = "openai"
projects = ["proj_lab"]
permissions = ["*"]
approvers = ["U0ANA"]
max_duration = "7d"
max_monthly_budget = 500
"""

WELCOME = """
  Keydesk is running, with a pretend Slack and pretend providers. Open:

      {url}

  Three things to try:
    1. As Ben, type  /apikey request  in #general. Choose "Chat completions", say why.
    2. Switch to Ana (top left). Approve Ben's request in her messages from Keydesk.
    3. Back as Ben, press "Pick up key", open the link, sign in as Ben, show the key.
       Try it in the panel on the right. Then /apikey revoke, and try it again.

  And where no API makes keys: as Ben, request one at Anthropic, and approve it as Ana. She gets a card
  that says what to make, and where. Bring the key by its page; then Ben picks it up like any other.

  Later, too: press "Rotate" on Keydesk's Home, and the old key works on beside the new one.  /apikey digest
  shows the week,  /apikey settings  moves it. Ana is an admin: her Home says how the desk stands.

  Everything stays on this machine; the data is in {data}/. Ctrl-C stops it.
"""


class NoDemo(Exception):
    """Why the demo does not start, with the mend."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """A running pretend workspace: what the desk needs to serve it, and what to tell whoever started it."""

    settings: Settings
    welcome: str


@asynccontextmanager
async def workspace(data: Path, *, port: int) -> AsyncIterator[Workspace]:
    """Starts the pretend workspace, its state kept in `data`. Raises `NoDemo`."""
    data.mkdir(parents=True, exist_ok=True)
    policy = data / "policy.toml"
    if not policy.exists():
        policy.write_text(POLICY, encoding="utf-8")
    desk_port = _free(port + 1)
    public_url = f"http://127.0.0.1:{desk_port}"
    # A session of its own keeps Ctrl-C from reaching it before the desk has said goodbye to it.
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sandbox",
        "--port",
        str(_free(port)),
        "--data",
        str(data),
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
        cwd=Path(__file__).parent.parent,
    )
    try:
        told = json.loads(await _first_line(process))
        async with httpx.AsyncClient(base_url=told["base_url"]) as client:
            answer = await client.post(
                "/control/app", json={"request_url": None, "redirect_urls": [f"{public_url}/auth/callback"]}
            )
            answer.raise_for_status()
        settings = load_settings(
            _env_file=None,
            slack_bot_token=told["bot_token"],
            slack_app_token=told["app_token"],
            slack_client_id=told["client_id"],
            slack_client_secret=told["client_secret"],
            slack_api_url=told["api_url"],
            public_url=public_url,
            session_secret=secrets.token_urlsafe(32),
            database_url=f"sqlite:///{data / 'keydesk.db'}",
            policy_file=policy,
            openai_admin_key=told["openai_admin_key"],
            openai_base_url=told["openai_url"],
            kek_file=_kek(data),
            openrouter_management_key=told["openrouter_management_key"],
            openrouter_base_url=told["openrouter_url"],
            litellm_master_key=told["litellm_master_key"],
            litellm_base_url=told["litellm_url"],
            anthropic_admin_key=told["anthropic_admin_key"],
            anthropic_base_url=told["anthropic_url"],
            anthropic_console_url=f"{told['anthropic_url']}/console",
            port=desk_port,
        )
        yield Workspace(settings, WELCOME.format(url=f"{told['base_url']}/?as=U0BEN", data=data))
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def _kek(data: Path) -> Path:
    """The demo's own, made at its first start."""
    file = data / "kek"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(base64.b64encode(secrets.token_bytes(32)).decode("ascii") + "\n", encoding="ascii")
    return file


async def _first_line(process: asyncio.subprocess.Process) -> bytes:
    if process.stdout is None:
        raise NoDemo("The sandbox has no output to read.")
    line = await process.stdout.readline()
    if not line:
        raise NoDemo("The pretend workspace did not start; its reason stands above.")
    return line


def _free(port: int) -> int:
    """The port, or the next free one: two demos may run beside each other."""
    for candidate in range(port, min(port + 100, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", candidate))
                return candidate
    raise NoDemo(f"No free port from {port} on. Mend: python app.py demo --port N.")
