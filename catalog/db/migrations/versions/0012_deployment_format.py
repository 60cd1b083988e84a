"""The format of a deployment and its journal, by which workers of an older release know to leave it alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Adds the column; what there is has the first format."""
    op.add_column("deployments", sa.Column("format", sa.Integer(), nullable=False, server_default="1"))
