"""Hiding secrets in what people see: the journal's arguments, plans, logs. Never in what the program gets back."""

from __future__ import annotations

from typing import Any

from catalog.db import masking

MASK = masking.MASK
found_in = masking.found_in
hides = masking.hides
masked_text = masking.masked_text


def masked(value: Any) -> Any:
    """A copy in which text under a key that names a secret is masked, at any depth."""
    if isinstance(value, dict):
        return {key: MASK if masking.hides(key, content) else masked(content) for key, content in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    return value


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
