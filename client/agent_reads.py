"""A read of DAG code as an operation of the contract, and the operation's result as the answer that the child expects.

What is not found, or refused, is told exactly as Airflow's own client tells it (``airflow/sdk/api/client.py``), or as
its supervisor does where that client raises (``airflow/sdk/execution_time/supervisor.py:handle_requests``).
"""

from __future__ import annotations

from typing import Any

import msgspec
from pydantic import BaseModel

from . import protocol
from . import read_requests as requests
from .generated.base_model import UNSET, UnsetType
from .generated.client import Client
from .generated.enums import OutcomeStatus, ReadStatus, RefusalReason
from .generated.input_types import DeleteVariableInput, FileReferenceInput, SetVariableInput
from .gql_base_client import Operation

_ENVELOPE = frozenset({"status", "reason", "message"})

_DENIED = frozenset({RefusalReason.BUNDLE_NOT_GRANTED, RefusalReason.NOT_PERMITTED})


class UnhandledRequest(Exception):
    """The request is none that a parse child may make."""


class PassingFault(Exception):
    """The gateway failed to do this; it may do later."""


def asked(read: protocol.Read) -> requests.ReadRequest:
    """
    :raises UnhandledRequest: it is none of those that a parse child may make
    """
    try:
        return requests.read_request(read.request)
    except msgspec.ValidationError as error:
        raise UnhandledRequest(str(error)) from error


def operation(client: Client, read: protocol.Read, request: requests.ReadRequest) -> Operation[Any]:
    """The operation that answers a read."""
    file = FileReferenceInput(bundle_name=read.bundle_name, relative_fileloc=read.relative_fileloc)
    match request:
        case requests.GetConnection():
            return client.connection(request.conn_id, file)
        case requests.GetVariable():
            return client.variable(request.key, file)
        case requests.GetVariableKeys():
            return client.variable_keys(file=file, limit=request.limit, offset=request.offset, prefix=request.prefix)
        case requests.PutVariable():
            return client.set_variable(
                SetVariableInput(key=request.key, value=request.value, description=request.description, file=file)
            )
        case requests.DeleteVariable():
            return client.delete_variable(DeleteVariableInput(key=request.key, file=file))
        case requests.GetPreviousDagRun():
            return client.previous_dag_run(
                dag_id=request.dag_id, logical_date=request.logical_date, file=file, state=request.state
            )
        case requests.GetPrevSuccessfulDagRun():
            return client.previous_successful_dag_run(request.ti_id, file)
        case requests.GetTICount():
            return client.task_instance_count(
                dag_id=request.dag_id,
                file=file,
                map_index=_mapped(request.map_index),
                task_ids=request.task_ids,
                task_group_id=request.task_group_id,
                logical_dates=request.logical_dates,
                run_ids=request.run_ids,
                states=request.states,
            )
        case requests.GetTaskStates():
            return client.task_states(
                dag_id=request.dag_id,
                file=file,
                map_index=_mapped(request.map_index),
                task_ids=request.task_ids,
                task_group_id=request.task_group_id,
                logical_dates=request.logical_dates,
                run_ids=request.run_ids,
            )
        case requests.GetPreviousTI():
            return client.previous_task_instance(
                dag_id=request.dag_id,
                task_id=request.task_id,
                map_index=request.map_index,
                file=file,
                logical_date=request.logical_date,
                state=request.state,
            )
        case requests.GetXCom():
            return client.xcom(
                dag_id=request.dag_id,
                run_id=request.run_id,
                task_id=request.task_id,
                key=request.key,
                include_prior_dates=request.include_prior_dates,
                file=file,
                map_index=_mapped(request.map_index),
            )
        case requests.GetXComCount():
            return client.xcom_count(
                dag_id=request.dag_id, run_id=request.run_id, task_id=request.task_id, key=request.key, file=file
            )
        case requests.GetXComSequenceItem():
            return client.xcom_sequence_item(
                dag_id=request.dag_id,
                run_id=request.run_id,
                task_id=request.task_id,
                key=request.key,
                offset=request.offset,
                file=file,
            )
        case requests.GetXComSequenceSlice():
            return client.xcom_sequence_slice(
                dag_id=request.dag_id,
                run_id=request.run_id,
                task_id=request.task_id,
                key=request.key,
                include_prior_dates=request.include_prior_dates,
                file=file,
                start=request.start,
                stop=request.stop,
                step=request.step,
            )


