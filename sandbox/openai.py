"""A pretend OpenAI: the part of its admin API that deals in keys, and the endpoints that those keys open.

Paths, fields and errors follow OpenAI's published description and its official SDK. A key's value is said once, when
the key is made; after that only its hash and its redacted form are kept.
"""

import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from starlette.requests import Request
from starlette.routing import BaseRoute

from sandbox.openai_models import ENDPOINTS, Endpoint
from sandbox.openai_wire import (
    Fault,
    bearer,
    known_body,
    missing_parameter,
    new_id,
    no_such_url,
    page,
    route,
    typed,
)
from sandbox.wire import Handler, Json, digest, same

SCOPES = frozenset(scope for endpoint in ENDPOINTS for scope in endpoint.scopes) | {"api.responses.read"}


@dataclass(frozen=True)
class Project:
    """`archived_at` is None while the project is active."""

    id: str
    name: str
    created_at: int
    archived_at: int | None = None


@dataclass(frozen=True)
class Person:
    """A user of the organization, who may make keys on the dashboard."""

    id: str
    name: str
    email: str
    created_at: int


@dataclass(frozen=True)
class Account:
    """A service account. Role "none" may do nothing in its project, and neither may its keys."""

    id: str
    name: str
    project: str
    role: str
    created_at: int


@dataclass(frozen=True)
class Key:
    """A key of a service account or of a person. A revoked one is kept, so that it can be shown as such."""

    id: str
    name: str
    project: str
    owner: str
    redacted: str
    digest: str
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None
    scopes: list[str] = field(default_factory=list)


