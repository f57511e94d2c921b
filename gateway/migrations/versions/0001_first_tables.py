"""The file ledger, claims and processors.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "parsegate_file",
        sa.Column("bundle_name", sa.String(length=250), nullable=False),
        sa.Column("relative_fileloc", sa.String(length=2000), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=50), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("last_parsed_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("last_stored_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("parse_duration", sa.Float(), nullable=True),
        sa.Column("bundle_version", sa.String(length=200), nullable=True),
        sa.Column("dag_count", sa.Integer(), nullable=False),
        sa.Column("import_error_count", sa.Integer(), nullable=False),
        sa.Column("warning_count", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("attempt_id", sa.String(length=36), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bundle_name", "relative_fileloc", name="pk_parsegate_file"),
    )
    op.create_index("ix_parsegate_file_last_parsed_at", "parsegate_file", ["last_parsed_at"])
    op.create_table(
        "parsegate_claim",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("bundle_name", sa.String(length=250), nullable=False),
        sa.Column("priority_weight", sa.Integer(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_outcome", sa.String(length=20), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("claim_id", sa.String(length=36), nullable=True),
        sa.Column("job_id", sa.Integer(), nullable=True),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_parsegate_claim"),
    )
    op.create_index("ix_parsegate_claim_kind_state", "parsegate_claim", ["kind", "state", "expires_at"])
    op.create_index("ix_parsegate_claim_claim_id", "parsegate_claim", ["claim_id"])
    op.create_table(
        "parsegate_processor",
        sa.Column("job_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("registration_id", sa.String(length=36), nullable=False),
        sa.Column("subject", sa.String(length=500), nullable=False),
        sa.Column("hostname", sa.String(length=500), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("bundle_names", sa.JSON(), nullable=False),
        sa.Column("parsegate_version", sa.String(length=50), nullable=False),
        sa.Column("airflow_version", sa.String(length=50), nullable=False),
        sa.Column("registered_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name="pk_parsegate_processor"),
        sa.UniqueConstraint("registration_id", name="uq_parsegate_processor_registration_id"),
    )


def downgrade() -> None:
    op.drop_table("parsegate_processor")
    op.drop_table("parsegate_claim")
    op.drop_table("parsegate_file")
