"""Manifests: JSON, or the YAML that manifests are written in, read without any library.

YAML: documents, block and flow collections, plain and quoted scalars, `|` and `>` texts, comments. Anchors, tags and
complex keys are refused with their line.
"""

from __future__ import annotations

import json
import re


class ManifestError(Exception):
    """The text cannot be read; the message names file and line."""


def objects(text: str, name: str) -> list[dict]:
    """The objects of a manifest; lists are taken apart."""
    found: list[dict] = []
    for document in documents(text, name):
        if document is None:
            continue
        if (
            not isinstance(document, dict)
            or not isinstance(document.get("kind"), str)
            or not isinstance(document.get("apiVersion"), str)
        ):
            raise ManifestError(f"error validating {name}: expected an object with apiVersion and kind")
        if document["kind"].endswith("List") and isinstance(document.get("items"), list):
            found += document["items"]
        else:
            found.append(document)
    return found


def documents(text: str, name: str) -> list[object]:
    if text.lstrip().startswith(("{", "[")):
        try:
            return [json.loads(text)]
        except ValueError as error:
            raise ManifestError(f"error parsing {name}: {error}") from None
    return [Reader(part, name, start).document() for start, part in split_documents(text)]


def split_documents(text: str) -> list[tuple[int, list[str]]]:
    parts: list[tuple[int, list[str]]] = [(1, [])]
    for number, line in enumerate(text.split("\n"), 1):
        if re.match(r"(---|\.\.\.)(\s|$)", line):
            parts.append((number + 1, []))
        else:
            parts[-1][1].append(line.rstrip("\r"))
    return parts


SCALARS = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
}
SCALARS |= {"False": False, "FALSE": False}
KEY = re.compile(
    r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s#{}\[\],"'&*!|>%@`-][^#]*?|-[^\s#][^#]*?)\s*:(?:\s+(.*)|$)""", re.DOTALL
)


