"""Packages: their metadata, and their archives and logos in a content-addressed store. spec/api-v1 §1.11, §3.

Content is kept once per SHA-256, however many packages carry it, and is read only where it is asked for: listing
packages never loads an archive. Queries for lists and search are in `catalog.db.package_search`.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db import base
from catalog.db.categories import Category

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


class Content(base.Base):
    """Bytes under the SHA-256 of themselves."""

    __tablename__ = "contents"

    digest: orm.Mapped[str] = orm.mapped_column(sa.String(64), primary_key=True)
    size: orm.Mapped[int] = orm.mapped_column(sa.BigInteger)
    data: orm.Mapped[bytes] = orm.mapped_column(base.Blob, deferred=True)
    created: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp, default=base.now)


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
    created: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp, default=base.now)
    updated: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp, default=base.now, onupdate=base.now)

    categories: orm.Mapped[list[Category]] = orm.relationship(
        secondary=package_categories, lazy="selectin", order_by=Category.name
    )
    tags: orm.Mapped[list[Tag]] = orm.relationship(secondary=package_tags, lazy="selectin", order_by=Tag.name)
    class_definitions: orm.Mapped[list[ClassDefinition]] = orm.relationship(
        lazy="selectin", order_by=ClassDefinition.name, cascade="all, delete-orphan", passive_deletes=True
    )


def get(session: orm.Session, package_id: str) -> Package | None:
    """The package, or None."""
    return session.get(Package, package_id)


def content(session: orm.Session, package_id: str) -> bytes:
    """The package's archive, byte for byte as it was stored. Raises `LookupError` for an unknown package."""
    query = sa.select(Content.data).join(Package, Package.archive_digest == Content.digest)
    data = session.scalar(query.where(Package.id == package_id))
    if data is None:
        raise LookupError(f"package {package_id}: expected a stored package, found none of this id")
    return data


def stored(session: orm.Session, digest: str | None) -> bytes | None:
    """The content under a digest, or None."""
    if digest is None:
        return None
    return session.scalar(sa.select(Content.data).where(Content.digest == digest))


def store(session: orm.Session, data: bytes) -> str:
    """Keeps `data`, once; its SHA-256 in hex."""
    digest = hashlib.sha256(data).hexdigest()
    if session.scalar(sa.select(Content.digest).where(Content.digest == digest)) is None:
        session.add(Content(digest=digest, size=len(data), data=data))
        session.flush()
    return digest


def tags_named(session: orm.Session, names: Iterable[str]) -> list[Tag]:
    """The tags of these names, made where they are missing, each once."""
    wanted = list(dict.fromkeys(names))
    found = {tag.name: tag for tag in session.scalars(sa.select(Tag).where(Tag.name.in_(wanted)))}
    for name in wanted:
        if name not in found:
            found[name] = Tag(name=name)
            session.add(found[name])
    session.flush()
    return [found[name] for name in wanted]


def versions_visible(session: orm.Session, project_id: str, names: Iterable[str] | None = None) -> Sequence[Package]:
    """Every enabled package version the project can use (its own and the public ones), of these names or of all."""
    query = sa.select(Package).where(visible_to(project_id), Package.enabled)
    if names is not None:
        query = query.where(Package.fully_qualified_name.in_(list(names)))
    return session.scalars(query.order_by(Package.fully_qualified_name, Package.created, Package.id)).all()


def defining(session: orm.Session, project_id: str, class_names: Iterable[str]) -> Sequence[Package]:
    """Every enabled package version visible to the project that defines one of these classes."""
    wanted = list(class_names)
    query = (
        sa.select(Package)
        .where(visible_to(project_id), Package.enabled)
        .where(Package.class_definitions.any(ClassDefinition.name.in_(wanted)))
    )
    return session.scalars(query.order_by(Package.fully_qualified_name, Package.created, Package.id)).all()


def visible_to(project_id: str) -> sa.ColumnElement[bool]:
    """The condition that a project may use a package: its own, or public."""
    return sa.or_(Package.owner_id == project_id, Package.is_public)


def owned(session: orm.Session, project_id: str, name: str, version: str | None = None) -> Sequence[Package]:
    """The project's own packages of this fully qualified name (and version)."""
    query = sa.select(Package).where(Package.owner_id == project_id, Package.fully_qualified_name == name)
    if version is not None:
        query = query.where(Package.version == version)
    return session.scalars(query).all()


def public_named(session: orm.Session, name: str) -> Sequence[Package]:
    """The public packages of this fully qualified name."""
    return session.scalars(sa.select(Package).where(Package.is_public, Package.fully_qualified_name == name)).all()


def clashing(
    session: orm.Session, name: str, classes: Iterable[str], *, project_id: str, public: bool
) -> Sequence[tuple[str, str]]:
    """Classes of these names that packages of *other* names define: (class, package name).

    Looked for among the project's own packages, and for a public package among the public ones.
    """
    where = Package.is_public if public else Package.owner_id == project_id
    query = (
        sa.select(ClassDefinition.name, Package.fully_qualified_name)
        .join(Package, Package.id == ClassDefinition.package_id)
        .where(where, Package.fully_qualified_name != name, ClassDefinition.name.in_(list(classes)))
        .order_by(ClassDefinition.name)
    )
    return [(class_name, package_name) for class_name, package_name in session.execute(query)]


def delete(session: orm.Session, package: Package) -> None:
    """Removes a package, and its archive and logos unless another package carries the same."""
    digests = {package.archive_digest, package.logo_digest, package.supplier_logo_digest} - {None}
    session.delete(package)
    session.flush()
    columns = (Package.archive_digest, Package.logo_digest, Package.supplier_logo_digest)
    for digest in digests:
        used = sa.select(Package.id).where(sa.or_(*(column == digest for column in columns))).limit(1)
        if session.scalar(used) is None:
            session.execute(sa.delete(Content).where(Content.digest == digest))
