"""How packages get into the catalog: opened defensively, checked whole, stored together or not at all.

`open_archive` is the check, `store` the storing, `import_archives` both for archives at hand (the service's own
library at first start). Imports by name from repositories are in `catalog.imports`, on top of these.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from oslo_config import cfg
from sqlalchemy import orm

from catalog import logos
from catalog.db import base, categories, contents
from catalog.db import packages as stored
from dsl import packages as dsl_packages
from dsl.packages import PackageError, Problem

FORM_LIMIT = 1 << 20  # bytes of a UI definition
NAME_LIMIT = 80  # characters of a display name
FQN_LIMIT = 128
CLASS_LIMIT = 255
TAG_LIMIT = 80
MIB = 1 << 20


class Duplicate(Exception):
    """The package, or a class of it, is there already (a 409)."""


class UnknownCategory(Exception):
    """A category that is named does not exist (a 400)."""


@dataclasses.dataclass(frozen=True)
class Opened:
    """A checked package with the archive it came in, and its logos as they are stored."""

    package: dsl_packages.Package
    archive: bytes
    logo: bytes | None
    supplier_logo: bytes | None
    ui_definition: str | None

    @property
    def name(self) -> str:
        return self.package.manifest.full_name

    @property
    def version(self) -> str:
        return str(self.package.manifest.version)


def limits_of(conf: cfg.ConfigOpts) -> dsl_packages.ArchiveLimits:
    """The operator's limits for archives."""
    return dsl_packages.ArchiveLimits(
        archive_bytes=conf.packages.size_limit * MIB,
        total_bytes=conf.packages.unpacked_limit * MIB,
        file_bytes=conf.packages.unpacked_limit * MIB,
        entries=conf.packages.file_limit,
    )


def open_archive(data: bytes, limits: dsl_packages.ArchiveLimits, *, forms: bool = False) -> Opened:
    """Opens and checks a package: manifest, every class, logos. Raises `PackageError` with all problems.

    `forms` checks the UI definition, too. The catalog does not: the original took any, and existing packages rely on
    it.
    """
    package = dsl_packages.open_package(data, limits)
    ui = package.location_of("UI/")
    found = (each for each in dsl_packages.check_package(package) if each.level == "error")
    problems = [each for each in found if forms or not each.file.startswith(ui)]
    manifest = package.manifest
    problems += _too_long(manifest)
    problems += _form_problems(ui, package.ui_definition)
    logo = _drawn(getattr(manifest, "logo", None) or "logo.png", package.logo, problems)
    supplier_logo = _drawn(
        getattr(manifest, "supplier_logo", None) or "supplier_logo.png", package.supplier_logo, problems
    )
    if problems:
        raise PackageError(problems)
    return Opened(package, data, logo, supplier_logo, package.ui_definition)


def store(
    session: orm.Session,
    opened: Opened,
    *,
    owner_id: str,
    is_public: bool = False,
    enabled: bool = True,
    category_names: Sequence[str] = (),
    tags: Sequence[str] = (),
) -> stored.Package:
    """Stores one checked package within the caller's transaction. Raises `Duplicate`, `UnknownCategory`."""
    manifest = opened.package.manifest
    refuse_duplicates(session, opened, owner_id=owner_id, is_public=is_public)
    shelves = categories.named(session, category_names)
    for name in category_names:
        if name not in shelves:
            raise UnknownCategory(f"Category {name!r} doesn't exist. Create it first, or leave it out.")
    row = stored.Package(
        fully_qualified_name=opened.name,
        version=opened.version,
        owner_id=owner_id,
        name=manifest.name,
        type=manifest.type,
        format=manifest.format,
        description=manifest.description or "The description is not provided",
        author=manifest.author or "OpenStack",
        supplier=dict(manifest.supplier),
        require={name: spec.text for name, spec in manifest.require.items()},
        is_public=is_public,
        enabled=enabled,
        digest=opened.package.digest,
        archive_digest=contents.store(session, opened.archive),
        logo_digest=None if opened.logo is None else contents.store(session, opened.logo),
        supplier_logo_digest=None if opened.supplier_logo is None else contents.store(session, opened.supplier_logo),
        ui_definition=opened.ui_definition,
    )
    row.categories = list(shelves.values())
    row.tags = stored.tags_named(session, [*manifest.tags, *tags])
    row.class_definitions = [stored.ClassDefinition(name=name) for name in manifest.classes]
    session.add(row)
    try:
        session.flush()
    except sa.exc.IntegrityError:  # another request stored the same since we looked
        raise Duplicate(f"Package {opened.name} {opened.version} already exists")
    return row


