"""Whether the database can be reached and its tables are those that this code expects: Airflow's and parsegate's."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path

import airflow
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import SQLAlchemyError

from ..resolvers.database import reading
from .db_manager import MIGRATIONS, VERSION_TABLE

logger = logging.getLogger(__name__)

READY = "ready"


@cache
def _expected_heads(directory: str) -> frozenset[str]:
    return frozenset(ScriptDirectory(directory).get_heads())


def readiness() -> dict[str, str]:
    """``database``, ``airflow_migrations`` and ``parsegate_migrations``, each with ``ready`` or what is wrong."""
    histories = {
        "airflow_migrations": ("alembic_version", str(Path(airflow.__file__).parent / "migrations")),
        "parsegate_migrations": (VERSION_TABLE, str(MIGRATIONS)),
    }
    try:
        with reading() as session:
            connection = session.connection()
            heads = {
                name: MigrationContext.configure(connection, opts={"version_table": table}).get_current_heads()
                for name, (table, _) in histories.items()
            }
    except SQLAlchemyError as error:
        logger.warning("Not ready, the database cannot be reached: %s", error)
        return {"database": "unreachable"}
    states = {"database": READY}
    for name, (_, directory) in histories.items():
        states[name] = READY if frozenset(heads[name]) == _expected_heads(directory) else "not at head"
    return states
