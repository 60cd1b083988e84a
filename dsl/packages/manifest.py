"""The manifest of a package (spec/muranopl.md §1)."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass

from dsl import syntax
from dsl.errors import PackageError, Problem, SyntaxProblem
from dsl.packages import spelling
from dsl.packages.versions import Version, VersionSpec
from dsl.syntax import Location, Mapping, Sequence

MURANOPL = "MuranoPL"
HEAT = "Heat.HOT"
FORMATS = {MURANOPL: ("1.0", "1.1", "1.2", "1.3", "1.4"), HEAT: ("1.0",)}
TYPES = ("Application", "Library")


@dataclass(frozen=True)
class Manifest:
    """What `manifest.yaml` says, completed by its defaults.

    `classes` maps full class names to file names below `Classes/`; `require` maps full package names to specifications,
    without the implicit ones. `meta` holds raw entries of `dsl.syntax`.
    """

    kind: str  # MuranoPL or Heat.HOT
    format_version: str  # 1.0 to 1.4
    full_name: str
    type: str
    name: str
    version: Version
    classes: AbstractMapping[str, str]
    require: AbstractMapping[str, VersionSpec]
    description: str
    author: str
    tags: tuple[str, ...]
    supplier: AbstractMapping[str, object]
    ui: str
    logo: str
    supplier_logo: str
    meta: tuple[object, ...]

    @property
    def format(self) -> str:
        """The normalised format, as in `MuranoPL/1.3`."""
        return f"{self.kind}/{self.format_version}"


def read_manifest(text: str | bytes, file: str = "manifest.yaml") -> Manifest:
    """Read a manifest. Raises PackageError with every problem in it."""
    try:
        documents = syntax.load(text, file, parse_expressions=False)
    except SyntaxProblem as error:
        raise PackageError([error.problem]) from error
    document = documents[0] if documents else None
    if not isinstance(document, Mapping):
        raise PackageError([Problem(file, 1, 1, "the manifest must be a mapping", "keys like FullName and Type")])
    reader = _Reader(document)
    manifest = reader.manifest()
    if reader.problems:
        raise PackageError(reader.problems)
    return manifest


class _Reader:
    """Collects every problem instead of stopping at the first."""

    def __init__(self, document: Mapping) -> None:
        self.document = document
        self.problems: list[Problem] = []

    def manifest(self) -> Manifest:
        kind, format_version = self.format()
        full_name = self.full_name()
        supplier = self.document.get("Supplier")
        if supplier is not None and not isinstance(supplier, Mapping):
            self.problem("Supplier", "Supplier must be a mapping", "keys like Name and CompanyUrl", supplier)
            supplier = None
        meta = self.document.get("Meta")
        return Manifest(
            kind=kind,
            format_version=format_version,
            full_name=full_name,
            type=self.type(),
            name=self.text("Name", full_name),
            version=self.version(),
            classes=self.classes() if kind == MURANOPL else {full_name: ""},
            require=self.require() if kind == MURANOPL else {},
            description=self.text("Description"),
            author=self.text("Author"),
            tags=self.tags(),
            supplier=dict(supplier or {}),
            ui=self.file("UI", "ui.yaml"),
            logo=self.file("Logo", ""),
            supplier_logo=self.supplier_logo(supplier),
            meta=() if meta is None else tuple(meta) if isinstance(meta, Sequence) else (meta,),
        )

    def format(self) -> tuple[str, str]:
        text = str(self.document.get("Format") or "MuranoPL/1.0")
        if text[:1].isdigit():
            text = f"{MURANOPL}/{text}"
        kind, _, number = text.partition("/")
        try:
            version = Version.coerce(number or "1.0")
        except ValueError:
            version = Version("0.0.0")
        short = f"{version.major}.{version.minor}"
        if version != Version(f"{short}.0") or short not in FORMATS.get(kind, ()):
            known = ", ".join(f"{name}/{number}" for name, numbers in FORMATS.items() for number in numbers)
            self.problem("Format", "unsupported Format", f"one of {known}", text)
            return MURANOPL, "1.0"
        return kind, short

    def full_name(self) -> str:
        value = self.document.get("FullName")
        if not isinstance(value, str) or not _FULL_NAME.match(value):
            expected = "words separated by single dots, like org.example.Wiki"
            if value is None:
                self.problem(None, "the manifest has no FullName", expected, self.similar_key("FullName"))
            else:
                self.problem("FullName", "FullName is not valid", expected, value)
            return ""
        return value

    def type(self) -> str:
        value = self.document.get("Type")
        if value in TYPES:
            return str(value)
        if value is None:
            self.problem(None, "the manifest has no Type", "Application or Library", self.similar_key("Type"))
        else:
            self.problem("Type", "unknown Type", "Application or Library", value)
        return ""

    def version(self) -> Version:
        value = self.document.get("Version")
        try:
            return Version.coerce("0.0.0" if value is None else value)
        except ValueError:
            self.problem("Version", "Version is not a version", "a semantic version like 1.2.3", value)
            return Version("0.0.0")

    def classes(self) -> dict[str, str]:
        table = self.table("Classes", "full class names and their files")
        result: dict[str, str] = {}
        for name, file in table.items():
            if not isinstance(name, str) or not _FULL_NAME.match(name):
                self.problem_at(table.key_location(name), "not a class name", "a full name like a.b.Foo", name)
            elif not isinstance(file, str) or not _is_inside(file):
                place = table.value_location(name)
                self.problem_at(place, f"the file of class {name} is not valid", "a path below Classes/", file)
            else:
                result[name] = file
        return result

    def require(self) -> dict[str, VersionSpec]:
        table = self.table("Require", "full package names and version specifications")
        result: dict[str, VersionSpec] = {}
        for name, value in table.items():
            if not isinstance(name, str) or not _FULL_NAME.match(name):
                self.problem_at(table.key_location(name), "not a package name", "a full name like a.b.Foo", name)
                continue
            try:
                if isinstance(value, (dict, list)):
                    raise ValueError("it is a collection")
                result[name] = VersionSpec.parse(value)
            except ValueError as error:
                place = table.value_location(name)
                message = f"the version of the required package {name} is not understood: {error}"
                self.problem_at(place, message, "a specification like 1.2, >=1,<2 or *", value)
        return result

    def tags(self) -> tuple[str, ...]:
        value = self.document.get("Tags")
        if value is None:
            return ()
        if not isinstance(value, Sequence) or not all(isinstance(tag, _SCALARS) for tag in value):
            self.problem("Tags", "Tags must be a list of texts", found=value)
            return ()
        return tuple(str(tag) for tag in value)

    def text(self, key: str, default: str = "") -> str:
        value = self.document.get(key)
        if value is None:
            return default
        if not isinstance(value, _SCALARS):
            self.problem(key, f"{key} must be a text", found=value)
            return default
        return str(value)

    def file(self, key: str, default: str) -> str:
        value = self.text(key, default)
        if value and not _is_inside(value):
            self.problem(key, f"{key} must name a file inside the package", "a relative path without ..", value)
            return default
        return value

    def supplier_logo(self, supplier: Mapping | None) -> str:
        value = supplier.get("Logo") if supplier else None
        if value is None:
            return ""
        if not isinstance(value, str) or not _is_inside(value):
            self.problem("Supplier", "the supplier's Logo must name a file inside the package", found=value)
            return ""
        return value

    def table(self, key: str, expected: str) -> Mapping:
        value = self.document.get(key)
        if value is None:
            return Mapping(self.document.file, self.document.place)
        if not isinstance(value, Mapping):
            self.problem(key, f"{key} must be a mapping", expected, value)
            return Mapping(self.document.file, self.document.place)
        return value

    def similar_key(self, key: str) -> str | None:
        """A key that is probably a misspelling of a missing one."""
        for found in self.document:
            if isinstance(found, str) and spelling.close_to(found.lower(), [key.lower()]):
                return f"the key {found}"
        return None

    def problem(self, key: str | None, message: str, expected: str | None = None, found: object = None) -> None:
        place = self.document.location if key is None else self.document.value_location(key)
        self.problem_at(place, message, expected, found)

    def problem_at(self, place: Location, message: str, expected: str | None = None, found: object = None) -> None:
        text = None if found is None else _described(found)
        self.problems.append(Problem(place.file, place.line, place.column, message, expected, text))


_FULL_NAME = re.compile(r"\w+(\.\w+)*\Z")
_SCALARS = (str, int, float, datetime.date)


def _is_inside(path: str) -> bool:
    """Whether a path from a manifest stays below the folder it is meant for."""
    if not path or "\\" in path or "\0" in path:
        return False
    return all(part not in ("", "..") for part in path.split("/"))


def _described(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
