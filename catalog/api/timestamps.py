"""How the API writes moments."""

from __future__ import annotations

import datetime


def timestamp(moment: datetime.datetime | None) -> str | None:
    """As clients parse it: UTC without a zone, whole seconds (spec/api-v1 §1.1)."""
    return None if moment is None else moment.replace(microsecond=0).isoformat()
