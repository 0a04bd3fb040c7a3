"""What pretend models answer, in the shapes of OpenAI's API, which other vendors speak as well.

A pretend model says that it heard, and nothing more. It counts as many tokens answered as it was allowed at most, so
that a test can spend a dollar with one request; where no most was said, those of its sentence.
"""

import base64
import hashlib
import math
import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

EMBEDDING_DIMENSIONS = 1536


class Unheard(Exception):
    """A request that no model could make sense of; `code` and `param` are OpenAI's."""

    def __init__(self, message: str, *, code: str, param: str) -> None:
        super().__init__(message)
        self.message, self.code, self.param = message, code, param


@dataclass(frozen=True)
class Answer:
    """An answer, and the tokens that it counts."""

    body: Json
    asked: int
    answered: int = 0


Answering = Callable[[Json, int], Answer]
"""Answers a request's body at a time (seconds since 1970). Raises `Unheard`. The caller has looked at the model."""


def complete_chat(body: Json, now: int) -> Answer:
    """A chat completion that heard the messages and says so."""
    messages = body.get("messages")
    if not messages or not isinstance(messages, list):
        raise _missing("messages")
    said = reply(body)
    asked, answered = tokens(messages), _answered(body, said, "max_completion_tokens", "max_tokens")
    shown = {
        "id": _id("chatcmpl"),
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
    return Answer(shown, asked, answered)


def respond(body: Json, now: int) -> Answer:
    """A response that heard the input and says so."""
    if not body.get("input"):
        raise _missing("input")
    said = reply(body)
    asked, answered = tokens(body["input"]), _answered(body, said, "max_output_tokens")
    shown = {
        "id": _id("resp"),
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
                "id": _id("msg"),
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
    return Answer(shown, asked, answered)


def embed(body: Json, now: int) -> Answer:
    """A vector for each text, always the same for the same text."""
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise _missing("input")
    packed = body.get("encoding_format") == "base64"
    asked = sum(map(tokens, texts))
    shown = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _vector(text, packed)}
            for index, text in enumerate(texts)
        ],
        "model": body["model"],
        "usage": {"prompt_tokens": asked, "total_tokens": asked},
    }
    return Answer(shown, asked)


def reply(body: Json) -> str:
    """What the model says. A request for a stream is `Unheard`."""
    if body.get("stream"):
        raise Unheard("This pretend vendor does not stream.", code="unsupported_value", param="stream")
    return f"A pretend {body['model']} heard you."


def tokens(text: Any) -> int:
    """About as many as a real model would count."""
    return max(1, len(str(text)) // 4)


def _answered(body: Json, said: str, *limits: str) -> int:
    for limit in limits:
        most = body.get(limit)
        if most is not None:
            if type(most) is not int or most < 1:
                raise Unheard(f"'{limit}' must be a positive integer.", code="integer_below_min_value", param=limit)
            return most
    return tokens(said)


def _vector(text: Any, packed: bool) -> str | list[float]:
    seed = hashlib.shake_256(str(text).encode()).digest(EMBEDDING_DIMENSIONS)
    length = math.hypot(*(byte - 127.5 for byte in seed))
    vector = [(byte - 127.5) / length for byte in seed]
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if packed else vector


def _missing(name: str) -> Unheard:
    return Unheard(f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name)


def _id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(12)}"
