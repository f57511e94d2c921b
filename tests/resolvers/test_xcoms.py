"""XComs are those that Airflow's own Execution API answers with on the same database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from gateway_app import Gateway
from registered_processor import RegisteredProcessor, operation_documents
from run_history import VALUES, History, run_id
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


def pushed(task_id: str = "mapped", number: int = 3, key: str = "return_value") -> dict[str, Any]:
    return {"dagId": "history", "runId": run_id(number), "taskId": task_id, "key": key}


def place(task_id: str = "mapped", number: int = 3, key: str = "return_value") -> tuple[str, str, str, str]:
    return "history", run_id(number), task_id, key


@pytest.mark.parametrize(
    ("task_id", "map_index"), [("single", None), ("single", -1), *(("mapped", n) for n in range(5))]
)
def test_an_xcom_is_the_one_that_airflow_answers_with(processor, stock, task_id, map_index):
    expected = stock.xcoms.get(*place(task_id), map_index)

    answer = processor.send("Xcom", file=FILE, **pushed(task_id), mapIndex=map_index)

    assert answer["status"] == "FOUND"
    assert (answer["key"], answer["value"]) == (expected.key, expected.value)


def test_a_null_that_was_pushed_is_found(processor):
    assert VALUES[1] is None
    answer = processor.send("Xcom", file=FILE, **pushed(), mapIndex=1)

    assert (answer["status"], answer["value"]) == ("FOUND", None)


def test_an_xcom_of_a_prior_date_is_found_when_asked_for(processor, stock):
    only_first = "pushed on the first day"

    with_prior = processor.send("Xcom", file=FILE, **pushed("single", key=only_first), includePriorDates=True)
    without = processor.send("Xcom", file=FILE, **pushed("single", key=only_first))

    assert with_prior["value"] == "first"
    assert stock.xcoms.get(*place("single", key=only_first), include_prior_dates=True).value == "first"
    assert without["status"] == "NOT_FOUND"


@pytest.mark.parametrize("variables", [{"key": "unknown"}, {"taskId": "single", "mapIndex": 3}, {"runId": "unknown"}])
def test_a_missing_xcom_is_not_found_with_airflow_s_message(processor, stock, variables):
    from airflow.sdk.api.client import ServerResponseError

    asked = {**pushed("single"), **variables}

    answer = processor.send("Xcom", file=FILE, **asked)

    assert (answer["status"], answer["value"]) == ("NOT_FOUND", None)
    with pytest.raises(ServerResponseError) as error:
        stock.get(
            "xcoms/{dagId}/{runId}/{taskId}/{key}".format(**asked), params={"map_index": asked.get("mapIndex", -1)}
        )
    assert error.value.response.status_code == 404
    assert answer["message"] == error.value.detail["message"]


@pytest.mark.parametrize("task_id", ["mapped", "single", "unknown"])
def test_xcoms_are_counted_as_by_airflow(processor, stock, task_id):
    answer = processor.send("XcomCount", file=FILE, **pushed(task_id))

    assert answer["status"] == "FOUND"
    assert answer["len"] == stock.xcoms.head(*place(task_id)).len


@pytest.mark.parametrize("offset", [0, 1, 4, -1, -5])
def test_a_sequence_item_is_the_one_that_airflow_answers_with(processor, stock, offset):
    expected = stock.xcoms.get_sequence_item(*place(), offset)

    answer = processor.send("XcomSequenceItem", file=FILE, **pushed(), offset=offset)

    assert (answer["status"], answer["value"]) == ("FOUND", expected.root)


@pytest.mark.parametrize("offset", [5, -6, 2**62, -(2**63)])
def test_an_item_beyond_the_sequence_is_not_found(processor, stock, offset):
    from airflow.sdk.exceptions import ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse

    if abs(offset) < 2**32:
        expected = stock.xcoms.get_sequence_item(*place(), offset)
        assert isinstance(expected, ErrorResponse)
        assert expected.error == ErrorType.XCOM_NOT_FOUND

    answer = processor.send("XcomSequenceItem", file=FILE, **pushed(), offset=offset)

    assert (answer["status"], answer["value"]) == ("NOT_FOUND", None)


@pytest.mark.parametrize(
    ("start", "stop", "step"),
    [(None, None, None), (1, 3, None), (-3, None, None), (None, -2, None), (-4, -1, 2), (None, None, -1), (3, 0, -2)],
)
def test_a_slice_is_the_one_that_airflow_answers_with(processor, stock, start, stop, step):
    expected = stock.xcoms.get_sequence_slice(*place(), start, stop, step)

    answer = processor.send("XcomSequenceSlice", file=FILE, **pushed(), start=start, stop=stop, step=step)

    assert answer["values"] == expected.root


@pytest.mark.parametrize("step", [None, 2, -1, -2])
def test_a_slice_is_python_s_also_where_airflow_s_query_fails(history, step):
    """Airflow 3.3.2 answers ``[3:1]`` with an error on PostgreSQL and with too much on SQLite."""
    bounds = [None, 0, 1, 4, 5, 9, -1, -2, -5, -9]
    slices = [(start, stop) for start in bounds for stop in bounds]
    document = operation_documents()["XcomSequenceSlice"]

    wrong = {}
    for part in range(0, len(slices), 20):
        asked = slices[part : part + 20]
        answers = history.gateway.execute_batch(
            *(
                (document, {**pushed(), "file": FILE, "start": start, "stop": stop, "step": step})
                for start, stop in asked
            ),
            token=history.processor.token,
        )
        for (start, stop), answer in zip(asked, answers, strict=True):
            values = answer["data"]["xcomSequenceSlice"]["values"]
            if values != VALUES[start:stop:step]:
                wrong[start, stop] = values

    assert wrong == {}


@pytest.mark.parametrize("task_id", ["unknown", "single"])
def test_a_slice_of_what_no_mapped_task_pushed_is_airflow_s_too(processor, stock, task_id):
    answer = processor.send("XcomSequenceSlice", file=FILE, **pushed(task_id))

    assert answer["values"] == stock.xcoms.get_sequence_slice(*place(task_id), None, None, None).root


def test_a_slice_over_prior_dates_is_the_one_that_airflow_answers_with(processor, stock):
    expected = stock.xcoms.get_sequence_slice(*place(), None, None, None, include_prior_dates=True)

    answer = processor.send("XcomSequenceSlice", file=FILE, **pushed(), includePriorDates=True)

    assert len(answer["values"]) == len(expected.root)
    assert sorted(map(str, answer["values"])) == sorted(map(str, expected.root))


def test_a_slice_with_enormous_bounds_is_answered(processor):
    answer = processor.send("XcomSequenceSlice", file=FILE, **pushed(), start=-(2**63), stop=2**63 - 1)

    assert answer["values"] == VALUES


def test_xcoms_of_bundles_that_the_token_does_not_grant_are_not_asked_for(gateway, processor):
    limited = RegisteredProcessor(gateway, ["other"])

    for operation, variables in [
        ("Xcom", {}),
        ("XcomCount", {}),
        ("XcomSequenceItem", {"offset": 0}),
        ("XcomSequenceSlice", {}),
    ]:
        answer = limited.send(operation, file=FILE, **pushed(), **variables)
        assert (answer["status"], answer["reason"]) == ("REFUSED", "BUNDLE_NOT_GRANTED")
