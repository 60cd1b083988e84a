"""YAML with source marks, and with expressions recognised as MuranoPL does (spec/muranopl.md §3).

The tree is built from libyaml's event stream by a loop rather than by recursion, so that no input can exhaust the
stack. Mappings and sequences know where they and their parts stand; aliases share one object, and what they would
amount to when spelled out is counted and limited.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Hashable
from typing import Any

import yaml
from yaml._yaml import CParser

from dsl.errors import Problem, SyntaxProblem
from dsl.syntax import expressions
from dsl.syntax.collection import without_collections
from dsl.syntax.expressions import Expression
from dsl.syntax.locations import Location, spanning, unpacked

MAX_CHARACTERS = 4_000_000  # of one file; the longest class file in public packages has 60,000
MAX_NUMBER = 4_000  # characters of one number: 1:59:59:59... takes the square of its length to read
MAX_DEPTH = 100  # collections inside each other
MAX_NODES = 500_000  # with every alias counted as if its content were written out


class Mapping(dict):
    """A YAML mapping that knows where it stands. Keys are scalars or `Expression`s."""

    __slots__ = ("_keys", "_values", "file", "place")

    def __init__(self, file: str = "", place: int = 0) -> None:
        super().__init__()
        self.file = file
        self.place = place  # packed, as in dsl.syntax.locations
        self._keys: dict[Hashable, int] = {}
        self._values: dict[Hashable, int] = {}

    @property
    def location(self) -> Location:
        """Where the mapping stands."""
        return unpacked(self.file, self.place)

    def key_location(self, key: Hashable) -> Location:
        """Where `key` stands; the mapping's own place for a key it does not have."""
        return unpacked(self.file, self._keys.get(key, self.place))

    def value_location(self, key: Hashable) -> Location:
        """Where the value of `key` stands; the mapping's own place for a key it does not have."""
        return unpacked(self.file, self._values.get(key, self.place))


class Sequence(list):
    """A YAML sequence that knows where it stands."""

    __slots__ = ("_items", "file", "place")

    def __init__(self, file: str = "", place: int = 0) -> None:
        super().__init__()
        self.file = file
        self.place = place
        self._items: list[int] = []

    @property
    def location(self) -> Location:
        """Where the sequence stands."""
        return unpacked(self.file, self.place)

    def item_location(self, index: int) -> Location:
        """Where the item stands."""
        return unpacked(self.file, self._items[index])


def load(text: str | bytes, file: str, *, parse_expressions: bool = True) -> list[object]:
    """All documents of a YAML text: None, bool, int, float, str, date, bytes, `Expression`, `Mapping`, `Sequence`.

    With `parse_expressions` off (manifests) plain scalars follow YAML 1.1 only. Raises SyntaxProblem, and nothing else,
    whatever the text is.
    """
    with without_collections():
        return _Builder(_decoded(text, file), file, parse_expressions).documents()


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


class _Open:
    """A collection whose end has not been read yet."""

    __slots__ = ("anchor", "collection", "key", "key_place", "merges", "tag", "weight")

    def __init__(self, collection: Mapping | Sequence, anchor: str | None, tag: str | None) -> None:
        self.collection = collection
        self.anchor = anchor
        self.tag = tag
        self.key: object = _NO_KEY
        self.key_place = 0
        self.merges: list[tuple[object, int]] = []
        self.weight = 1


_NO_KEY = object()


