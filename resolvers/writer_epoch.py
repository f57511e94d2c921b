"""What Airflow's write path depends on beside the result and the database: when it changes, nothing stored before is
taken for what would be stored now.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import distributions

from airflow.configuration import conf

from .versions import AIRFLOW_VERSION, PARSEGATE_VERSION

OPTIONS = (
    # airflow/dag_processing/collection.py, airflow/models/{dag,serialized_dag}.py
    ("core", "max_active_tasks_per_dag"),
    ("core", "max_active_runs_per_dag"),
    ("core", "max_consecutive_failed_dag_runs_per_dag"),
    ("core", "compress_serialized_dags"),
    ("core", "auth_manager"),
    ("core", "multi_team"),
    ("operators", "default_owner"),
    # airflow/serialization: what a document leaves out is filled in from these.
    ("core", "default_timezone"),
    ("core", "max_templated_field_length"),
    ("scheduler", "catchup_by_default"),
    ("scheduler", "partition_mapper_max_downstream_keys"),
)
"""Options that decide what Airflow writes for one and the same result, as (section, key)."""


def writer_epoch() -> str:
    """Names the versions and options that this process writes with; equal on all replicas of one deployment."""
    options = "\n".join(f"{section}.{key}={conf.get(section, key, fallback='')}" for section, key in OPTIONS)
    return hashlib.blake2b(f"{_versions()}\n{options}".encode(), digest_size=16).hexdigest()


@cache
def _versions() -> str:
    """parsegate's, Airflow's and its providers', which bring asset types, triggers and timetables."""
    installed = {
        f"{name}={distribution.version}"
        for distribution in distributions()
        if (name := str(distribution.metadata["Name"] or "").lower()).startswith("apache-airflow")
    }
    return "\n".join([f"parsegate={PARSEGATE_VERSION}", f"airflow={AIRFLOW_VERSION}", *sorted(installed)])
