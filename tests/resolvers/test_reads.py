"""Which team's runs and XComs a file may read, where a deployment has teams."""

from __future__ import annotations

from typing import Any

import pytest
from multi_team import BUNDLES, file_of, make_teams
from multi_team import multi_team as multi_team
from registered_processor import RegisteredProcessor
from run_history import History, day, run_id, task_instance_id
from run_history import history as history

PUSHED = {"dagId": "history", "runId": run_id(1), "taskId": "mapped", "key": "return_value"}
READS: dict[str, dict[str, Any]] = {
    "PreviousDagRun": {"dagId": "history", "logicalDate": day(2).isoformat()},
    "TaskInstanceCount": {"dagId": "history"},
    "TaskStates": {"dagId": "history"},
    "PreviousTaskInstance": {"dagId": "history", "taskId": "single"},
    "Xcom": {**PUSHED, "mapIndex": 0},
    "XcomCount": PUSHED,
    "XcomSequenceItem": {**PUSHED, "offset": 0},
    "XcomSequenceSlice": PUSHED,
    "PreviousSuccessfulDagRun": {},
}


@pytest.fixture(scope="module")
def teams(history: History) -> RegisteredProcessor:
    history.processor.sync(*BUNDLES)
    make_teams()
    return history.processor


@pytest.fixture(params=["red-dags", "dags"])
def owner(request: pytest.FixtureRequest, teams: RegisteredProcessor, multi_team: None) -> str:
    """The bundle that has the DAG now."""
    from airflow.models.dag import DagModel
    from sqlalchemy import update

    from parsegate.resolvers.database import transaction

    with transaction() as session:
        session.execute(update(DagModel).where(DagModel.dag_id == "history").values(bundle_name=request.param))
    return request.param


@pytest.mark.parametrize("asking", ["red-dags", "blue-dags", "dags"])
@pytest.mark.parametrize("operation", READS)
def test_a_file_reads_of_dags_of_its_own_team_and_of_none(teams, owner, operation, asking):
    variables = {**READS[operation], "file": file_of(asking)}
    if operation == "PreviousSuccessfulDagRun":
        variables["taskInstanceId"] = task_instance_id(2)

    answer = teams.send(operation, **variables)

    if BUNDLES[owner] in (BUNDLES[asking], None):
        assert answer["status"] == "FOUND"
    else:
        assert (answer["status"], answer["reason"]) == ("REFUSED", "NOT_PERMITTED")
        others = {name: value for name, value in answer.items() if name not in ("status", "reason", "message")}
        assert set(others.values()) == {None}


@pytest.mark.parametrize("asking", ["red-dags", "dags"])
def test_a_dag_that_nobody_has_is_asked_about_as_without_teams(teams, owner, asking):
    answer = teams.send("TaskInstanceCount", dagId="unknown", file=file_of(asking))

    assert (answer["status"], answer["count"]) == ("FOUND", 0)
