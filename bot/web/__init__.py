"""The web side: the link page, sign-in, health."""

from bot.web.app import build

__all__ = ["build"]
