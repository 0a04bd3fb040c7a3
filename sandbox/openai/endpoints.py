"""The endpoints that a key of the pretend OpenAI opens: what they ask of a key and its project, and what they answer.

Status, type and code of each refusal are those of OpenAI's guide to error codes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from starlette.requests import Request

from sandbox.inference import Answering, Unheard, complete_chat, embed, respond
from sandbox.openai.organization import MODELS, RATES, Key, Organization, Project, redacted
from sandbox.openai.wire import Fault, bearer, json_body, missing_scope, wrong_key
from sandbox.wire import Handler, Json

MINUTE = 60


@dataclass(frozen=True)
class Endpoint:
    """One endpoint. Any one of `scopes` opens it; the first is the one that an error names.

    `answering` is None where no model is asked; else `kind` is what its use is reported under.
    """

    method: str
    path: str
    scopes: tuple[str, ...]
    answering: Answering | None = None
    kind: str = "completions"


ENDPOINTS = (
    Endpoint("GET", "/models", ("api.model.read", "model.read", "api.all.read")),
    Endpoint(
        "POST",
        "/chat/completions",
        ("model.request", "api.model.request", "api.model.chat_completions.request"),
        complete_chat,
    ),
    Endpoint("POST", "/responses", ("api.responses.write",), respond),
    Endpoint(
        "POST",
        "/embeddings",
        ("model.request", "api.model.request", "api.model.embeddings.request"),
        embed,
        kind="embeddings",
    ),
)
SCOPES = frozenset(scope for endpoint in ENDPOINTS for scope in endpoint.scopes) | {"api.responses.read"}


class Endpoints:
    """The endpoints, opened by the organization's keys."""

    def __init__(self, organization: Organization) -> None:
        self._organization = organization

    def handler(self, endpoint: Endpoint, *, is_admin: Callable[[str], bool]) -> Handler:
        """Answers for one endpoint. An admin key opens none of them."""

        async def answer(request: Request) -> Json:
            token = bearer(request)
            if is_admin(token):
                raise missing_scope(endpoint.scopes[0])
            key = self._opening(token, endpoint)
            project = self._organization.projects[key.project]
            if endpoint.answering is None:
                body = _models(project)
            else:
                body = await self._ask(request, key, endpoint.kind, endpoint.answering)
            # As it is now: it may have been revoked meanwhile.
            self._organization.put_key(
                replace(self._organization.keys[key.id], last_used_at=self._organization.now()),
            )
            self._organization.changed()
            return body

        return answer

    def _opening(self, token: str, endpoint: Endpoint) -> Key:
        key = self._organization.key_with(token)
        if key is None:
            raise wrong_key(redacted(token))
        if self._organization.status(key) == "expired":
            raise Fault(401, "This API key has expired.", code="invalid_api_key")
        if self._organization.projects[key.project].archived_at is not None:
            raise Fault(
                401,
                "The project you are requesting has been archived and is no longer accessible",
                code="not_authorized_invalid_project",
            )
        if self._organization.access(key) == "inactive" or (key.scopes and not set(endpoint.scopes) & set(key.scopes)):
            raise missing_scope(endpoint.scopes[0])
        return key

    async def _ask(self, request: Request, key: Key, kind: str, answering: Answering) -> Json:
        body = await json_body(request)
        model = body.get("model")
        if model not in MODELS:
            raise Fault(404, "The model does not exist or you do not have access to it.", code="model_not_found")
        project = self._organization.projects[key.project]
        if not project.allows(model):
            raise Fault(403, f"Project `{project.id}` does not have access to model `{model}`", code="model_not_found")
        if self._organization.overspent(project):
            raise Fault(
                429,
                "Your project has reached its monthly spend limit.",
                kind="insufficient_quota",
                code="project_spend_limit_exceeded",
            )
        self._within_rates(project, model)
        try:
            answer = answering(body, self._organization.now())
        except Unheard as unheard:
            raise Fault(400, unheard.message, code=unheard.code, param=unheard.param) from None
        self._organization.meter_use(
            project=project.id, key=key.id, model=model, kind=kind, asked=answer.asked, answered=answer.answered
        )
        return answer.body

    def _within_rates(self, project: Project, model: str) -> None:
        rates = {**RATES, **project.rates.get(model, {})}
        now = self._organization.now()
        minute = self._organization.meter.total(start=now - MINUTE + 1, projects=[project.id], models=[model])
        for used, most, kind in (
            (minute.requests, rates["max_requests_per_1_minute"], "requests"),
            (minute.asked + minute.answered, rates["max_tokens_per_1_minute"], "tokens"),
        ):
            if used >= most:
                raise Fault(
                    429,
                    f"Rate limit reached for {model} in project {project.id} on {kind} per min: Limit {most},"
                    f" Used {used}. Please try again later.",
                    kind=kind,
                    code="rate_limit_exceeded",
                )


def _models(project: Project) -> Json:
    data = [
        {"id": name, "object": "model", "created": 1_750_000_000, "owned_by": "system"}
        for name in MODELS
        if project.allows(name)
    ]
    return {"object": "list", "data": data}
