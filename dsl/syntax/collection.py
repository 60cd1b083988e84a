"""No garbage collection while trees are built: there are many nodes, no cycles, and each collection walks them all."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collections() -> Iterator[None]:
    """Pause the collector, for milliseconds; where threads overlap, it may come back earlier, and always comes back."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
