"""Secrets in texts that people see: which texts are secret, and how they are hidden wherever they turn up.

Below `engine.secrets` (the journal, plans, logs) and the output of plans, whose text comes in pieces: `safe_length`
says how much of it can be shown before the next piece is there.
"""

from __future__ import annotations

import json
import re
from typing import Any

MASK = "*** SANITIZED ***"  # spec/api-v1 §1.8 shows this text in place of a secret
SHORTEST = 4  # a shorter secret is too likely to be part of an ordinary word
SHORTEST_LINE = 8  # of a line of a secret that has several: keys are printed line by line
LONGEST_WAIT = 4096  # characters of a line without an end that wait for it
LONGEST_BEGINNING = 16384  # characters of a secret that wait for its end
MOST_SECRETS = 500  # spellings that are looked for, the longest ones: each costs a search of all that is shown

_NAMES = re.compile(r"token|pass|secret|trustid|signing_?key|private_?key", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"""((?:token|pass|passwd|password|secret)[\w-]*["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s"',;&|]+)""", re.IGNORECASE
)


def hides(key: object, content: object) -> bool:
    """Whether the content under this key is a secret."""
    return isinstance(key, str) and isinstance(content, str) and content != "" and _NAMES.search(key) is not None


def found_in(value: Any) -> frozenset[str]:
    """All texts under keys that name a secret, at any depth: what `masked_text` shall hide wherever it turns up."""
    if isinstance(value, dict):
        own = {content for key, content in value.items() if hides(key, content)}
        return frozenset(own).union(*(found_in(content) for content in value.values()))
    if isinstance(value, list | tuple):
        return frozenset().union(*(found_in(item) for item in value))
    return frozenset()


def spellings(known: frozenset[str]) -> frozenset[str]:
    """The secrets as scripts print them: as they are, as JSON texts, and line by line."""
    found = set(known)
    for secret in known:
        found.add(json.dumps(secret)[1:-1])
        found.add(json.dumps(secret, ensure_ascii=False)[1:-1])
        found.update(line.strip() for line in secret.splitlines() if len(line.strip()) >= SHORTEST_LINE)
    kept = sorted((secret for secret in found if len(secret) >= SHORTEST), key=len, reverse=True)
    return frozenset(kept[:MOST_SECRETS])


def masked_text(text: str, known: frozenset[str] = frozenset()) -> str:
    """The text without the known secrets, nor what follows `password=`, `token:` and the like."""
    for secret in sorted(known, key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = text.replace(secret, MASK)
    return _ASSIGNED.sub(lambda match: match.group(1) + MASK, text)


def safe_length(text: str, known: frozenset[str]) -> int:
    """How many characters can be masked and shown now, whatever comes next.

    The rest may be the beginning of a secret, or is a line without an end (of less than `LONGEST_WAIT`), where a value
    may follow its name.
    """
    line = max(text.rfind("\n"), text.rfind("\r")) + 1
    safe = line if len(text) - line < LONGEST_WAIT else len(text)
    safe = min([safe, *(_begun_at(text, secret) for secret in known)])
    cut = [secret for secret in known if _cut_at(text, secret, safe) < safe]
    while cut:
        safe = min(_cut_at(text, secret, safe) for secret in cut)
        cut = [secret for secret in known if _cut_at(text, secret, safe) < safe]
    return safe


def _begun_at(text: str, secret: str) -> int:
    """Where a secret begins that goes on behind the text's end; the text's length if none does."""
    place = text.find(secret[0], max(0, len(text) - min(len(secret) - 1, LONGEST_BEGINNING)))
    while place >= 0:
        if secret.startswith(text[place:]):
            return place
        place = text.find(secret[0], place + 1)
    return len(text)


def _cut_at(text: str, secret: str, place: int) -> int:
    """Where the secret begins that `place` would cut in two; `place` if it cuts none."""
    begin = text.find(secret, max(0, place - len(secret) + 1), place + len(secret) - 1)
    return begin if 0 <= begin < place else place
