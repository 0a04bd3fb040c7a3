"""A holder's browser without a screen: it signs in at the sandbox's Slack and speaks to the link page's API."""

import base64
import html
import json
import re
from typing import Any
from urllib.parse import urlsplit

import httpx

from bot.desk import envelope
from bot.desk.model import Context


class Browser:
    """Cookies, sign-in, and what the page's script does."""

    def __init__(self, public_url: str) -> None:
        self.public_url = public_url
        self.http = httpx.AsyncClient(base_url=public_url, timeout=10, follow_redirects=False)
        self.csrf = ""

    async def __aenter__(self) -> "Browser":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def sign_in(self, member: str, next_page: str = "/k/x") -> httpx.Response:
        """Signs in with Slack as this member; answers with the desk's answer to the callback."""
        away = await self.http.get("/auth/login", params={"next": next_page})
        assert away.status_code in (302, 303, 307), away.text
        async with httpx.AsyncClient(timeout=10) as slack:
            page = await slack.get(away.headers["location"])
            assert page.status_code == 200, page.text
            hidden = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text)
            fields = {name: html.unescape(value) for name, value in hidden}
            target = urlsplit(away.headers["location"])
            back = await slack.post(
                f"{target.scheme}://{target.netloc}/openid/connect/authorize",
                data={**fields, "member": member},
            )
        assert back.status_code in (302, 303), back.text
        answer = await self.http.get(back.headers["location"])
        self.csrf = (await self.session())["csrf"] or ""
        return answer

    async def session(self) -> dict[str, Any]:
        """Who the desk thinks this is."""
        told: dict[str, Any] = (await self.http.get("/api/session")).json()
        return {"csrf": None, **told}

    async def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """As the page's script posts."""
        return await self.http.post(
            path,
            content=json.dumps(body),
            headers={
                "Content-Type": "application/json",
                "X-CSRF-Token": self.csrf,
                "Origin": self.public_url,
            },
        )

    async def claim(self, url: str) -> httpx.Response:
        """Presses *Show the key*."""
        link_id, seed = split(url)
        return await self.post(f"/api/links/{link_id}/claim", {"token": envelope.access_token(seed)})

    async def acknowledge(self, url: str) -> httpx.Response:
        """What the page says once the key stands on it."""
        link_id, seed = split(url)
        return await self.post(f"/api/links/{link_id}/acknowledge", {"token": envelope.access_token(seed)})

    async def reveal(self, url: str) -> str:
        """Claims, opens, acknowledges: the key."""
        answer = await self.claim(url)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        _, seed = split(url)
        secret = envelope.open_sealed(
            from_base64url(told["envelope"]), seed=seed, context=Context(**told["context"])
        ).expose()
        assert (await self.acknowledge(url)).status_code in (200, 204)
        return secret


def split(url: str) -> tuple[str, bytes]:
    """A link's id and seed."""
    parts = urlsplit(url)
    return parts.path.removeprefix("/k/"), from_base64url(parts.fragment)


def from_base64url(text: str) -> bytes:
    """RFC 4648, section 5, without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
