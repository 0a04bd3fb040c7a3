"""/metrics, for who shows the token that the operator set."""

import secrets
from collections.abc import Awaitable, Callable

from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


def metrics_route(*, token: SecretStr, page: Callable[[], Awaitable[bytes]], content_type: str) -> Route:
    """The page, to whoever sends the token as RFC 6750 has it: `Authorization: Bearer …`."""
    expected = f"bearer {token.get_secret_value()}".encode()

    async def tell(request: Request) -> Response:
        scheme, _, shown = ", ".join(request.headers.getlist("authorization")).partition(" ")
        if not secrets.compare_digest(f"{scheme.lower()} {shown}".encode(), expected):
            return PlainTextResponse("METRICS_TOKEN is wanted", status_code=401, headers={"WWW-Authenticate": "Bearer"})
        return Response(await page(), media_type=content_type)

    return Route("/metrics", tell)
