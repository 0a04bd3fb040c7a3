"""The pretend OpenAI's projects, and the limits that stand on a project: models, spending, alerts, rates."""

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from sandbox.openai.organization import MODELS, RATES, Organization, Project
from sandbox.openai.wire import (
    PAGE_MOST,
    Fault,
    amount,
    known_body,
    missing_parameter,
    new_id,
    no_such,
    one_of,
    page,
    typed,
)
from sandbox.wire import Handler, Json

MODES = ("allow_list", "deny_list")
RATE_LIMIT = "rl-"


class Projects:
    """The endpoints below `/organization/projects` that deal in projects themselves."""

    def __init__(self, organization: Organization) -> None:
        self._organization = organization

    @property
    def routes(self) -> Sequence[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        projects = "/organization/projects"
        project = projects + "/{project}"
        models, limit, alerts = project + "/model_permissions", project + "/spend_limit", project + "/spend_alerts"
        return (
            ("GET", projects, self._list),
            ("POST", projects, self._create),
            ("GET", project, self._retrieve),
            ("POST", project, self._modify),
            ("POST", project + "/archive", self._archive),
            ("GET", models, self._models),
            ("POST", models, self._set_models),
            ("DELETE", models, self._free_models),
            ("GET", limit, self._spend_limit),
            ("POST", limit, self._set_spend_limit),
            ("DELETE", limit, self._lift_spend_limit),
            ("GET", alerts, self._alerts),
            ("POST", alerts, self._create_alert),
            ("GET", alerts + "/{alert}", self._alert),
            ("POST", alerts + "/{alert}", self._change_alert),
            ("DELETE", alerts + "/{alert}", self._delete_alert),
            ("GET", project + "/rate_limits", self._rates),
            ("POST", project + "/rate_limits/{rate}", self._set_rate),
        )

    async def _list(self, request: Request) -> Json:
        archived_too = request.query_params.get("include_archived", "false").lower() == "true"
        listed = {
            id: project
            for id, project in self._organization.projects.items()
            if archived_too or project.archived_at is None
        }
        return page(request, listed, shown_project)

    async def _create(self, request: Request) -> Json:
        body = await known_body(request, frozenset({"name", "residency", "external_key_id"}))
        project = Project(id=new_id("proj"), name=named(body), created_at=self._organization.now())
        return shown_project(self._organization.amend(project))

    async def _retrieve(self, request: Request) -> Json:
        return shown_project(project_of(self._organization, request, archived_too=True))

    async def _modify(self, request: Request) -> Json:
        body = await known_body(request, frozenset({"name", "external_key_id"}))
        project = project_of(self._organization, request)
        return shown_project(self._organization.amend(project, name=named(body, project.name)))

    async def _archive(self, request: Request) -> Json:
        project = project_of(self._organization, request)
        self._organization.set_project(project.id, "archived")
        return shown_project(self._organization.projects[project.id])

    # Models

    async def _models(self, request: Request) -> Json:
        return _shown_models(project_of(self._organization, request))

    async def _set_models(self, request: Request) -> Json:
        body = await known_body(request, frozenset({"mode", "model_ids"}))
        project = project_of(self._organization, request)
        mode, ids = one_of(body, "mode", MODES), typed(body, "model_ids", list)
        if ids is None:
            raise missing_parameter("model_ids")
        unknown = [str(id) for id in ids if id not in MODELS]
        if unknown:
            raise Fault(400, f"Unknown models: {', '.join(unknown)}.", code="invalid_value", param="model_ids")
        return _shown_models(self._organization.amend(project, models={"mode": mode, "model_ids": ids}))

    async def _free_models(self, request: Request) -> Json:
        self._organization.amend(project_of(self._organization, request), models=None)
        return {"object": "project.model_permissions.deleted", "deleted": True}

    # Spending

    async def _spend_limit(self, request: Request) -> Json:
        return self._shown_limit(project_of(self._organization, request))

    async def _set_spend_limit(self, request: Request) -> Json:
        body = await known_body(request, frozenset({"threshold_amount", "currency", "interval"}))
        project = project_of(self._organization, request)
        _monthly_dollars(body)
        return self._shown_limit(self._organization.amend(project, spend_limit=amount(body, "threshold_amount", 1)))

    async def _lift_spend_limit(self, request: Request) -> Json:
        project = project_of(self._organization, request)
        self._shown_limit(project)
        self._organization.amend(project, spend_limit=None)
        return {"object": "project.spend_limit.deleted", "deleted": True}

    def _shown_limit(self, project: Project) -> Json:
        if project.spend_limit is None:
            raise Fault(404, "No spend limit found for this project.", code="not_found")
        return {
            "object": "project.spend_limit",
            "threshold_amount": project.spend_limit,
            "currency": "USD",
            "interval": "month",
            "enforcement": {"status": "enforcing" if self._organization.overspent(project) else "inactive"},
        }

    async def _alerts(self, request: Request) -> Json:
        return page(request, project_of(self._organization, request).alerts, dict)

    async def _create_alert(self, request: Request) -> Json:
        alert = await _alert_body(request)
        project = project_of(self._organization, request)
        return self._keep_alert(project, new_id("alert"), alert)

    async def _alert(self, request: Request) -> Json:
        return self._alert_of(request)[1]

    async def _change_alert(self, request: Request) -> Json:
        alert = await _alert_body(request)
        project, old = self._alert_of(request)
        return self._keep_alert(project, old["id"], alert)

    async def _delete_alert(self, request: Request) -> Json:
        project, gone = self._alert_of(request)
        left = {id: alert for id, alert in project.alerts.items() if id != gone["id"]}
        self._organization.amend(project, alerts=left)
        return {"object": "project.spend_alert.deleted", "id": gone["id"], "deleted": True}

    def _keep_alert(self, project: Project, id: str, alert: Json) -> Json:
        shown = {"object": "project.spend_alert", "id": id, **alert}
        self._organization.amend(project, alerts={**project.alerts, id: shown})
        return shown

    def _alert_of(self, request: Request) -> tuple[Project, Json]:
        project = project_of(self._organization, request)
        alert = project.alerts.get(request.path_params["alert"])
        if alert is None:
            raise no_such("spend alert")
        return project, alert

    # Rates

    async def _rates(self, request: Request) -> Json:
        project = project_of(self._organization, request)
        rates = {f"{RATE_LIMIT}{model}": _shown_rate(project, model) for model in MODELS}
        return page(request, rates, dict, size=PAGE_MOST)

    async def _set_rate(self, request: Request) -> Json:
        body = await known_body(request, frozenset(RATES))
        project = project_of(self._organization, request)
        model = request.path_params["rate"].removeprefix(RATE_LIMIT)
        if model not in MODELS:
            raise no_such("rate limit")
        said = {name: amount(body, name, 0) for name in body}
        for name, most in RATES.items():
            if said.get(name, 0) > most:
                raise Fault(400, f"'{name}' is above the organization's limit of {most}.", param=name)
        rates = {**project.rates, model: {**project.rates.get(model, {}), **said}}
        return _shown_rate(self._organization.amend(project, rates=rates), model)


def project_of(organization: Organization, request: Request, *, archived_too: bool = False) -> Project:
    """The project that the path names."""
    project = organization.projects.get(request.path_params["project"])
    if project is None:
        raise no_such("project")
    if project.archived_at is not None and not archived_too:
        raise Fault(400, "The project is archived.", code="project_archived")
    return project


def shown_project(project: Project) -> Json:
    """As the API shows it."""
    return {
        "object": "organization.project",
        "id": project.id,
        "name": project.name,
        "created_at": project.created_at,
        "archived_at": project.archived_at,
        "status": "active" if project.archived_at is None else "archived",
    }


def named(body: Json, default: str | None = None) -> str:
    """The `name` in a body, or else the default, where there is one."""
    name = typed(body, "name", str) or default
    if name is None:
        raise missing_parameter("name")
    return name


def _shown_models(project: Project) -> Json:
    # Without permissions of its own, a project denies nothing.
    return {"object": "project.model_permissions", **(project.models or {"mode": "deny_list", "model_ids": []})}


def _shown_rate(project: Project, model: str) -> Json:
    rates = {**RATES, **project.rates.get(model, {})}
    return {"object": "project.rate_limit", "id": f"{RATE_LIMIT}{model}", "model": model, **rates}


async def _alert_body(request: Request) -> Json:
    fields = frozenset({"threshold_amount", "currency", "interval", "notification_channel"})
    body = await known_body(request, fields)
    _monthly_dollars(body)
    threshold = amount(body, "threshold_amount", 0)
    channel: Any = typed(body, "notification_channel", dict)
    if channel is None:
        raise missing_parameter("notification_channel")
    one_of(channel, "type", ("email",))
    recipients = typed(channel, "recipients", list)
    if not recipients or not all(isinstance(it, str) and "@" in it for it in recipients):
        raise Fault(400, "'recipients' must be e-mail addresses.", param="notification_channel")
    shown_channel = {
        "type": "email",
        "recipients": recipients,
        "subject_prefix": typed(channel, "subject_prefix", str),
    }
    return {
        "threshold_amount": threshold,
        "currency": "USD",
        "interval": "month",
        "notification_channel": shown_channel,
    }


def _monthly_dollars(body: Json) -> None:
    one_of(body, "currency", ("USD",))
    one_of(body, "interval", ("month",))
