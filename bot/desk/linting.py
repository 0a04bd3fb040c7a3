"""Reads a policy file, and says what is wrong with it: each flaw with its line and its mend."""

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from bot.desk.door import unwelcome
from bot.desk.errors import PolicyFlaw
from bot.desk.model import Actor
from bot.desk.offer import Permission
from bot.desk.policy import (
    ANY,
    DEPOSIT,
    EVERYONE,
    MANAGER,
    DepositKind,
    Policy,
    PolicyFile,
    RotationTerms,
    Rule,
    parse_duration,
)
from bot.desk.ports import Directory

Table = TypeVar("Table", Rule, DepositKind, RotationTerms)

Place = tuple[str | int, ...]
Flaws = Iterator[tuple[Place, str]]
"""Each where it is, as a path of keys and numbers, and with its mend."""


@dataclass(frozen=True, slots=True)
class _Pieces:
    """What of a file can be read, piece by piece, each table with its number in the file."""

    rules: Mapping[int, Rule]
    kinds: Mapping[int, DepositKind]
    rotation: Mapping[int, RotationTerms]
    manager_field: str | None


def load(text: str, *, permissions: Mapping[str, Sequence[Permission]], source: str = "policy.toml") -> Policy:
    """Reads a policy and lints it. `permissions` says which presets each provider has.

    Raises `PolicyFlaw` with one line for each flaw, which names the line in the file and the mend. What cannot be read
    keeps no other flaw from being told.
    """
    raw = _toml(text, source)
    file, flaws = None, list[tuple[Place, str]]()
    try:
        file = PolicyFile.model_validate(raw)
    except ValidationError as error:
        flaws += _unreadable(error)
    flaws += _unsatisfiable(_pieces(raw), permissions)
    if flaws or file is None:
        lines = sorted({(line_of(text, where), what) for where, what in flaws})
        raise PolicyFlaw("\n".join(f"{source} line {line}: {what}" for line, what in lines))
    return Policy(file)


def kinds(text: str, *, source: str = "policy.toml") -> Sequence[DepositKind]:
    """The kinds of keys that people bring, those that can be read; the others' flaws are `load`'s to tell.

    Raises `PolicyFlaw` for what is no TOML.
    """
    return tuple(_pieces(_toml(text, source)).kinds.values())


