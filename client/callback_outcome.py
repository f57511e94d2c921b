"""What became of a callback, reported from inside the child that ran it.

Airflow 3.3 (``airflow/dag_processing/processor.py:_execute_callbacks``) logs everything that goes wrong in a callback
and exits 0 all the same, so its manager can't tell a callback that ran from one whose DAG was gone. This module wraps,
in the child alone, the module-level functions that it calls by name: the three ``_execute_*_callbacks``, to see each
request begin and end, and ``_get_dag_with_task``, to see that the DAG is gone. The callbacks' own exceptions are seen
through the logger handed in, which Airflow tells about each one. ``tests/client/test_callback_outcome.py`` runs real
callbacks through it and fails when Airflow changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from airflow.dag_processing import processor
from pydantic import BaseModel

AIRFLOW_VERSION = "3.3"
"""The release whose functions are wrapped."""

RAN = "RAN"
RAISED = "RAISED"
NOT_FOUND = "NOT_FOUND"
NOT_STARTED = "NOT_STARTED"

_EXECUTE = ("_execute_task_callbacks", "_execute_dag_callbacks", "_execute_email_callbacks")
_STARTS = ("Executing on_", "Executing Task callback", "Sending %s email")


class CallbackOutcome(BaseModel):
    """Child to manager: one callback request has ended. It is answered with an empty response."""

    index: int
    """Which of the child's callback requests, from 0."""
    outcome: Literal["RAN", "RAISED", "NOT_FOUND", "NOT_STARTED"]
    """``RAN``, also when the DAG defines no such callback (any more); ``RAISED`` when a callback raised or exited the
    process; ``NOT_FOUND`` when the DAG or task is gone; ``NOT_STARTED`` when it failed before its first callback."""
    type: Literal["CallbackOutcome"] = "CallbackOutcome"


class _WatchedLogger:
    """Airflow's logger, noting what it is told about the callbacks of one request."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self.started = False
        self.raised = False

    def info(self, event: str, *args: Any, **details: Any) -> Any:
        if event.startswith(_STARTS):
            self.started = True
        return self._log.info(event, *args, **details)

    def exception(self, event: str, *args: Any, **details: Any) -> Any:
        self.raised = True
        return self._log.exception(event, *args, **details)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


class _NoTeams:
    """In place of ``DagModel``, whose team look-up needs a database that the child has not; it is for a metric's tag
    only, and raising there would drop the remaining callbacks of the request (``processor.py:_execute_dag_callbacks``).
    """

    @staticmethod
    def get_team_name(dag_id: str) -> None:
        return None


def watch_callbacks(report: Callable[[CallbackOutcome], object]) -> None:
    """From now on, in this process, report how each callback request ends. For a child, before it parses."""
    index = 0
    missing = False

    def watched(execute: Callable[[Any, Any, Any], None]) -> Callable[[Any, Any, Any], None]:
        def run(dagbag: Any, request: Any, log: Any) -> None:
            nonlocal index, missing
            missing = False
            watch = _WatchedLogger(log)
            finished = False
            try:
                execute(dagbag, request, watch)
                finished = True
            finally:
                # Also when the callback exits the process, which Airflow catches nowhere.
                if missing:
                    outcome = NOT_FOUND
                elif watch.raised or (watch.started and not finished):
                    outcome = RAISED
                else:
                    outcome = RAN if finished else NOT_STARTED
                position, index = index, index + 1
                report(CallbackOutcome(index=position, outcome=outcome))

        return run

    find = processor._get_dag_with_task  # pyright: ignore[reportPrivateUsage]

    def found(*args: Any, **kwargs: Any) -> Any:
        nonlocal missing
        try:
            return find(*args, **kwargs)
        except ValueError:
            missing = True
            raise

    for name in _EXECUTE:
        setattr(processor, name, watched(getattr(processor, name)))
    processor._get_dag_with_task = found  # pyright: ignore[reportPrivateUsage]
    setattr(processor, "DagModel", _NoTeams)  # noqa: B010
