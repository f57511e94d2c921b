"""What operators and deployment tooling look at: histories of parses, versions of bundles, what processors do; and
one-time logins.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from airflow.utils.sqlalchemy import UtcDateTime
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("parsegate_file") as table:
        table.add_column(sa.Column("recent_parses", sa.JSON(), nullable=True))
        table.create_index("ix_parsegate_file_bundle_name_last_parsed_at", ["bundle_name", "last_parsed_at"])
    with op.batch_alter_table("parsegate_processor") as table:
        table.add_column(sa.Column("activity", sa.JSON(), nullable=True))
        table.add_column(sa.Column("activity_at", UtcDateTime(), nullable=True))
    op.create_table(
        "parsegate_bundle_version",
        sa.Column("bundle_name", sa.String(length=250), nullable=False),
        sa.Column("version", sa.String(length=200), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("file_count", sa.Integer(), nullable=False),
        sa.Column("first_seen_at", UtcDateTime(), nullable=False),
        sa.Column("last_seen_at", UtcDateTime(), nullable=False),
        sa.Column("completed_at", UtcDateTime(), nullable=True),
        sa.Column("import_error_count", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("bundle_name", "version", name="pk_parsegate_bundle_version"),
    )
    op.create_table(
        "parsegate_login",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("redeemed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_parsegate_login"),
    )


def downgrade() -> None:
    op.drop_table("parsegate_login")
    op.drop_table("parsegate_bundle_version")
    with op.batch_alter_table("parsegate_processor") as table:
        table.drop_column("activity_at")
        table.drop_column("activity")
    with op.batch_alter_table("parsegate_file") as table:
        table.drop_index("ix_parsegate_file_bundle_name_last_parsed_at")
        table.drop_column("recent_parses")
