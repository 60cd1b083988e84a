"""Waiting out what is down for a while: a database that restarts, a lock that times out, a store or key that is gone.

A unit of work is repeated as a whole until it succeeds, so it must begin from nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa

from catalog.db import contents, sealing

LOG = logging.getLogger(__name__)

FIRST_PAUSE = 0.1  # seconds; doubled after every failure
LONGEST_PAUSE = 15.0

Result = TypeVar("Result")


def patiently(work: Callable[[], Result], *, what: str, pause: Callable[[float], None] = time.sleep) -> Result:
    """Runs `work` until it gets through; `pause(seconds)` may raise to give up. What no waiting heals is raised."""
    seconds = FIRST_PAUSE
    while True:
        try:
            return work()
        except (contents.Unreachable, sealing.KeyMissing) as error:
            LOG.warning("%s: %s; next try in %.1f s", what, error, seconds)
        except sa.exc.SQLAlchemyError as error:
            if not is_outage(error):
                raise
            LOG.warning("%s: the database does not answer (%s); next try in %.1f s", what, _first_line(error), seconds)
        pause(seconds)
        seconds = min(seconds * 2, LONGEST_PAUSE)


def is_outage(error: BaseException) -> bool:
    """Whether waiting may help: the connection broke, the database is locked, starting, deadlocked, too busy."""
    if isinstance(error, sa.exc.TimeoutError | sa.exc.InterfaceError):
        return True
    if isinstance(error, sa.exc.OperationalError):
        return "no such " not in str(error.orig)  # SQLite: a missing table or column is for the operator to heal
    return isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated


def _first_line(error: sa.exc.SQLAlchemyError) -> str:
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
