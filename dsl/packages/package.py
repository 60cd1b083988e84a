"""A package: manifest, files, class declarations (spec/muranopl.md §1).

Opening a package checks its archive and manifest only; a class file is read when one of its classes is first asked for.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping

from dsl import syntax
from dsl.errors import PackageError, Problem, SyntaxProblem
from dsl.packages import archives, heat
from dsl.packages.archives import ArchiveLimits, Files
from dsl.packages.declarations import ClassDeclaration, read_class_file
from dsl.packages.manifest import HEAT, Manifest, read_manifest
from dsl.packages.versions import Version

DEFAULT_LIMITS = ArchiveLimits()


def open_package(source: str | os.PathLike[str] | bytes, limits: ArchiveLimits = DEFAULT_LIMITS) -> Package:
    """Open a package's folder, its zip file or the bytes of one. Raises PackageError with everything found wrong."""
    return Package(archives.open_files(source, limits), nameless=isinstance(source, (bytes, bytearray, memoryview)))


class Package:
    """One version of one package. Immutable; equal by full name, version and content.

    Messages call its files by the path it was opened at; `nameless` files have none and go by the package's full name.
    """

    def __init__(self, files: Files, *, nameless: bool = False) -> None:
        self._files = files
        self.label = files.label
        if "manifest.yaml" not in files.names:
            raise PackageError([_no_manifest(files)])
        self.manifest: Manifest = read_manifest(files.read("manifest.yaml"), self.location_of("manifest.yaml"))
        if nameless:
            self.label = self.full_name
            self._files = archives.relabelled(files, self.label)
        self._class_files: ClassFiles = {}
        self._generated: dict[str, bytes] = {}
        if self.manifest.kind == HEAT:
            self._generated = _generated(self)
        self._digest: str | None = None

    @property
    def full_name(self) -> str:
        return self.manifest.full_name

    @property
    def version(self) -> Version:
        return self.manifest.version

    @property
    def format_version(self) -> str:
        """The MuranoPL format, 1.0 to 1.4, whose functions the package's code sees."""
        return self.manifest.format_version

    @property
    def declarations(self) -> Declarations:
        """Class name -> declaration; files that were read once are not read again."""
        return Declarations(self, self._class_files)

    def declaration(self, class_name: str) -> ClassDeclaration:
        """The declaration of a class. Raises KeyError for a class the package does not have, SyntaxProblem."""
        return self.declarations[class_name]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Full names of the classes that the manifest lists."""
        return tuple(self.manifest.classes)

    def unlisted(self) -> dict[str, tuple[str, ClassDeclaration | SyntaxProblem]]:
        """Class -> (file, declaration) of the classes that files of the manifest define beside those it lists.

        Code knows such a class from when another class of its file was used (spec/muranopl.md §2).
        """
        found: dict[str, tuple[str, ClassDeclaration | SyntaxProblem]] = {}
        for listed, file in self.manifest.classes.items():
            try:
                classes = self.declarations.of_file(file, listed)
            except SyntaxProblem:
                continue
            for name, declaration in classes.items():
                if name not in self.manifest.classes:
                    found.setdefault(name, (file, declaration))
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """All files of the package, sorted; what is generated for a Heat package is not among them."""
        return self._files.names

    def read(self, name: str) -> bytes:
        """Content of a file, by its path in the package. Raises FileNotFoundError."""
        generated = self._generated.get(name)
        return self._files.read(name) if generated is None else generated

    def resource(self, name: str) -> bytes:
        """Content of a file below `Resources/`. Raises FileNotFoundError."""
        return self.read(f"Resources/{name}")

    def location_of(self, name: str) -> str:
        """How messages and stack traces call a file of this package."""
        return f"{self.label}/{name}" if self.label else name

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of all paths and contents in the order of paths: the same for a folder and its archive."""
        if self._digest is None:
            digest = hashlib.sha256()
            for name in self.names:
                content = self._files.read(name)
                digest.update(f"{len(name.encode())} {name} {len(content)}\n".encode())
                digest.update(content)
            self._digest = digest.hexdigest()
        return self._digest

    @property
    def ui_definition(self) -> str | None:
        """Text of the UI definition, None without one. Raises PackageError if it is not UTF-8."""
        name = f"UI/{self.manifest.ui}"
        if name not in self.names and name not in self._generated:
            return None
        try:
            return self.read(name).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            problem = Problem(self.location_of(name), None, None, "the file is not valid UTF-8", fix="save it as UTF-8")
            raise PackageError([problem]) from error

    @property
    def logo(self) -> bytes | None:
        """The image named by the manifest, or else `logo.png`; None without either."""
        return self._image(self.manifest.logo or "logo.png")

    @property
    def supplier_logo(self) -> bytes | None:
        """The supplier's image named by the manifest, or else `supplier_logo.png`; None without either."""
        return self._image(self.manifest.supplier_logo or "supplier_logo.png")

    def archive(self) -> bytes:
        """The package as a zip file; equal content gives equal bytes."""
        return archives.pack(self._files)

    def _image(self, name: str) -> bytes | None:
        return self._files.read(name) if name in self.names else None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Package):
            return NotImplemented
        return (self.full_name, self.version, self.digest) == (other.full_name, other.version, other.digest)

    def __hash__(self) -> int:
        return hash((self.full_name, self.version))

    def __repr__(self) -> str:
        return f"<Package {self.full_name} {self.version}>"


