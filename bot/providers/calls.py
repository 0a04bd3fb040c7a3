"""Calls of a vendor's API: pooled, bounded in time, never repeated, and told in the desk's errors.

What a vendor says in an error may quote what was sent, so only plain words of it (its codes) come into a message.
"""

import asyncio
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from bot.desk.errors import (
    ProviderAuth,
    ProviderError,
    ProviderForbidden,
    ProviderInvalid,
    ProviderNotFound,
    ProviderRateLimited,
    ProviderTransient,
)
from bot.desk.ports import Clock

CALL_SECONDS = 10.0
CONNECT_SECONDS = 5.0
RETRY_AFTER_DEFAULT, RETRY_AFTER_MOST = 30.0, 3600.0
FRESH = timedelta(seconds=60)

_ID = re.compile(r"[A-Za-z0-9_-]+")
_WORD = re.compile(r"[a-z_]{1,60}")

Answer = TypeVar("Answer", bound=BaseModel)
Held = TypeVar("Held")


class Read(BaseModel):
    """Something that a vendor answers. Fields that the desk does not need are not read."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


@dataclass(frozen=True, kw_only=True)
class Vendor:
    """How a vendor is spoken of, and how it takes a credential and shapes its errors.

    `credential` and `setting` name the desk's own credential to people ("admin key", `OPENAI_ADMIN_KEY`). `headers`
    makes the headers of a call from it. `words` reads from an error's body the codes that tell it from others.
    """

    label: str
    credential: str
    setting: str
    headers: Callable[[str], Mapping[str, str]]
    words: Callable[[bytes], Iterable[str | None]]


@dataclass(frozen=True)
class Refusal:
    """An answer that is an error. `words` are the vendor's codes; `said` is the status and the codes, for people.

    `unsure` is what to raise when the vendor may or may not have done what was asked.
    """

    status: int
    words: Sequence[str]
    said: str
    headers: httpx.Headers
    unsure: type[ProviderError]


class Calls:
    """One vendor's API below `base_url`. `refused` may tell a refusal in its own way; None leaves it to the usual one."""

    def __init__(
        self,
        vendor: Vendor,
        *,
        credential: SecretStr,
        base_url: str,
        call_seconds: float = CALL_SECONDS,
        refused: Callable[[Refusal], ProviderError | None] = lambda refusal: None,
    ) -> None:
        self._vendor = vendor
        self._credential = credential
        self._call_seconds = call_seconds
        self._refused = refused
        self._client = httpx.AsyncClient(
            base_url=base_url,
            timeout=httpx.Timeout(call_seconds, connect=min(CONNECT_SECONDS, call_seconds)),
        )

    async def aclose(self) -> None:
        """Closes the pooled connections."""
        await self._client.aclose()

    async def get(self, path: str, answer: type[Answer], **params: str | int | Sequence[str]) -> Answer:
        """Reads something. Parameters of several values are sent once for each."""
        return await self.call("GET", path, answer, params=params)

    async def call(
        self,
        method: str,
        path: str,
        answer: type[Answer],
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str | int | Sequence[str]] | None = None,
        unsure: type[ProviderError] = ProviderTransient,
    ) -> Answer:
        """One call, never repeated. Raises `unsure` when the vendor may or may not have done what was asked."""
        label, key = self._vendor.label, self._credential.get_secret_value()
        if not (key.isascii() and key.isprintable()) or not key.strip():
            raise ProviderAuth(
                f"The {label} {self._vendor.credential} is missing or damaged. Mend: set {self._vendor.setting}."
            )
        try:
            async with asyncio.timeout(self._call_seconds):  # httpx's own limit starts anew with every byte
                response = await self._client.request(
                    method, path, json=body, params=params, headers=self._vendor.headers(key)
                )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            raise ProviderTransient(f"{label} cannot be reached.") from None
        except (httpx.RequestError, TimeoutError):
            raise unsure(f"{label} did not answer in time, or the connection broke.") from None
        if not response.is_success:
            raise self._told(response, unsure)
        try:
            return answer.model_validate_json(response.content)
        except ValidationError:
            pass  # raised from here, the error would hold on to the answer, and so to a key's value
        raise unsure(f"{label}'s answer could not be read.")

    async def pages(
        self,
        path: str,
        page: type[Answer],
        onward: Callable[[Answer], Mapping[str, str] | None],
        **params: str | int | Sequence[str],
    ) -> AsyncIterator[Answer]:
        """Every page of a list. `onward` tells what leads from a page to the next one; None from the last."""
        more: Mapping[str, str] = {}
        seen: set[frozenset[tuple[str, str]]] = set()
        while frozenset(more.items()) not in seen:
            seen.add(frozenset(more.items()))
            read = await self.get(path, page, **{**params, **more})
            yield read
            onwards = onward(read)
            if onwards is None:
                return
            more = onwards
        raise ProviderTransient(f"{self._vendor.label}'s list does not end.")

    def checked(self, identifier: str) -> str:
        """Ids become parts of paths: one with a slash or dots would name something else."""
        if not _ID.fullmatch(identifier):
            raise ProviderNotFound(f"{self._vendor.label} has no such id.")
        return identifier

    def _told(self, response: httpx.Response, unsure: type[ProviderError]) -> ProviderError:
        words = tuple(word for word in self._vendor.words(response.content) if word and _WORD.fullmatch(word))
        said = ", ".join([str(response.status_code), *words])
        refusal = Refusal(response.status_code, words, said, response.headers, unsure)
        return self._refused(refusal) or self._usual(refusal)

    def _usual(self, refusal: Refusal) -> ProviderError:
        label, status, said = self._vendor.label, refusal.status, refusal.said
        if status == 401:
            credential, setting = self._vendor.credential, self._vendor.setting
            return ProviderAuth(f"{label} does not accept the {credential} ({said}). Mend: check {setting}.")
        if status == 403:
            return ProviderForbidden(f"{label} does not let the {self._vendor.credential} do this ({said}).")
        if status == 404:
            return ProviderNotFound(f"{label} has no such thing ({said}).")
        if status == 429:
            return ProviderRateLimited(f"{label} was asked too often.", retry_after=retry_after(refusal.headers))
        if status == 408 or status >= 500:
            return refusal.unsure(f"{label} failed ({said}).")
        if status == 409:
            return ProviderTransient(f"{label} is busy with the same thing ({said}).")
        return ProviderInvalid(f"{label} does not accept this ({said}).")


