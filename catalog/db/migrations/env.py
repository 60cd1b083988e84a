"""What alembic runs: the migrations on the connection it was given, in one transaction."""

from __future__ import annotations

from alembic import context

from catalog.db.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA, render_as_batch=False)
with context.begin_transaction():
    context.run_migrations()
