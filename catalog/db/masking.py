"""Secrets in what people see: which texts are secret, and how they are hidden wherever they turn up.

What stands under a key that names a secret is one (`hides`, `found_in`); `masked` hides it there, `masked_text` in any
text, `hidden` both. A `Veil` learns the secrets of one deployment while it runs. The output of plans comes in pieces:
`safe_length` says how much of it can be shown before the next one is there. What can not be known: docs/secrets.md.
"""

from __future__ import annotations

import base64
import functools
import json
import re
import threading
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any

MASK = "*** SANITIZED ***"  # spec/api-v1 §1.8 shows this text in place of a secret
SHORTEST = 4  # a shorter secret is too likely to be part of an ordinary word
SHORTEST_PART = 6  # of a secret that is hidden inside of words; a shorter one is hidden as a word of its own
SHORTEST_LINE = 8  # of a line of a secret that has several: keys are printed line by line
LONGEST_WAIT = 4096  # characters of a line without an end that wait for it
LONGEST_BEGINNING = 16384  # characters of a secret that wait for its end
MOST_SECRETS = 500  # spellings that are looked for, secrets as they are first: each costs a search of all that is shown

_SCALARS = frozenset((str, int, float, bool, type(None)))  # known by their class: to ask whether it maps costs more
_SHORT = 64  # characters of a text that is likely to recur
_MOST_SHOWN = 5000  # short texts that a veil remembers

_NAMES = re.compile(r"token|pass|secret|trust_?id|signing_?key|private_?key|api_?key|access_?key", re.IGNORECASE)
_HARMLESS = re.compile(r"bypass|compass|passage|passenger|passive|passport|passthrough", re.IGNORECASE)
# What is recognised by what stands before it. Lengths have limits, so that no text takes longer than its length.
# Each is looked for only where one of its words stands, in small letters: most texts have none.
_PATTERNS = (
    (  # password=..., "token": "...", --secret-key ...
        ("token", "pass", "secret", "api", "private"),
        re.compile(
            r"""((?:token|pass|passwd|password|secret|api_?key|private_?key)[\w-]{0,40}["']?\s{0,8}[=:]\s{0,8})"""
            r"""("[^"]{0,4000}"|'[^']{0,4000}'|[^\s"',;&|]{1,4000})""",
            re.IGNORECASE,
        ),
        rf"\g<1>{MASK}",
    ),
    (  # scheme://user:...@host
        ("://",),
        re.compile(r"(\b[a-z][a-z0-9+.-]{0,30}://[^\s/:@]{0,200}:)[^\s/@]{1,400}(?=@)", re.IGNORECASE),
        rf"\g<1>{MASK}",
    ),
    (
        ("bearer ", "basic "),
        re.compile(r"\b(Bearer|Basic) {1,4}[\w.~+/=-]{8,4000}"),
        rf"\g<1> {MASK}",
    ),
    (
        ("private key-----",),
        re.compile(r"(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----)[^-]{1,20000}"),
        rf"\g<1>{MASK}",
    ),
)


def hides(key: object, content: object) -> bool:
    """Whether the content under this key is a secret: a text, or a list of texts.

    The original masked `bypassCache`, too (spec/api-v1 §5 B36).
    """
    if not isinstance(key, str) or not _names_secret(key):
        return False
    return _is_text(content) or (
        isinstance(content, list | tuple) and bool(content) and all(_is_text(each) for each in content)
    )


@functools.lru_cache(maxsize=4096)
def _names_secret(key: str) -> bool:
    return _NAMES.search(_HARMLESS.sub("", key)) is not None


def _is_text(content: object) -> bool:
    return isinstance(content, str) and content != ""


def found_in(value: Any) -> frozenset[str]:
    """All texts under keys that name a secret, at any depth: what `masked_text` shall hide wherever it turns up."""
    found: set[str] = set()
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if type(current) is dict or isinstance(current, Mapping):
            for key, content in current.items():
                if type(content) in _SCALARS:
                    if hides(key, content):
                        found.add(content)
                elif hides(key, content):
                    found.update(texts_in(content))
                else:
                    waiting.append(content)
        elif isinstance(current, list | tuple):
            waiting.extend(each for each in current if type(each) not in _SCALARS)
    found.discard(MASK)
    return frozenset(found)


def of_model(model: Any) -> frozenset[str]:
    """The secrets of an object model: of its objects, of its trust, and of attributes, whose rows name themselves."""
    found = set(found_in(model))
    rows = model.get("Attributes") if isinstance(model, Mapping) else None
    for row in rows if isinstance(rows, list) else []:  # [object id, class, name, value]
        if isinstance(row, list | tuple) and len(row) > 3:
            found |= found_in({row[2]: row[3]}) if isinstance(row[2], str) else frozenset()
    return frozenset(found)


