"""Packages: what is known of them, who may use them, and where their archives and logos are. spec/api-v1 §1.11, §3.

Archives and logos are content (`catalog.db.contents`), kept once however many packages carry them. Lists and searches
are answered by `catalog.db.package_index`, which every change of a package tells by raising the catalog's generation.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, orm

from catalog.db import base, contents
from catalog.db.categories import Category

ACTIVE = "active"
DEPRECATED = "deprecated"  # still to be had, after all others
YANKED = "yanked"  # for those only whose locks name it
LIFECYCLES = (ACTIVE, DEPRECATED, YANKED)
TERMS_LIMIT = 16 << 10  # characters of the words of a form that searches find

package_categories = sa.Table(
    "package_categories",
    base.Base.metadata,
    sa.Column("package_id", base.Identifier, sa.ForeignKey("packages.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("category_id", base.Identifier, sa.ForeignKey("categories.id"), primary_key=True, index=True),
)
package_tags = sa.Table(
    "package_tags",
    base.Base.metadata,
    sa.Column("package_id", base.Identifier, sa.ForeignKey("packages.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("tag_id", base.Identifier, sa.ForeignKey("tags.id"), primary_key=True, index=True),
)


class Tag(base.Base):
    """One tag."""

    __tablename__ = "tags"

    id: orm.Mapped[str] = orm.mapped_column(base.Identifier, primary_key=True, default=base.new_id)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(80), unique=True)


class ClassDefinition(base.Base):
    """One class a package defines."""

    __tablename__ = "class_definitions"

    package_id: orm.Mapped[str] = orm.mapped_column(
        base.Identifier, sa.ForeignKey("packages.id", ondelete="CASCADE"), primary_key=True
    )
    name: orm.Mapped[str] = orm.mapped_column(sa.String(255), primary_key=True, index=True)


class Package(base.Base):
    """One version of one package of one owner."""

    __tablename__ = "packages"
    __table_args__ = (
        sa.UniqueConstraint("fully_qualified_name", "owner_id", "version"),
        sa.Index(None, "name", "id"),
        sa.Index(None, "owner_id"),
        sa.Index(None, "is_public"),
        sa.Index(None, "changed"),
    )

    id: orm.Mapped[str] = orm.mapped_column(base.Identifier, primary_key=True, default=base.new_id)
    fully_qualified_name: orm.Mapped[str] = orm.mapped_column(sa.String(128))
    version: orm.Mapped[str] = orm.mapped_column(sa.String(64))
    owner_id: orm.Mapped[str] = orm.mapped_column(sa.String(64))
    name: orm.Mapped[str] = orm.mapped_column(sa.String(80))
    type: orm.Mapped[str] = orm.mapped_column(sa.String(20))
    format: orm.Mapped[str] = orm.mapped_column(sa.String(40))
    description: orm.Mapped[str] = orm.mapped_column(base.LongText)
    author: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    supplier: orm.Mapped[dict[str, Any]] = orm.mapped_column(base.Json)
    require: orm.Mapped[dict[str, str]] = orm.mapped_column(base.Json)
    is_public: orm.Mapped[bool] = orm.mapped_column(default=False)
    enabled: orm.Mapped[bool] = orm.mapped_column(default=True)
    digest: orm.Mapped[str] = orm.mapped_column(sa.String(64))
    archive_digest: orm.Mapped[str] = orm.mapped_column(sa.String(64), sa.ForeignKey("contents.digest"), index=True)
    logo_digest: orm.Mapped[str | None] = orm.mapped_column(sa.String(64), sa.ForeignKey("contents.digest"), index=True)
    supplier_logo_digest: orm.Mapped[str | None] = orm.mapped_column(
        sa.String(64), sa.ForeignKey("contents.digest"), index=True
    )
    ui_definition: orm.Mapped[str | None] = orm.mapped_column(base.LongText, deferred=True)
    terms: orm.Mapped[str | None] = orm.mapped_column(base.LongText, deferred=True)  # the form's words, for searches
    lifecycle: orm.Mapped[str] = orm.mapped_column(sa.String(16), default=ACTIVE, server_default=ACTIVE)
    lifecycle_reason: orm.Mapped[str | None] = orm.mapped_column(sa.String(1000))
    changed: orm.Mapped[int] = orm.mapped_column(sa.BigInteger, default=0, server_default="0")  # in which generation
    created: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp, default=base.now)
    updated: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp, default=base.now, onupdate=base.now)

    categories: orm.Mapped[list[Category]] = orm.relationship(
        secondary=package_categories, lazy="selectin", order_by=Category.name
    )
    tags: orm.Mapped[list[Tag]] = orm.relationship(secondary=package_tags, lazy="selectin", order_by=Tag.name)
    class_definitions: orm.Mapped[list[ClassDefinition]] = orm.relationship(
        lazy="selectin", order_by=ClassDefinition.name, cascade="all, delete-orphan", passive_deletes=True
    )


class PackageShare(base.Base):
    """A package that a project may use although it is another one's."""

    __tablename__ = "package_shares"

    package_id: orm.Mapped[str] = orm.mapped_column(
        base.Identifier, sa.ForeignKey("packages.id", ondelete="CASCADE"), primary_key=True
    )
    project_id: orm.Mapped[str] = orm.mapped_column(sa.String(64), primary_key=True, index=True)
    created: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp, default=base.now)


