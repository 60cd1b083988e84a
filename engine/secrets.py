"""Hiding secrets in what people see: the journal's arguments, plans, logs. Never in what the program gets back."""

from __future__ import annotations

import re
from typing import Any

MASK = "*** SANITIZED ***"  # spec/api-v1 §1.8 shows this text in place of a secret

_NAMES = re.compile(r"token|pass|secret|trustid|signing_?key|private_?key", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"""((?:token|pass|passwd|password|secret)[\w-]*["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s"',;&|]+)""", re.IGNORECASE
)


def masked(value: Any) -> Any:
    """A copy in which text under a key that names a secret is masked, at any depth."""
    if isinstance(value, dict):
        return {key: MASK if hides(key, content) else masked(content) for key, content in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    return value


def found_in(value: Any) -> frozenset[str]:
    """All texts under keys that name a secret, at any depth: what `masked_text` shall hide wherever it turns up."""
    if isinstance(value, dict):
        own = {content for key, content in value.items() if hides(key, content)}
        return frozenset(own).union(*(found_in(content) for content in value.values()))
    if isinstance(value, list | tuple):
        return frozenset().union(*(found_in(item) for item in value))
    return frozenset()


def masked_text(text: str, known: frozenset[str] = frozenset()) -> str:
    """The text without the known secrets, nor what follows `password=`, `token:` and the like."""
    for secret in sorted(known, key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = text.replace(secret, MASK)
    return _ASSIGNED.sub(lambda match: match.group(1) + MASK, text)


def hidden(value: Any, known: frozenset[str] = frozenset()) -> Any:
    """A copy without secrets: neither under keys that name one, nor the known ones anywhere in its texts."""
    everywhere = known | found_in(value)

    def hide(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: hide(item) for key, item in part.items()}
        if isinstance(part, list | tuple):
            return [hide(item) for item in part]
        return masked_text(part, everywhere) if isinstance(part, str) else part

    return hide(masked(value))


SHORTEST = 4  # a shorter secret is too likely to be part of an ordinary word


def hides(key: object, content: object) -> bool:
    """Whether the content under this key is a secret."""
    return isinstance(key, str) and isinstance(content, str) and content != "" and _NAMES.search(key) is not None
