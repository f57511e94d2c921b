"""Both sides of the comparison, for every test of this folder."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from airflow_database import AIRFLOW, OLDEST_AIRFLOW, AirflowDatabases, configured_kind
from deliveries import Delivery, fingerprint_first, in_full
from two_sides import TwoSides, in_process


@pytest.fixture
def deliveries() -> Sequence[Delivery]:
    """How the parsegate side delivers results; a module that wants another way overrides this.

    On PostgreSQL and with the oldest Airflow only as the agent does, which has most results in full as well.
    """
    everything = configured_kind() == "sqlite" and AIRFLOW != OLDEST_AIRFLOW
    return (fingerprint_first, in_full) if everything else (fingerprint_first,)


@pytest.fixture
def two_sides(
    airflow_databases: AirflowDatabases, deliveries: Sequence[Delivery], monkeypatch: pytest.MonkeyPatch
) -> TwoSides:
    from airflow import plugins_manager
    from every_sunset import EverySunset

    # A deployment would register its timetable with a plugin.
    monkeypatch.setattr(plugins_manager, "get_timetables_plugins", lambda: {"every_sunset.EverySunset": EverySunset})
    return TwoSides(
        airflow_databases,
        deliveries,
        in_process,
        options={
            # Every change counts at once; the sequences about the interval set it.
            "core__min_serialized_dag_update_interval": "0",
            # The deviation of refusing another bundle's DAG id is not what is tested here.
            "parsegate__allow_bundle_takeover": "True",
        },
    )
