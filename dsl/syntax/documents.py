"""YAML with source marks, and with expressions recognised as MuranoPL does (spec/muranopl.md §3).

The tree is built from libyaml's event stream by a loop rather than by recursion, so that no input can exhaust the
stack. Mappings and sequences know where they and their parts stand; aliases share one object, and what they would
amount to when spelled out is counted and limited.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Hashable
from typing import Any

import yaml
from yaml._yaml import CParser

from dsl.errors import Problem, SyntaxProblem
from dsl.syntax import expressions
from dsl.syntax.collection import without_collections
from dsl.syntax.expressions import Expression
from dsl.syntax.locations import POINT, Location, unpacked

MAX_CHARACTERS = 4_000_000  # of one file; the longest class file in public packages has 60,000
MAX_NUMBER = 4_000  # characters of one number: 1:59:59:59... takes the square of its length to read
MAX_DEPTH = 100  # collections inside each other
MAX_NODES = 500_000  # with every alias counted as if its content were written out

_TOO_NESTED = f"collections are nested more than {MAX_DEPTH} levels deep"
_TOO_DEEP = "maximum nesting depth"  # of libyaml's newer releases, which look ahead and may come to theirs before us


class Mapping(dict):
    """A YAML mapping that knows where it stands. Keys are scalars or `Expression`s."""

    __slots__ = ("_places", "file", "place")

    def __init__(self, file: str = "", place: int = 0) -> None:
        self.file = file
        self.place = place  # packed, as in dsl.syntax.locations
        self._places: dict[Hashable, int] = {}  # the points where a key and its value begin, packed like a place

    @property
    def location(self) -> Location:
        """Where the mapping stands."""
        return unpacked(self.file, self.place)

    def key_location(self, key: Hashable) -> Location:
        """Where `key` stands; the mapping's own place for a key it does not have."""
        found = self._places.get(key)
        return self.location if found is None else _location(self.file, found >> 48, key)

    def value_location(self, key: Hashable) -> Location:
        """Where the value of `key` stands; the mapping's own place for a key it does not have."""
        found = self._places.get(key)
        return self.location if found is None else _location(self.file, found & POINT, self[key])


class Sequence(list):
    """A YAML sequence that knows where it stands."""

    __slots__ = ("_items", "file", "place")

    def __init__(self, file: str = "", place: int = 0) -> None:
        self.file = file
        self.place = place
        self._items: list[int] = []  # the points where they begin

    @property
    def location(self) -> Location:
        """Where the sequence stands."""
        return unpacked(self.file, self.place)

    def item_location(self, index: int) -> Location:
        """Where the item stands."""
        return _location(self.file, self._items[index], self[index])


def _location(file: str, begin: int, value: object) -> Location:
    """The place of what begins at a point: its own, or one line's for scalars, whose ends nobody looks at."""
    if isinstance(value, (Mapping, Sequence, Expression)) and value.place >> 48 == begin:
        return value.location
    return unpacked(file, begin << 48 | begin + (len(value) if isinstance(value, str) else 0))


def load(text: str | bytes, file: str, *, parse_expressions: bool = True) -> list[object]:
    """All documents of a YAML text: None, bool, int, float, str, date, bytes, `Expression`, `Mapping`, `Sequence`.

    With `parse_expressions` off (manifests) plain scalars follow YAML 1.1 only. Raises SyntaxProblem, and nothing else,
    whatever the text is.
    """
    with without_collections():
        return _Builder(_decoded(text, file), file, parse_expressions).documents()


def forget() -> None:
    """Remember no expressions and numbers from the files read so far, so that reading can be measured."""
    _resolved.cache_clear()
    _resolved_plainly.cache_clear()


