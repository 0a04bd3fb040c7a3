"""What the tests of the pretend Slack share: Bolt apps that are served in both of Slack's modes, and Slack's samples."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.adapter.starlette.async_handler import AsyncSlackRequestHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.client import Sandbox
from sandbox.server import Running

SAMPLES = Path(__file__).parents[3] / "shared" / "data" / "slack" / "samples"


def bolt(servers: Running) -> AsyncApp:
    """A Bolt app of this workspace, with no listeners yet."""
    client = AsyncWebClient(token=servers.bot_token, base_url=servers.api_url)
    return AsyncApp(client=client, signing_secret=servers.signing_secret, process_before_response=True)


@asynccontextmanager
async def connected(app: AsyncApp, servers: Running) -> AsyncIterator[None]:
    """Serves the app through Socket Mode."""
    handler = AsyncSocketModeHandler(app, servers.app_token)
    await handler.connect_async()  # type: ignore[no-untyped-call]  # Bolt's has no types
    try:
        yield
    finally:
        await handler.close_async()  # type: ignore[no-untyped-call]  # as above


@asynccontextmanager
async def listening(app: AsyncApp, sandbox: Sandbox) -> AsyncIterator[str]:
    """Serves the app by HTTP; the URL at which it listens."""
    handler = AsyncSlackRequestHandler(app)

    async def endpoint(request: Request) -> Response:
        return await handler.handle(request)

    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/slack/events"
    routes = [Route("/slack/events", endpoint, methods=["POST"])]
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_config=None, lifespan="off", ws="none"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await sandbox.set_app(request_urls=[url])
    try:
        yield url
    finally:
        await sandbox.set_app()
        server.should_exit = True
        await serving


def sample(path: str) -> Any:
    """One of Slack's samples, or a skipped test where they do not lie beside the project."""
    file = SAMPLES / path
    if not file.exists():
        pytest.skip(f"Slack's samples are not there: ../shared/data/slack/samples/{path}")
    return json.loads(file.read_text())


def unknown_fields(ours: Any, theirs: Any, at: str = "", leave: Iterable[str] = ("blocks", "values")) -> list[str]:
    """Fields that we send and Slack's sample does not have. An empty value in a sample says nothing of its inside."""
    if isinstance(ours, dict) and isinstance(theirs, dict) and theirs:
        extra = [f"{at}/{name}" for name in ours if name not in theirs and name not in leave]
        inside = [name for name in ours if name in theirs and name not in leave]
        return extra + [it for name in inside for it in unknown_fields(ours[name], theirs[name], f"{at}/{name}", leave)]
    if isinstance(ours, list) and isinstance(theirs, list) and theirs:
        return [it for item in ours for it in unknown_fields(item, theirs[0], f"{at}/0", leave)]
    return []


def text(words: str, kind: str = "plain_text") -> dict[str, Any]:
    """A text object."""
    return {"type": kind, "text": words}


def section(words: str, **more: Any) -> dict[str, Any]:
    """A section block."""
    return {"type": "section", "text": text(words, "mrkdwn"), **more}


def button(action_id: str, value: str | None = None, **more: Any) -> dict[str, Any]:
    """A button."""
    return {
        "type": "button",
        "action_id": action_id,
        "text": text(action_id),
        **({"value": value} if value else {}),
        **more,
    }


def actions(*elements: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An actions block."""
    return {"type": "actions", "elements": list(elements), **more}


def field(name: str, kind: str = "plain_text_input", *, optional: bool = False, **element: Any) -> dict[str, Any]:
    """An input block; its block and action ids are its name."""
    held = {"type": kind, "action_id": name, **element}
    return {"type": "input", "block_id": name, "label": text(name), "element": held, "optional": optional}


def option(value: str) -> dict[str, Any]:
    """An option."""
    return {"text": text(value), "value": value}


def modal(name: str, /, *blocks: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A modal with a submit button; its callback id is its title, where nothing else is said."""
    return {
        "type": "modal",
        "callback_id": name,
        "title": text(name),
        "submit": text("Send"),
        "blocks": list(blocks),
        **more,
    }