class Generation(base.Base):
    """How often something changed: one row per thing that is kept in memory elsewhere."""

    __tablename__ = "generations"

    name: orm.Mapped[str] = orm.mapped_column(sa.String(32), primary_key=True)
    value: orm.Mapped[int] = orm.mapped_column(sa.BigInteger)


def get(session: orm.Session, package_id: str) -> Package | None:
    """The package, or None."""
    return session.get(Package, package_id)


def content(session: orm.Session, package_id: str) -> bytes:
    """The package's archive, byte for byte as it was stored. Raises `LookupError` for an unknown package."""
    digest = session.scalar(sa.select(Package.archive_digest).where(Package.id == package_id))
    if digest is None:
        raise LookupError(f"package {package_id}: expected a stored package, found none of this id")
    return contents.read(session, digest)


def tags_named(session: orm.Session, names: Iterable[str]) -> list[Tag]:
    """The tags of these names, made where they are missing, each once."""
    wanted = list(dict.fromkeys(names))
    found = {tag.name: tag for tag in session.scalars(_TAGS, {"names": wanted})} if wanted else {}
    missing = [name for name in wanted if name not in found]
    for name in missing:
        found[name] = Tag(name=name)
        session.add(found[name])
    if missing:
        session.flush()
    return [found[name] for name in wanted]


_TAGS = sa.select(Tag).where(Tag.name.in_(sa.bindparam("names", expanding=True)))


def versions_visible(
    session: orm.Session, project_id: str, names: Iterable[str] | None = None, held: Collection[str] = ()
) -> Sequence[Package]:
    """Every version a project can use, of these names or of all.

    These are its own, the public ones and those shared with it, unless they are yanked; and those of the ids `held`,
    which it has deployed already. None is disabled.
    """
    query = sa.select(Package).where(_offered(project_id, held))
    if names is not None:
        query = query.where(Package.fully_qualified_name.in_(list(names)))
    return session.scalars(query.order_by(Package.fully_qualified_name, Package.created, Package.id)).all()


def defining(
    session: orm.Session, project_id: str, class_names: Iterable[str], held: Collection[str] = ()
) -> Sequence[Package]:
    """Every version as of `versions_visible` that defines one of these classes."""
    wanted = list(class_names)
    query = (
        sa.select(Package)
        .where(_offered(project_id, held))
        .where(Package.class_definitions.any(ClassDefinition.name.in_(wanted)))
    )
    return session.scalars(query.order_by(Package.fully_qualified_name, Package.created, Package.id)).all()


def visible_to(project_id: str) -> sa.ColumnElement[bool]:
    """The condition that a project may see a package: its own, public, or shared with it."""
    shared = sa.select(PackageShare.package_id).where(PackageShare.project_id == project_id)
    return sa.or_(Package.owner_id == project_id, Package.is_public, Package.id.in_(shared))


def is_visible(session: orm.Session, package: Package, project_id: str) -> bool:
    """Whether a project may see the package."""
    if package.is_public or package.owner_id == project_id:
        return True
    return session.get(PackageShare, (package.id, project_id)) is not None


def shares(session: orm.Session, package_id: str) -> Sequence[PackageShare]:
    """With which projects a package is shared, by their ids."""
    query = sa.select(PackageShare).where(PackageShare.package_id == package_id)
    return session.scalars(query.order_by(PackageShare.project_id)).all()


def share(session: orm.Session, package: Package, project_id: str) -> PackageShare:
    """Lets a project use the package; that it may already changes nothing."""
    row = session.get(PackageShare, (package.id, project_id))
    if row is None:
        row = PackageShare(package_id=package.id, project_id=project_id)
        session.add(row)
        session.flush()
    return row


def unshare(session: orm.Session, package: Package, project_id: str) -> bool:
    """Ends that a project may use the package: whether it might before."""
    row = session.get(PackageShare, (package.id, project_id))
    if row is None:
        return False
    session.delete(row)
    session.flush()
    return True


def _offered(project_id: str, held: Collection[str]) -> sa.ColumnElement[bool]:
    offered = sa.and_(visible_to(project_id), Package.lifecycle != YANKED)
    return sa.and_(Package.enabled, sa.or_(offered, Package.id.in_(held)) if held else offered)


def owned(session: orm.Session, project_id: str, name: str, version: str | None = None) -> Sequence[Package]:
    """The project's own packages of this fully qualified name (and version)."""
    query = sa.select(Package).where(Package.owner_id == project_id, Package.fully_qualified_name == name)
    if version is not None:
        query = query.where(Package.version == version)
    return session.scalars(query).all()


def is_owned(session: orm.Session, project_id: str, name: str, version: str) -> bool:
    """Whether the project has this version of a package."""
    return _scalar(session, _OWNED, project_id=project_id, name=name, version=version) is not None


def public_versions(session: orm.Session, name: str) -> Sequence[tuple[str, str]]:
    """Version and owner of every public package of this fully qualified name."""
    return [(row.version, row.owner_id) for row in session.connection().execute(_PUBLIC, {"name": name})]


