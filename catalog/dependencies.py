"""Which versions of which packages belong together: `Require` resolved over whatever packages there are.

`resolve(needs, source)` picks one version per package name, or raises `Unresolvable` with one sentence that names
the chain of requirements that leads to the trouble. Sources are the project's packages (`Stored`), and repositories
behind them (`catalog.imports`). `lock_of` gives the lock a deployment is stored with. spec/muranopl §1 (implicit
requirements), §4.3.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import resolvelib
from resolvelib.structs import RequirementInformation
from sqlalchemy import orm

from catalog import conflicts, model
from catalog.db import packages
from dsl.packages import Version, VersionSpec

CORE = "io.murano"  # every package requires it, without saying so
CORE_SPEC = VersionSpec.parse("0")
MAX_TYPES = 2000  # different types in one model
FIX_ROUNDS = 300  # of the solver for each change it tries in order to propose one
MAX_ROUNDS = 5000  # of the solver; real catalogs need one or two per package


@dataclasses.dataclass(frozen=True)
class Available:
    """A version of a package that could be taken; `origin` is what the source knows it by, `rank` 0 is preferred."""

    name: str
    version: Version
    require: Mapping[str, VersionSpec] = dataclasses.field(compare=False, hash=False)
    origin: str
    rank: int = 0
    chain: tuple[str, ...] = dataclasses.field(default=(), compare=False, hash=False)

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclasses.dataclass(frozen=True)
class Need:
    """A package that has to be there. `chain` says who wants it, outermost first; `origins` narrows the choice."""

    name: str
    spec: VersionSpec
    chain: tuple[str, ...]
    origins: frozenset[str] | None = None

    def admits(self, candidate: Available) -> bool:
        if self.origins is not None and candidate.origin not in self.origins:
            return False
        return self.spec.matches(candidate.version)


class Source(Protocol):
    """Where packages come from."""

    def versions(self, name: str) -> Sequence[Available]:
        """Every version of the package, in no particular order; empty for an unknown one."""


class Unresolvable(Exception):
    """The needs cannot be met together; the message is the sentence for people, `conflict` what it is about."""

    def __init__(self, message: str, conflict: conflicts.Conflict | None = None) -> None:
        super().__init__(message)
        self.conflict = conflict

    @property
    def details(self) -> dict[str, Any]:
        """For machines: `{"conflict": {"requirements", "fixes"}}` where there is one."""
        return {} if self.conflict is None else {"conflict": self.conflict.shown()}


def resolve(needs: Iterable[Need], source: Source, where: str = "the catalog") -> dict[str, Available]:
    """One version for each needed package and, in turn, for what it requires: {name: version}.

    Prefers lower ranks, then higher versions. `where` names the source in messages. Raises `Unresolvable`.
    """
    roots = list(needs)
    try:
        return _solve(roots, _Provider(source), MAX_ROUNDS)
    except resolvelib.ResolutionImpossible as failure:
        causes = list(dict.fromkeys(cause.requirement for cause in failure.causes))
        known = _Remembered(source)
        conflict = conflicts.explain(causes, known, where, lambda waived: _try(roots, _Provider(known, waived)))
        raise Unresolvable(conflict.sentence, conflict)
    except resolvelib.ResolutionTooDeep:
        raise Unresolvable(
            f"The requirements contradict each other in too many ways to try ({MAX_ROUNDS} rounds): "
            "narrow the version ranges in the packages' Require"
        )


def _solve(needs: Sequence[Need], provider: _Provider, rounds: int) -> dict[str, Available]:
    solver: resolvelib.Resolver[Need, Available, str] = resolvelib.Resolver(provider, resolvelib.BaseReporter())
    return dict(solver.resolve(needs, max_rounds=rounds).mapping)


def _try(needs: Sequence[Need], provider: _Provider) -> dict[str, Available] | None:
    """A solution if one is found soon."""
    try:
        return _solve(needs, provider, FIX_ROUNDS)
    except (resolvelib.ResolutionImpossible, resolvelib.ResolutionTooDeep):
        return None


def requirements(available: Available) -> Iterator[Need]:
    """What a package requires, the core library included."""
    chain = (*available.chain, str(available))
    if available.name != CORE and CORE not in available.require:
        yield Need(CORE, CORE_SPEC, chain)
    for name, spec in available.require.items():
        yield Need(name, spec, chain)


class _Remembered:
    """A source that is asked for each package once, and not again for what it failed to tell."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._known: dict[str, Sequence[Available]] = {}

    def versions(self, name: str) -> Sequence[Available]:
        if name not in self._known:
            self._known[name] = self._source.versions(name)
        return self._known[name]


class _Provider(resolvelib.AbstractProvider[Need, Available, str]):
    """`waived` are needs that any version fulfils, for finding out what would help."""

    def __init__(self, source: Source, waived: frozenset[Need] = frozenset()) -> None:
        self._source = source
        self._waived = {(need.name, need.spec.text, need.chain[-1:]) for need in waived}
        self._fits: dict[tuple[str, frozenset[str] | None, str, str], bool] = {}  # matching costs most of the time

    def identify(self, requirement_or_candidate: Need | Available) -> str:
        return requirement_or_candidate.name

    def get_preference(
        self,
        identifier: str,
        resolutions: Mapping[str, Available],
        candidates: Mapping[str, Iterator[Available]],
        information: Mapping[str, Iterator[RequirementInformation[Need, Available]]],
        backtrack_causes: Sequence[RequirementInformation[Need, Available]],
    ) -> tuple[bool, int, str]:
        in_conflict = any(cause.requirement.name == identifier for cause in backtrack_causes)
        return not in_conflict, sum(1 for _ in candidates[identifier]), identifier

    def find_matches(
        self,
        identifier: str,
        requirements: Mapping[str, Iterator[Need]],
        incompatibilities: Mapping[str, Iterator[Available]],
    ) -> list[Available]:
        needs = list(requirements[identifier])
        bad = set(incompatibilities[identifier])
        found = [
            dataclasses.replace(candidate, chain=needs[0].chain)
            for candidate in self._source.versions(identifier)
            if candidate not in bad and all(self.is_satisfied_by(need, candidate) for need in needs)
        ]
        found.sort(key=lambda candidate: candidate.version, reverse=True)
        found.sort(key=lambda candidate: candidate.rank)
        return found

    def is_satisfied_by(self, requirement: Need, candidate: Available) -> bool:
        key = (requirement.spec.text, requirement.origins, candidate.name, candidate.origin)
        fits = self._fits.get(key)
        if fits is None:
            fits = self._fits[key] = requirement.admits(candidate)
        return fits or (requirement.name, requirement.spec.text, requirement.chain[-1:]) in self._waived

    def get_dependencies(self, candidate: Available) -> Iterable[Need]:
        return requirements(candidate)


