"""Keys of class files that are ignored because they are misspelt (spec/muranopl.md §2, §5, §9).

MuranoPL ignores keys it does not know, so that `Propertys` or `Contrat` goes unnoticed until something is missing. Only
keys that look like a known one are reported: others may be remarks of the author.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Iterator

from dsl import syntax
from dsl.errors import Problem
from dsl.syntax import Mapping, Sequence

CLASS_KEYS = (
    "Name", "Namespaces", "Extends", "Usage", "Properties", "Methods", "Workflow", "Import", "Meta", "Cardinality",
    "Applies", "Inherited",
)  # fmt: skip
PROPERTY_KEYS = ("Contract", "Usage", "Default", "Meta")
METHOD_KEYS = ("Arguments", "Body", "Usage", "Scope", "Meta")
MAX_WORD = 60  # characters: comparing two words takes the product of their lengths
MAX_KNOWN = 3000  # words; the bundled packages and the language have about 1500 names of methods


def misspelt_keys(content: bytes, file: str) -> Iterator[Problem]:
    """A problem per key that is nearly a known one. The file must be readable."""
    for document in syntax.load(content, file):
        if not isinstance(document, Mapping):
            continue
        yield from _keys(document, CLASS_KEYS, "a class")
        for spec in _values(document.get("Properties")):
            yield from _keys(spec, PROPERTY_KEYS, "a property")
        for method in _values(document.get("Methods")):
            yield from _keys(method, METHOD_KEYS, "a method")
            arguments = method.get("Arguments")
            for entry in arguments if isinstance(arguments, Sequence) else [arguments]:
                for spec in _values(entry):
                    yield from _keys(spec, PROPERTY_KEYS, "an argument")


def close_to(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant; long words and lists are not searched to the end."""
    if len(word) > MAX_WORD:
        return None
    candidates = list(itertools.islice((each for each in known if len(each) <= MAX_WORD), MAX_KNOWN))
    if len(word) > 3:
        swapped = {word[:at] + word[at + 1] + word[at] + word[at + 2 :] for at in range(len(word) - 1)}
        for each in candidates:
            if each in swapped:  # which in a short word is less alike than what is meant to be found below
                return each
    matches = difflib.get_close_matches(word, candidates, 1, 0.8)
    return matches[0] if matches else None


def close_class(name: str, known: Iterable[str]) -> str | None:
    """The known class that was probably meant: its own name is alike, whatever its namespace."""
    by_short_name: dict[str, list[str]] = {}
    for each in known:
        by_short_name.setdefault(each.rpartition(".")[2], []).append(each)
    short = close_to(name.rpartition(".")[2], by_short_name)
    if short is None:
        return None
    return max(by_short_name[short], key=lambda each: difflib.SequenceMatcher(None, name, each).ratio())


def _keys(table: Mapping, known: tuple[str, ...], what: str) -> Iterator[Problem]:
    for key in table:
        if isinstance(key, str) and key not in known:
            meant = close_to(key.capitalize(), known)
            if meant is not None and meant not in table:
                place = table.key_location(key)
                message = f"the key {key} of {what} is ignored"
                yield Problem(place.file, place.line, place.column, message, fix=f"did you mean {meant}?")


def _values(table: object) -> Iterator[Mapping]:
    if isinstance(table, Mapping):
        yield from (value for value in table.values() if isinstance(value, Mapping))
