"""What runs in a parse child: Airflow's own parsing, with nothing of the manager within reach.

It replaces ``airflow/dag_processing/processor.py:_parse_file_entrypoint``. Before any user code runs it closes what the
fork left open (the agent's socket, the siblings' sockets, the selector) and forgets the siblings' masked secrets. The
result carries the source of each DAG, read here, as this process' user: the gateway has no access to the file.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from typing import Annotated, Any, Literal, NoReturn

import structlog
from airflow.dag_processing import processor
from airflow.dag_processing.processor import DagFileParseRequest, DagFileParsingResult, ToDagProcessor
from airflow.sdk.execution_time import comms, task_runner
from airflow.sdk.execution_time.comms import (
    DeleteVariable,
    GetConnection,
    GetPreviousDagRun,
    GetPreviousTI,
    GetPrevSuccessfulDagRun,
    GetTaskStates,
    GetTICount,
    GetVariable,
    GetVariableKeys,
    GetXCom,
    GetXComCount,
    GetXComSequenceItem,
    GetXComSequenceSlice,
    MaskSecret,
    PutVariable,
    TICount,
)
from airflow.utils.file import open_maybe_zipped
from pydantic import Field, TypeAdapter

from . import masks
from .callback_outcome import CallbackOutcome, watch_callbacks


class SourcedParsingResult(DagFileParsingResult):
    """Airflow's parsing result with the sources of its DAGs."""

    sources: dict[str, str] = Field(default_factory=dict)
    """Source text by ``fileloc``; a source that can't be read is missing."""
    type: Literal["DagFileParsingResult"] = "DagFileParsingResult"


ToManager = Annotated[
    SourcedParsingResult
    | CallbackOutcome
    | GetConnection
    | GetVariable
    | GetVariableKeys
    | PutVariable
    | GetTaskStates
    | GetTICount
    | DeleteVariable
    | GetPrevSuccessfulDagRun
    | GetPreviousDagRun
    | GetPreviousTI
    | GetXCom
    | GetXComCount
    | GetXComSequenceItem
    | GetXComSequenceSlice
    | MaskSecret,
    Field(discriminator="type"),
]
"""Airflow's ``ToManager`` (``processor.py``), with what our child says besides."""

# Airflow's own union lacks the answer to GetTICount, which then fails in the child. Built once, before the fork.
_FROM_MANAGER: TypeAdapter[Any] = TypeAdapter(Annotated[ToDagProcessor | TICount, Field(discriminator="type")])


def open_descriptors() -> frozenset[int]:
    """The descriptors that this process has open."""
    descriptors = {int(name) for name in os.listdir("/proc/self/fd")}
    # One of them was that of the directory itself, and its number may be used again before the fork.
    return frozenset(descriptor for descriptor in descriptors if _is_open(descriptor))


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def parse_file(inherited: Iterable[int]) -> None:
    """The child's main function.

    :param inherited: descriptors that were open in the manager before it made this child's own
    """
    for descriptor in inherited:
        if descriptor > 2:
            try:
                os.close(descriptor)
            except OSError:
                continue
    masks.forget_all()
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "client"

    channel: comms.CommsDecoder[Any, Any] = comms.CommsDecoder(body_decoder=_FROM_MANAGER, err_decoder=_FROM_MANAGER)
    request = channel._get_response()  # pyright: ignore[reportPrivateUsage]
    if not isinstance(request, DagFileParseRequest):
        _refuse(request)
    task_runner.SUPERVISOR_COMMS = channel
    log = structlog.get_logger(logger_name="task")
    if request.callback_requests:
        watch_callbacks(channel.send)
    result = processor._parse_file(request, log)  # pyright: ignore[reportPrivateUsage]
    if result is not None:
        channel.send(SourcedParsingResult(**dict(result), sources=read_sources(result, log)))


def _refuse(request: object) -> NoReturn:
    raise RuntimeError(f"The first message must be a DagFileParseRequest, not {request!r}.")


def read_sources(result: DagFileParsingResult, log: Any) -> dict[str, str]:
    """The source of every DAG in ``result``, by ``fileloc``; what can't be read is left out, with a warning."""
    sources: dict[str, str] = {}
    for serialized in result.serialized_dags:
        fileloc = serialized.data["dag"]["fileloc"]
        if fileloc in sources:
            continue
        try:
            with open_maybe_zipped(fileloc) as file:
                sources[fileloc] = file.read()
        except (OSError, UnicodeDecodeError, KeyError, zipfile.BadZipFile) as error:
            log.warning("The source of a DAG can't be read; the DAG will be refused", fileloc=fileloc, error=str(error))
    return sources