# --- the packages of a project ---------------------------------------------------------------------------------------


class Stored:
    """The packages a project can use: its own before those of others, deprecated ones last, whatever their versions.

    A yanked version is offered only when its id is among those `held` by a lock.
    """

    def __init__(self, session: orm.Session, project_id: str, held: Collection[str] = ()) -> None:
        self._session = session
        self._project_id = project_id
        self._held = held
        self._known: dict[str, list[Available]] = {}
        self.rows: dict[str, packages.Package] = {}

    def versions(self, name: str) -> Sequence[Available]:
        if name not in self._known:
            rows = packages.versions_visible(self._session, self._project_id, [name], self._held)
            self._known[name] = [self._available(row) for row in rows]
        return self._known[name]

    def needs_of(self, *values: Any) -> list[Need]:
        """The packages that the types of all objects in these values need. Raises `Unresolvable`."""
        wanted: dict[tuple[str, str | None, str | None], None] = {}
        for value in values:
            wanted.update(dict.fromkeys(model.types(value)))
        if len(wanted) > MAX_TYPES:
            raise Unresolvable(f"The model has objects of {len(wanted)} types: expected at most {MAX_TYPES}")
        defining: dict[str, list[packages.Package]] = {}
        for row in packages.defining(self._session, self._project_id, {name for name, _, _ in wanted}, self._held):
            for definition in row.class_definitions:
                defining.setdefault(definition.name, []).append(row)
        return [self._need(*found, defining.get(found[0], [])) for found in wanted]

    def _need(
        self, class_name: str, version: str | None, package: str | None, rows: Sequence[packages.Package]
    ) -> Need:
        wanted = f"the type {class_name}" + (f"/{version}" if version else "") + (f"@{package}" if package else "")
        try:
            spec = VersionSpec.parse(version or "0")
        except ValueError as failure:
            raise Unresolvable(f"{wanted}: expected a version specification, found {version!r}: {failure}")
        candidates = [row for row in rows if package in (None, row.fully_qualified_name)]
        if not candidates:
            raise Unresolvable(
                f"{wanted} in the model is defined by no package that this project can use. "
                "Import the package that defines it, or correct the type."
            )
        candidates.sort(key=lambda row: (row.owner_id != self._project_id, row.fully_qualified_name))
        name = candidates[0].fully_qualified_name
        origins = frozenset(row.id for row in candidates if row.fully_qualified_name == name)
        return Need(name, spec, (wanted,), origins)

    def _available(self, row: packages.Package) -> Available:
        self.rows[row.id] = row
        return Available(
            name=row.fully_qualified_name,
            version=Version.coerce(row.version),
            require={name: VersionSpec.parse(spec) for name, spec in row.require.items()},
            origin=row.id,
            rank=(row.owner_id != self._project_id) + 2 * (row.lifecycle == packages.DEPRECATED),
        )


Lock = list[dict[str, str]]


def lock_of(session: orm.Session, project_id: str, *values: Any, held: Collection[str] = ()) -> Lock:
    """The lock for running these object models: `[{"fqn", "version", "package_id", "digest"}]` by name.

    `held` are ids of packages in the lock before, which may be yanked by now. Raises `Unresolvable`.
    """
    stored = Stored(session, project_id, held)
    return as_lock(resolve(stored.needs_of(*values), stored), stored)


def lock_of_class(
    session: orm.Session, project_id: str, class_name: str, spec: str | None, package: str | None
) -> Lock:
    """The lock for running a class by itself. Raises `Unresolvable`."""
    header = {"type": class_name, "classVersion": spec, "package": package}
    return lock_of(session, project_id, {"?": header})


def as_lock(solution: Mapping[str, Available], stored: Stored) -> Lock:
    """A solution over stored packages as the lock it is kept as."""
    lock = []
    for name in sorted(solution):
        row = stored.rows[solution[name].origin]
        lock.append({"fqn": name, "version": row.version, "package_id": row.id, "digest": row.digest})
    return lock


def exactly(version: str) -> VersionSpec:
    """The specification that only this version fulfils."""
    return VersionSpec.exactly(Version.coerce(version))


def tree(name: str, solution: Mapping[str, Available]) -> dict[str, Any]:
    """A solution as a tree of `{"fqn", "version", "packages": [...]}`; what several need is taken apart only once."""
    seen: set[str] = set()

    def branch(name: str) -> dict[str, Any]:
        chosen = solution[name]
        first = name not in seen
        seen.add(name)
        needs = [need.name for need in requirements(chosen) if need.name != CORE] if first else []
        return {"fqn": name, "version": str(chosen.version), "packages": [branch(each) for each in needs]}

    return branch(name)
