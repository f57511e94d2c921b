"""What a parse child may ask: Airflow's 13 comms messages, as the manager forwards them.

They mirror ``airflow.sdk.execution_time.comms`` (3.3.2); the agent has no Airflow imported. A test compares them
with the originals.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec


class Request(msgspec.Struct, kw_only=True, tag_field="type", tag=True):
    """Base of all; the tag is the class name."""


class GetConnection(Request):
    conn_id: str


class GetVariable(Request):
    key: str


class GetVariableKeys(Request):
    prefix: str | None = None
    limit: int = 1000
    offset: int = 0


class PutVariable(Request):
    key: str
    value: str | None
    description: str | None


class DeleteVariable(Request):
    key: str


class GetPreviousDagRun(Request):
    dag_id: str
    logical_date: datetime
    state: str | None = None


class GetPrevSuccessfulDagRun(Request):
    ti_id: UUID


class GetTICount(Request):
    dag_id: str
    map_index: int | None = None
    task_ids: list[str] | None = None
    task_group_id: str | None = None
    logical_dates: list[datetime] | None = None
    run_ids: list[str] | None = None
    states: list[str] | None = None


class GetTaskStates(Request):
    dag_id: str
    map_index: int | None = None
    task_ids: list[str] | None = None
    task_group_id: str | None = None
    logical_dates: list[datetime] | None = None
    run_ids: list[str] | None = None


class GetPreviousTI(Request):
    dag_id: str
    task_id: str
    logical_date: datetime | None = None
    map_index: int = -1
    state: str | None = None


class GetXCom(Request):
    key: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int | None = None
    include_prior_dates: bool = False


class GetXComCount(Request):
    key: str
    dag_id: str
    run_id: str
    task_id: str


class GetXComSequenceItem(Request):
    key: str
    dag_id: str
    run_id: str
    task_id: str
    offset: int


class GetXComSequenceSlice(Request):
    key: str
    dag_id: str
    run_id: str
    task_id: str
    start: int | None
    stop: int | None
    step: int | None
    include_prior_dates: bool = False


ReadRequest = (
    GetConnection
    | GetVariable
    | GetVariableKeys
    | PutVariable
    | DeleteVariable
    | GetPreviousDagRun
    | GetPrevSuccessfulDagRun
    | GetTICount
    | GetTaskStates
    | GetPreviousTI
    | GetXCom
    | GetXComCount
    | GetXComSequenceItem
    | GetXComSequenceSlice
)


def read_request(request: dict[str, Any]) -> ReadRequest:
    """
    :raises msgspec.ValidationError: it is none of these
    """
    return msgspec.convert(request, type=ReadRequest)
