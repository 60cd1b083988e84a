"""Receipts: cloud resources with what became of them, environments that ended, and the installation's own id."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0008"
down_revision = "0007"

LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "cloud_resources",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("environment_id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("deployment_id", sa.String(length=36), nullable=True),
        sa.Column("region", sa.String(length=255), nullable=False),
        sa.Column("stack", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=1024), nullable=False),
        sa.Column("type", sa.String(length=255), nullable=False),
        sa.Column("physical_id", sa.String(length=255), nullable=True),
        sa.Column("policy", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("reason", LONG_TEXT, nullable=True),
        sa.Column("made", MOMENT, nullable=False),
        sa.Column("seen", MOMENT, nullable=False),
        sa.Column("gone", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_cloud_resources"),
    )
    for column in ("environment_id", "project_id"):
        op.create_index(f"ix_cloud_resources_{column}", "cloud_resources", [column], unique=False)
    op.create_table(
        "receipts",
        sa.Column("environment_id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("how", sa.String(length=16), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("ended", MOMENT, nullable=False),
        sa.Column("notes", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("environment_id", name="pk_receipts"),
    )
    op.create_index("ix_receipts_project_id", "receipts", ["project_id"], unique=False)
    op.create_table(
        "installation",
        sa.Column("key", sa.String(length=16), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_installation"),
    )