class PretendOpenAI:
    """Holds the organization's state and answers for it under `routes`.

    `changed` is called after each change of state. `key_scopes=False` is the API as it was before keys of service
    accounts could be made apart from them, with scopes; `key_expiry=False` as it was before keys could expire.
    """

    def __init__(
        self,
        *,
        admin_key: str,
        clock: Callable[[], float],
        changed: Callable[[], None],
        key_scopes: bool = True,
        key_expiry: bool = True,
    ) -> None:
        self._admin_key = admin_key
        self._clock = clock
        self._changed = changed
        self._expiry = frozenset({"expires_in_seconds"} if key_scopes and key_expiry else ())
        self._bare = frozenset({"create_service_account_only"} if key_scopes else ())
        now = self._now()
        self._projects = {
            id: Project(id=id, name=name, created_at=now)
            for id, name in (("proj_search", "search-prod"), ("proj_assist", "assistant-dev"), ("proj_lab", "lab"))
        }
        self._people = {
            "user_ana": Person(id="user_ana", name="Ana Ruiz", email="ana@acme.example", created_at=now),
        }
        self._accounts: dict[str, Account] = {}
        self._keys: dict[str, Key] = {}

        projects = "/organization/projects"
        project = projects + "/{project}"
        accounts, account = project + "/service_accounts", project + "/service_accounts/{account}"
        keys, key = project + "/api_keys", project + "/api_keys/{key}"
        admin = [
            ("GET", projects, self._list_projects),
            ("POST", projects, self._create_project),
            ("GET", project, self._retrieve_project),
            ("POST", project + "/archive", self._archive_project),
            ("GET", accounts, self._list_accounts),
            ("POST", accounts, self._create_account),
            ("GET", account, self._retrieve_account),
            ("POST", account, self._update_account),
            ("DELETE", account, self._delete_account),
            ("GET", keys, self._list_keys),
            ("GET", key, self._retrieve_key),
            ("DELETE", key, self._delete_key),
        ]
        if key_scopes:
            admin.append(("POST", account + "/api_keys", self._create_key))
        self.routes: list[BaseRoute] = [
            *(route(method, path, self._for_admin(handler)) for method, path, handler in admin),
            *(route(endpoint.method, endpoint.path, self._for_key(endpoint)) for endpoint in ENDPOINTS),
            *(route(method, "/{path:path}", no_such_url) for method in ("GET", "POST", "PUT", "PATCH", "DELETE")),
        ]

    def snapshot(self) -> Json:
        """What the organization's dashboard would show, revoked keys included."""
        return {
            "projects": [self._shown_project(project) for project in list(self._projects.values())],
            "keys": [
                {
                    "name": key.name,
                    "id": key.id,
                    "service_account_id": None if key.owner in self._people else key.owner,
                    "project": key.project,
                    "redacted": key.redacted,
                    "created_at": key.created_at,
                    "expires_at": key.expires_at,
                    "status": self._status(key),
                    "last_used_at": key.last_used_at,
                    "scopes": list(key.scopes),
                }
                for key in list(self._keys.values())
            ],
        }

    def dump(self) -> Json:
        """All state, for `load`. Holds no key's value."""
        return {
            "projects": [asdict(thing) for thing in self._projects.values()],
            "people": [asdict(thing) for thing in self._people.values()],
            "accounts": [asdict(thing) for thing in self._accounts.values()],
            "keys": [asdict(thing) for thing in self._keys.values()],
        }

    def load(self, state: Json) -> None:
        """Takes up the state that `dump` gave."""
        self._projects = {thing["id"]: Project(**thing) for thing in state["projects"]}
        self._people = {thing["id"]: Person(**thing) for thing in state["people"]}
        self._accounts = {thing["id"]: Account(**thing) for thing in state["accounts"]}
        self._keys = {thing["id"]: Key(**thing) for thing in state["keys"]}

    def set_project(self, id: str, status: str) -> None:
        """Archives a project and its service accounts with it, or (which OpenAI cannot) makes it active again.

        `KeyError` where there is no such project.
        """
        if status not in ("active", "archived"):
            raise ValueError(f"a project is active or archived, not {status!r}")
        archived_at = self._now() if status == "archived" else None
        self._projects[id] = replace(self._projects[id], archived_at=archived_at)
        if archived_at is not None:
            for account in [it for it in self._accounts.values() if it.project == id]:
                self._drop(account)
        self._changed()

    def make_personal_key(self, project: str, *, person: str = "user_ana", name: str) -> str:
        """What a person does on the dashboard: makes a key of their own. Answers its value."""
        self._people[person]
        _, value = self._issue(name=name, project=self._projects[project].id, owner=person, prefix="sk-proj-")
        return value

    # Who asks

    def _for_admin(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Any:
            token = bearer(request)
            if not same(token, self._admin_key):
                self._key_of(token)
                raise _missing("api.management.read")
            return await handler(request)

        return guarded

    def _for_key(self, endpoint: Endpoint) -> Handler:
        async def guarded(request: Request) -> Json:
            token = bearer(request)
            if same(token, self._admin_key):
                raise _missing(endpoint.scopes[0])
            key = self._key_of(token)
            if self._status(key) == "expired":
                raise Fault(401, "This API key has expired.", code="invalid_api_key")
            if self._projects[key.project].archived_at is not None:
                raise Fault(
                    401,
                    "The project you are requesting has been archived and is no longer accessible",
                    code="not_authorized_invalid_project",
                )
            if self._access(key) == "inactive" or (key.scopes and not set(endpoint.scopes) & set(key.scopes)):
                raise _missing(endpoint.scopes[0])
            body = await endpoint.answer(request, self._now())
            key = self._keys[key.id]  # as it is now: it may have been revoked meanwhile
            self._keys[key.id] = replace(key, last_used_at=self._now())
            self._changed()
            return body

        return guarded

    def _key_of(self, token: str) -> Key:
        wanted = digest(token)
        for key in self._keys.values():
            if same(key.digest, wanted) and key.revoked_at is None:
                return key
        raise Fault(401, f"Incorrect API key provided: {_redacted(token)}.", code="invalid_api_key")

    # Projects

    async def _list_projects(self, request: Request) -> Json:
        archived_too = request.query_params.get("include_archived", "false").lower() == "true"
        return page(
            request,
            [self._shown_project(it) for it in self._projects.values() if archived_too or it.archived_at is None],
        )

    async def _create_project(self, request: Request) -> Json:
        body = await known_body(request, frozenset({"name", "residency", "external_key_id"}))
        project = Project(id=new_id("proj"), name=_name(body), created_at=self._now())
        self._projects[project.id] = project
        self._changed()
        return self._shown_project(project)

    async def _retrieve_project(self, request: Request) -> Json:
        return self._shown_project(self._project(request, archived_too=True))

    async def _archive_project(self, request: Request) -> Json:
        project = self._project(request)
        self.set_project(project.id, "archived")
        return self._shown_project(self._projects[project.id])

    def _project(self, request: Request, *, archived_too: bool = False) -> Project:
        project = self._projects.get(request.path_params["project"])
        if project is None:
            raise Fault(404, "No project found with this id.", code="not_found")
        if project.archived_at is not None and not archived_too:
            raise Fault(400, "The project is archived.", code="project_archived")
        return project

    def _shown_project(self, project: Project) -> Json:
        status = "active" if project.archived_at is None else "archived"
        return {"object": "organization.project", **asdict(project), "status": status}

    # Service accounts

    async def _list_accounts(self, request: Request) -> Json:
        project = self._project(request)
        return page(request, [_shown_account(it) for it in self._accounts.values() if it.project == project.id])

    async def _create_account(self, request: Request) -> Json:
        body = await known_body(request, frozenset({"name"}) | self._bare | self._expiry)
        project = self._project(request)
        bare = typed(body, "create_service_account_only", bool) or False
        lifetime = _lifetime(body)
        if bare and lifetime is not None:
            raise Fault(
                400,
                "'expires_in_seconds' cannot be used when 'create_service_account_only' is true.",
                param="expires_in_seconds",
            )
        account = Account(
            id=new_id("svc_acct"),
            name=_name(body),
            project=project.id,
            role="none" if bare else "member",
            created_at=self._now(),
        )
        self._accounts[account.id] = account
        if bare:
            self._changed()
            return {**_shown_account(account), "api_key": None}
        key, value = self._issue(name="Secret Key", project=project.id, owner=account.id, lifetime=lifetime)
        return {**_shown_account(account), "api_key": self._once(key, value)}

    async def _retrieve_account(self, request: Request) -> Json:
        return _shown_account(self._account(request))

    async def _update_account(self, request: Request) -> Json:
        body = await known_body(request, frozenset({"name", "role"}))
        account = self._account(request)
        role = body.get("role", account.role)
        if "role" in body and role not in ("member", "owner"):
            raise Fault(400, "Invalid value for 'role': expected 'member' or 'owner'.", param="role")
        account = replace(account, name=_name(body, account.name), role=role)
        self._accounts[account.id] = account
        self._changed()
        return _shown_account(account)

    async def _delete_account(self, request: Request) -> Json:
        account = self._account(request)
        self._drop(account)
        self._changed()
        return {"object": "organization.project.service_account.deleted", "id": account.id, "deleted": True}

    def _drop(self, account: Account) -> None:
        del self._accounts[account.id]
        for key in list(self._keys.values()):
            if key.owner == account.id and key.revoked_at is None:
                self._keys[key.id] = replace(key, revoked_at=self._now())

    def _account(self, request: Request) -> Account:
        project = self._project(request)
        account = self._accounts.get(request.path_params["account"])
        if account is None or account.project != project.id:
            raise Fault(404, "No service account found with this id.", code="not_found")
        return account

    # Keys

    async def _create_key(self, request: Request) -> Json:
        body = await known_body(request, frozenset({"name", "scopes"}) | self._expiry)
        account = self._account(request)  # after the last await, so that it is not deleted meanwhile
        scopes = typed(body, "scopes", list) or []
        unknown = [str(scope) for scope in scopes if not isinstance(scope, str) or scope not in SCOPES]
        if unknown:
            raise Fault(
                400,
                f"Request includes unauthorized scopes: {', '.join(unknown)}. Please check and remove these scopes.",
                param="scopes",
            )
        key, value = self._issue(
            name=_name(body, "Secret Key"),
            project=account.project,
            owner=account.id,
            lifetime=_lifetime(body),
            scopes=scopes,
        )
        return self._once(key, value)

    async def _list_keys(self, request: Request) -> Json:
        project = self._project(request)
        # Left out, OpenAI hides the keys of owners without access.
        access = request.query_params.get("owner_project_access", "active")
        if access not in ("active", "inactive", "any"):
            raise Fault(400, "Invalid value for 'owner_project_access'.", param="owner_project_access")
        return page(
            request,
            [
                self._shown_key(key)
                for key in self._keys.values()
                if key.project == project.id and key.revoked_at is None and access in ("any", self._access(key))
            ],
        )

    async def _retrieve_key(self, request: Request) -> Json:
        return self._shown_key(self._key(request))

    async def _delete_key(self, request: Request) -> Json:
        key = self._key(request)
        if key.owner in self._accounts:
            raise Fault(400, "API keys of service accounts cannot be deleted: delete the service account.")
        self._keys[key.id] = replace(key, revoked_at=self._now())
        self._changed()
        return {"object": "organization.project.api_key.deleted", "id": key.id, "deleted": True}

    def _key(self, request: Request) -> Key:
        project = self._project(request)
        key = self._keys.get(request.path_params["key"])
        if key is None or key.project != project.id or key.revoked_at is not None:
            raise Fault(404, "No API key found with this id.", code="not_found")
        return key

    def _issue(
        self,
        *,
        name: str,
        project: str,
        owner: str,
        lifetime: int | None = None,
        scopes: list[str] | None = None,
        prefix: str = "sk-svcacct-",
    ) -> tuple[Key, str]:
        value = prefix + secrets.token_urlsafe(48)
        now = self._now()
        key = Key(
            id=new_id("key"),
            name=name,
            project=project,
            owner=owner,
            redacted=_redacted(value),
            digest=digest(value),
            created_at=now,
            expires_at=None if lifetime is None else now + lifetime,
            scopes=list(scopes or []),
        )
        self._keys[key.id] = key
        self._changed()
        return key, value

    def _once(self, key: Key, value: str) -> Json:
        shown = {
            "object": "organization.project.service_account.api_key",
            "id": key.id,
            "value": value,
            "name": key.name,
            "created_at": key.created_at,
        }
        return {**shown, "expires_at": key.expires_at} if self._expiry else shown

    def _shown_key(self, key: Key) -> Json:
        owner: Json
        if key.owner in self._people:
            owner = {"type": "user", "user": {**asdict(self._people[key.owner]), "role": "owner"}}
        else:
            account = asdict(self._accounts[key.owner])
            del account["project"]
            owner = {"type": "service_account", "service_account": account}
        return {
            "object": "organization.project.api_key",
            "id": key.id,
            "redacted_value": key.redacted,
            "name": key.name,
            "created_at": key.created_at,
            "last_used_at": key.last_used_at,
            "expires_at": key.expires_at,
            "owner": owner,
            "owner_project_access": self._access(key),
        }

    def _access(self, key: Key) -> str:
        account = self._accounts.get(key.owner)
        return "inactive" if account is not None and account.role == "none" else "active"

    def _status(self, key: Key) -> str:
        if key.revoked_at is not None:
            return "revoked"
        return "expired" if key.expires_at is not None and key.expires_at <= self._clock() else "active"

    def _now(self) -> int:
        return int(self._clock())


def _missing(scope: str) -> Fault:
    return Fault(
        403,
        f"You have insufficient permissions for this operation. Missing scopes: {scope}. Check that you have the"
        " correct role in your organization and project, and if you're using a restricted API key, that it has the"
        " necessary scopes.",
    )


def _name(body: Json, default: str | None = None) -> str:
    name = typed(body, "name", str) or default
    if name is None:
        raise missing_parameter("name")
    return name


def _lifetime(body: Json) -> int | None:
    seconds = typed(body, "expires_in_seconds", int)
    if seconds is not None and seconds < 1:
        raise Fault(400, "'expires_in_seconds' must be positive.", code="invalid_value", param="expires_in_seconds")
    return seconds


def _shown_account(account: Account) -> Json:
    shown = asdict(account)
    del shown["project"]
    return {"object": "organization.project.service_account", **shown}


def _redacted(value: str) -> str:
    return f"{value[:8]}...{value[-4:]}" if len(value) > 24 else "***"
