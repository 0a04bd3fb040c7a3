"""Tells, for a test that ran out of its time, what each of its tasks was waiting for."""

import asyncio
import sys
import traceback
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """The time-out itself is raised in the event loop's own select, which says nothing about who waits."""
    try:
        yield
    except pytest.fail.Exception as error:
        for loop in (frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__)):
            if isinstance(loop, asyncio.AbstractEventLoop):
                for task in asyncio.all_tasks(loop):
                    task.print_stack(file=sys.stderr)
                break
        raise
