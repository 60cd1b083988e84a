"""One class from several versions of its ancestors' packages (spec/muranopl.md §10.6).

Parents may require different versions of one package. Where a version that is there anyway satisfies several of these
requirements it is used for all of them, so that as few versions as possible remain; an ancestor whose own parents
change by that is linked once more, under the same name. Versions that can not be merged stay unrelated classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

from dsl.packages import Version, VersionSpec
from dsl.runtime.classes import MuranoClass
from dsl.runtime.packages import LoadedPackage

Relink = Callable[[MuranoClass, tuple[MuranoClass, ...]], MuranoClass]


def merged(package: LoadedPackage, parents: tuple[MuranoClass, ...], relink: Relink) -> tuple[MuranoClass, ...]:
    """The parents that a class of `package` gets instead of those its own requirements found."""
    versions = _versions(parents)
    conflicts = [name for name, found in versions.items() if len(found) > 1]
    if not conflicts:
        return parents
    chosen: dict[str, tuple[Version, ...]] = {}
    for name in conflicts:
        specs = list(_requirements(name, package, parents))
        chosen[name] = _fewest(sorted(versions[name], reverse=True), specs)
    return _Merger(chosen, relink).parents_of(package, parents)


def _versions(parents: Iterable[MuranoClass]) -> dict[str, set[Version]]:
    found: dict[str, set[Version]] = {}
    for parent in parents:
        for package in parent.packages:
            found.setdefault(package.name, set()).add(package.version)
    return found


def _requirements(name: str, package: LoadedPackage, parents: Iterable[MuranoClass]) -> Iterable[VersionSpec]:
    """What introduced versions of a package: the requirements of the classes that inherit directly from it."""
    edges = [(package, parent) for parent in parents]
    for parent in parents:
        edges.extend((cls.package, each) for cls in parent.lineage for each in cls.parents)
    for source, target in edges:
        if target.package.name == name:
            spec = source.requirements.get(name)
            if spec is not None:
                yield spec


def _fewest(versions: list[Version], specs: list[VersionSpec]) -> tuple[Version, ...]:
    """The smallest set of versions that satisfies all requirements; among equal ones the highest."""
    for count in range(1, len(versions)):
        for subset in itertools.combinations(versions, count):
            if all(any(spec.matches(version) for version in subset) for spec in specs):
                return subset
    return tuple(versions)


class _Merger:
    def __init__(self, chosen: dict[str, tuple[Version, ...]], relink: Relink) -> None:
        self._chosen = chosen
        self._relink = relink
        self._done: dict[MuranoClass, MuranoClass] = {}

    def parents_of(self, source: LoadedPackage, parents: tuple[MuranoClass, ...]) -> tuple[MuranoClass, ...]:
        return tuple(self._merged(self._replaced(source, parent)) for parent in parents)

    def _replaced(self, source: LoadedPackage, parent: MuranoClass) -> MuranoClass:
        """The class of the chosen version, where that has a class of this name."""
        name = parent.package.name
        spec = source.requirements.get(name)
        if name not in self._chosen or spec is None:
            return parent
        version = spec.select(self._chosen[name])
        if version is None or version == parent.version:
            return parent
        package = source.registry.find_package(name, VersionSpec.exactly(version))
        if not package.provides(parent.name):
            return parent
        return package.find_class(parent.name, search_requirements=False)

    def _merged(self, cls: MuranoClass) -> MuranoClass:
        if cls not in self._done:
            parents = self.parents_of(cls.package, cls.parents)
            self._done[cls] = cls if parents == cls.parents else self._relink(cls, parents)
        return self._done[cls]
