"""The pretend Anthropic's Messages API: the endpoints that its keys open."""

from dataclasses import replace

from starlette.requests import Request

from sandbox.anthropic.organization import ACTIVE, ARCHIVED, EXPIRED, MODELS, Key, Organization
from sandbox.anthropic.wire import Fault, json_body, new_id, page, text, token
from sandbox.inference import Unheard, reply, tokens
from sandbox.wire import Json

_REFUSALS = {
    "inactive": "This API key is disabled",
    ARCHIVED: "This API key was deleted",
    EXPIRED: "This API key has expired",
}


class Messages:
    """`/v1/messages` and `/v1/models`, opened by the organization's keys."""

    def __init__(self, organization: Organization) -> None:
        self._organization = organization

    async def create(self, request: Request) -> Json:
        """A message that heard the others and says so; it counts all the tokens that it was allowed."""
        key = self._opening(token(request))
        body = await json_body(request)
        model = text(body, "model")
        if model not in MODELS:
            raise Fault(404, f"model: {model}")
        messages, most = body.get("messages"), body.get("max_tokens")
        if not isinstance(messages, list) or not messages:
            raise Fault(400, "messages: at least one message is required")
        if type(most) is not int or most < 1:
            raise Fault(400, "max_tokens: must be greater than or equal to 1")
        try:
            said = reply(body)
        except Unheard as unheard:
            raise Fault(400, unheard.message) from None
        workspace = self._organization.workspaces[key.workspace]
        if workspace.spend_limit is not None and self._organization.spent(workspace.id) >= workspace.spend_limit:
            raise Fault(400, "You have reached your specified workspace API usage limits.")
        asked = tokens(messages)
        self._used(key)
        self._organization.meter_use(workspace=workspace.id, key=key.id, model=model, asked=asked, answered=most)
        return {
            "id": new_id("msg"),
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [{"type": "text", "text": said, "citations": None}],
            "stop_reason": "max_tokens",
            "stop_sequence": None,
            "usage": {
                "input_tokens": asked,
                "output_tokens": most,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "service_tier": "standard",
            },
        }

    async def models(self, request: Request) -> Json:
        """Every model there is."""
        self._used(self._opening(token(request)))
        shown = {
            name: {
                "type": "model",
                "id": name,
                "display_name": name,
                "created_at": "2025-10-01T00:00:00Z",
                "lifecycle": "active",
            }
            for name in MODELS
        }
        return page(request, shown, dict)

    def _opening(self, value: str) -> Key:
        key = self._organization.key_with(value)
        if key is None:
            raise Fault(401, "invalid x-api-key")
        status = self._organization.status(key)
        if status != ACTIVE:
            raise Fault(401, _REFUSALS[status])
        return key

    def _used(self, key: Key) -> None:
        # As it is now: it may have been switched off meanwhile.
        self._organization.keep(replace(self._organization.keys[key.id], last_used_at=self._organization.clock()))
