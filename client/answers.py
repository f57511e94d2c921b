"""The gateway's answers, in the shape in which Airflow's request handlers expect them.

Airflow's ``DagFileProcessorProcess._handle_request`` asks a client of the Execution API and waits. Here the answer is
there before the question is asked: :class:`AnsweredClient` has the methods that the handlers call (thirteen, of
apache-airflow-core 3.3) and each returns the one answer that it was made with.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk.api.datamodels._generated import (
    ConnectionResponse,
    PrevSuccessfulDagRunResponse,
    TaskStatesResponse,
    VariableKeysResponse,
    VariableResponse,
    XComResponse,
    XComSequenceIndexResponse,
    XComSequenceSliceResponse,
)
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time.comms import (
    ErrorResponse,
    OKResponse,
    PreviousDagRunResult,
    PreviousTIResult,
    TICount,
    XComCountResponse,
)

from .protocol import ReadAnswer

_AS_RESULT = {
    ErrorType.CONNECTION_NOT_FOUND,
    ErrorType.VARIABLE_NOT_FOUND,
    ErrorType.XCOM_NOT_FOUND,
    ErrorType.PERMISSION_DENIED,
}
"""Errors that Airflow's client returns; the others it raises."""


class AnsweredWithError(Exception):
    """The answer is an error that the child's request shall raise."""

    def __init__(self, response: ErrorResponse) -> None:
        super().__init__(f"{response.error.value}: {response.detail}")
        self.response = response


class _Operations:
    def __init__(self, answer: ReadAnswer) -> None:
        self._body: dict[str, Any] = answer.body or {}
        self._error = error_response(answer)

    def _refuse(self) -> None:
        if self._error is not None:
            raise AnsweredWithError(self._error)

    def _refusal(self) -> ErrorResponse | None:
        if self._error is not None and self._error.error not in _AS_RESULT:
            raise AnsweredWithError(self._error)
        return self._error


class _Connections(_Operations):
    def get(self, conn_id: str) -> ConnectionResponse | ErrorResponse:
        return self._refusal() or ConnectionResponse.model_validate(self._body)


class _Variables(_Operations):
    def get(self, key: str) -> VariableResponse | ErrorResponse:
        return self._refusal() or VariableResponse.model_validate(self._body)

    def keys(self, **_: Any) -> VariableKeysResponse:
        self._refuse()
        return VariableKeysResponse.model_validate(self._body)

    def set(self, *_: Any) -> OKResponse:
        self._refuse()
        return OKResponse(ok=True)

    def delete(self, *_: Any) -> OKResponse:
        self._refuse()
        return OKResponse(ok=True)


class _DagRuns(_Operations):
    def get_previous(self, **_: Any) -> PreviousDagRunResult:
        self._refuse()
        return PreviousDagRunResult.model_validate({"dag_run": self._body.get("dag_run")})


class _TaskInstances(_Operations):
    def get_previous_successful_dagrun(self, *_: Any) -> PrevSuccessfulDagRunResponse:
        self._refuse()
        return PrevSuccessfulDagRunResponse.model_validate(self._body)

    def get_count(self, **_: Any) -> TICount:
        self._refuse()
        return TICount.model_validate({"count": self._body.get("count")})

    def get_task_states(self, **_: Any) -> TaskStatesResponse:
        self._refuse()
        return TaskStatesResponse.model_validate(self._body)

    def get_previous(self, **_: Any) -> PreviousTIResult:
        self._refuse()
        return PreviousTIResult.model_validate({"task_instance": self._body.get("task_instance")})


class _XComs(_Operations):
    def get(self, dag_id: str, run_id: str, task_id: str, key: str, *_: Any) -> XComResponse:
        if self._error is not None and self._error.error == ErrorType.XCOM_NOT_FOUND:
            # As airflow.sdk.api.client.XComOperations.get: a missing XCom is a None.
            return XComResponse(key=key, value=None)
        self._refuse()
        return XComResponse.model_validate(self._body)

    def head(self, *_: Any) -> XComCountResponse:
        self._refuse()
        return XComCountResponse.model_validate({"len": self._body.get("len")})

    def get_sequence_item(self, *_: Any) -> XComSequenceIndexResponse | ErrorResponse:
        return self._refusal() or XComSequenceIndexResponse.model_validate(self._body.get("root"))

    def get_sequence_slice(self, *_: Any) -> XComSequenceSliceResponse | ErrorResponse:
        return self._refusal() or XComSequenceSliceResponse.model_validate(self._body.get("root"))


class AnsweredClient:
    """Stands in for ``airflow.sdk.api.client.Client`` while one answered request is handled.

    :raises AnsweredWithError: from a method whose answer is an error that Airflow's client would raise
    :raises pydantic.ValidationError: from a method whose answer has not the shape of Airflow's model
    """

    def __init__(self, answer: ReadAnswer) -> None:
        self.connections = _Connections(answer)
        self.variables = _Variables(answer)
        self.dag_runs = _DagRuns(answer)
        self.task_instances = _TaskInstances(answer)
        self.xcoms = _XComs(answer)


def error_response(answer: ReadAnswer) -> ErrorResponse | None:
    """The answer's error as Airflow's comms message; None if the answer is a result."""
    if answer.unreachable:
        return ErrorResponse(
            error=ErrorType.API_SERVER_ERROR,
            detail={"message": "The gateway can't be reached; this attempt is discarded."},
        )
    if answer.error is None:
        return None
    try:
        return ErrorResponse.model_validate(answer.error)
    except ValueError:
        return ErrorResponse(error=ErrorType.GENERIC_ERROR, detail={"message": str(answer.error)})
