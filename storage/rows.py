"""From the domain to rows and back."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from enum import Enum
from typing import Any, TypeVar, cast

from sqlalchemy.engine import RowMapping
from sqlmodel import SQLModel

from bot.desk.model import (
    AccessRequest,
    Cause,
    Decision,
    Deposit,
    Draft,
    Grant,
    Key,
    Link,
    Notice,
    NoticeKind,
    Ruling,
    Scope,
    Wish,
)
from bot.desk.states import GrantState, KeyState, LinkState, RequestState
from storage.tables import DecisionRow, DepositRow, GrantRow, KeyRow, LinkRow, NoticeRow, RequestRow

Thing = TypeVar("Thing", AccessRequest, Decision, Deposit, Grant, Key, Link, Notice)

ROWS: Mapping[type, type[SQLModel]] = {
    AccessRequest: RequestRow,
    Decision: DecisionRow,
    Deposit: DepositRow,
    Grant: GrantRow,
    Key: KeyRow,
    Link: LinkRow,
    Notice: NoticeRow,
}
ENUMS: Mapping[tuple[type, str], type[Enum]] = {
    (AccessRequest, "state"): RequestState,
    (Grant, "state"): GrantState,
    (Key, "state"): KeyState,
    (Link, "state"): LinkState,
    (Decision, "ruling"): Ruling,
    (Notice, "kind"): NoticeKind,
    (Grant, "ended_because"): Cause,
    (Link, "closed_because"): Cause,
}


def table(thing: type) -> Any:
    """The table that a domain type rests in."""
    return cast(Any, ROWS[thing]).__table__


def plain(value: Any) -> Any:
    """What a column holds of it."""
    return value.value if isinstance(value, Enum) else value


def to_row(thing: Any) -> dict[str, Any]:
    """A domain object's columns."""
    values: dict[str, Any] = {}
    for field in fields(thing):
        value = getattr(thing, field.name)
        if isinstance(value, Draft):
            values |= {
                "provider": value.scope.provider,
                "project": value.scope.project,
                "provider_name": value.provider_name,
                "project_name": value.project_name,
                "permission_name": value.permission_name,
                "permission": value.scope.permission,
                "monthly_budget_cents": value.scope.monthly_budget_cents,
                "duration_seconds": int(value.duration.total_seconds()),
                "reason": value.reason,
                "models": list(value.scope.models),
                "wish": value.wish.value,
            }
        else:
            values[field.name] = plain(value)
    return values


def to_domain(kind: type[Thing], row: RowMapping) -> Thing:
    """The domain object of a row."""
    values: dict[str, Any] = {}
    for field in fields(kind):
        if field.name == "draft":
            scope = Scope(
                row["provider"],
                row["project"],
                row["permission"],
                row["monthly_budget_cents"],
                tuple(row["models"]),
            )
            values["draft"] = Draft(
                scope=scope,
                project_name=row["project_name"],
                duration=timedelta(seconds=row["duration_seconds"]),
                reason=row["reason"],
                provider_name=row["provider_name"],
                permission_name=row["permission_name"],
                wish=Wish(row["wish"]),
            )
        else:
            enum = ENUMS.get((kind, field.name))
            value = row[field.name]
            values[field.name] = enum(value) if enum and value is not None else value
    return kind(**values)