class Reader:
    """One YAML document, line by line."""

    def __init__(self, lines: list[str], name: str, first: int) -> None:
        self.lines, self.name, self.first = lines, name, first
        self.at = 0
        self.where = 0  # the line that is being read, for errors

    def document(self) -> object:
        self.skip()
        if self.at == len(self.lines):
            return None
        value = self.block(self.indent())
        self.skip()
        if self.at < len(self.lines):
            raise self.error("the indentation does not fit")
        return value

    def error(self, message: str) -> ManifestError:
        return ManifestError(f"error parsing {self.name}: line {self.first + self.where}: {message}")

    def skip(self) -> None:
        while self.at < len(self.lines) and re.match(r"\s*(#|$)", self.lines[self.at]):
            self.at += 1

    def indent(self) -> int:
        line, self.where = self.lines[self.at], self.at
        if "\t" in line[: len(line) - len(line.lstrip())]:
            raise self.error("a tab cannot indent")
        return len(line) - len(line.lstrip(" "))

    def block(self, indent: int) -> object:
        """The value that begins at the current line, which is indented by `indent`."""
        text = self.lines[self.at][indent:]
        if text == "-" or text.startswith("- "):
            return self.sequence(indent)
        if KEY.fullmatch(text) and not text.startswith(("{", "[")):
            return self.mapping(indent)
        self.at += 1
        return self.inline(text, indent)

    def sequence(self, indent: int) -> list:
        values: list = []
        while self.has(indent) and re.match(r"-(\s|$)", self.lines[self.at][indent:]):
            rest = self.lines[self.at][indent + 1 :]
            if not re.match(r"\s*(#|$)", rest):  # `- a: 1` is a mapping that begins where `a` is
                self.lines[self.at] = " " * (indent + 1) + rest
                values.append(self.item(self.indent()))
            else:
                self.at += 1
                values.append(self.nested(indent + 1))
        return values

    def item(self, indent: int) -> object:
        text = self.lines[self.at][indent:]
        if text[0] in "|>":
            self.at += 1
            return self.text(text, indent - 1)
        return self.block(indent)

    def mapping(self, indent: int) -> dict:
        values: dict = {}
        while self.has(indent):
            match = KEY.fullmatch(self.lines[self.at][indent:])
            if match is None:
                break
            key = str(self.scalar(match[1]))
            if key in values:
                raise self.error(f"the key {key!r} is there twice")
            rest = re.sub(r"^#.*", "", (match[2] or "").strip())
            self.at += 1
            if not rest:
                values[key] = self.nested(indent, same=True)
            elif rest[0] in "|>":
                values[key] = self.text(rest, indent)
            else:
                values[key] = self.inline(rest, indent)
        return values

    def has(self, indent: int) -> bool:
        self.skip()
        if self.at >= len(self.lines) or self.indent() < indent:
            return False
        if self.indent() > indent:
            raise self.error("the indentation does not fit")
        return True

    def nested(self, indent: int, same: bool = False) -> object:
        """What is indented deeper; sequences may be as deep as their key."""
        self.skip()
        if self.at >= len(self.lines):
            return None
        deeper = self.indent()
        if deeper > indent or (same and deeper == indent and re.match(r"-(\s|$)", self.lines[self.at][indent:])):
            return self.block(deeper) if deeper > indent else self.sequence(indent)
        return None

    def text(self, head: str, indent: int) -> str:
        """`|` keeps lines, `>` folds them."""
        match = re.fullmatch(r"([|>])([1-9])?([+-])?([1-9])?\s*(#.*)?", head)
        if match is None:
            raise self.error(f"{head!r} cannot begin a text")
        lines: list[str] = []
        width = indent + int(match[2] or match[4]) if match[2] or match[4] else None
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.strip():
                deep = len(line) - len(line.lstrip(" "))
                width = deep if width is None else width
                if deep < width or deep <= indent:
                    break
            lines.append(line[width or 0 :])
            self.at += 1
        body = "\n".join(lines).rstrip("\n") if match[3] != "+" else "\n".join(lines)
        if match[1] == ">":  # one line end is a space, more of them are one less
            body = re.sub(r"(?<=[^\n])\n(\n*)(?=\S)", lambda ends: ends[1] or " ", body)
        return body + ("" if match[3] == "-" or not body else "\n")

    def inline(self, text: str, indent: int) -> object:
        """A value that begins on its key's line; flow collections and quoted texts may go on over the next lines."""
        text = text.strip()
        if text[0] in "{[\"'":
            while not closed(text):
                if self.at >= len(self.lines):
                    raise self.error("a bracket or quotation mark is not closed")
                text += " " + self.lines[self.at].strip()
                self.at += 1
            value, rest = self.flow(text)
            if re.sub(r"#.*", "", rest).strip():
                raise self.error(f"unexpected {rest.strip()!r}")
            return value
        text = re.sub(r"\s#.*", "", text)
        while self.at < len(self.lines) and self.lines[self.at].strip() and self.indent() > indent:
            more = re.sub(r"(^|\s)#.*", "", self.lines[self.at].strip())  # a plain text that goes on
            if KEY.fullmatch(more):
                raise self.error("a key cannot stand in a text; is the indentation right?")
            text += " " + more if more else ""
            self.at += 1
        return self.scalar(text)

    def scalar(self, text: str) -> object:
        text = text.strip()
        if text[:1] in ('"', "'"):
            return self.flow(text)[0]
        if text[:1] in ("&", "*", "!", "@", "`", "%") or text == "?" or text.startswith("? "):
            raise self.error(f"{text.split()[0]!r}: anchors, tags and complex keys are not taken here")
        if text in SCALARS:
            return SCALARS[text]
        if re.fullmatch(r"[-+]?(0|[1-9]\d*)", text):
            return int(text)
        if re.fullmatch(r"0o?[0-7]+", text):
            return int(text.replace("o", ""), 8)
        if re.fullmatch(r"0x[0-9a-fA-F]+", text):
            return int(text, 16)
        if re.fullmatch(r"[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?", text):
            return float(text)
        return text

    def flow(self, text: str) -> tuple[object, str]:
        """`{a: 1, b: [x, "y"]}`; the value and what follows it."""
        if text[0] == '"':
            match = re.match(r'"(?:[^"\\]|\\.)*"', text, re.DOTALL)
            assert match is not None
            return self.unescaped(match[0]), text[match.end() :]
        if text[0] == "'":
            match = re.match(r"'((?:[^']|'')*)'", text, re.DOTALL)
            assert match is not None
            return match[1].replace("''", "'"), text[match.end() :]
        if text[0] not in "{[":
            match = re.match(r"[^,\]}]*", text)
            assert match is not None
            return self.scalar(match[0]), text[match.end() :]
        return self.flow_mapping(text[1:].lstrip()) if text[0] == "{" else self.flow_sequence(text[1:].lstrip())

    def unescaped(self, text: str) -> str:
        try:
            return str(json.loads(text, strict=False))
        except ValueError:
            raise self.error(f"{text} has an escape that is not taken here") from None

    def flow_sequence(self, text: str) -> tuple[list, str]:
        values: list = []
        while text and text[0] != "]":
            value, text = self.flow(text)
            values.append(value)
            text = text.lstrip()
            if text[:1] == ",":
                text = text[1:].lstrip()
        return values, text[1:]

    def flow_mapping(self, text: str) -> tuple[dict, str]:
        values: dict = {}
        while text and text[0] != "}":
            match = re.match(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^,:}]+?)\s*:\s*""", text)
            if match is None:
                raise self.error(f"expected 'key: value' at {text[:40]!r}")
            text = text[match.end() :]
            value, text = (None, text) if text[:1] in (",", "}") else self.flow(text)
            values[str(self.scalar(match[1]))] = value
            text = text.lstrip()
            if text[:1] == ",":
                text = text[1:].lstrip()
        return values, text[1:]


def closed(text: str) -> bool:
    """Whether all brackets and quotation marks of the text are closed."""
    rest = re.sub(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*'", "", text, flags=re.DOTALL)
    rest = re.sub(r"\s#.*", "", rest)
    return (
        '"' not in rest
        and not rest.startswith("'")
        and rest.count("{") == rest.count("}")
        and rest.count("[") == rest.count("]")
    )
