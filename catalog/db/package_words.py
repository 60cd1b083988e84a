"""Words that are nearly there: what somebody may have meant who searched for `databse` or `wordprss`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import rapidfuzz.distance
import rapidfuzz.process

from catalog.db.package_index import Entry, Index

SHORTEST = 4  # letters of a word that is looked for: shorter ones are near too many others
MOST = 5  # words that take its place
LOOKED_AT = 50  # nearest words of which those are taken that the project may know of
ONE_MISTAKE, TWO_MISTAKES = 1, 2  # letters more, less, different or exchanged: in up to seven letters, in more
Admits = Callable[[Entry], bool]


def near(index: Index, word: str, admits: Admits) -> Sequence[str]:
    """The nearest words among those of admitted packages, the nearest first; a word that is typed half counts, too.

    Words are those of names, full names, tags, categories, classes and authors.
    """
    if len(word) < SHORTEST:
        return ()
    mistakes = ONE_MISTAKE if len(word) < 8 else TWO_MISTAKES
    by_length = index.derived("words by length", lambda: _by_length(_vocabulary(index)))
    candidates_of = [by_length.get(len(word) + more, []) for more in range(-mistakes, mistakes + 1)]
    found: dict[str, int] = {}
    for candidates in (*candidates_of, list(_beginnings(index, len(word)))):
        for candidate, distance, _key in rapidfuzz.process.extract(
            word, candidates, scorer=rapidfuzz.distance.OSA.distance, score_cutoff=mistakes, limit=LOOKED_AT
        ):
            if distance < found.get(candidate, mistakes + 1):
                found[candidate] = int(distance)
    nearest = sorted(found, key=lambda candidate: (found[candidate], candidate[0] != word[0], candidate))
    admitted = (each for each in nearest if any(admits(index.entries[place]) for place in _places(index, each)))
    return [candidate for candidate, _ in zip(admitted, range(MOST), strict=False)]


def _vocabulary(index: Index) -> dict[str, set[int]]:
    return index.derived("vocabulary", lambda: _words_of(index))


def _by_length(words: Iterable[str]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for word in words:
        found.setdefault(len(word), []).append(word)
    return found


def _beginnings(index: Index, length: int) -> dict[str, set[int]]:
    """The beginnings, this long, of longer words."""

    def make() -> dict[str, set[int]]:
        found: dict[str, set[int]] = {}
        for word, places in _vocabulary(index).items():
            if len(word) > length:
                found.setdefault(word[:length], set()).update(places)
        return found

    return index.derived(f"beginnings of {length}", make)


def _places(index: Index, candidate: str) -> set[int]:
    return _vocabulary(index).get(candidate) or _beginnings(index, len(candidate)).get(candidate, set())


def _words_of(index: Index) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for place, entry in enumerate(index.entries):
        if not entry.words:
            text = " ".join((entry.name, entry.fqn, entry.author, *entry.tags, *entry.categories, *entry.classes))
            words = set(re.findall(r"[^\W_]+", text.lower()))
            entry.words.extend(word for word in words if len(word) >= SHORTEST)
        for word in entry.words:
            found.setdefault(word, set()).add(place)
    return found
