"""Each pretend vendor with its adapter, as the one contract suite needs them."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

import httpx
from pydantic import SecretStr
from starlette.routing import BaseRoute

from bot.desk.model import Scope, Secret
from bot.desk.ports import Provider
from bot.providers.anthropic import Anthropic
from bot.providers.litellm import LiteLLM
from bot.providers.openai import OpenAI
from bot.providers.openrouter import OpenRouter
from sandbox.anthropic import PretendAnthropic
from sandbox.faults import Faults
from sandbox.litellm import PretendLiteLLM
from sandbox.openai import PretendOpenAI
from sandbox.openrouter import PretendOpenRouter
from tests.providers.serving import Served, serve

Json = dict[str, Any]


@dataclass
class World(ABC):
    """A pretend vendor, served, and its time. Prices are those of gpt-5-mini: two dollars for a million tokens."""

    vendor: ClassVar[str]
    base: ClassVar[str]
    credential: ClassVar[str]
    mint_call: ClassVar[str]  # the call that makes a key, as faults name it
    kill_call: ClassVar[str]
    chat_model: ClassVar[str] = "gpt-5-mini"
    other_model: ClassVar[str] = "gpt-4.1-mini"
    embedding_model: ClassVar[str] = "text-embedding-3-small"
    chat_micros: ClassVar[int] = 2002  # what a chat completion of a thousand tokens costs, to a millionth or so
    counts_requests: ClassVar[bool] = True
    now: float = datetime(2027, 1, 15, 8, tzinfo=UTC).timestamp()
    faults: Faults = field(default_factory=Faults, repr=False)
    served: Served = field(init=False, repr=False)  # it holds all that passed, and so values of keys

    @property
    @abstractmethod
    def routes(self) -> Sequence[BaseRoute]: ...

    @abstractmethod
    def adapter(self, **options: Any) -> Provider: ...

    @property
    @abstractmethod
    def project(self) -> str: ...

    @abstractmethod
    def keys(self) -> list[Json]:
        """Every key there ever was; "status" says what it is now."""

    def bring(self, marker: str) -> Secret:
        """Where keys are not minted: a person makes one at the vendor, named so. Its value."""
        raise NotImplementedError

    def invited(self) -> list[str]:
        """Where people are invited: the addresses of the invitations that are open."""
        raise NotImplementedError

    def members(self) -> list[str]:
        """… the addresses of those who are in the project."""
        raise NotImplementedError

    def accept(self, email: str) -> None:
        """… what whoever was invited does with the mail."""
        raise NotImplementedError

    def clock(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)

    def scope(self, permission: str = "all", *, cents: int = 5000, **more: Any) -> Scope:
        return Scope(
            **{"provider": self.vendor, "project": self.project, "permission": permission, **more},
            monthly_budget_cents=cents,
        )

    def alive(self) -> list[Json]:
        return [key for key in self.keys() if key["status"] == "active"]

    def chat(self, secret: Secret, *, model: str | None = None, answered: int = 1000) -> int:
        """The status of a chat completion of so many tokens."""
        body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": answered}
        return self._use(secret, "/chat/completions", model or self.chat_model, body)

    def embed(self, secret: Secret) -> int:
        """The status of an embedding."""
        return self._use(secret, "/embeddings", self.embedding_model, {"input": "Hello"})

    def _use(self, secret: Secret, path: str, model: str, body: Json) -> int:
        headers = {"Authorization": f"Bearer {secret.expose()}"}
        return httpx.post(self.served.url + path, json={"model": model, **body}, headers=headers).status_code


@dataclass
class OpenAIWorld(World):
    """OpenAI."""

    vendor = "openai"
    base = "/openai/v1"
    credential = "sk-admin-" + "A" * 40
    mint_call = "POST */api_keys"
    kill_call = "DELETE */service_accounts/*"

    def __post_init__(self) -> None:
        self.pretend = PretendOpenAI(admin_key=self.credential, clock=lambda: self.now, changed=lambda: None)

    @property
    def routes(self) -> Sequence[BaseRoute]:
        return self.pretend.routes

    def adapter(self, **options: Any) -> Provider:
        told = {"admin_key": SecretStr(self.credential), "base_url": self.served.url, "clock": self.clock}
        return OpenAI(**{**told, **_renamed(options, "admin_key")})

    @property
    def project(self) -> str:
        return "proj_lab"

    def invited(self) -> list[str]:
        people, held = self.pretend.people, self.pretend.organization
        return [invite.email for invite in held.invites.values() if people.status(invite) == "pending"]

    def members(self) -> list[str]:
        held = self.pretend.organization
        return [held.people[id].email for id in held.projects[self.project].members]

    def accept(self, email: str) -> None:
        self.pretend.people.accept(email)

    def keys(self) -> list[Json]:
        keys: list[Json] = self.pretend.snapshot()["keys"]
        return keys


@dataclass
class OpenRouterWorld(World):
    """OpenRouter."""

    vendor = "openrouter"
    base = "/openrouter/api/v1"
    credential = "sk-or-v1-" + "a" * 64
    mint_call = "POST /keys"
    kill_call = "DELETE /keys/*"
    chat_model = "openai/gpt-5-mini"
    other_model = "openai/gpt-4.1-mini"
    embedding_model = "openai/text-embedding-3-small"

    def __post_init__(self) -> None:
        self.pretend = PretendOpenRouter(management_key=self.credential, clock=lambda: self.now, changed=lambda: None)

    @property
    def routes(self) -> Sequence[BaseRoute]:
        return self.pretend.routes

    def adapter(self, **options: Any) -> Provider:
        told = {
            "management_key": SecretStr(self.credential),
            "base_url": self.served.url,
            "clock": self.clock,
        }
        return OpenRouter(**{**told, **_renamed(options, "management_key")})

    @property
    def project(self) -> str:
        return next(str(it["id"]) for it in self.pretend.snapshot()["projects"] if it["slug"] == "lab")

    def keys(self) -> list[Json]:
        keys: list[Json] = self.pretend.snapshot()["keys"]
        return keys


@dataclass
class LiteLLMWorld(World):
    """A LiteLLM proxy."""

    vendor = "litellm"
    base = "/litellm"
    credential = "sk-master-" + "a" * 32
    mint_call = "POST /key/generate"
    kill_call = "POST /key/delete"

    def __post_init__(self) -> None:
        self.pretend = PretendLiteLLM(master_key=self.credential, clock=lambda: self.now, changed=lambda: None)

    @property
    def routes(self) -> Sequence[BaseRoute]:
        return self.pretend.routes

    def adapter(self, **options: Any) -> Provider:
        told = {"master_key": SecretStr(self.credential), "base_url": self.served.url, "clock": self.clock}
        return LiteLLM(**{**told, **_renamed(options, "master_key")})

    @property
    def project(self) -> str:
        return "team-lab"

    def keys(self) -> list[Json]:
        keys: list[Json] = self.pretend.snapshot()["keys"]
        return keys


@dataclass
class AnthropicWorld(World):
    """Anthropic, where keys are brought by people. A third model stands in for the embeddings that it has not."""

    vendor = "anthropic"
    base = "/anthropic"
    credential = "sk-ant-admin01-" + "A" * 40
    mint_call = "POST /console"
    kill_call = "POST */api_keys/*"
    chat_model = "claude-haiku-4-5"
    other_model = "claude-sonnet-5-5"
    embedding_model = "claude-opus-5-5"
    chat_micros = 5009
    counts_requests = False

    def __post_init__(self) -> None:
        self.pretend = PretendAnthropic(admin_key=self.credential, clock=lambda: self.now, changed=lambda: None)

    @property
    def routes(self) -> Sequence[BaseRoute]:
        return self.pretend.routes

    def adapter(self, **options: Any) -> Provider:
        told = {
            "admin_key": SecretStr(self.credential),
            "base_url": self.served.url,
            "console_url": f"{self.served.url}/console",
            "clock": self.clock,
        }
        return Anthropic(**{**told, **_renamed(options, "admin_key")})

    @property
    def project(self) -> str:
        return "wrkspc_lab"

    def keys(self) -> list[Json]:
        keys: list[Json] = self.pretend.snapshot()["keys"]
        return keys

    def invited(self) -> list[str]:
        admin, held = self.pretend.admin, self.pretend.organization
        return [invite.email for invite in held.invites.values() if admin.status(invite) == "pending"]

    def members(self) -> list[str]:
        held = self.pretend.organization
        return [held.people[id].email for id in held.workspaces[self.project].members]

    def accept(self, email: str) -> None:
        self.pretend.admin.accept(email)

    def bring(self, marker: str) -> Secret:
        return Secret(self.pretend.console.make_key(marker, workspace=self.project)["value"])

    def _use(self, secret: Secret, path: str, model: str, body: Json) -> int:
        asked = {
            "model": model,
            "max_tokens": body.get("max_tokens", 10),
            "messages": [{"role": "user", "content": "Hello"}],
        }
        headers = {"x-api-key": secret.expose(), "anthropic-version": "2023-06-01"}
        return httpx.post(f"{self.served.url}/v1/messages", json=asked, headers=headers).status_code


WORLDS: tuple[type[World], ...] = (OpenAIWorld, OpenRouterWorld, LiteLLMWorld, AnthropicWorld)


@contextmanager
def serving(world: World) -> Iterator[World]:
    """The world, served behind its faults."""
    with serve(world.routes, world.base, faults=world.faults) as world.served:
        yield world


@asynccontextmanager
async def adapting(world: World, **options: Any) -> AsyncIterator[Provider]:
    """Its adapter; `credential` stands in for the desk's own."""
    provider = world.adapter(**options)
    try:
        yield provider
    finally:
        await provider.aclose()


def _renamed(options: Json, name: str) -> Json:
    return {name if option == "credential" else option: value for option, value in options.items()}
