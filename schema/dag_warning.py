"""A DAG warning as operators see it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import strawberry

from ..resolvers.pages import Row
from .node import KeyedNode


@strawberry.type(
    description="A problem of a DAG that did not keep it from being stored; gone when a later parse finds it solved."
)
class DagWarning(KeyedNode):
    dag_id: str = strawberry.field(description="The DAG that the warning is about.")
    warning_type: str = strawberry.field(
        description="Airflow's name of the kind of problem: `asset conflict`, `non-existent pool` or `runtime "
        "varying value`."
    )
    message: str = strawberry.field(description="What the problem is, for a person.")
    timestamp: datetime = strawberry.field(description="When the warning was stored (UTC).")
    bundle_name: str = strawberry.field(description="The bundle that the DAG's file is in.")
    relative_fileloc: str | None = strawberry.field(
        description="Path of the DAG's file, relative to its bundle; null for a DAG that was last parsed by Airflow 2."
    )

    def key(self) -> tuple[Any, ...]:
        return (self.dag_id, self.warning_type)

    @staticmethod
    def of(row: Row) -> DagWarning:
        return DagWarning(**row)