def clashing(
    session: orm.Session, name: str, classes: Iterable[str], *, project_id: str, public: bool
) -> Sequence[tuple[str, str]]:
    """Classes of these names that packages of *other* names define: (class, package name).

    Looked for among the project's own packages, and for a public package among the public ones.
    """
    values = {"name": name, "classes": list(classes)} | ({} if public else {"project_id": project_id})
    found = session.connection().execute(_PUBLIC_CLASHES if public else _OWN_CLASHES, values)
    return [(class_name, package_name) for class_name, package_name in found]


# Statements of every upload, made once: making one takes longer than SQLite takes to answer it.
_OWNED = (
    sa.select(Package.id)
    .where(Package.owner_id == sa.bindparam("project_id"), Package.fully_qualified_name == sa.bindparam("name"))
    .where(Package.version == sa.bindparam("version"))
)
_PUBLIC = sa.select(Package.version, Package.owner_id).where(
    Package.is_public, Package.fully_qualified_name == sa.bindparam("name")
)
_CLASHES = (
    sa.select(ClassDefinition.name, Package.fully_qualified_name)
    .join(Package, Package.id == ClassDefinition.package_id)
    .where(Package.fully_qualified_name != sa.bindparam("name"))
    .where(ClassDefinition.name.in_(sa.bindparam("classes", expanding=True)))
    .order_by(ClassDefinition.name)
)
_PUBLIC_CLASHES = _CLASHES.where(Package.is_public)
_OWN_CLASHES = _CLASHES.where(Package.owner_id == sa.bindparam("project_id"))


def _scalar(session: orm.Session, statement: sa.Executable, **values: Any) -> Any:
    return session.connection().scalar(statement, values)


def delete(session: orm.Session, package: Package) -> None:
    """Removes a package, and its archive and logos unless another package carries the same."""
    digests = {package.archive_digest, package.logo_digest, package.supplier_logo_digest} - {None}
    session.delete(package)
    session.flush()
    for digest in digests:
        assert digest is not None
        if not is_content_used(session, digest):
            contents.remove(session, digest)


def is_content_used(session: orm.Session, digest: str) -> bool:
    """Whether a package carries this content."""
    columns = (Package.archive_digest, Package.logo_digest, Package.supplier_logo_digest)
    used = sa.select(Package.id).where(sa.or_(*(column == digest for column in columns))).limit(1)
    return session.scalar(used) is not None


def words_of(text: str | None) -> str | None:
    """The different words of a text, in lower case and order, as far as searches go; None without a text."""
    if not text:
        return None
    return " ".join(sorted(set(re.findall(r"[\w.-]{2,}", text.lower()))))[:TERMS_LIMIT]


# --- telling the index -----------------------------------------------------------------------------------------------

CHANGES = "catalog.db.packages.changes"  # in a session's `info`: ids of the packages it changed
PACKAGES = "packages"  # the name of the generation


def generation(session: orm.Session) -> int:
    """How often packages changed in this database: equal numbers, equal packages."""
    return session.connection().scalar(_GENERATION) or 0


_GENERATION = sa.select(Generation.value).where(Generation.name == PACKAGES)


@event.listens_for(orm.Session, "before_flush")
def _note_changes(session: orm.Session, _context: Any, _instances: Any) -> None:
    """Gathers which packages the transaction changes, and finds the words of new ones' forms."""
    noted = session.info.get(CHANGES)
    for row in (*session.new, *session.dirty, *session.deleted):
        if isinstance(row, Package):
            row.id = row.id or base.new_id()
            if row in session.new:
                row.terms = words_of(row.ui_definition)
            changed = row.id
        elif isinstance(row, PackageShare):
            changed = row.package_id
        else:
            continue
        noted = session.info.setdefault(CHANGES, set()) if noted is None else noted
        noted.add(changed)


@event.listens_for(orm.Session, "before_commit")
def _raise_generation(session: orm.Session) -> None:
    """Counts the change, as the last thing of the transaction: the row is locked no longer than the commit takes.

    So generations become visible in their order, and whoever reads one sees every change up to it.
    """
    session.flush()
    changed = session.info.pop(CHANGES, None)
    if not changed:
        return
    connection = session.connection()
    if connection.execute(_RAISE).rowcount == 0:
        connection.execute(sa.insert(Generation).values(name=PACKAGES, value=1))
    value = connection.scalar(_GENERATION)
    ids = sorted(changed)
    for start in range(0, len(ids), 500):
        connection.execute(_MARK, {"generation": value, "ids": ids[start : start + 500]})


_RAISE = sa.update(Generation).where(Generation.name == PACKAGES).values(value=Generation.value + 1)
_MARK = (
    sa.update(Package)
    .where(Package.id.in_(sa.bindparam("ids", expanding=True)))
    .values({Package.changed: sa.bindparam("generation"), Package.updated: Package.updated})  # not set to now
)


@event.listens_for(orm.Session, "after_rollback")
def _forget_changes(session: orm.Session) -> None:
    session.info.pop(CHANGES, None)
