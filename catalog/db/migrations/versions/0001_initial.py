"""The first tables: the catalog's, the engine's and the agents'."""

from __future__ import annotations

import datetime
import uuid

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None

# Types as they were at this revision; the code's own may move on.
LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
BLOB = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")

CATEGORIES = (
    "Web",
    "Databases",
    "Message Queue",
    "Application Servers",
    "Microsoft Services",
    "Load Balancers",
    "Big Data",
    "Key-Value Storage",
    "SAP",
)


def upgrade() -> None:
    """Makes the tables, and the categories a catalog starts with."""
    op.create_table(
        "categories",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("created", MOMENT, nullable=False),
        sa.Column("updated", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_categories"),
        sa.UniqueConstraint("name", name="uq_categories_name"),
    )
    op.create_table(
        "contents",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("data", BLOB, nullable=False),
        sa.Column("created", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_contents"),
    )
    op.create_table(
        "environment_templates",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("description_text", LONG_TEXT, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("model", LONG_TEXT, nullable=False),
        sa.Column("created", MOMENT, nullable=False),
        sa.Column("updated", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_environment_templates"),
        sa.UniqueConstraint("project_id", "name", name="uq_environment_templates_project_id_name"),
    )
    op.create_table(
        "environments",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("description_text", LONG_TEXT, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("model", LONG_TEXT, nullable=False),
        sa.Column("created", MOMENT, nullable=False),
        sa.Column("updated", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_environments"),
        sa.UniqueConstraint("project_id", "name", name="uq_environments_project_id_name"),
    )
    op.create_table(
        "identity_projects",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=False),
        sa.Column("created", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_identity_projects"),
        sa.UniqueConstraint("name", name="uq_identity_projects_name"),
    )
    op.create_table(
        "instance_stats",
        sa.Column("environment_id", sa.String(length=36), nullable=False),
        sa.Column("instance_id", sa.String(length=255), nullable=False),
        sa.Column("instance_type", sa.Integer(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("destroyed", sa.BigInteger(), nullable=True),
        sa.Column("type_name", sa.String(length=512), nullable=False),
        sa.Column("type_title", sa.String(length=512), nullable=True),
        sa.Column("unit_count", sa.Integer(), nullable=True),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("environment_id", "instance_id", name="pk_instance_stats"),
    )
    op.create_index("ix_instance_stats_project_id", "instance_stats", ["project_id"], unique=False)
    op.create_table(
        "repository_cache",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("url", LONG_TEXT, nullable=False),
        sa.Column("etag", sa.String(length=255), nullable=True),
        sa.Column("last_modified", sa.String(length=64), nullable=True),
        sa.Column("data", BLOB, nullable=False),
        sa.Column("fetched", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_repository_cache"),
    )
    op.create_table(
        "tags",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tags"),
        sa.UniqueConstraint("name", name="uq_tags_name"),
    )
    op.create_table(
        "agents",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("environment_id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("instance_id", sa.String(length=255), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("session_hash", sa.String(length=64), nullable=True),
        sa.Column("enrolment_ends", MOMENT, nullable=True),
        sa.Column("seen", MOMENT, nullable=True),
        sa.Column("version", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name="fk_agents_environment_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_agents"),
    )
    op.create_index("ix_agents_environment_id", "agents", ["environment_id"], unique=False)
    op.create_table(
        "deployments",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("environment_id", sa.String(length=36), nullable=False),
        sa.Column("session_id", sa.String(length=36), nullable=True),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("action", LONG_TEXT, nullable=True),
        sa.Column("model", LONG_TEXT, nullable=False),
        sa.Column("lock", LONG_TEXT, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("result", LONG_TEXT, nullable=True),
        sa.Column("created", MOMENT, nullable=False),
        sa.Column("updated", MOMENT, nullable=False),
        sa.Column("started", MOMENT, nullable=True),
        sa.Column("finished", MOMENT, nullable=True),
        sa.Column("owner", sa.String(length=255), nullable=True),
        sa.Column("lease_expires", sa.Double(), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name="fk_deployments_environment_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_deployments"),
    )
    op.create_index("ix_deployments_environment_id", "deployments", ["environment_id"], unique=False)
    op.create_index("ix_deployments_state", "deployments", ["state"], unique=False)
    op.create_table(
        "identity_users",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("password_hash", sa.String(length=128), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("default_project_id", sa.String(length=36), nullable=True),
        sa.Column("created", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["default_project_id"], ["identity_projects.id"], name="fk_identity_users_default_project_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_identity_users"),
        sa.UniqueConstraint("name", name="uq_identity_users_name"),
    )
    op.create_table(
        "packages",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("fully_qualified_name", sa.String(length=128), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("owner_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("type", sa.String(length=20), nullable=False),
        sa.Column("format", sa.String(length=40), nullable=False),
        sa.Column("description", LONG_TEXT, nullable=False),
        sa.Column("author", sa.String(length=255), nullable=False),
        sa.Column("supplier", LONG_TEXT, nullable=False),
        sa.Column("require", LONG_TEXT, nullable=False),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("archive_digest", sa.String(length=64), nullable=False),
        sa.Column("logo_digest", sa.String(length=64), nullable=True),
        sa.Column("supplier_logo_digest", sa.String(length=64), nullable=True),
        sa.Column("ui_definition", LONG_TEXT, nullable=True),
        sa.Column("created", MOMENT, nullable=False),
        sa.Column("updated", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["archive_digest"], ["contents.digest"], name="fk_packages_archive_digest"),
        sa.ForeignKeyConstraint(["logo_digest"], ["contents.digest"], name="fk_packages_logo_digest"),
        sa.ForeignKeyConstraint(["supplier_logo_digest"], ["contents.digest"], name="fk_packages_supplier_logo_digest"),
        sa.PrimaryKeyConstraint("id", name="pk_packages"),
        sa.UniqueConstraint(
            "fully_qualified_name", "owner_id", "version", name="uq_packages_fully_qualified_name_owner_id_version"
        ),
    )
    op.create_index("ix_packages_archive_digest", "packages", ["archive_digest"], unique=False)
    op.create_index("ix_packages_is_public", "packages", ["is_public"], unique=False)
    op.create_index("ix_packages_logo_digest", "packages", ["logo_digest"], unique=False)
    op.create_index("ix_packages_name_id", "packages", ["name", "id"], unique=False)
    op.create_index("ix_packages_owner_id", "packages", ["owner_id"], unique=False)
    op.create_index("ix_packages_supplier_logo_digest", "packages", ["supplier_logo_digest"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("environment_id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=36), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("model", LONG_TEXT, nullable=False),
        sa.Column("created", MOMENT, nullable=False),
        sa.Column("updated", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name="fk_sessions_environment_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
    )
    op.create_index(
        "ix_sessions_environment_id_version_updated", "sessions", ["environment_id", "version", "updated"], unique=False
    )
    op.create_table(
        "agent_plans",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("agent_id", sa.String(length=36), nullable=False),
        sa.Column("plan", LONG_TEXT, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("result", LONG_TEXT, nullable=True),
        sa.Column("created", MOMENT, nullable=False),
        sa.Column("deadline", MOMENT, nullable=True),
        sa.Column("sent", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name="fk_agent_plans_agent_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_agent_plans"),
    )
    op.create_index("ix_agent_plans_agent_id", "agent_plans", ["agent_id"], unique=False)
    op.create_table(
        "class_definitions",
        sa.Column("package_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(
            ["package_id"], ["packages.id"], name="fk_class_definitions_package_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("package_id", "name", name="pk_class_definitions"),
    )
    op.create_index("ix_class_definitions_name", "class_definitions", ["name"], unique=False)
    op.create_table(
        "identity_role_assignments",
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=36), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["identity_projects.id"], name="fk_identity_role_assignments_project_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity_users.id"], name="fk_identity_role_assignments_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "project_id", "role", name="pk_identity_role_assignments"),
    )
    op.create_table(
        "identity_tokens",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=36), nullable=True),
        sa.Column("methods", LONG_TEXT, nullable=False),
        sa.Column("audit_id", sa.String(length=32), nullable=False),
        sa.Column("issued", MOMENT, nullable=False),
        sa.Column("expires", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["identity_projects.id"], name="fk_identity_tokens_project_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity_users.id"], name="fk_identity_tokens_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("digest", name="pk_identity_tokens"),
    )
    op.create_index("ix_identity_tokens_expires", "identity_tokens", ["expires"], unique=False)
    op.create_index("ix_identity_tokens_user_id", "identity_tokens", ["user_id"], unique=False)
    op.create_table(
        "journal",
        sa.Column("deployment_id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("arguments", LONG_TEXT, nullable=False),
        sa.Column("outcome", LONG_TEXT, nullable=True),
        sa.Column("failure", LONG_TEXT, nullable=True),
        sa.Column("started", MOMENT, nullable=False),
        sa.Column("finished", MOMENT, nullable=True),
        sa.Column("delivery", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["deployment_id"], ["deployments.id"], name="fk_journal_deployment_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("deployment_id", "key", name="pk_journal"),
    )
    op.create_table(
        "package_categories",
        sa.Column("package_id", sa.String(length=36), nullable=False),
        sa.Column("category_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(["category_id"], ["categories.id"], name="fk_package_categories_category_id"),
        sa.ForeignKeyConstraint(
            ["package_id"], ["packages.id"], name="fk_package_categories_package_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("package_id", "category_id", name="pk_package_categories"),
    )
    op.create_index("ix_package_categories_category_id", "package_categories", ["category_id"], unique=False)
    op.create_table(
        "package_tags",
        sa.Column("package_id", sa.String(length=36), nullable=False),
        sa.Column("tag_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(["package_id"], ["packages.id"], name="fk_package_tags_package_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tag_id"], ["tags.id"], name="fk_package_tags_tag_id"),
        sa.PrimaryKeyConstraint("package_id", "tag_id", name="pk_package_tags"),
    )
    op.create_index("ix_package_tags_tag_id", "package_tags", ["tag_id"], unique=False)
    op.create_table(
        "statuses",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("deployment_id", sa.String(length=36), nullable=False),
        sa.Column("environment_id", sa.String(length=36), nullable=False),
        sa.Column("entity_id", sa.String(length=255), nullable=True),
        sa.Column("level", sa.String(length=32), nullable=False),
        sa.Column("text", LONG_TEXT, nullable=False),
        sa.Column("details", LONG_TEXT, nullable=True),
        sa.Column("created", MOMENT, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["deployment_id"], ["deployments.id"], name="fk_statuses_deployment_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_statuses"),
        sa.UniqueConstraint("deployment_id", "sequence", name="uq_statuses_deployment_id_sequence"),
    )
    op.create_index("ix_statuses_environment_id", "statuses", ["environment_id"], unique=False)
    _seed_categories()


def _seed_categories() -> None:
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    table = sa.table(
        "categories",
        sa.column("id", sa.String),
        sa.column("name", sa.String),
        sa.column("created", MOMENT),
        sa.column("updated", MOMENT),
    )
    rows = [{"id": uuid.uuid4().hex, "name": name, "created": now, "updated": now} for name in CATEGORIES]
    op.bulk_insert(table, rows)
