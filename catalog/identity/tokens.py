"""Tokens: random texts that stand for a login. The database knows their SHA-256 only."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import secrets

from sqlalchemy import orm

from catalog.db import base, identity

PREFIX = "chandlery-"  # lets scanners for leaked secrets find them


@dataclasses.dataclass(frozen=True)
class Login:
    """What a valid token says."""

    digest: str
    user: identity.User
    project: identity.Project | None
    roles: tuple[str, ...]
    methods: tuple[str, ...]
    audit_id: str
    issued: datetime.datetime
    expires: datetime.datetime


def issue(
    session: orm.Session,
    user: identity.User,
    project: identity.Project | None,
    methods: list[str],
    lifetime: float,
    expires: datetime.datetime | None = None,
) -> tuple[str, Login]:
    """A new token and what it says. One that comes from another token ends with it: `expires`."""
    identity.delete_expired_tokens(session)
    text = PREFIX + secrets.token_urlsafe(32)
    issued = base.now()
    row = identity.Token(
        digest=_digest(text),
        user_id=user.id,
        project_id=project.id if project else None,
        methods=methods,
        audit_id=secrets.token_urlsafe(16),
        issued=issued,
        expires=expires or issued + datetime.timedelta(seconds=lifetime),
    )
    session.add(row)
    session.flush()
    roles = identity.roles(session, user.id, project.id) if project else []
    return text, _login(row, user, project, roles)


def look_up(session: orm.Session, text: str) -> Login | None:
    """What the token says; None for an unknown, expired or revoked one, and when its user lost every role since."""
    found = identity.of_token(session, _digest(text))
    if found is None:
        return None
    row, user, project, roles = found
    if row.expires <= base.now() or not user.enabled or (project is not None and not roles):
        return None
    return _login(row, user, project, roles)


def revoke(session: orm.Session, login: Login) -> None:
    """Ends a token."""
    row = session.get(identity.Token, login.digest)
    if row is not None:
        session.delete(row)


def _login(row: identity.Token, user: identity.User, project: identity.Project | None, roles: list[str]) -> Login:
    return Login(row.digest, user, project, tuple(roles), tuple(row.methods), row.audit_id, row.issued, row.expires)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
