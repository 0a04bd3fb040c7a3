"""The web side: the link page, sign-in, health."""
