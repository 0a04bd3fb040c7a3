"""The web side: the link page, sign-in, health."""

from bot.web.app import build
from bot.web.metrics import metrics_route

__all__ = ["build", "metrics_route"]
