"""Packages: deprecated and yanked versions, shares, words of forms, generations; content in other stores."""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"

LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
CHUNK = 100  # forms in memory
TERMS_LIMIT = 16 << 10  # characters


def upgrade() -> None:
    """Adds the columns and tables, and finds the words of the forms that are there."""
    op.add_column("contents", sa.Column("store", sa.String(length=16), server_default="database", nullable=False))
    for column in (
        sa.Column("terms", LONG_TEXT, nullable=True),
        sa.Column("lifecycle", sa.String(length=16), server_default="active", nullable=False),
        sa.Column("lifecycle_reason", sa.String(length=1000), nullable=True),
        sa.Column("changed", sa.BigInteger(), server_default="0", nullable=False),
    ):
        op.add_column("packages", column)
    op.create_index("ix_packages_changed", "packages", ["changed"], unique=False)
    op.create_table(
        "package_shares",
        sa.Column("package_id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("created", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["package_id"], ["packages.id"], name="fk_package_shares_package_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("package_id", "project_id", name="pk_package_shares"),
    )
    op.create_index("ix_package_shares_project_id", "package_shares", ["project_id"], unique=False)
    generations = op.create_table(
        "generations",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_generations"),
    )
    op.bulk_insert(generations, [{"name": "packages", "value": 0}])
    _find_words()


def _find_words() -> None:
    packages = sa.table("packages", sa.column("id"), sa.column("ui_definition"), sa.column("terms"))
    connection = op.get_bind()
    with_form = sa.select(packages.c.id).where(packages.c.ui_definition.is_not(None))
    ids = connection.scalars(with_form.order_by(packages.c.id)).all()
    for start in range(0, len(ids), CHUNK):
        some = packages.c.id.in_(ids[start : start + CHUNK])
        for id, text in connection.execute(sa.select(packages.c.id, packages.c.ui_definition).where(some)).all():
            words = sorted(set(re.findall(r"[\w.-]{2,}", text.lower())))
            terms = " ".join(words)[:TERMS_LIMIT]
            connection.execute(sa.update(packages).where(packages.c.id == id).values(terms=terms))
