"""Desks that die: their stages, the way of one request, the stories in which they die, and where none does and why not."""

import pytest

# A way that comes to a wrong end says what it found.
pytest.register_assert_rewrite(
    *(f"{__name__}.{room}" for room in ("stage", "way", "stories", "going_on", "invited", "switched", "rounds"))
)
