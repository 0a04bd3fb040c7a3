"""The endpoints that a key of the pretend OpenAI opens: what they ask of a key, and what they answer."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request

from sandbox.inference import Answering, Unheard, complete_chat, embed, respond
from sandbox.openai_wire import Fault, json_body
from sandbox.wire import Json

MODELS = ("gpt-5-mini", "gpt-4.1-mini", "text-embedding-3-small")


@dataclass(frozen=True)
class Endpoint:
    """One endpoint. Any one of `scopes` opens it; the first is the one that an error names."""

    method: str
    path: str
    scopes: tuple[str, ...]
    answer: Callable[[Request, int], Awaitable[Json]]


async def list_models(request: Request, now: int) -> Json:
    """Every model there is."""
    data = [{"id": name, "object": "model", "created": 1_750_000_000, "owned_by": "system"} for name in MODELS]
    return {"object": "list", "data": data}


def _modelled(answering: Answering) -> Callable[[Request, int], Awaitable[Json]]:
    async def answer(request: Request, now: int) -> Json:
        body = await _model_call(request)
        try:
            return answering(body, now).body
        except Unheard as unheard:
            raise Fault(400, unheard.message, code=unheard.code, param=unheard.param) from None

    return answer


ENDPOINTS = (
    Endpoint("GET", "/models", ("api.model.read", "model.read", "api.all.read"), list_models),
    Endpoint(
        "POST",
        "/chat/completions",
        ("model.request", "api.model.request", "api.model.chat_completions.request"),
        _modelled(complete_chat),
    ),
    Endpoint("POST", "/responses", ("api.responses.write",), _modelled(respond)),
    Endpoint(
        "POST", "/embeddings", ("model.request", "api.model.request", "api.model.embeddings.request"), _modelled(embed)
    ),
)


async def _model_call(request: Request) -> Json:
    body = await json_body(request)
    if body.get("model") not in MODELS:
        raise Fault(404, "The model does not exist or you do not have access to it.", code="model_not_found")
    return body
