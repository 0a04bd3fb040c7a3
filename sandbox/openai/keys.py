"""The pretend OpenAI's service accounts, and the keys in its projects."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request

from sandbox.openai.endpoints import SCOPES
from sandbox.openai.organization import Account, Key, Organization
from sandbox.openai.projects import named, project_of
from sandbox.openai.wire import Fault, known_body, new_id, no_such, page, typed
from sandbox.wire import Handler, Json

ROLES = ("member", "owner")


@dataclass(frozen=True)
class Release:
    """How far OpenAI's API has come.

    `key_scopes` is false as long as keys of service accounts cannot be made apart from them, with scopes; `key_expiry`
    as long as keys cannot expire; `key_upkeep` as long as a service account's key can neither be changed nor be deleted
    by itself. The published description has the first, the official SDK all of them. `account_deletion` is false where an
    organization's policy forbids it.
    """

    key_scopes: bool = True
    key_expiry: bool = True
    key_upkeep: bool = False
    account_deletion: bool = True


class Keys:
    """The endpoints below `/organization/projects/{project}` that deal in service accounts and keys."""

    def __init__(self, organization: Organization, release: Release) -> None:
        self._organization = organization
        self._release = release
        self._expiry = frozenset({"expires_in_seconds"} if release.key_scopes and release.key_expiry else ())
        self._bare = frozenset({"create_service_account_only"} if release.key_scopes else ())

    @property
    def routes(self) -> Sequence[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        accounts = "/organization/projects/{project}/service_accounts"
        account = accounts + "/{account}"
        keys = "/organization/projects/{project}/api_keys"
        key = keys + "/{key}"
        routes: list[tuple[str, str, Handler]] = [
            ("GET", accounts, self._list_accounts),
            ("POST", accounts, self._create_account),
            ("GET", account, self._retrieve_account),
            ("POST", account, self._update_account),
            ("DELETE", account, self._delete_account),
            ("GET", keys, self._list_keys),
            ("GET", key, self._retrieve_key),
            ("DELETE", key, self._delete_key),
        ]
        if self._release.key_scopes:
            routes.append(("POST", account + "/api_keys", self._create_key))
        if self._release.key_upkeep:
            routes.append(("POST", key, self._update_key))
        return routes

    # Service accounts

    async def _list_accounts(self, request: Request) -> Json:
        project = project_of(self._organization, request)
        accounts = {account.id: account for account in self._organization.accounts_of(project.id)}
        return page(request, accounts, _shown_account)

    async def _create_account(self, request: Request) -> Json:
        body = await known_body(request, frozenset({"name"}) | self._bare | self._expiry)
        project = project_of(self._organization, request)
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
            name=named(body),
            project=project.id,
            role="none" if bare else "member",
            created_at=self._organization.now(),
        )
        self._organization.put_account(account)
        if bare:
            self._organization.changed()
            return {**_shown_account(account), "api_key": None}
        key, value = self._organization.issue(
            name="Secret Key", project=project.id, owner=account.id, lifetime=lifetime
        )
        return {**_shown_account(account), "api_key": self._once(key, value)}

    async def _retrieve_account(self, request: Request) -> Json:
        return _shown_account(self._account(request))

    async def _update_account(self, request: Request) -> Json:
        body = await known_body(request, frozenset({"name", "role"}))
        account = self._account(request)
        role = body.get("role", account.role)
        if "role" in body and role not in ROLES:
            raise Fault(400, "Invalid value for 'role': expected 'member' or 'owner'.", param="role")
        account = replace(account, name=named(body, account.name), role=role)
        self._organization.put_account(account)
        self._organization.changed()
        return _shown_account(account)

    async def _delete_account(self, request: Request) -> Json:
        account = self._account(request)
        if not self._release.account_deletion:
            raise Fault(403, "Your organization does not allow deleting service accounts.", code="forbidden")
        self._organization.drop(account)
        self._organization.changed()
        return {"object": "organization.project.service_account.deleted", "id": account.id, "deleted": True}

    def _account(self, request: Request) -> Account:
        project = project_of(self._organization, request)
        account = self._organization.accounts.get(request.path_params["account"])
        if account is None or account.project != project.id:
            raise no_such("service account")
        return account

    # Keys

    async def _create_key(self, request: Request) -> Json:
        body = await known_body(request, frozenset({"name", "scopes"}) | self._expiry)
        account = self._account(request)  # after the last await, so that it is not deleted meanwhile
        key, value = self._organization.issue(
            name=named(body, "Secret Key"),
            project=account.project,
            owner=account.id,
            lifetime=_lifetime(body),
            scopes=_scopes(body),
        )
        return self._once(key, value)

    async def _list_keys(self, request: Request) -> Json:
        project = project_of(self._organization, request)
        # Left out, OpenAI hides the keys of owners without access.
        access = request.query_params.get("owner_project_access", "active")
        if access not in ("active", "inactive", "any"):
            raise Fault(400, "Invalid value for 'owner_project_access'.", param="owner_project_access")
        keys = {
            key.id: key
            for key in self._organization.keys_of(project.id)
            if access in ("any", self._organization.access(key))
        }
        return page(request, keys, self._shown_key)

    async def _retrieve_key(self, request: Request) -> Json:
        return self._shown_key(self._key(request))

    async def _update_key(self, request: Request) -> Json:
        body = await known_body(request, frozenset({"scopes", "expires_in_seconds"}))
        key = self._key(request)
        if not body or None in body.values():
            raise Fault(400, "Provide 'scopes' or 'expires_in_seconds', and no null.")
        if self._organization.status(key) == "expired":
            raise Fault(400, "Expired keys cannot be updated.")
        lifetime = _lifetime(body)
        changes: dict[str, Any] = {"scopes": _scopes(body)} if "scopes" in body else {}
        if lifetime is not None:
            changes["expires_at"] = self._organization.now() + lifetime
        key = replace(key, **changes)
        self._organization.put_key(key)
        self._organization.changed()
        return self._shown_key(key)

    async def _delete_key(self, request: Request) -> Json:
        key = self._key(request)
        if key.owner in self._organization.accounts and not self._release.key_upkeep:
            raise Fault(400, "API keys of service accounts cannot be deleted: delete the service account.")
        self._organization.put_key(replace(key, revoked_at=self._organization.now()))
        self._organization.changed()
        return {"object": "organization.project.api_key.deleted", "id": key.id, "deleted": True}

    def _key(self, request: Request) -> Key:
        project = project_of(self._organization, request)
        key = self._organization.keys.get(request.path_params["key"])
        if key is None or key.project != project.id or key.revoked_at is not None:
            raise no_such("API key")
        return key

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
        if key.owner in self._organization.people:
            owner = {"type": "user", "user": vars(self._organization.people[key.owner])}
        else:
            account = dict(vars(self._organization.accounts[key.owner]))
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
            "owner_project_access": self._organization.access(key),
        }


def _scopes(body: Json) -> list[str]:
    scopes = typed(body, "scopes", list) or []
    unknown = [str(scope) for scope in scopes if not isinstance(scope, str) or scope not in SCOPES]
    if unknown:
        raise Fault(
            400,
            f"Request includes unauthorized scopes: {', '.join(unknown)}. Please check and remove these scopes.",
            param="scopes",
        )
    return scopes


def _lifetime(body: Json) -> int | None:
    seconds = typed(body, "expires_in_seconds", int)
    if seconds is not None and seconds < 1:
        raise Fault(400, "'expires_in_seconds' must be positive.", code="invalid_value", param="expires_in_seconds")
    return seconds


def _shown_account(account: Account) -> Json:
    shown = dict(vars(account))
    del shown["project"]
    return {"object": "organization.project.service_account", **shown}