def _toml(text: str, source: str) -> Mapping[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyFlaw(f"{source}: not TOML: {error}. Mend: compare the line with policy.example.toml.") from None


def _pieces(raw: Mapping[str, Any]) -> _Pieces:
    field = raw.get("manager_field")
    # One that cannot be read is a flaw for itself; that there is none is another's.
    return _Pieces(
        _sound(Rule, raw.get("rule")),
        _sound(DepositKind, raw.get("deposit")),
        _sound(RotationTerms, raw.get("rotation")),
        None if field is None else str(field),
    )


def _sound(kind: type[Table], tables: object) -> Mapping[int, Table]:
    read: dict[int, Table] = {}
    for number, table in enumerate(tables if isinstance(tables, list) else ()):
        with suppress(ValidationError):
            read[number] = kind.model_validate(table)
    return read


def _unreadable(error: ValidationError) -> Flaws:
    found = error.errors(include_input=False)
    # Pydantic calls a list too short, too, when its items are wrong: the items' own flaws say it better.
    flawed = {flaw["loc"][:depth] for flaw in found for depth in range(len(flaw["loc"]))}
    for flaw in found:
        if not (flaw["type"] == "too_short" and flaw["loc"] in flawed):
            yield flaw["loc"], _mend(flaw)


def _unsatisfiable(pieces: _Pieces, permissions: Mapping[str, Sequence[Permission]]) -> Flaws:
    """What the rules say that nobody could ever use, each with its place and mend."""
    for number, rule in pieces.rules.items():
        flaws = [
            *_unknown_names(rule, permissions),
            *_unknown_kinds(rule, pieces),
            *_nobody_to_ask(rule, pieces),
            *_nobody_to_bring(rule),
            *_defaults_above(rule),
            *_never_reached(rule, [other for at, other in pieces.rules.items() if at < number]),
        ]
        for key, what in flaws:
            yield ("rule", number, key), what
    yield from _twice(pieces)
    for number, terms in pieces.rotation.items():
        earlier = [other for at, other in pieces.rotation.items() if at < number]
        for key, what in _rotation_flaws(terms, earlier, permissions):
            yield ("rotation", number, key), what


def _unknown_names(rule: Rule, permissions: Mapping[str, Sequence[Permission]]) -> Iterator[tuple[str, str]]:
    if rule.provider not in permissions:
        known = ", ".join(sorted(permissions)) or "none is; set its credential"
        yield "provider", f"no provider {rule.provider!r} is set up. Mend: one of: {known}."
        return
    known_ids = [permission.id for permission in permissions[rule.provider]]
    for name in rule.permissions:
        if name != ANY and name not in known_ids:
            mend = f"Mend: of {', '.join(known_ids)}, or *."
            yield "permissions", f"{rule.provider} has no permission preset {name!r}. {mend}"


def _unknown_kinds(rule: Rule, pieces: _Pieces) -> Iterator[tuple[str, str]]:
    known = [kind.id for kind in pieces.kinds.values()]
    for name in rule.projects if rule.provider == DEPOSIT else ():
        if name != ANY and name not in known:
            mend = f"Mend: of {', '.join(known)}, or *." if known else "Mend: add one."
            yield "projects", f"no [[deposit]] table has the id {name!r}. {mend}"


def _rotation_flaws(
    terms: RotationTerms, earlier: Sequence[RotationTerms], permissions: Mapping[str, Sequence[Permission]]
) -> Iterator[tuple[str, str]]:
    if terms.provider not in permissions:
        known = ", ".join(sorted(permissions)) or "none is; set its credential"
        yield "provider", f"no provider {terms.provider!r} is set up. Mend: one of: {known}."
    if any(terms.provider == other.provider for other in earlier):
        yield "provider", f"two [[rotation]] tables are about {terms.provider!r}. Mend: make one of them."
    late = [one for one in terms.remind if parse_duration(one) >= parse_duration(terms.interval)]
    if late and terms.provider != DEPOSIT:
        yield (
            "remind",
            f"{late[0]} before is before there is a key to rotate every {terms.interval}. Mend: take it out.",
        )
    if terms.provider == DEPOSIT and "interval" in terms.model_fields_set:
        yield "interval", "keys that people bring have a rotation_interval in their [[deposit]]. Mend: set it there."


def _twice(pieces: _Pieces) -> Flaws:
    for number, kind in pieces.kinds.items():
        earlier = [other for at, other in pieces.kinds.items() if at < number]
        if any(kind.id == other.id for other in earlier):
            yield ("deposit", number, "id"), f"two deposits have the id {kind.id!r}. Mend: give each its own."
        if any(kind.name.casefold() == other.name.casefold() for other in earlier):
            yield ("deposit", number, "name"), f"two deposits are called {kind.name!r}. Mend: give each its own name."


def _nobody_to_bring(rule: Rule) -> Iterator[tuple[str, str]]:
    if (
        len(set(rule.depositors)) == 1
        and set(rule.depositors) == set(rule.requesters)
        and rule.depositors[0][0] in "UW"
    ):
        yield "depositors", "only the holder could bring the key. Mend: name another; nobody brings their own key."


def _nobody_to_ask(rule: Rule, pieces: _Pieces) -> Iterator[tuple[str, str]]:
    if MANAGER in rule.approvers and pieces.manager_field is None:
        mend = "Mend: set manager_field to the id (Xf…) of that profile field, or name other approvers."
        yield "approvers", f'"manager" needs the profile field that names them. {mend}'
    approvers = set(rule.approvers)
    if len(approvers) == 1 and approvers == set(rule.requesters) and rule.approvers[0][0] in "UW":
        yield "approvers", "only the requester could approve. Mend: name another; nobody decides on their own request."


def _defaults_above(rule: Rule) -> Iterator[tuple[str, str]]:
    pairs = (
        ("duration", parse_duration(rule.default_duration) > parse_duration(rule.max_duration)),
        ("monthly_budget", rule.default_monthly_budget > rule.max_monthly_budget),
    )
    for what, above in pairs:
        if above:
            written = f"default_{what}" in rule.model_fields_set
            mend = f"Mend: lower default_{what}." if written else f"Mend: write a default_{what} that is not above it."
            default, most = getattr(rule, f"default_{what}"), getattr(rule, f"max_{what}")
            key = f"default_{what}" if written else f"max_{what}"
            yield key, f"default_{what} ({default}) is more than max_{what} ({most}). {mend}"


def _never_reached(rule: Rule, earlier: Sequence[Rule]) -> Iterator[tuple[str, str]]:
    for other in earlier:
        if other.covers(rule):
            yield "name", f"rule {rule.name!r} is never reached: {other.name!r} covers it. Mend: move this one up."
        if other.name == rule.name:
            yield "name", f"two rules are called {rule.name!r}. Mend: give each its own name."


def line_of(text: str, where: Sequence[str | int]) -> int:
    """The line on which a thing stands, or where it should stand: its key's line, else its table's header.

    `tomllib` keeps no positions. Headers and keys of this format stand at the start of a line, so a scan finds them.
    """
    wanted = where[:2] if len(where) > 1 and isinstance(where[1], int) else None
    key = where[2] if wanted and len(where) > 2 else where[0] if wanted is None and where else None
    header, seen = 1, Counter[str]()
    here: Place | None = None
    for number, line in enumerate((line.strip() for line in text.splitlines()), start=1):
        if found := re.match(r"\[\[\s*(\w+)\s*\]\]", line):
            here = (found[1], seen[found[1]])
            seen[found[1]] += 1
            if here == wanted:
                header = number
        inside = key is not None and (wanted is None or here == wanted)
        if inside and re.match(rf"[\[\s]*[\"']?{re.escape(str(key))}[\"']?\s*[=\]]", line):
            return number
    return header


def _mend(flaw: Any) -> str:
    """A sentence for one of pydantic's findings."""
    named = next((part for part in reversed(flaw["loc"]) if isinstance(part, str)), "the file")
    match flaw["type"]:
        case "extra_forbidden":
            return f"unknown key {named!r}. Mend: take it out, or see docs/policy.md for how it is spelled."
        case "missing":
            return f"{named!r} is missing. Mend: add it; docs/policy.md says what it means."
        case "too_short":
            return f"{named!r} is empty, which would mean nobody. Mend: name at least one."
        case "value_error":
            return f"{named}: {str(flaw['msg']).removeprefix('Value error, ')}."
        case _:
            return f"{named}: {flaw['msg']}. Mend: see docs/policy.md."


async def lint_people(
    policy: Policy, *, directory: Directory, team: str, text: str, source: str = "policy.toml"
) -> None:
    """Asks the directory for everybody the policy names. Raises `PolicyFlaw` for whom it does not know."""
    flaws: list[str] = []

    def flaw(where: Place, what: str) -> None:
        flaws.append(f"{source} line {line_of(text, where)}: {what}")

    async def look_up(where: Place, names: Sequence[str]) -> None:
        for who in names:
            if who in (EVERYONE, MANAGER):
                continue
            if who[0] == "S":
                if not await directory.members(who):
                    flaw(where, f"Slack knows no members of user group {who}. Mend: correct the id or fill it.")
            elif because := unwelcome(Actor(team, who), await directory.person(who)):
                flaw(where, f"{who} cannot be named: {because} Mend: name a full member of this workspace.")

    async def people(names: Sequence[str]) -> frozenset[str]:
        found = [await directory.members(who) if who[0] == "S" else frozenset({who}) for who in names]
        return frozenset().union(*found)

    await look_up(("admins",), policy.file.admins)
    for number, rule in enumerate(policy.file.rule):
        named = (("requesters", rule.requesters), ("approvers", rule.approvers), ("depositors", rule.depositors))
        for key, names in named:
            await look_up(("rule", number, key), names)
        if EVERYONE not in rule.requesters and MANAGER not in rule.approvers:
            askers, deciders = await people(rule.requesters), await people(rule.approvers)
            if len(deciders) == 1 and askers == deciders:
                flaw(("rule", number, "approvers"), "only the requester could approve. Mend: name another approver.")
    if flaws:
        raise PolicyFlaw("\n".join(flaws))
