"""Plans that deployments can be held to, the key of their digests, and the plan that a deployment is held to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0009"
down_revision = "0008"

LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    """Makes the tables and the column."""
    op.create_table(
        "plans",
        sa.Column("environment_id", sa.String(length=36), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("moment", sa.Double(), nullable=False),
        sa.Column("steps", LONG_TEXT, nullable=False),
        sa.Column("created", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name="fk_plans_environment_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("environment_id", "hash", name="pk_plans"),
    )
    op.create_table(
        "installation_keys",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_installation_keys"),
    )
    op.add_column("deployments", sa.Column("plan", LONG_TEXT, nullable=True))
