"""Packages of one program: which version of which package a name means (spec/muranopl.md §1, §4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dsl.errors import NoClassFound, NoPackageForClassFound, NoPackageFound
from dsl.packages import Package, Version, VersionSpec

if TYPE_CHECKING:
    from dsl.runtime.classes import MuranoClass

CORE = "io.murano"
_EXTENSIONS = "io.murano.extensions."


class LoadedPackage:
    """One package version with the classes that were needed so far."""

    def __init__(self, registry: Registry, name: str, version: Version, package: Package | None) -> None:
        self.registry = registry
        self.name = name
        self.version = version
        self.package = package  # None only for io.murano where the library has no such package
        self.format_version = package.format_version if package is not None else "1.4"
        self.classes: dict[str, MuranoClass] = {}
        self.files: dict[str, str] = {}  # class file -> the listed class it was first read for
        self.requirements = self._requirements()
        self._found: dict[tuple[str, bool], MuranoClass] = {}

    def _requirements(self) -> dict[str, VersionSpec]:
        result: dict[str, VersionSpec] = {}
        if self.name != CORE:
            result[CORE] = VersionSpec.parse("0")
        if self.package is not None and self.package.manifest.kind == "MuranoPL":
            result.update(self.package.manifest.require)
        result.setdefault(self.name, VersionSpec.parse(f"=={self.version.major}"))
        return result

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.package.class_names) if self.package is not None else ()

    def file_of(self, class_name: str) -> tuple[str, str] | None:
        """(file, listed class it is read for) of a class, None for one the package has not.

        A class that the manifest does not list is known from when another class of its file was (spec/muranopl.md §2).
        """
        if self.package is None:
            return None
        listed = self.package.manifest.classes.get(class_name)
        if listed is not None:
            return listed, class_name
        for file, reader in self.files.items():
            if class_name in self.package.declarations.of_file(file, reader):
                return file, reader
        return None

    def provides(self, class_name: str) -> bool:
        if self.package is not None and class_name in self.package.manifest.classes:
            return True
        return self.name == CORE and class_name in self.registry.natives

    def find_class(self, name: str, search_requirements: bool = True) -> MuranoClass:
        """The class a full name means for this package's code. Raises NoClassFound."""
        key = (name, search_requirements)
        if key not in self._found:
            self._found[key] = self._search(name, search_requirements)
        return self._found[key]

    def _search(self, name: str, search_requirements: bool) -> MuranoClass:
        return self.registry.load_class(*self.home_of(name, search_requirements))

    def home_of(self, name: str, search_requirements: bool = True) -> tuple[LoadedPackage, str]:
        """(package, name there) of a class, which is not loaded. Raises NoClassFound."""
        if self.provides(name):
            return self, name
        searched: list[LoadedPackage] = []
        if search_requirements:
            for required, spec in self.requirements.items():
                if required == self.name:
                    continue
                package = self.registry.find_required(required, spec)
                searched.append(package)
                for candidate in (name, name.removeprefix(_EXTENSIONS)):
                    if package.provides(candidate):
                        return package, candidate
        if self.file_of(name) is not None:  # last, because it reads files that need not be read for other names
            return self, name
        places = ", ".join(f"{package.name}/{package.version}" for package in [*searched, self])
        raise NoClassFound(f'Class "{name}" is not found in {places}')

    def __repr__(self) -> str:
        return f"MuranoPackage({self.name}/{self.version})"


class Registry:
    """All packages a program can see. Versions that the previous deployment used win over newer ones (§4.3)."""

    def __init__(
        self,
        packages: Iterable[Package],
        natives: Mapping[str, type],
        fixations: Mapping[str, Iterable[object]],
        link: Callable[[LoadedPackage, str], MuranoClass],
    ) -> None:
        self.natives = natives
        self.available: dict[str, dict[Version, Package | None]] = {}
        for package in packages:
            self.available.setdefault(package.full_name, {}).setdefault(package.version, package)
        if CORE not in self.available:
            self.available[CORE] = {Version.coerce("0.0.0"): None}
        self.fixations = {
            name: [Version.coerce(version) for version in versions] for name, versions in fixations.items()
        }
        self.loaded: dict[tuple[str, Version], LoadedPackage] = {}
        self._link = link
        self._providers: dict[str, dict[str, list[Version]]] = {}  # class -> package -> versions
        self._chosen: set[tuple[str, Version]] = set()

    def find_package(self, name: str, spec: VersionSpec) -> LoadedPackage:
        """The best version of a package. Raises NoPackageFound."""
        version = self._best(name, spec)
        if version is None:
            raise NoPackageFound(f'Package "{name}" ({spec.text}) is not found')
        return self._load(name, version)

    def find_required(self, name: str, spec: VersionSpec) -> LoadedPackage:
        """The same for a requirement of a package: the next deployment is to be fixed to this choice."""
        package = self.find_package(name, spec)
        self._chosen.add((name, package.version))
        return package

    def find_package_of_class(self, class_name: str, spec: VersionSpec) -> LoadedPackage:
        """The best version of the package that has a class. Raises NoPackageForClassFound."""
        for name, having in self._having(class_name):
            version = self._best(name, spec, having)
            if version is not None:
                return self._load(name, version)
        raise NoPackageForClassFound(f'Package for class "{class_name}" is not found')

    def _having(self, class_name: str) -> list[tuple[str, list[Version]]]:
        """(package, its versions that have the class), in the order of the library."""
        if not self._providers:
            for name, versions in self.available.items():
                for version, package in versions.items():
                    classes = set(package.manifest.classes) if package is not None else set()
                    for each in classes | set(self.natives) if name == CORE else classes:
                        self._providers.setdefault(each, {}).setdefault(name, []).append(version)
        return list(self._providers.get(class_name, {}).items())

    def _best(self, name: str, spec: VersionSpec, among: list[Version] | None = None) -> Version | None:
        versions = list(self.available.get(name, ())) if among is None else among
        fixed = spec.select(version for version in self.fixations.get(name, ()) if version in versions)
        if fixed is not None:
            return fixed
        return spec.select(versions)

    def _load(self, name: str, version: Version) -> LoadedPackage:
        key = (name, version)
        if key not in self.loaded:
            self.loaded[key] = LoadedPackage(self, name, version, self.available[name][version])
        return self.loaded[key]

    def load_class(self, package: LoadedPackage, name: str) -> MuranoClass:
        """A class of this package, linked at the first need."""
        cls = package.classes.get(name)
        return cls if cls is not None else self._link(package, name)

    def used_versions(self) -> dict[str, list[str]]:
        """What the next deployment should be fixed to; objects of the model know their versions themselves."""
        result: dict[str, list[Any]] = {}
        for name, version in self._chosen:
            result.setdefault(name, []).append(version)
        return {name: [str(version) for version in sorted(versions)] for name, versions in sorted(result.items())}
