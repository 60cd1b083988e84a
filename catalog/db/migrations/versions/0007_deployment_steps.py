"""What reports are about, and what a retry of a deployment takes over."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0007"
down_revision = "0006"

LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    """Adds the columns; what is there has nothing in them."""
    for column in (
        sa.Column("component", LONG_TEXT, nullable=True),
        sa.Column("step", sa.String(length=255), nullable=True),
        sa.Column("effect_key", sa.String(length=255), nullable=True),
        sa.Column("effect_name", sa.String(length=128), nullable=True),
        sa.Column("duration", sa.Double(), nullable=True),
    ):
        op.add_column("statuses", column)
    op.add_column("deployments", sa.Column("retry_of", sa.String(length=36), nullable=True))
    op.add_column("deployments", sa.Column("failure", LONG_TEXT, nullable=True))
    op.add_column("journal", sa.Column("inherited", sa.Boolean(), nullable=True))
