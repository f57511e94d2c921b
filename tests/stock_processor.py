"""Airflow's own ``airflow dag-processor``, with a database connection: what parsegate's results are compared with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from airflow_database import AirflowDatabase


def stock_environment(
    database: AirflowDatabase, home: Path, bundles: list[dict[str, Any]], **settings: str
) -> dict[str, str]:
    """The environment of a processor that stores in ``database`` and has its folders in ``home``."""
    (home / "logs").mkdir(parents=True, exist_ok=True)
    return {
        **os.environ,
        **database.environment,
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(home / "bundles"),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(home / "logs" / "dag_processor"),
        **settings,
    }


def run_stock_once(database: AirflowDatabase, home: Path, bundles: list[dict[str, Any]], **settings: str) -> str:
    """One pass over all files of ``bundles``, stored in ``database``; the processor's log."""
    run = subprocess.run(
        [sys.executable, "-m", "airflow", "dag-processor", "--num-runs", "1"],
        env=stock_environment(database, home, bundles, **settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout[-8000:]
    return run.stdout
