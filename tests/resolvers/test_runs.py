"""What callbacks ask about runs is answered as Airflow's own Execution API answers it on the same database."""

from __future__ import annotations

import uuid
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from gateway_app import Gateway
from registered_processor import RegisteredProcessor, operation_documents
from run_history import History, day, run_id, task_instance_id
from run_history import history as history

if TYPE_CHECKING:
    from airflow.sdk.api.client import Client

FILE = {"bundleName": "dags", "relativeFileloc": "history.py"}


@pytest.fixture
def processor(history: History) -> RegisteredProcessor:
    return history.processor


@pytest.fixture
def gateway(history: History) -> Gateway:
    return history.gateway


@pytest.fixture
def stock(history: History) -> Client:
    return history.stock


def ask(processor: RegisteredProcessor, operation: str, **variables: Any) -> dict[str, Any]:
    """The answer's own fields, with the names that they have in Python, read by the generated client."""
    answer = processor.send(operation, **{"file": FILE, **variables})
    assert answer["status"] == "FOUND", answer
    module = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in operation).lstrip("_")
    model = getattr(import_module(f"parsegate.client.generated.{module}"), operation)
    field = operation[0].lower() + operation[1:]
    (fields,) = model.model_validate({field: answer}).model_dump(mode="json").values()
    return {name: value for name, value in fields.items() if name not in ("status", "reason", "message")}


def iso(number: int) -> str:
    return day(number).isoformat()


@pytest.mark.parametrize("state", [None, "success", "failed", "queued"])
@pytest.mark.parametrize("before", [0, 1, 2, 3, 4])
def test_the_previous_dag_run_is_the_one_that_airflow_finds(processor, stock, before, state):
    from airflow.sdk.execution_time.comms import PreviousDagRunResult

    expected = stock.dag_runs.get_previous("history", day(before), state)

    found = ask(processor, "PreviousDagRun", dagId="history", logicalDate=iso(before), state=state)

    assert PreviousDagRunResult.model_validate(found) == expected


def test_the_previous_dag_run_has_all_fields_of_the_task_sdk_s_model(processor):
    from airflow.sdk.api.datamodels._generated import DagRun

    run = ask(processor, "PreviousDagRun", dagId="history", logicalDate=iso(2))["dag_run"]

    assert set(run) == set(DagRun.model_fields)
    assert (run["run_id"], run["run_type"], run["state"]) == (run_id(1), "manual", "failed")
    assert run["conf"] == {"depth": {"of": ["conf"]}}
    assert run["triggering_user_name"] == "ada"


def test_consumed_asset_events_have_all_fields_of_the_task_sdk_s_model(processor):
    from airflow.api_fastapi.execution_api.datamodels import taskinstance
    from airflow.sdk.api.datamodels._generated import AssetEventDagRunReference

    from parsegate.schema.runs import ConsumedAssetEvent, _consumed_asset_event

    event = taskinstance.AssetEventDagRunReference(
        asset=taskinstance.AssetReferenceAssetEventDagRun(name="orders", uri="file://orders/", extra={"a": 1}),
        extra={"b": None},
        source_task_id="make",
        source_dag_id="makes",
        source_run_id="r",
        source_map_index=-1,
        source_aliases=[taskinstance.AssetAliasReferenceAssetEventDagRun(name="alias")],
        timestamp=day(0),
    )

    shown = _consumed_asset_event(event.model_dump())

    assert isinstance(shown, ConsumedAssetEvent)
    assert {name: getattr(shown, name) for name in AssetEventDagRunReference.model_fields}
    assert (shown.asset.uri, shown.source_aliases[0].name) == ("file://orders/", "alias")


def test_there_is_no_previous_dag_run_of_an_unknown_dag(processor):
    assert ask(processor, "PreviousDagRun", dagId="unknown", logicalDate=iso(2)) == {"dag_run": None}


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_the_previous_successful_dag_run_is_the_one_that_airflow_finds(processor, stock, number):
    from airflow.sdk.api.datamodels._generated import PrevSuccessfulDagRunResponse

    id = task_instance_id(number)
    expected = stock.task_instances.get_previous_successful_dagrun(uuid.UUID(id))

    found = ask(processor, "PreviousSuccessfulDagRun", taskInstanceId=id)

    assert PrevSuccessfulDagRunResponse.model_validate(found) == expected
    assert (found["start_date"] is None) == (number == 0)


def test_an_id_that_is_no_task_instance_s_is_answered_with_nulls_as_by_airflow(processor, stock):
    from airflow.sdk.api.datamodels._generated import PrevSuccessfulDagRunResponse

    process_id = uuid.uuid4()

    found = ask(processor, "PreviousSuccessfulDagRun", taskInstanceId=str(process_id))

    assert set(found.values()) == {None}
    assert PrevSuccessfulDagRunResponse.model_validate(found) == stock.task_instances.get_previous_successful_dagrun(
        process_id
    )


CRITERIA: list[dict[str, Any]] = [
    {},
    {"map_index": 2},
    {"map_index": -1},
    {"task_ids": ["single", "mapped"]},
    {"task_ids": []},
    {"task_group_id": "group"},
    {"task_group_id": "group", "task_ids": ["single"], "run_ids": [run_id(0)]},
    {"logical_dates": [day(0), day(3)]},
    {"run_ids": [run_id(1), "unknown"]},
    {"task_ids": ["unknown"]},
]


def variables(criteria: dict[str, Any]) -> dict[str, Any]:
    words = {name: name.split("_") for name in criteria}
    named = {words[name][0] + "".join(map(str.title, words[name][1:])): value for name, value in criteria.items()}
    if "logicalDates" in named:
        named["logicalDates"] = [date.isoformat() for date in named["logicalDates"]]
    return {"dagId": "history", **named}