def refuse_duplicates(session: orm.Session, opened: Opened, *, owner_id: str, is_public: bool) -> None:
    """Raises `Duplicate` when the package or one of its classes is there already (spec/api-v1 §1.11, "Errors")."""
    if stored.is_owned(session, owner_id, opened.name, opened.version):
        raise Duplicate(f"Package {opened.name} {opened.version} already exists in this project")
    if is_public:
        refuse_public(session, opened.name, opened.version, owner_id)
    classes = list(opened.package.manifest.classes)
    for public in {False, is_public}:
        clashes = stored.clashing(session, opened.name, classes, project_id=owner_id, public=public)
        if clashes:
            class_name, package_name = clashes[0]
            raise Duplicate(f"Class {class_name} of package {opened.name} already exists in package {package_name}")


def refuse_public(session: orm.Session, name: str, version: str, owner_id: str) -> None:
    """Raises `Duplicate` when a public package of that name and version, or of another owner, exists."""
    for present, owner in stored.public_versions(session, name):
        if present == version or owner != owner_id:
            raise Duplicate(f"A public package {name} (version {present}) already exists")


def import_archives(
    database: base.Database,
    sources: Iterable[bytes | str | os.PathLike[str]],
    *,
    owner_id: str,
    is_public: bool = False,
    category_names: Sequence[str] = (),
    exists: str = "s",
    limits: dsl_packages.ArchiveLimits | None = None,
) -> list[tuple[str, str, str]]:
    """Stores archives or package folders in one transaction: `[(name, version, "added|skipped|updated")]`.

    Categories that are missing are created. `exists` says what happens to a package the project has in the same
    version: `s` it stays, `u` it is replaced when its content differs, `a` everything is given up (`Duplicate`).
    Raises `PackageError` for what is no valid package, with nothing stored.
    """
    bounds = limits or dsl_packages.ArchiveLimits()
    opened = [open_archive(_bytes_of(source, bounds), bounds) for source in sources]
    done = []
    with database.transaction() as session:
        for name in category_names:
            if name not in categories.named(session, [name]):
                categories.add(session, name)
        for each in opened:
            action = put(session, each, exists, owner_id=owner_id, is_public=is_public, category_names=category_names)[
                1
            ]
            done.append((each.name, each.version, action))
    return done


def put(
    session: orm.Session,
    opened: Opened,
    exists: str,
    *,
    owner_id: str,
    is_public: bool,
    category_names: Sequence[str] = (),
) -> tuple[stored.Package, str]:
    """Stores a package, or does what `exists` says when the project has this version: (row, what was done)."""
    present = stored.owned(session, owner_id, opened.name, opened.version)
    action = "added"
    if present:
        row = present[0]
        if exists == "a":
            raise Duplicate(f"Package {opened.name} {opened.version} already exists in this project")
        if exists == "s" or row.digest == opened.package.digest:
            return row, "skipped"
        stored.delete(session, row)
        session.flush()
        action = "updated"
    row = store(session, opened, owner_id=owner_id, is_public=is_public, category_names=category_names)
    return row, action


def _bytes_of(source: bytes | str | os.PathLike[str], limits: dsl_packages.ArchiveLimits) -> bytes:
    if isinstance(source, bytes):
        return source
    if os.path.isdir(source):
        return dsl_packages.open_package(source, limits).archive()
    with open(source, "rb") as file:
        return file.read(limits.archive_bytes + 1)


def _too_long(manifest: dsl_packages.Manifest) -> list[Problem]:
    bounds = [("FullName", manifest.full_name, FQN_LIMIT), ("Name", manifest.name, NAME_LIMIT)]
    bounds += [("Version", str(manifest.version), 64), ("Author", manifest.author or "", 255)]
    bounds += [("Tags", tag, TAG_LIMIT) for tag in manifest.tags]
    bounds += [("Classes", name, CLASS_LIMIT) for name in manifest.classes]
    found = []
    for key, value, limit in bounds:
        if len(value) > limit:
            found.append(
                _problem("manifest.yaml", f"{key} is too long", f"at most {limit} characters", f"{len(value)}")
            )
    return found


def _drawn(file: str, data: bytes | None, problems: list[Problem]) -> bytes | None:
    """The logo as it is stored; what is wrong with it is added to the problems."""
    if data is None:
        return None
    try:
        return logos.drawn(data)
    except logos.NoLogo as failure:
        problems.append(_problem(file, "the logo cannot be taken", logos.EXPECTED, str(failure)))
        return None


def _form_problems(file: str, text: str | None) -> list[Problem]:
    if text is None:
        return []
    expected = f"text of at most {FORM_LIMIT >> 10} KiB without NUL characters"
    if len(text.encode("utf-8", "surrogatepass")) > FORM_LIMIT:
        return [_problem(file, "the form is too large", expected, f"{len(text)} characters")]
    if "\x00" in text:
        return [_problem(file, "the form is no text", expected, "a NUL character")]
    return []


def _problem(file: str, message: str, expected: str, found: str) -> Problem:
    return Problem(file, None, None, message, expected=expected, found=found, fix=None)
