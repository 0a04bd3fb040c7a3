"""The endpoints that a key of the pretend OpenAI opens: what they ask of a key, and what they answer."""

import base64
import hashlib
import math
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from sandbox.openai_wire import Fault, Json, json_body, missing_parameter, new_id, typed

MODELS = ("gpt-5-mini", "gpt-4.1-mini", "text-embedding-3-small")
EMBEDDING_DIMENSIONS = 1536


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


async def complete_chat(request: Request, now: int) -> Json:
    """A chat completion that heard the messages and says so."""
    body = await _model_call(request)
    messages = typed(body, "messages", list)
    if not messages:
        raise missing_parameter("messages")
    said = _reply(body)
    asked, answered = _tokens(messages), _tokens(said)
    return {
        "id": new_id("chatcmpl"),
        "object": "chat.completion",
        "created": now,
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": said, "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered},
    }


async def respond(request: Request, now: int) -> Json:
    """A response that heard the input and says so."""
    body = await _model_call(request)
    if not body.get("input"):
        raise missing_parameter("input")
    said = _reply(body)
    asked, answered = _tokens(body["input"]), _tokens(said)
    return {
        "id": new_id("resp"),
        "object": "response",
        "created_at": now,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "metadata": body.get("metadata") or {},
        "model": body["model"],
        "output": [
            {
                "id": new_id("msg"),
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": said, "annotations": [], "logprobs": []}],
            }
        ],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": {
            "input_tokens": asked,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": answered,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": asked + answered,
        },
    }


async def embed(request: Request, now: int) -> Json:
    """A vector for each text, always the same for the same text."""
    body = await _model_call(request)
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise missing_parameter("input")
    packed = body.get("encoding_format") == "base64"
    used = _tokens(texts)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _vector(text, packed)}
            for index, text in enumerate(texts)
        ],
        "model": body["model"],
        "usage": {"prompt_tokens": used, "total_tokens": used},
    }


ENDPOINTS = (
    Endpoint("GET", "/models", ("api.model.read", "model.read", "api.all.read"), list_models),
    Endpoint(
        "POST",
        "/chat/completions",
        ("model.request", "api.model.request", "api.model.chat_completions.request"),
        complete_chat,
    ),
    Endpoint("POST", "/responses", ("api.responses.write",), respond),
    Endpoint("POST", "/embeddings", ("model.request", "api.model.request", "api.model.embeddings.request"), embed),
)


async def _model_call(request: Request) -> Json:
    body = await json_body(request)
    if body.get("model") not in MODELS:
        raise Fault(404, "The model does not exist or you do not have access to it.", code="model_not_found")
    if body.get("stream"):
        raise Fault(400, "This pretend OpenAI does not stream.", code="unsupported_value", param="stream")
    return body


def _reply(body: Json) -> str:
    return f"A pretend {body['model']} heard you."


def _vector(text: Any, packed: bool) -> str | list[float]:
    seed = hashlib.shake_256(str(text).encode()).digest(EMBEDDING_DIMENSIONS)
    length = math.hypot(*(byte - 127.5 for byte in seed))
    vector = [(byte - 127.5) / length for byte in seed]
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if packed else vector


def _tokens(text: Any) -> int:
    return max(1, len(str(text)) // 4)
