"""When stale DAGs lose their references to assets, and which DAGs count as gone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from airflow_database import AIRFLOW, OLDEST_AIRFLOW
from dag_content import AssetContent, DagContent, FileContent
from other_writers import Writer
from parse_steps import DeactivateStale, Others, Parse, Reconcile
from two_sides import TwoSides

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

ORDERS, SALES = AssetContent("orders"), AssetContent("sales")
PLAIN = FileContent("a.py", (DagContent("plain"),))
READS = FileContent("b.py", (DagContent("reads", "assets", reads=(ORDERS,), writes=(SALES,), alias="any"),))
BROKEN = replace(READS, error="NameError")
ELSEWHERE = FileContent("c.py", (DagContent("elsewhere", "assets", reads=(SALES,)),), bundle="more")


def _without_a_path(dag_id: str) -> Writer:
    """As an upgrade from Airflow 2 leaves a DAG whose file is in no bundle."""

    def write(session: Session) -> None:
        from airflow.models.dag import DagModel
        from sqlalchemy import update

        session.execute(update(DagModel).where(DagModel.dag_id == dag_id).values(relative_fileloc=None))

    return write


def test_references_of_stale_dags_go_when_a_file_of_any_bundle_is_gone(two_sides: TwoSides) -> None:
    two_sides.run(
        Parse(PLAIN, READS, ELSEWHERE),
        Parse(BROKEN),  # stale, and still referring to its assets
        Reconcile("dags", ("a.py", "b.py")),
        Reconcile("more", ("c.py",)),
        Reconcile("more", ()),
        Parse(READS),
        Parse(BROKEN),
        Reconcile("dags", ("a.py", "b.py")),
        Reconcile("more", ()),  # nothing becomes stale, but what is gone was not forgotten
        Parse(READS, ELSEWHERE),
    )


@pytest.mark.skipif(AIRFLOW == OLDEST_AIRFLOW, reason="There Airflow's own processor fails.")
def test_a_dag_without_a_path_is_left_alone(two_sides: TwoSides) -> None:
    two_sides.run(
        Parse(PLAIN, READS),
        Others(_without_a_path, "plain"),
        DeactivateStale(),
        Reconcile("dags", ("a.py", "b.py")),
    )
