"""What a file's last result was, so that the same result can be recognised.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("parsegate_file") as table:
        table.add_column(sa.Column("fingerprint", sa.String(length=64), nullable=True))
        table.add_column(sa.Column("imprint", sa.String(length=64), nullable=True))
        table.add_column(sa.Column("written", sa.JSON(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("parsegate_file") as table:
        table.drop_column("written")
        table.drop_column("imprint")
        table.drop_column("fingerprint")
