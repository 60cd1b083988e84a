"""The keys that secrets are sealed with, and room for digests and keys that are sealed.

What is in the tables stays as it is; `chandlery secrets seal` seals it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0011"
down_revision = "0010"

LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    """Makes the table, widens the columns."""
    op.create_table(
        "sealing_keys",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("created", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sealing_keys"),
    )
    if op.get_bind().dialect.name == "sqlite":  # takes any length, and would copy the whole tables
        return
    for table, column in (("journal", "digest"), ("idempotency_keys", "body_digest"), ("installation_keys", "value")):
        op.alter_column(table, column, existing_type=sa.String(length=64), type_=LONG_TEXT, existing_nullable=False)