def _decoded(source: str | bytes, file: str) -> str:
    text = source if isinstance(source, str) else ""
    if isinstance(source, bytes):
        encoding = "utf-16" if source[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        try:
            text = source.decode(encoding)
        except UnicodeDecodeError as error:
            line = source.count(b"\n", 0, error.start) + 1
            column = error.start - (source.rfind(b"\n", 0, error.start) + 1) + 1
            message = "the file is not valid UTF-8"
            found = f"byte 0x{source[error.start]:02x}"
            raise SyntaxProblem(Problem(file, line, column, message, found=found, fix="save it as UTF-8")) from error
    if len(text) > MAX_CHARACTERS:
        message = "the file is too long"
        raise SyntaxProblem(
            Problem(file, None, None, message, f"at most {MAX_CHARACTERS} characters", str(len(text)), "split it")
        )
    return text


_EXPRESSION = object()  # marks in _resolve's answer that the second item is an expression's tree
_MERGE = object()  # the key `<<`
_FAILED = object()  # _resolve's answer for what has no value; the second item tells why


_NO_KEY = object()


class _Builder:
    def __init__(self, text: str, file: str, parse_expressions: bool) -> None:
        self._text = text
        self._file = file
        self._resolve = _resolved if parse_expressions else _resolved_plainly
        self._anchors: dict[str, tuple[object, int]] = {}  # the value, and how many nodes it amounts to

    def documents(self) -> list[object]:
        result: list[object] = []
        try:
            parser = CParser(self._text)
            try:
                while (event := parser.get_event()) is not None:
                    if isinstance(event, yaml.DocumentStartEvent):
                        self._anchors = {}
                        result.append(self._document(parser))
            finally:
                parser.dispose()
        except yaml.MarkedYAMLError as error:
            mark: Any = error.problem_mark or error.context_mark
            if mark and _TOO_DEEP in str(error.problem):
                raise self._problem(mark.line << 24 | mark.column, _TOO_NESTED) from error
            message = f"the YAML is not valid: {error.problem or error.context}"
            if error.problem and error.context:
                message += f" ({error.context})"
            kind = type(error)
            raise SyntaxProblem(
                Problem(self._file, mark and mark.line + 1, mark and mark.column + 1, message),
                f"{kind.__module__}.{kind.__name__}",
            ) from error
        except yaml.YAMLError as error:
            raise SyntaxProblem(self._unreadable(error)) from error
        except UnicodeEncodeError as error:  # lone surrogates, which a str can hold but UTF-8 can not
            line = self._text.count("\n", 0, error.start) + 1
            raise SyntaxProblem(Problem(self._file, line, None, "the text holds a lone surrogate code")) from error
        return result

    def _unreadable(self, error: yaml.YAMLError) -> Problem:
        match = _UNPRINTABLE.search(self._text)
        if match is None:
            return Problem(self._file, None, None, f"the YAML is not valid: {error}")
        line = self._text.count("\n", 0, match.start()) + 1
        column = match.start() - (self._text.rfind("\n", 0, match.start()) + 1) + 1
        message = "YAML does not allow control characters"
        return Problem(self._file, line, column, message, found=f"U+{ord(match.group()):04X}", fix="remove it")

    def _document(self, parser: CParser) -> object:
        """The document whose beginning was read last. Half of all reading is in this loop, so it calls little."""
        get_event, resolve, file = parser.get_event, self._resolve, self._file
        outer: list[tuple[Any, ...]] = []  # what the names below were for the collections around the innermost one
        collection: Any = None
        key: object = _NO_KEY
        key_begin = begin = 0
        merges: list[tuple[object, int]] | None = None
        opening: Any = None  # the event that opened the collection
        before = nodes = 0  # nodes of the document so far, with aliases written out: when it was opened, now
        while True:
            event: Any = get_event()
            kind = type(event)
            mark = event.start_mark
            begin = mark.line << 24 | mark.column
            nodes += 1
            if kind is yaml.ScalarEvent:
                if event.tag is not None:
                    value = self._tagged(event, begin)
                else:
                    value = event.value
                    if event.implicit[0]:
                        meaning, value = resolve(value) if len(value) <= _REMEMBERED else resolve.__wrapped__(value)
                        if meaning is _EXPRESSION:
                            mark = event.end_mark
                            value = Expression(event.value, value, file, begin << 48 | mark.line << 24 | mark.column)
                        elif meaning is not None:
                            is_key = key is _NO_KEY and type(collection) is Mapping
                            value = self._special(event.value, meaning, value, begin, is_key)
                if event.anchor is not None:
                    self._anchors[event.anchor] = (value, 1)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                if len(outer) >= MAX_DEPTH:
                    raise self._problem(begin, _TOO_NESTED)
                outer.append((collection, key, key_begin, merges, opening, before))
                collection = Mapping(file, begin) if kind is yaml.MappingStartEvent else Sequence(file, begin)
                key, merges, opening, before = _NO_KEY, None, event, nodes
                if event.tag is not None:
                    self._check_tag(event.tag, kind is yaml.MappingStartEvent, begin)
                if event.anchor is not None:
                    self._anchors[event.anchor] = (_EXPRESSION, 0)  # an alias inside it would be recursive
                continue
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                nodes -= 1
                value, end, begin = collection, begin, collection.place  # the end is no longer than a point
                value.place = begin << 48 | end
                if merges is not None:
                    value = self._merged(value, merges)
                if opening.tag is not None:
                    value = self._as_tagged(value, opening.tag, begin)
                if opening.anchor is not None:
                    self._anchors[opening.anchor] = (value, nodes - before + 1)
                collection, key, key_begin, merges, opening, before = outer.pop()
            elif kind is yaml.AliasEvent:
                value, weight = self._alias(event.anchor, begin)
                nodes += weight - 1
            else:  # the document's end
                return value
            if nodes > MAX_NODES:
                raise self._problem(begin, f"the document amounts to more than {MAX_NODES} nodes")
            if type(collection) is Mapping:
                if key is _NO_KEY:
                    if isinstance(value, (dict, list, set)):
                        raise self._problem(begin, "a mapping's key must be a scalar or an expression")
                    key, key_begin = value, begin
                elif key is _MERGE:
                    key = _NO_KEY
                    merges = [*(merges or ()), (value, begin)]
                else:
                    collection[key] = value
                    collection._places[key] = key_begin << 48 | begin
                    key = _NO_KEY
            elif collection is not None:
                collection.append(value)
                collection._items.append(begin)

    def _as_tagged(self, collection: Mapping | Sequence, tag: str, begin: int) -> object:
        if tag == "tag:yaml.org,2002:set":
            return set(collection)
        if tag in _PAIR_LISTS:
            if not all(isinstance(item, dict) and len(item) == 1 for item in collection):
                raise self._problem(begin, "each item of an ordered mapping must be one `key: value`")
            pairs = [next(iter(item.items())) for item in collection]
            return pairs
        return collection

    def _merged(self, own: Mapping, merges: list[tuple[object, int]]) -> Mapping:
        """Own keys win over merged ones, an earlier merged mapping over a later one."""
        sources: list[Mapping] = []
        for value, begin in merges:
            parts = value if isinstance(value, Sequence) else [value]
            for part in reversed(parts):
                if not isinstance(part, Mapping):
                    raise self._problem(begin, "`<<` merges a mapping or a list of mappings")
                sources.append(part)
        result = Mapping(own.file, own.place)
        for source in [*sources, own]:
            result.update(source)
            result._places.update(source._places)
        return result

    def _alias(self, anchor: str, begin: int) -> tuple[object, int]:
        if anchor not in self._anchors:
            raise self._problem(begin, f"the anchor `&{anchor}` of this alias is not defined above it")
        value, weight = self._anchors[anchor]
        if value is _EXPRESSION:
            raise self._problem(begin, f"the alias `*{anchor}` stands inside what it refers to")
        return value, weight

    def _special(self, text: str, meaning: object, reason: Any, begin: int, is_key: bool) -> object:
        """A plain scalar that has no value of its own."""
        if meaning is _MERGE and is_key:
            return _MERGE
        if text == "=" and is_key:
            return "="
        raise self._problem(begin, f"`{text[:80]}` is not valid here: {reason}")

    def _tagged(self, event: Any, begin: int) -> object:
        tag, end = event.tag, event.end_mark
        if tag == "!" or tag == "tag:yaml.org,2002:str":
            return event.value
        if tag == "!yaql":
            source = self._text[event.start_mark.index : end.index]
            indent = source.find(event.value) if "\n" not in source else -1
            place = begin << 48 | end.line << 24 | end.column
            return expressions.parse_expression(event.value, self._file, place, indent if indent >= 0 else None)
        try:
            return _construct(tag, event.value)
        except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise self._problem(begin, f"`{event.value[:80]}` can not be read as {_tag_name(tag)}") from error

    def _check_tag(self, tag: str, mapping: bool, begin: int) -> None:
        if tag == "!":
            return
        if tag not in (_MAPPING_TAGS if mapping else _SEQUENCE_TAGS):
            what = "mapping" if mapping else "list"
            raise self._problem(begin, f"the tag {_tag_name(tag)} is not allowed on a {what}")

    def _problem(self, begin: int, message: str) -> SyntaxProblem:
        found = unpacked(self._file, begin << 48)
        return SyntaxProblem(Problem(found.file, found.line, found.column, message))


_PAIR_LISTS = ("tag:yaml.org,2002:omap", "tag:yaml.org,2002:pairs")
_SEQUENCE_TAGS = ("tag:yaml.org,2002:seq", *_PAIR_LISTS)
_MAPPING_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:set")
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_WORDS = re.compile(r"[\s\w.]*", re.UNICODE)  # such plain scalars are texts, however well they parse


_REMEMBERED = 200  # characters of a plain scalar whose meaning is remembered


@functools.lru_cache(maxsize=20_000)
def _resolved(value: str) -> tuple[object, Any]:
    """The same as `_resolved_plainly`, or (_EXPRESSION, its tree)."""
    kind, result = _meaning(value)
    if result is not value or kind is not None or _WORDS.fullmatch(value):
        return kind, result
    tree = expressions.parse_if_any(value)
    return (None, value) if tree is None else (_EXPRESSION, tree)


@functools.lru_cache(maxsize=20_000)
def _resolved_plainly(value: str) -> tuple[object, Any]:
    """(None, the value) of an untagged plain scalar by YAML 1.1; (_MERGE, reason) or (_FAILED, reason) without one."""
    return _meaning(value)


def _meaning(value: str) -> tuple[object, Any]:
    for tag, pattern in _IMPLICIT.get(value[:1], ()):
        if pattern.match(value):
            if tag == "tag:yaml.org,2002:merge":
                return _MERGE, "`<<` merges mappings and must be a key"
            try:
                return None, _construct(tag, value)
            except (yaml.YAMLError, ValueError, KeyError, OverflowError) as error:
                return _FAILED, f"{_tag_name(tag)}: {error}" if isinstance(error, ValueError) else "it has no value"
    return None, value


_IMPLICIT = yaml.SafeLoader.yaml_implicit_resolvers


def _construct(tag: str, value: str) -> object:
    """The value of a scalar with a standard YAML 1.1 tag. Raises YAMLError for tags that are none."""
    if len(value) > MAX_NUMBER and tag in _NUMBERS:
        raise ValueError(f"a number has at most {MAX_NUMBER} characters")
    constructor = _SafeConstructor()
    return constructor.construct_object(yaml.ScalarNode(tag, value))


class _SafeConstructor(yaml.constructor.SafeConstructor):
    pass


_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def _tag_name(tag: str) -> str:
    return "!!" + tag.rpartition(":")[2] if tag.startswith("tag:yaml.org,2002:") else tag
