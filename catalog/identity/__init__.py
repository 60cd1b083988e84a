"""The embedded identity: accounts of its own behind the part of Keystone's v3 API that clients need to log in.

`bootstrap` creates the first accounts; `api` is the WSGI application under `/identity`, `middleware` what the
catalog's API is guarded with; `passwords` and `tokens` are what both work with.
"""

from __future__ import annotations

import dataclasses
import secrets

from sqlalchemy import orm

from catalog.db import identity
from catalog.db.base import Database
from catalog.identity import passwords

ADMIN, MEMBER, READER = "admin", "member", "reader"


@dataclasses.dataclass(frozen=True)
class Account:
    """A user as it was created. `password` is None for one that was there already."""

    user_id: str
    name: str
    project_id: str
    project: str
    password: str | None


def bootstrap(
    database: Database, *, admin_password: str | None = None, demo_password: str | None = None
) -> dict[str, Account]:
    """Creates what is missing of user `admin` in project `admin` and user `demo` in project `demo`, by name.

    Passwords that are not given are generated; they are in the answer and nowhere else. An existing account keeps
    its password unless one is given.
    """
    with database.transaction() as session:
        return {
            "admin": add_account(session, "admin", "admin", [ADMIN, MEMBER], admin_password),
            "demo": add_account(session, "demo", "demo", [MEMBER], demo_password),
        }


def add_account(
    session: orm.Session, name: str, project: str, roles: list[str], password: str | None = None
) -> Account:
    """Creates what is missing of a user, a project and the user's roles in it; sets the password if one is given."""
    user = identity.user(session, name=name)
    home = identity.project(session, name=project)
    if home is None:
        home = identity.Project(name=project)
        session.add(home)
        session.flush()
    if user is None:
        password = password or secrets.token_urlsafe(15)
        user = identity.User(name=name, password_hash="", default_project_id=home.id)
        session.add(user)
    if password is not None:
        user.password_hash = passwords.hashed(password)
    session.flush()
    for role in roles:
        identity.grant(session, user.id, home.id, role)
    return Account(user.id, name, home.id, project, password)