@pytest.mark.parametrize("criteria", CRITERIA, ids=str)
def test_task_instances_are_counted_as_by_airflow(processor, stock, criteria):
    assert (
        ask(processor, "TaskInstanceCount", **variables(criteria))["count"]
        == stock.task_instances.get_count("history", **criteria).count
    )


@pytest.mark.parametrize("states", [["success"], ["null"], ["null", "failed"], ["no such state"], []])
def test_task_instances_are_counted_by_state_as_by_airflow(processor, stock, states):
    assert (
        ask(processor, "TaskInstanceCount", dagId="history", states=states)["count"]
        == stock.task_instances.get_count("history", states=states).count
    )


@pytest.mark.parametrize("criteria", CRITERIA, ids=str)
def test_task_states_are_those_that_airflow_tells(processor, stock, criteria):
    expected = stock.task_instances.get_task_states("history", **criteria).task_states

    assert ask(processor, "TaskStates", **variables(criteria))["task_states"] == expected


@pytest.mark.parametrize("operation", ["TaskInstanceCount", "TaskStates"])
@pytest.mark.parametrize(("dag_id", "group"), [("history", "no such group"), ("unknown", "group")])
def test_an_unknown_task_group_is_not_found_with_airflow_s_message(processor, stock, operation, dag_id, group):
    from airflow.sdk.api.client import ServerResponseError

    with pytest.raises(ServerResponseError) as stock_error:
        stock.task_instances.get_count(dag_id, task_group_id=group)
    assert stock_error.value.response.status_code == 404

    answer = processor.send(operation, file=FILE, dagId=dag_id, taskGroupId=group)

    assert answer["status"] == "NOT_FOUND"
    assert answer["message"] == stock_error.value.detail["message"]


@pytest.mark.parametrize(
    "criteria",
    [
        {},
        {"logical_date": day(3)},
        {"logical_date": day(3), "state": "failed"},
        {"state": "success"},
        {"task_id": "mapped", "map_index": 4},
        {"task_id": "mapped", "map_index": 5},
        {"logical_date": day(0)},
        {"task_id": "unknown"},
    ],
    ids=str,
)
def test_the_previous_task_instance_is_the_one_that_airflow_finds(processor, stock, criteria):
    from airflow.sdk.execution_time.comms import PreviousTIResult

    criteria = {"task_id": "single", **criteria}
    expected = stock.task_instances.get_previous("history", **criteria)
    named = {name[0] + name.title().replace("_", "")[1:]: value for name, value in criteria.items()}
    if "logicalDate" in named:
        named["logicalDate"] = named["logicalDate"].isoformat()

    found = ask(processor, "PreviousTaskInstance", dagId="history", **named)

    assert PreviousTIResult.model_validate(found) == expected


@pytest.mark.parametrize(
    ("operation", "criteria"),
    [
        ("PreviousDagRun", {"logicalDate": iso(2), "state": "no such state"}),
        ("PreviousTaskInstance", {"taskId": "single", "state": "no such state"}),
    ],
)
def test_a_state_that_airflow_does_not_know_is_refused(processor, operation, criteria):
    answer = processor.send(operation, file=FILE, dagId="history", **criteria)

    assert (answer["status"], answer["reason"]) == ("REFUSED", "INVALID_ARGUMENT")
    assert "success" in answer["message"]


def test_a_logical_date_in_another_time_zone_is_the_same_moment(processor):
    elsewhere = (day(2) - timedelta(hours=5)).isoformat().replace("+00:00", "-05:00")

    assert ask(processor, "PreviousDagRun", dagId="history", logicalDate=elsewhere)["dag_run"]["run_id"] == run_id(1)


RUN_READS: list[tuple[str, dict[str, Any]]] = [
    ("PreviousDagRun", {"dagId": "history", "logicalDate": iso(2)}),
    ("TaskInstanceCount", {"dagId": "history"}),
    ("TaskStates", {"dagId": "history"}),
    ("PreviousTaskInstance", {"dagId": "history", "taskId": "single"}),
]


@pytest.mark.parametrize(("operation", "criteria"), RUN_READS)
def test_a_file_of_a_bundle_that_the_token_does_not_grant_is_refused(gateway, processor, operation, criteria):
    limited = RegisteredProcessor(gateway, ["other"])

    answer = limited.send(operation, file=FILE, **criteria)

    assert (answer["status"], answer["reason"]) == ("REFUSED", "BUNDLE_NOT_GRANTED")


@pytest.mark.parametrize(("operation", "criteria"), RUN_READS)
def test_text_that_no_database_stores_is_refused(gateway, processor, operation, criteria):
    # The client library cannot even write half a surrogate pair; JSON can.
    for spelling in ("\0", "\\ud800"):
        answer = gateway.http.post(
            "/graphql",
            content=_payload(operation, {**criteria, "file": FILE, "dagId": "PLACEHOLDER"}).replace(
                "PLACEHOLDER", spelling.replace("\0", "\\u0000")
            ),
            headers={"Authorization": f"Bearer {processor.token}", "Content-Type": "application/json"},
        ).json()
        ((_, value),) = answer["data"].items()
        assert (value["status"], value["reason"]) == ("REFUSED", "INVALID_ARGUMENT")


def _payload(operation: str, variables: dict[str, Any]) -> str:
    import json

    return json.dumps({"query": operation_documents()[operation], "variables": variables})


def test_the_reads_of_a_closed_job_are_refused(gateway):
    processor = RegisteredProcessor(gateway)
    processor.send("CompleteJob", input={"state": "SUCCESS"})

    answer = processor.send("TaskStates", file=FILE, dagId="history")

    assert (answer["status"], answer["reason"]) == ("REFUSED", "JOB_CLOSED")