# (file, default name unless it does not matter) -> the file's classes, broken ones included
ClassFiles = dict[tuple[str, str | None], dict[str, ClassDeclaration | SyntaxProblem]]


class Declarations(Mapping[str, ClassDeclaration]):
    """Class name -> declaration, for the classes of the manifest; each file is read once, at the first need.

    A lookup raises KeyError for a class that the manifest does not list or its file does not define, SyntaxProblem for
    a file that is missing or broken.
    """

    def __init__(self, package: Package, files: ClassFiles) -> None:
        self._package = package
        self._files = files

    def __getitem__(self, name: str) -> ClassDeclaration:
        found = self.of_file(self._package.manifest.classes[name], name)[name]
        if isinstance(found, SyntaxProblem):
            raise SyntaxProblem(found.problem, found.name)  # its own would keep every caller's frames
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._package.manifest.classes)

    def __len__(self) -> int:
        return len(self._package.manifest.classes)

    def __contains__(self, name: object) -> bool:
        return name in self._package.manifest.classes

    def of_file(self, file: str, default_name: str) -> dict[str, ClassDeclaration | SyntaxProblem]:
        """All classes of a file below `Classes/`, broken ones included; `default_name` is for the one without Name."""
        classes = self._files.get((file, None)) or self._files.get((file, default_name))
        if classes is None:
            path = f"Classes/{file}" if self._package.manifest.kind != HEAT else heat.CLASS_FILE
            place = self._package.location_of(path)
            try:
                content = self._package.read(path)
            except FileNotFoundError as error:
                fix = "add the file, or correct the entry of Classes in manifest.yaml"
                problem = Problem(place, None, None, f"the file of class {default_name} does not exist", fix=fix)
                raise SyntaxProblem(problem, "murano.packages.exceptions.PackageClassLoadError") from error
            found = read_class_file(content, place, default_name)
            classes = self._files[file, default_name if found.uses_default else None] = found.classes
        return classes


def _generated(package: Package) -> dict[str, bytes]:
    """Class, UI definition and resources that a Heat package gets from its template."""
    template_file = package.location_of("template.yaml")
    if "template.yaml" not in package.names:
        fix = "add the Heat template under this name, or set Format to MuranoPL"
        raise PackageError([Problem(template_file, None, None, "a Heat.HOT package needs this file", fix=fix)])
    content = package.read("template.yaml")
    try:
        documents = syntax.load(content, template_file, parse_expressions=False)
    except SyntaxProblem as error:
        raise PackageError([error.problem]) from error
    return heat.generate(package.manifest, documents[0] if documents else None, template_file, content, package.names)


def _no_manifest(files: Files) -> Problem:
    inner = [name for name in files.names if name.endswith("/manifest.yaml")]
    if inner:
        fix = f"open {inner[0].rpartition('/')[0]}, or zip the content of the folder instead of the folder itself"
        return Problem(files.label, None, None, "no manifest.yaml at the top of the package", found=inner[0], fix=fix)
    return Problem(files.label, None, None, "no manifest.yaml: this is not a package", fix="name a package's folder")
