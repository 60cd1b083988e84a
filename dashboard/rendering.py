"""Jinja2 templates, escaped always; and the few ways of saying things that all pages share."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from typing import Any

import jinja2

# Where the dashboard is mounted; the session cookie is of this path only.
MOUNT = "/dashboard"
# How the states of the API are said and shown: text, tone (a class of the style sheet).
STATES = {
    "ready": ("Ready", "good"),
    "pending": ("Being composed", "calm"),
    "deploying": ("Deploying", "busy"),
    "deploy failure": ("Deployment failed", "bad"),
    "deleting": ("Deleting", "busy"),
    "delete failure": ("Deletion failed", "bad"),
    "running": ("Running", "busy"),
    "running_w_warnings": ("Running, with warnings", "busy"),
    "running_w_errors": ("Running, with errors", "bad"),
    "success": ("Succeeded", "good"),
    "completed_w_warnings": ("Ended with warnings", "warn"),
    "completed_w_errors": ("Failed", "bad"),
}

# Units in which the past is told, longest first: seconds, name.
UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"))


def render(template: str, **values: Any) -> str:
    """The text of a template of ``dashboard/templates``."""
    return _environment.get_template(template).render(**values)


def _state(value: str) -> str:
    return STATES.get(value, (value, "calm"))[0]


def _tone(value: str) -> str:
    return STATES.get(value, (value, "calm"))[1]


def _readable(value: Any) -> str:
    """Text as it is, anything else as indented JSON."""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _moment(value: str | None) -> datetime.datetime | None:
    """A time of the API (UTC without an offset), or None if it is none."""
    try:
        return datetime.datetime.fromisoformat((value or "").removesuffix("Z")).replace(tzinfo=datetime.UTC)
    except ValueError:
        return None


def ago(value: str | None) -> str:
    """How long ago a time of the API was, in one unit."""
    moment = _moment(value)
    if moment is None:
        return ""
    seconds = int((datetime.datetime.now(datetime.UTC) - moment).total_seconds())
    for size, unit in UNITS:
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "just now"


def duration(started: str | None, finished: str | None) -> str:
    """The time between two times of the API, as `48 s`, `3 min 5 s` or `2 h 10 min`; empty while it runs."""
    first, last = _moment(started), _moment(finished)
    if first is None or last is None:
        return ""
    seconds = max(0, int((last - first).total_seconds()))
    if seconds < 60:
        return f"{seconds} s" if seconds else "under 1 s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def unwrapped(text: str) -> str:
    """Hard-wrapped lines of a paragraph as one; blank lines, lists and indented lines stay as they are."""
    return re.sub(r"(?<=\S)\n(?=[^\s*\-\d])", " ", text)


def _short_type(value: str) -> str:
    """`Pod` for `org.chandlery.kubernetes.Pod/0.1.0@...`."""
    return value.split("/")[0].rsplit(".", 1)[-1]


def _hue(value: str) -> int:
    """One of twelve hues (a class of the style sheet) for things without a logo, always the same for a name."""
    return hashlib.sha256(value.encode()).digest()[0] % 12


_environment = jinja2.Environment(
    loader=jinja2.PackageLoader("dashboard"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
)
_environment.filters |= {
    "state": _state,
    "tone": _tone,
    "hue": _hue,
    "readable": _readable,
    "ago": ago,
    "unwrapped": unwrapped,
    "short_type": _short_type,
}
_environment.globals["duration"] = duration
_environment.globals["mount"] = MOUNT