def texts_in(value: Any) -> frozenset[str]:
    """All texts of a value that is a secret as a whole."""
    if isinstance(value, Mapping):
        return frozenset().union(*(texts_in(each) for each in value.values()))
    if isinstance(value, list | tuple):
        return frozenset().union(*(texts_in(each) for each in value))
    return frozenset({value}) if isinstance(value, str) and value else frozenset()


def spellings(known: Iterable[str]) -> frozenset[str]:
    """The secrets as they stand in texts: as they are, as in JSON, URLs and base64, and line by line."""
    known = frozenset(known)
    found = set(known)
    for secret in known:
        found.add(json.dumps(secret)[1:-1])
        found.add(json.dumps(secret, ensure_ascii=False)[1:-1])
        if len(secret) >= SHORTEST_PART:
            encoded = secret.encode("utf-8", "surrogatepass")
            found.add(urllib.parse.quote(encoded, safe=""))
            found.add(urllib.parse.quote_plus(encoded))
            found.add(base64.b64encode(encoded).decode())
        found.update(line.strip() for line in secret.splitlines() if len(line.strip()) >= SHORTEST_LINE)
    kept = (secret for secret in found if len(secret) >= SHORTEST)
    return frozenset(sorted(kept, key=lambda secret: (secret in known, len(secret)), reverse=True)[:MOST_SECRETS])


def masked_text(text: str, known: Iterable[str] = ()) -> str:
    """The text without the known secrets, nor what follows `password=`, `token:` and the like."""
    return _masked(text, _longest_first(known))


def _longest_first(known: Iterable[str]) -> tuple[str, ...]:
    """Of secrets inside each other the outer one is hidden."""
    return tuple(sorted(known, key=len, reverse=True))


def _masked(text: str, ordered: tuple[str, ...]) -> str:
    for secret in ordered:
        if secret not in text:
            continue
        if len(secret) >= SHORTEST_PART:
            text = text.replace(secret, MASK)
        elif len(secret) >= SHORTEST:
            text = re.sub(rf"(?<![^\W_]){re.escape(secret)}(?![^\W_])", MASK, text)
    small = text.lower()
    for words, pattern, replacement in _PATTERNS:
        for word in words:  # plain loops: every text that is shown or kept comes through here
            if word in small:
                text = pattern.sub(replacement, text)
                break
    return text


def masked(value: Any) -> Any:
    """A copy in which text under a key that names a secret is masked, at any depth."""
    if isinstance(value, dict):
        return {key: MASK if hides(key, content) else masked(content) for key, content in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    return value


def hidden(value: Any, known: Iterable[str] = ()) -> Any:
    """A copy without secrets: neither under keys that name one, nor the known ones anywhere in its texts."""
    return _hidden(value, _longest_first(frozenset(known) | spellings(found_in(value))), {})


def _hidden(value: Any, ordered: tuple[str, ...], shown: dict[str, str]) -> Any:
    """`shown` has what short texts are shown as: keys and types recur all over a template."""
    if isinstance(value, str):
        if len(value) > _SHORT:
            return _masked(value, ordered)
        told = shown.get(value)
        if told is None:
            told = shown[value] = _masked(value, ordered)
        return told
    if isinstance(value, dict):
        return {
            _hidden(key, ordered, shown): MASK if hides(key, content) else _hidden(content, ordered, shown)
            for key, content in value.items()
        }
    if isinstance(value, list | tuple):
        return [_hidden(item, ordered, shown) for item in value]
    return value


class Veil:
    """The secrets of one deployment or question, as far as they are known by now. Threads may share it."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: frozenset[str] = frozenset()
        self._ordered: tuple[str, ...] = ()
        self._shown: dict[str, str] = {}  # short texts as they are shown, as long as nothing new is learnt
        self._mutex = threading.Lock()
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Hides these from now on."""
        if frozenset(secrets) <= self._secrets:
            return
        with self._mutex:
            self._secrets |= frozenset(secrets)
            self._ordered, self._shown = _longest_first(spellings(self._secrets)), {}

    def text(self, text: str) -> str:
        """The text without what is known."""
        return _masked(text, self._ordered)

    def value(self, value: Any) -> Any:
        """A copy of a JSON value without what is known, and what its own keys call a secret."""
        own = found_in(value)
        with self._mutex:
            secrets, ordered, shown = self._secrets, self._ordered, self._shown
        if not own <= secrets or len(ordered) == MOST_SECRETS:  # then its own may be among those that were too many
            return hidden(value, ordered)
        if len(shown) > _MOST_SHOWN:
            shown.clear()
        return _hidden(value, ordered, shown)


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
