"""The same over a real socket: ``parsegate serve`` in a process of its own, on a clock of its own."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
from airflow_database import AirflowDatabase
from dag_content import AssetContent, DagContent, FileContent
from gateway_app import Gateway
from other_writers import create_next_run
from parse_steps import DeactivateStale, Others, Parse, PurgeWarnings, Reconcile, Step
from running_gateway import running_gateway
from two_sides import TwoSides


def test_a_served_gateway(two_sides: TwoSides, tmp_path: Path) -> None:
    """Its clock can't be stopped, so times are left out, and DAGs whose next run depends on the time."""

    @contextmanager
    def served(database: AirflowDatabase) -> Generator[Gateway]:
        with running_gateway(database, tmp_path, **two_sides.environment) as running:
            gateway = Gateway(database)
            with httpx.Client(base_url=running.url.removesuffix("/graphql"), timeout=30, trust_env=False) as http:
                gateway.close()
                gateway.http = http  # type: ignore[assignment]  # a TestClient is an httpx.Client without a network
                yield gateway

    two_sides.serve = served
    two_sides.clock_stands_still = False
    daily = DagContent("daily", catchup=True, tags=("x",), owner="ada", owner_link="https://example.com/ada")
    orders = AssetContent("orders", extra="table")
    file = FileContent("a.py", (daily, DagContent("reader", "assets", reads=(orders,))), version="v1")
    edited = FileContent("a.py", (DagContent("daily", catchup=True, tasks=3),), version="v2", comment="edited")
    steps: list[Step] = [
        Parse(file, FileContent("broken.py", error="NameError")),
        Others(create_next_run, "daily"),
        Parse(file),
        Parse(edited),
        Reconcile("dags", ("a.py",)),
        DeactivateStale(),
        PurgeWarnings(),
        Parse(file),
    ]
    two_sides.run(*steps)
