"""A callback that has not run yet, as operators see it."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Any

import strawberry

from ..resolvers.pages import Row
from .context import Info
from .node import KeyedNode
from .processor import Processor


@strawberry.enum(description="Where a callback is on its way to a processor.")
class PendingCallbackState(Enum):
    UNCLAIMED = strawberry.enum_value(
        "UNCLAIMED", description="As the scheduler left it: no processor has claimed it yet."
    )
    WAITING = strawberry.enum_value(
        "WAITING",
        description="A processor that claimed others left it, or gave it back; any processor may claim it, after "
        "10 seconds for each attempt it has had.",
    )
    LEASED = strawberry.enum_value(
        "LEASED",
        description="A processor has it. Once the lease has expired, or that processor's Job has ended, another may "
        "claim it.",
    )
    PARKED = strawberry.enum_value(
        "PARKED",
        description="Kept but given to nobody any more: too many attempts failed, or it cannot be read. `message` "
        "says which.",
    )


@strawberry.type(
    description="A callback for a DAG processor that has not been acknowledged. Its context is not shown: it holds "
    "what users put "
    "into runs."
)
class PendingCallback(KeyedNode):
    state: PendingCallbackState = strawberry.field(description="Where the callback is on its way to a processor.")
    type: str | None = strawberry.field(
        description="Airflow's name of the kind of request: `DagCallbackRequest`, `TaskCallbackRequest` or "
        "`EmailRequest`; null when "
        "it cannot be read, like all that follows from the request."
    )
    bundle_name: str | None = strawberry.field(
        description="Bundle of the file that defines the callback; null when unknown."
    )
    bundle_version: str | None = strawberry.field(
        description="Version of the bundle that the run uses; null for the newest, or a bundle without versions."
    )
    relative_fileloc: str | None = strawberry.field(
        description="Path of that file, relative to its bundle; null when unknown."
    )
    dag_id: str | None = strawberry.field(description="The DAG that it is a callback of; null when unknown.")
    run_id: str | None = strawberry.field(description="The DAG run that it is about; null when unknown.")
    task_id: str | None = strawberry.field(description="The task that it is about; null for a DAG's callback.")
    map_index: int | None = strawberry.field(
        description="Index of the mapped task instance, -1 when it isn't mapped; null for a DAG's callback."
    )
    try_number: int | None = strawberry.field(
        description="The task's try that it is about, from 1; null for a DAG's callback."
    )
    priority_weight: int = strawberry.field(description="The higher, the sooner it is handed out.")
    created_at: datetime = strawberry.field(description="When the scheduler left it (UTC).")
    age: float = strawberry.field(description="Seconds since then, on the gateway's clock.")
    attempts: int = strawberry.field(description="How often it was handed out to a processor.")
    last_outcome: str | None = strawberry.field(
        description="How the last attempt ended: `NOT_FOUND` or `NOT_STARTED` as its processor said, `LOST` when the "
        "processor fell silent; null when none has ended."
    )
    message: str | None = strawberry.field(
        description="Why it is parked, for a person; null unless there is something to say."
    )
    lease_expires_at: datetime | None = strawberry.field(
        description="When its lease expires unless it is renewed (UTC), in the past when nobody has claimed it "
        "since; null unless `LEASED`."
    )
    callback_id: strawberry.Private[str]
    job_id: strawberry.Private[int | None]

    def key(self) -> tuple[Any, ...]:
        return (self.callback_id,)

    @staticmethod
    def of(row: Row) -> PendingCallback:
        fields: dict[str, Any] = {**row, "state": PendingCallbackState(row["state"])}
        return PendingCallback(**fields)

    @strawberry.field(description="The processor that has it; null unless `LEASED`, or when its registration is gone.")
    async def owner(self, info: Info) -> Processor | None:
        if self.job_id is None:
            return None
        row = await info.context.loaders.processors.load(self.job_id)
        return None if row is None else Processor.of(row)
