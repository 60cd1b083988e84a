"""What the scripts of plans print while they run, and which boot of its server an agent is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0010"
down_revision = "0009"

LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    """Makes the tables, and the columns of `agents`."""
    op.create_table(
        "output_streams",
        sa.Column("plan_id", sa.String(length=128), nullable=False),
        sa.Column("deployment_id", sa.String(length=36), nullable=False),
        sa.Column("agent_id", sa.String(length=36), nullable=False),
        sa.Column("entity_id", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=True),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("is_full", sa.Boolean(), nullable=False),
        sa.Column("held", LONG_TEXT, nullable=True),
        sa.Column("created", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["deployment_id"], ["deployments.id"], name="fk_output_streams_deployment_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("plan_id", name="pk_output_streams"),
    )
    op.create_index("ix_output_streams_deployment_id", "output_streams", ["deployment_id"], unique=False)
    op.create_table(
        "output_chunks",
        sa.Column("deployment_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("plan_id", sa.String(length=128), nullable=False),
        sa.Column("script", sa.String(length=100), nullable=False),
        sa.Column("stream", sa.String(length=8), nullable=False),
        sa.Column("text", LONG_TEXT, nullable=False),
        sa.Column("created", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["plan_id"], ["output_streams.plan_id"], name="fk_output_chunks_plan_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("deployment_id", "number", name="pk_output_chunks"),
    )
    op.create_index("ix_output_chunks_plan_id", "output_chunks", ["plan_id"], unique=False)
    op.add_column("agents", sa.Column("boots", LONG_TEXT, nullable=True))