class Fresh(Generic[Held]):
    """An answer that is asked anew after a minute, and once for all who ask at the same time."""

    def __init__(self, clock: Clock, ask: Callable[[], Awaitable[Held]]) -> None:
        self._clock = clock
        self._ask = ask
        self._asking = asyncio.Lock()
        self._held: tuple[datetime, Held] | None = None

    async def get(self) -> Held:
        """The answer, at most a minute old."""
        async with self._asking:
            now = self._clock()
            if self._held is None or now - self._held[0] >= FRESH:
                self._held = now, await self._ask()
            return self._held[1]

    def forget(self) -> None:
        """The next who asks hears it anew."""
        self._held = None


def retry_after(headers: httpx.Headers) -> float:
    """How many seconds the vendor asks to wait, within reason."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return RETRY_AFTER_DEFAULT
    return min(max(seconds, 0.0), RETRY_AFTER_MOST) if math.isfinite(seconds) else RETRY_AFTER_DEFAULT


def money(cents: int) -> str:
    """Dollars, in people's words."""
    return f"${cents // 100:,}" if cents % 100 == 0 else f"${cents / 100:,.2f}"


def duration(span: timedelta) -> str:
    """A time span, in people's words: in the widest unit that fits it."""
    minutes = math.ceil(span.total_seconds() / 60)
    for unit, length in (("day", 24 * 60), ("hour", 60), ("minute", 1)):
        if minutes % length == 0:
            count = minutes // length
            return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
    raise AssertionError("every number of minutes is a number of minutes")
