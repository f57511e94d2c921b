"""Create or migrate parsegate's tables in Airflow's metadata database.

``airflow db migrate`` does the same besides Airflow's own tables wherever parsegate is installed; this does it without
touching those. Running it again changes nothing, and on PostgreSQL several at once take turns.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from airflow.utils.db import DBLocks, create_global_lock
from airflow.utils.db import upgradedb as upgrade_airflow
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from ..resolvers.database import airflow_engine
from .db_manager import ParsegateDBManager
from .readiness import READY, readiness

logger = logging.getLogger(__name__)


def migrate(*, with_airflow: bool = False) -> None:
    """Bring parsegate's tables to this version's; with ``with_airflow``, Airflow's own tables first.

    :raises SQLAlchemyError: the database cannot be reached, or refused a statement
    """
    if with_airflow:
        upgrade_airflow()
    with Session(airflow_engine()) as session, create_global_lock(session, DBLocks.MIGRATIONS):
        ParsegateDBManager(session).upgradedb()


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="parsegate migrate", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument(
        "--with-airflow", action="store_true", help="migrate Airflow's own tables first, as `airflow db migrate` does"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="change nothing; exit with 1 unless Airflow's and parsegate's migrations are all applied",
    )
    return parser


def run(argv: Sequence[str]) -> int:
    arguments = parser().parse_args(argv)
    try:
        if not arguments.check:
            migrate(with_airflow=arguments.with_airflow)
        states = readiness()
    except SQLAlchemyError as error:
        print(f"parsegate migrate: the database refused: {error}", file=sys.stderr)
        return 1
    for name, state in states.items():
        print(f"{name.replace('_', ' ')}: {state}")
    if arguments.check:
        return 0 if all(state == READY for state in states.values()) else 1
    if states.get("airflow_migrations", READY) != READY:
        print(
            "Airflow's own tables are not migrated: run `airflow db migrate`, or this with --with-airflow.",
            file=sys.stderr,
        )
    return 0 if states.get("parsegate_migrations") == READY else 1