class _Builder:
    def __init__(self, text: str, file: str, parse_expressions: bool) -> None:
        self._text = text
        self._file = file
        self._resolve: Callable[[str], tuple[object, Any]] = (
            _resolve_with_expressions if parse_expressions else _resolve_plain
        )
        self._anchors: dict[str, tuple[object, int]] = {}
        self._total = 0

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
        stack: list[_Open] = []
        result: object = None
        while True:
            event: Any = parser.get_event()
            kind = type(event)
            start, end = event.start_mark, event.end_mark
            place = ((start.line << 24 | start.column) << 24 | end.line) << 24 | end.column  # packed()
            if kind is yaml.ScalarEvent:
                weight = 1
                value = self._scalar(event, place, stack)
                if event.anchor is not None:
                    self._anchors[event.anchor] = (value, 1)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                if len(stack) >= MAX_DEPTH:
                    raise self._problem(place, f"collections are nested more than {MAX_DEPTH} levels deep")
                collection = (Mapping if kind is yaml.MappingStartEvent else Sequence)(self._file, place)
                self._check_tag(event.tag, kind is yaml.MappingStartEvent, place)
                if event.anchor is not None:
                    self._anchors[event.anchor] = (_EXPRESSION, 0)  # an alias inside it would be recursive
                stack.append(_Open(collection, event.anchor, event.tag))
                continue
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                done = stack.pop()
                value, weight = self._closed(done, place), done.weight
                place = done.collection.place
                if done.anchor is not None:
                    self._anchors[done.anchor] = (value, weight)
            elif kind is yaml.AliasEvent:
                value, weight = self._alias(event.anchor, place)
            else:  # the document's end
                return result
            if not stack:
                result = value
                continue
            parent = stack[-1]
            parent.weight += weight
            if parent.weight > MAX_NODES:
                raise self._problem(place, f"the document amounts to more than {MAX_NODES} nodes")
            self._add(parent, value, place)

    def _add(self, parent: _Open, value: object, place: int) -> None:
        collection = parent.collection
        if isinstance(collection, Sequence):
            collection.append(value)
            collection._items.append(place)
        elif parent.key is _NO_KEY:
            if isinstance(value, (dict, list, set)):
                raise self._problem(place, "a mapping's key must be a scalar or an expression")
            parent.key = value
            parent.key_place = place
        else:
            key, parent.key = parent.key, _NO_KEY
            if key is _MERGE:
                parent.merges.append((value, place))
            else:
                collection[key] = value
                collection._keys[key] = parent.key_place
                collection._values[key] = place

    def _closed(self, done: _Open, end: int) -> object:
        collection = done.collection
        collection.place = spanning(collection.place, end)
        if isinstance(collection, Mapping):
            if done.merges:
                collection = self._merged(collection, done.merges)
            if done.tag == "tag:yaml.org,2002:set":
                return set(collection)
        elif done.tag in _PAIR_LISTS:
            if not all(isinstance(item, dict) and len(item) == 1 for item in collection):
                raise self._problem(collection.place, "each item of an ordered mapping must be one `key: value`")
            pairs = [next(iter(item.items())) for item in collection]
            return pairs
        return collection

    def _merged(self, own: Mapping, merges: list[tuple[object, int]]) -> Mapping:
        """Own keys win over merged ones, an earlier merged mapping over a later one."""
        sources: list[Mapping] = []
        for value, place in merges:
            parts = value if isinstance(value, Sequence) else [value]
            for part in reversed(parts):
                if not isinstance(part, Mapping):
                    raise self._problem(place, "`<<` merges a mapping or a list of mappings")
                sources.append(part)
        result = Mapping(own.file, own.place)
        for source in [*sources, own]:
            result.update(source)
            result._keys.update(source._keys)
            result._values.update(source._values)
        return result

    def _alias(self, anchor: str, place: int) -> tuple[object, int]:
        if anchor not in self._anchors:
            raise self._problem(place, f"the anchor `&{anchor}` of this alias is not defined above it")
        value, weight = self._anchors[anchor]
        if value is _EXPRESSION:
            raise self._problem(place, f"the alias `*{anchor}` stands inside what it refers to")
        return value, weight

    def _scalar(self, event: Any, place: int, stack: list[_Open]) -> object:
        tag = event.tag
        if tag is None and event.implicit[0]:
            kind, value = self._resolve(event.value)
            if kind is None:
                return value
            if kind is _EXPRESSION:
                return Expression(event.value, value, self._file, place)
            is_key = bool(stack) and _expects_key(stack[-1])
            if kind is _MERGE and is_key:
                return _MERGE
            if event.value == "=" and is_key:
                return "="
            raise self._problem(place, f"`{event.value[:80]}` is not valid here: {value}")
        if tag is None or tag == "!" or tag == "tag:yaml.org,2002:str":
            return event.value
        if tag == "!yaql":
            source = self._text[event.start_mark.index : event.end_mark.index]
            indent = source.find(event.value) if "\n" not in source else -1
            return expressions.parse_expression(event.value, self._file, place, indent if indent >= 0 else None)
        try:
            return _construct(tag, event.value)
        except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise self._problem(place, f"`{event.value[:80]}` can not be read as {_tag_name(tag)}") from error

    def _check_tag(self, tag: str | None, mapping: bool, place: int) -> None:
        if tag is None or tag == "!":
            return
        if tag not in (_MAPPING_TAGS if mapping else _SEQUENCE_TAGS):
            what = "mapping" if mapping else "list"
            raise self._problem(place, f"the tag {_tag_name(tag)} is not allowed on a {what}")

    def _problem(self, place: int, message: str) -> SyntaxProblem:
        found = unpacked(self._file, place)
        return SyntaxProblem(Problem(found.file, found.line, found.column, message))


def _expects_key(parent: _Open) -> bool:
    return parent.key is _NO_KEY and isinstance(parent.collection, Mapping)


_PAIR_LISTS = ("tag:yaml.org,2002:omap", "tag:yaml.org,2002:pairs")
_SEQUENCE_TAGS = ("tag:yaml.org,2002:seq", *_PAIR_LISTS)
_MAPPING_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:set")
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_WORDS = re.compile(r"[\s\w.]*", re.UNICODE)  # such plain scalars are texts, however well they parse


@functools.lru_cache(maxsize=20_000)
def _resolve_with_expressions(value: str) -> tuple[object, Any]:
    kind, result = _resolve_plain(value)
    if result is not value or kind is not None or _WORDS.fullmatch(value):
        return kind, result
    tree = expressions.parse_if_any(value)
    return (None, value) if tree is None else (_EXPRESSION, tree)


@functools.lru_cache(maxsize=20_000)
def _resolve_plain(value: str) -> tuple[object, Any]:
    """(None, the value) of an untagged plain scalar by YAML 1.1; (_MERGE, reason) or (_FAILED, reason) without one."""
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
