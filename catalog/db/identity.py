"""The embedded identity's tables: projects, users, who has which role where, and issued tokens (hashed)."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db import base


class Project(base.Base):
    """One project, in the only domain, `default`."""

    __tablename__ = "identity_projects"

    id: orm.Mapped[str] = orm.mapped_column(base.Identifier, primary_key=True, default=base.new_id)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(64), unique=True)
    description: orm.Mapped[str] = orm.mapped_column(sa.String(255), default="")
    created: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp, default=base.now)


class User(base.Base):
    """One user; `password_hash` is bcrypt's."""

    __tablename__ = "identity_users"

    id: orm.Mapped[str] = orm.mapped_column(base.Identifier, primary_key=True, default=base.new_id)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(64), unique=True)
    password_hash: orm.Mapped[str] = orm.mapped_column(sa.String(128))
    enabled: orm.Mapped[bool] = orm.mapped_column(default=True)
    default_project_id: orm.Mapped[str | None] = orm.mapped_column(
        base.Identifier, sa.ForeignKey("identity_projects.id")
    )
    created: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp, default=base.now)


class RoleAssignment(base.Base):
    """A user's role in a project: `admin`, `member` or `reader`."""

    __tablename__ = "identity_role_assignments"

    user_id: orm.Mapped[str] = orm.mapped_column(
        base.Identifier, sa.ForeignKey("identity_users.id", ondelete="CASCADE"), primary_key=True
    )
    project_id: orm.Mapped[str] = orm.mapped_column(
        base.Identifier, sa.ForeignKey("identity_projects.id", ondelete="CASCADE"), primary_key=True
    )
    role: orm.Mapped[str] = orm.mapped_column(sa.String(32), primary_key=True)


class Token(base.Base):
    """One issued token under the SHA-256 of its text, which is not kept."""

    __tablename__ = "identity_tokens"

    digest: orm.Mapped[str] = orm.mapped_column(sa.String(64), primary_key=True)
    user_id: orm.Mapped[str] = orm.mapped_column(
        base.Identifier, sa.ForeignKey("identity_users.id", ondelete="CASCADE"), index=True
    )
    project_id: orm.Mapped[str | None] = orm.mapped_column(
        base.Identifier, sa.ForeignKey("identity_projects.id", ondelete="CASCADE")
    )
    methods: orm.Mapped[list[str]] = orm.mapped_column(base.Json)
    audit_id: orm.Mapped[str] = orm.mapped_column(sa.String(32))
    issued: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp)
    expires: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp, index=True)


def user(session: orm.Session, *, id: str | None = None, name: str | None = None) -> User | None:
    """The user of this id or name, or None."""
    where = User.id == id if id is not None else User.name == name
    return session.scalars(sa.select(User).where(where)).one_or_none()


def project(session: orm.Session, *, id: str | None = None, name: str | None = None) -> Project | None:
    """The project of this id or name, or None."""
    where = Project.id == id if id is not None else Project.name == name
    return session.scalars(sa.select(Project).where(where)).one_or_none()


def roles(session: orm.Session, user_id: str, project_id: str) -> list[str]:
    """The user's roles in the project, sorted."""
    query = sa.select(RoleAssignment.role).where(
        RoleAssignment.user_id == user_id, RoleAssignment.project_id == project_id
    )
    return sorted(session.scalars(query))


def of_token(session: orm.Session, digest: str) -> tuple[Token, User, Project | None, list[str]] | None:
    """A token with its user, its project and the user's roles in it, sorted, by one query; None for an unknown one."""
    rows = session.execute(_OF_TOKEN, {"digest": digest}).all()
    if not rows:
        return None
    token, user, project, _ = rows[0]
    return token, user, project, sorted(row[3] for row in rows if row[3] is not None)


_OF_TOKEN = (
    sa.select(Token, User, Project, RoleAssignment.role)
    .join(User, User.id == Token.user_id)
    .outerjoin(Project, Project.id == Token.project_id)
    .outerjoin(
        RoleAssignment,
        sa.and_(RoleAssignment.user_id == Token.user_id, RoleAssignment.project_id == Token.project_id),
    )
    .where(Token.digest == sa.bindparam("digest"))
)


def projects_of(session: orm.Session, user_id: str) -> Sequence[Project]:
    """The projects in which the user has a role, by name."""
    query = (
        sa.select(Project)
        .where(Project.id.in_(sa.select(RoleAssignment.project_id).where(RoleAssignment.user_id == user_id)))
        .order_by(Project.name)
    )
    return session.scalars(query).all()


def grant(session: orm.Session, user_id: str, project_id: str, role: str) -> None:
    """Gives a role, if it is not given yet."""
    if session.get(RoleAssignment, (user_id, project_id, role)) is None:
        session.add(RoleAssignment(user_id=user_id, project_id=project_id, role=role))
        session.flush()


def delete_expired_tokens(session: orm.Session) -> int:
    """Removes expired tokens; how many."""
    deleted: Any = session.execute(sa.delete(Token).where(Token.expires < base.now()))
    return int(deleted.rowcount)
