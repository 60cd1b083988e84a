"""What all forms of the pages share: they are posted, their fields are texts, and then another page follows."""

from __future__ import annotations

from typing import Any

import pecan

from dashboard import api, rendering


def only_post() -> None:
    """Refuses (405) a change by a mere link."""
    if pecan.request.method != "POST":
        pecan.abort(405)


def text(value: Any) -> str:
    """A field's value. Raises Refused (400) for a field that was sent several times, or as a file."""
    if not isinstance(value, str):
        raise api.Refused(400, "The form was sent in a way no page of ours sends it: a field is there twice.")
    return value


def see_other(path: str) -> str:
    """Leads to a page below the mount; the value is the answer of the controller."""
    pecan.response.status = 303
    pecan.response.location = f"{rendering.MOUNT}{path}"
    return ""