def _mapped(map_index: int | None) -> int | UnsetType:
    """Airflow's client leaves a negative index out."""
    return UNSET if map_index is None or map_index < 0 else map_index


def answer(read_id: int, request: requests.ReadRequest, payload: Any) -> protocol.ReadAnswer:
    """The answer to a read.

    :param payload: the operation's one field
    :raises PassingFault: there is no answer yet
    """
    status = payload.status
    if status in (ReadStatus.FOUND, OutcomeStatus.ACCEPTED):
        return protocol.ReadAnswer(id=read_id, body=_body(request, payload))
    if status is ReadStatus.NOT_FOUND:
        return _not_found(read_id, request, payload.message)
    if status in (ReadStatus.REFUSED, OutcomeStatus.REFUSED):
        return protocol.ReadAnswer(id=read_id, error=_refused(request, payload.reason, payload.message))
    raise PassingFault(payload.message or "no answer")


def fault(read_id: int, message: str) -> protocol.ReadAnswer:
    """The answer to a read that the gateway found wrong in itself, such as a number out of range."""
    return protocol.ReadAnswer(id=read_id, error=_server_error(400, "bad_request", message))


def unhandled(read_id: int) -> protocol.ReadAnswer:
    return protocol.ReadAnswer(
        id=read_id,
        error={"error": "GENERIC_ERROR", "detail": {"status_code": 400, "message": "Unhandled request"}},
    )


def unreachable(read_id: int) -> protocol.ReadAnswer:
    return protocol.ReadAnswer(id=read_id, unreachable=True)


def _body(request: requests.ReadRequest, payload: BaseModel) -> dict[str, Any]:
    fields = payload.model_dump(mode="json", exclude=set(_ENVELOPE))
    match request:
        case requests.GetConnection():
            # Generated as schema_, because pydantic's models have a method schema.
            fields["schema"] = fields.pop("schema_")
            return fields
        case requests.GetXComSequenceItem():
            return {"root": fields["value"]}
        case requests.GetXComSequenceSlice():
            return {"root": fields["values"]}
        case _:
            return fields


def _not_found(read_id: int, request: requests.ReadRequest, message: str | None) -> protocol.ReadAnswer:
    error: dict[str, Any]
    match request:
        case requests.GetConnection():
            error = {"error": "CONNECTION_NOT_FOUND", "detail": {"conn_id": request.conn_id}}
        case requests.GetVariable():
            error = {"error": "VARIABLE_NOT_FOUND", "detail": {"key": request.key}}
        case requests.GetXCom():
            return protocol.ReadAnswer(id=read_id, body={"key": request.key, "value": None})
        case requests.GetXComSequenceItem():
            detail = {
                "dag_id": request.dag_id,
                "run_id": request.run_id,
                "task_id": request.task_id,
                "key": request.key,
                "offset": request.offset,
            }
            error = {"error": "XCOM_NOT_FOUND", "detail": detail}
        case _:
            error = _server_error(404, "not_found", message)
    return protocol.ReadAnswer(id=read_id, error=error)


def _refused(request: requests.ReadRequest, reason: RefusalReason | None, message: str | None) -> dict[str, Any]:
    status = 403 if reason in _DENIED else 422
    if status == 403:
        match request:
            # Not "not found": a secrets backend must not look elsewhere for what was denied.
            case requests.GetConnection():
                return {"error": "PERMISSION_DENIED", "detail": {"conn_id": request.conn_id, "status_code": 403}}
            case requests.GetVariable():
                return {"error": "PERMISSION_DENIED", "detail": {"key": request.key, "status_code": 403}}
            case _:
                pass
    return _server_error(status, reason.value.lower() if reason else "refused", message)


def _server_error(status: int, reason: str, message: str | None) -> dict[str, Any]:
    return {
        "error": "API_SERVER_ERROR",
        "detail": {
            "status_code": status,
            "message": "Server returned error",
            "detail": {"detail": {"reason": reason, "message": message}},
        },
    }
