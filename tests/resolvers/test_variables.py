"""Variables are read and written as Airflow's own Execution API does, within the bounds of a team."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from gateway_app import Gateway
from multi_team import BUNDLES, file_of, make_teams
from multi_team import multi_team as multi_team
from registered_processor import RegisteredProcessor, operation_documents
from run_history import stock_client

FILE = file_of("dags")


@pytest.fixture
def processor(gateway: Gateway) -> RegisteredProcessor:
    processor = RegisteredProcessor(gateway)
    processor.sync(*BUNDLES)
    return processor


def add(key: str, value: str, team_name: str | None = None) -> None:
    from airflow.models.variable import Variable

    from parsegate.resolvers.database import transaction

    with transaction() as session:
        Variable.set(key, value, team_name=team_name, session=session)


def stored() -> dict[str, tuple[str | None, str | None, str | None]]:
    """Value, description and team by key."""
    from airflow.models.variable import Variable
    from sqlalchemy import select

    from parsegate.resolvers.database import reading

    with reading() as session:
        return {row.key: (row.val, row.description, row.team_name) for row in session.scalars(select(Variable))}


def write(processor: RegisteredProcessor, key: str, value: str | None, file: Any = FILE, **more: Any) -> str:
    outcome = processor.send("SetVariable", input={"key": key, "value": value, "file": file, **more})
    return outcome["reason"] or outcome["status"]


def delete(processor: RegisteredProcessor, key: str, file: Any = FILE) -> str:
    outcome = processor.send("DeleteVariable", input={"key": key, "file": file})
    return outcome["reason"] or outcome["status"]


@pytest.mark.parametrize("value", ["plain", '{"json": [1, "ü"]}', "", "x" * 100_000])
def test_a_variable_is_the_one_that_airflow_answers_with(processor, value):
    add("key", value)
    expected = stock_client().variables.get("key")

    answer = processor.send("Variable", key="key", file=FILE)

    assert (answer["status"], answer["key"], answer["value"]) == ("FOUND", expected.key, expected.value)
    assert answer["value"] == value


def test_a_variable_is_encrypted_at_rest(processor):
    from sqlalchemy import text

    from parsegate.resolvers.database import reading

    assert write(processor, "key", "a secret value") == "ACCEPTED"

    with reading() as session:
        (row,) = session.execute(text("SELECT * FROM variable")).mappings()
    assert row["is_encrypted"]
    assert "a secret value" not in str(dict(row))
    assert processor.send("Variable", key="key", file=FILE)["value"] == "a secret value"


def test_a_missing_variable_is_not_found_with_airflow_s_message(processor):
    from airflow.sdk.exceptions import ErrorType

    assert stock_client().variables.get("missing").error == ErrorType.VARIABLE_NOT_FOUND

    answer = processor.send("Variable", key="missing", file=FILE)

    assert (answer["status"], answer["value"]) == ("NOT_FOUND", None)
    assert answer["message"] == "Variable with key 'missing' not found"


def test_a_database_that_fails_is_a_fault_and_never_not_found(processor, gateway, monkeypatch):
    from airflow.secrets.metastore import MetastoreBackend
    from sqlalchemy.exc import OperationalError

    add("key", "value")

    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("SELECT", {}, Exception("the connection was lost"))

    monkeypatch.setattr(MetastoreBackend, "get_variable", fail)
    answer = gateway.execute(operation_documents()["Variable"], {"key": "key", "file": FILE}, token=processor.token)

    assert [error["extensions"]["code"] for error in answer["errors"]] == ["INTERNAL"]


@pytest.mark.parametrize(
    "page",
    [{}, {"prefix": "a_"}, {"prefix": "a%"}, {"limit": 2}, {"limit": 2, "offset": 2}, {"offset": 9}],
    ids=str,
)
def test_keys_are_those_that_airflow_lists(processor, page):
    for key in ("a_1", "a_2", "ab", "a%c", "b"):
        add(key, "value")
    expected = stock_client().variables.keys(**page)

    answer = processor.send("VariableKeys", file=FILE, **page)

    assert answer["status"] == "FOUND"
    assert (answer["keys"], answer["totalEntries"]) == (expected.keys, expected.total_entries)


@pytest.mark.parametrize("page", [{"limit": 0}, {"limit": 10_001}, {"offset": -1}, {"prefix": "\0"}], ids=str)
def test_a_page_that_makes_no_sense_is_refused(processor, page):
    assert processor.send("VariableKeys", file=FILE, **page)["reason"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("value", ["new", "", None])
def test_a_written_variable_is_stored_as_airflow_stores_it(processor, value):
    stock_client().variables.set("theirs", value, "what for")

    assert write(processor, "ours", value, description="what for") == "ACCEPTED"

    rows = stored()
    assert rows["ours"] == rows["theirs"]


def test_writing_overwrites_and_may_be_sent_twice(processor):
    add("key", "old")

    assert [write(processor, "key", "new"), write(processor, "key", "new")] == ["ACCEPTED", "ACCEPTED"]
    assert stored()["key"][0] == "new"


def test_a_deleted_variable_is_gone_and_may_be_deleted_twice(processor):
    add("key", "value")

    assert [delete(processor, "key"), delete(processor, "key")] == ["ACCEPTED", "ACCEPTED"]
    assert stored() == {}


@pytest.mark.parametrize("key", ["", "x" * 251, "a\0b"])
def test_a_key_that_no_row_can_have_is_refused(processor, key):
    assert write(processor, key, "value") == "INVALID_ARGUMENT"
    assert stored() == {}


def test_a_file_of_a_bundle_that_the_token_does_not_grant_neither_reads_nor_writes(gateway, processor):
    add("key", "value")
    limited = RegisteredProcessor(gateway, ["red-dags"])

    assert limited.send("Variable", key="key", file=FILE)["reason"] == "BUNDLE_NOT_GRANTED"
    assert limited.send("VariableKeys", file=FILE)["reason"] == "BUNDLE_NOT_GRANTED"
    assert write(limited, "key", "new") == "BUNDLE_NOT_GRANTED"
    assert delete(limited, "key") == "BUNDLE_NOT_GRANTED"
    assert stored()["key"][0] == "value"


def test_a_closed_job_writes_nothing(processor):
    processor.send("CompleteJob", input={"state": "SUCCESS"})

    assert write(processor, "key", "value") == "JOB_CLOSED"
    assert stored() == {}


@pytest.mark.parametrize("operation", ["SetVariable", "DeleteVariable"])
def test_only_a_job_token_writes(gateway, processor, operation):
    input = {"key": "key", "file": FILE, **({"value": "x"} if operation == "SetVariable" else {})}

    answer = gateway.execute(operation_documents()[operation], {"input": input}, token=gateway.operator_token())

    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
    assert stored() == {}


@pytest.fixture
def teams(processor: RegisteredProcessor, multi_team: None) -> RegisteredProcessor:
    make_teams()
    add("red", "of red", "red")
    add("blue", "of blue", "blue")
    add("global", "of none")
    return processor


@pytest.mark.parametrize(
    ("bundle", "visible"), [("red-dags", ["global", "red"]), ("blue-dags", ["blue", "global"]), ("dags", ["global"])]
)
def test_a_team_sees_its_own_variables_and_those_of_no_team(teams, bundle, visible):
    file = file_of(bundle)
    found = [key for key in ("blue", "global", "red") if teams.send("Variable", key=key, file=file)["value"]]
    listed = teams.send("VariableKeys", file=file)

    assert found == visible
    assert (listed["keys"], listed["totalEntries"]) == (visible, len(visible))
    assert teams.send("VariableKeys", file=file, prefix="g", limit=1)["keys"] == ["global"]


@pytest.mark.parametrize("bundle", ["red-dags", "dags"])
def test_another_team_s_variable_is_neither_overwritten_nor_deleted(teams, bundle):
    assert write(teams, "blue", "mine now", file_of(bundle)) == "NOT_PERMITTED"
    assert delete(teams, "blue", file_of(bundle)) == "ACCEPTED"
    assert stored()["blue"] == ("of blue", None, "blue")


def test_a_team_s_new_variable_is_its_own(teams):
    assert write(teams, "new", "value", file_of("red-dags")) == "ACCEPTED"
    assert write(teams, "red", "changed", file_of("red-dags")) == "ACCEPTED"

    assert stored()["new"] == ("value", None, "red")
    assert stored()["red"] == ("changed", None, "red")
    assert teams.send("Variable", key="new", file=file_of("blue-dags"))["status"] == "NOT_FOUND"


@pytest.mark.parametrize("fault", [False, True], ids=["answered", "at a fault"])
def test_no_log_shows_a_value(processor, gateway, caplog, capfd, monkeypatch, fault):
    from airflow.models.variable import Variable

    add("api_password", "the value read")
    if fault:

        def fail(*_: Any, **__: Any) -> None:
            raise OSError("no space left on device")

        monkeypatch.setattr(Variable, "set", fail)

    with caplog.at_level(logging.DEBUG):
        processor.send("Variable", key="api_password", file=FILE)
        processor.send("VariableKeys", file=FILE)
        gateway.execute(
            operation_documents()["SetVariable"],
            {"input": {"key": "plain", "value": "the value written", "file": FILE}},
            token=processor.token,
        )

    written = caplog.text + "".join(capfd.readouterr())
    assert "POST /graphql 200" in written
    assert ("no space left" in written) == fault
    assert "the value" not in written
