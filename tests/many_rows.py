"""Rows of many DAGs and files, inserted in bulk: for what must not cost more when there are more of them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any


def insert_dags(
    numbers: Collection[int],
    *,
    bundle_name: str = "dags",
    file: str = "{number}.py",
    stale: bool = False,
    last_parsed: datetime | None = None,
) -> None:
    """A DAG ``dag_{number}`` for each number, its file ``file``, with a row in Airflow's table and nothing else.

    :param last_parsed: when each was last found in its file; default: now
    """
    from airflow._shared.timezones.timezone import utcnow
    from airflow.models.dag import DagModel

    _insert(
        DagModel,
        [
            {
                "dag_id": f"dag_{number}",
                "bundle_name": bundle_name,
                "fileloc": "/bundles/dags/" + file.format(number=number),
                "relative_fileloc": file.format(number=number),
                "is_stale": stale,
                "last_parsed_time": last_parsed or utcnow(),
                "max_active_tasks": 16,
                "max_consecutive_failed_dag_runs": 0,
                "has_task_concurrency_limits": False,
            }
            for number in numbers
        ],
    )


def insert_files(
    numbers: Collection[int],
    *,
    bundle_name: str = "dags",
    file: str = "{number}.py",
    last_parsed: datetime | None = None,
) -> None:
    """The ledger's row for each file, as its last parse left it.

    :param last_parsed: when each was last parsed; default: now
    """
    from airflow._shared.timezones.timezone import utcnow

    from parsegate.resolvers.tables import ParsedFile

    _insert(
        ParsedFile,
        [
            {
                "bundle_name": bundle_name,
                "relative_fileloc": file.format(number=number),
                "status": "STORED",
                "last_parsed_at": last_parsed or utcnow(),
                "job_id": 1,
                "attempt_id": f"attempt {number}",
                "sequence": number + 1,
            }
            for number in numbers
        ],
    )


def insert_import_errors(
    numbers: Collection[int], *, bundle_name: str = "dags", file: str = "broken_{number}.py"
) -> None:
    """An import error for each file."""
    from airflow._shared.timezones.timezone import utcnow
    from airflow.models.errors import ParseImportError

    _insert(
        ParseImportError,
        [
            {
                "bundle_name": bundle_name,
                "filename": file.format(number=number),
                "stacktrace": "Traceback",
                "timestamp": utcnow() - timedelta(seconds=60),
            }
            for number in numbers
        ],
    )


def insert_warnings(numbers: Collection[int]) -> None:
    """A warning about ``dag_{number}`` for each number."""
    from airflow._shared.timezones.timezone import utcnow
    from airflow.models.dagwarning import DagWarning

    _insert(
        DagWarning,
        [
            {
                "dag_id": f"dag_{number}",
                "warning_type": "non-existent pool",
                "message": "There is no such pool.",
                "timestamp": utcnow(),
            }
            for number in numbers
        ],
    )


def insert_claims(numbers: Collection[int], *, kind: str, **fields: Any) -> None:
    """Claims of the bundle ``dags`` that wait; ``fields`` replace what each has."""
    from airflow._shared.timezones.timezone import utcnow

    from parsegate.resolvers.tables import Claim

    _insert(
        Claim,
        [
            {
                "id": f"{kind} {number} {fields.get('state')}",
                "kind": kind,
                "state": "WAITING",
                "bundle_name": "dags",
                "priority_weight": 0,
                "payload": {"relative_fileloc": f"{number}.py"},
                "created_at": utcnow(),
                "attempts": 1,
                **fields,
            }
            for number in numbers
        ],
    )


def insert_triggerer_callbacks(numbers: Collection[int]) -> None:
    """Callbacks that are not for DAG processors, in the table that has those, too."""
    from airflow._shared.timezones.timezone import utcnow
    from airflow.models.callback import Callback

    _insert(
        Callback,
        [
            {
                "type": "triggerer",
                "fetch_method": "import_path",
                "data": {},
                "priority_weight": number,
                "created_at": utcnow(),
            }
            for number in numbers
        ],
    )


def _insert(model: Any, rows: list[dict[str, Any]]) -> None:
    from airflow import settings
    from sqlalchemy import insert

    with settings.get_engine().begin() as connection:
        connection.execute(insert(model.__table__), rows)
