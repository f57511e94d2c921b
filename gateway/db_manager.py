"""parsegate's tables under ``airflow db``: migrate, reset and check-migrations cover them.

Airflow finds the manager through the provider's ``db-managers`` (:mod:`parsegate.gateway.provider`).
"""

from __future__ import annotations

from pathlib import Path

from airflow.utils.db_manager import BaseDBManager

from ..resolvers.tables import ParsegateBase

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "parsegate_alembic_version"


class ParsegateDBManager(BaseDBManager):
    """Creates, migrates and drops the tables of :mod:`parsegate.resolvers.tables`."""

    metadata = ParsegateBase.metadata
    migration_dir = str(MIGRATIONS)
    alembic_file = str(MIGRATIONS / "alembic.ini")
    version_table_name = VERSION_TABLE
    supports_table_dropping = True
    revision_heads_map = {"0.1.0": "0003"}  # noqa: RUF012 - the base class declares it so
