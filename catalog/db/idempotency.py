"""Answers kept under the keys that clients send (`Idempotency-Key`), so that a repeated request is carried out once.

A row without a status is a request that is being carried out. Its claim ends after a while: its process may be dead.
"""

from __future__ import annotations

import datetime

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db import base, sealing


class KeptAnswer(base.Base):
    """The answer to one request. `id` is the SHA-256 of who sent it, on which route, under which key."""

    __tablename__ = "idempotency_keys"

    id: orm.Mapped[str] = orm.mapped_column(sa.String(64), primary_key=True)
    body_digest: orm.Mapped[str] = orm.mapped_column(sealing.Text("idempotency_keys.body_digest"))
    claim: orm.Mapped[str] = orm.mapped_column(base.Identifier)
    status: orm.Mapped[int | None] = orm.mapped_column(sa.Integer)
    headers: orm.Mapped[dict[str, str] | None] = orm.mapped_column(sealing.Json("idempotency_keys.headers"))
    body: orm.Mapped[bytes | None] = orm.mapped_column(sealing.Bytes("idempotency_keys.body"))
    created: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp, index=True, default=base.now)


def get(session: orm.Session, identifier: str) -> KeptAnswer | None:
    """The row of this id, or None."""
    return session.get(KeptAnswer, identifier)


def claim(session: orm.Session, identifier: str, body_digest: str) -> str:
    """Makes the row of a request that begins; the claim's own id. A flush raises `IntegrityError` if there is one."""
    row = KeptAnswer(id=identifier, body_digest=body_digest, claim=base.new_id())
    session.add(row)
    session.flush()
    return row.claim


def take_over(session: orm.Session, identifier: str, body_digest: str, *, before: datetime.datetime) -> str | None:
    """A new claim in place of one that was made `before` and never ended; None if somebody else has it."""
    fresh = base.new_id()
    changed = session.execute(
        sa.update(KeptAnswer)
        .where(KeptAnswer.id == identifier, KeptAnswer.status.is_(None), KeptAnswer.created < before)
        .values(claim=fresh, body_digest=body_digest, created=base.now())
        .execution_options(synchronize_session=False)
    )
    return fresh if _matched(changed) else None


def finish(
    session: orm.Session, identifier: str, held: str, *, status: int, headers: dict[str, str], body: bytes
) -> None:
    """Keeps the answer, unless the claim was taken over meanwhile."""
    session.execute(
        sa.update(KeptAnswer)
        .where(KeptAnswer.id == identifier, KeptAnswer.claim == held)
        .values(status=status, headers=headers, body=body)
        .execution_options(synchronize_session=False)
    )


def release(session: orm.Session, identifier: str, held: str) -> None:
    """Forgets a request that changed nothing: it may be sent again."""
    session.execute(
        sa.delete(KeptAnswer)
        .where(KeptAnswer.id == identifier, KeptAnswer.claim == held, KeptAnswer.status.is_(None))
        .execution_options(synchronize_session=False)
    )


def forget(session: orm.Session, *, before: datetime.datetime) -> int:
    """Deletes what was made `before`; how many rows."""
    deleted = session.execute(
        sa.delete(KeptAnswer).where(KeptAnswer.created < before).execution_options(synchronize_session=False)
    )
    return _matched(deleted)


def _matched(result: object) -> int:
    return int(getattr(result, "rowcount", 0))
