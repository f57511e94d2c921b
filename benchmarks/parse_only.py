"""Airflow's own ``airflow dag-processor``, which parses as always but reads and stores nothing while it runs.

What it costs is what parsing costs, whoever stores the results: the benchmark subtracts it from both sides. Its start
needs a database, its loop leaves it alone. Arguments are those of ``airflow``. A file with a bundle's name in the
folder that ``PARSEGATE_BENCHMARK_REFRESH`` names makes it look for new files in that bundle.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from airflow.__main__ import main
from airflow.dag_processing.manager import BundleState, DagFileProcessorManager


def leave_the_database_alone(manager: type[DagFileProcessorManager]) -> None:
    """Take the place of every method that the loop of ``manager`` reads or writes the database in."""
    handle_parsing_result = manager.handle_parsing_result.__wrapped__
    prepare_bundles = manager.prepare_bundles
    states: dict[str, BundleState] = {}
    refresh = Path(os.environ["PARSEGATE_BENCHMARK_REFRESH"])

    def handle(self: Any, file: Any, proc: Any, **_: Any) -> None:
        handle_parsing_result(self, file, proc, session=None)

    def prepare(self: Any) -> None:
        self.heartbeat = nothing
        prepare_bundles(self)

    def bundle_state(self: Any, bundle_name: str, **_: Any) -> BundleState:
        return states.get(bundle_name, BundleState(last_refreshed=None, version=None))

    def update_bundle_state(self: Any, bundle_name: str, *, last_refreshed: Any, version: Any, **_: Any) -> None:
        states[bundle_name] = BundleState(last_refreshed=last_refreshed, version=version)

    def claim_priority_files(self: Any) -> list[Any]:
        for bundle in self._dag_bundles:
            if (wanted := refresh / bundle.name).exists():
                wanted.unlink()
                self.request_bundle_refresh(bundle.name)
        return []

    manager.handle_parsing_result = handle
    manager.prepare_bundles = prepare
    manager.get_bundle_state = bundle_state
    manager.update_bundle_state = update_bundle_state
    manager.claim_priority_files = claim_priority_files
    manager.fetch_callbacks = no_list
    for name in (
        "persist_parsing_result",
        "deactivate_stale_dags",
        "purge_inactive_dag_warnings",
        "deactivate_deleted_dags",
        "clear_orphaned_import_errors",
    ):
        getattr(manager, name)  # an AttributeError here: Airflow has renamed it
        setattr(manager, name, nothing)


def nothing(*_: Any, **__: Any) -> None:
    """In place of what stores."""


def no_list(*_: Any, **__: Any) -> list[Any]:
    """In place of what reads."""
    return []


if __name__ == "__main__":
    leave_the_database_alone(DagFileProcessorManager)
    sys.argv = ["airflow", *sys.argv[1:]]
    main()
