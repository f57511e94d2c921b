"""Connections are decrypted for the files that may see them, and written to no log."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from gateway_app import Gateway
from multi_team import BUNDLES, file_of, make_teams
from multi_team import multi_team as multi_team
from registered_processor import RegisteredProcessor, operation_documents
from run_history import stock_client

FILE = file_of("dags")
EXTRA = json.dumps({"sslmode": "require", "nested": {"tökens": [1, "two"]}})
WAREHOUSE = {
    "conn_id": "warehouse",
    "conn_type": "postgres",
    "host": "db.example.com",
    "schema": "sales",
    "login": "loader",
    "password": "pässword/of:the@warehouse",
    "port": 5433,
    "extra": EXTRA,
}


@pytest.fixture
def processor(gateway: Gateway) -> RegisteredProcessor:
    processor = RegisteredProcessor(gateway)
    processor.sync(*BUNDLES)
    return processor


def add(team_name: str | None = None, **fields: Any) -> None:
    from airflow.models.connection import Connection

    from parsegate.resolvers.database import transaction

    with transaction() as session:
        session.add(Connection(team_name=team_name, **fields))


def stored() -> list[Any]:
    from sqlalchemy import text

    from parsegate.resolvers.database import reading

    with reading() as session:
        return [dict(row) for row in session.execute(text("SELECT * FROM connection")).mappings()]


def fields(answer: dict[str, Any]) -> dict[str, Any]:
    """Named as in the Task SDK's model."""
    named = {"connId": "conn_id", "connType": "conn_type"}
    return {
        named.get(name, name): value for name, value in answer.items() if name not in ("status", "reason", "message")
    }


def test_every_field_is_answered_and_the_secret_ones_are_encrypted_at_rest(processor):
    add(**WAREHOUSE)

    answer = processor.send("Connection", connId="warehouse", file=FILE)

    assert answer["status"] == "FOUND"
    assert fields(answer) == WAREHOUSE
    (row,) = stored()
    assert row["is_encrypted"]
    assert row["is_extra_encrypted"]
    assert WAREHOUSE["password"] not in str(row)
    assert "tökens" not in str(row)


@pytest.mark.parametrize("connection", [WAREHOUSE, {"conn_id": "bare", "conn_type": "http"}], ids=["full", "bare"])
def test_a_connection_is_the_one_that_airflow_answers_with(processor, connection):
    from airflow.sdk.api.datamodels._generated import ConnectionResponse

    add(**connection)

    answer = processor.send("Connection", connId=connection["conn_id"], file=FILE)

    assert ConnectionResponse.model_validate(fields(answer)) == stock_client().connections.get(connection["conn_id"])


def test_the_generated_client_reads_it(processor):
    from parsegate.client.generated.connection import Connection

    add(**WAREHOUSE)

    read = Connection.model_validate({"connection": processor.send("Connection", connId="warehouse", file=FILE)})

    assert (read.connection.schema_, read.connection.conn_type) == ("sales", "postgres")


def test_a_missing_connection_is_not_found_with_airflow_s_message(processor):
    from airflow.sdk.exceptions import ErrorType

    error = stock_client().connections.get("missing")
    assert error.error == ErrorType.CONNECTION_NOT_FOUND

    answer = processor.send("Connection", connId="missing", file=FILE)

    assert (answer["status"], answer["reason"]) == ("NOT_FOUND", None)
    assert answer["message"] == "Connection with ID missing not found"


def test_a_connection_of_the_gateway_s_environment_is_found(processor, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_FROM_ENVIRONMENT", "http://user:secret@example.com:8080/path")

    answer = processor.send("Connection", connId="from_environment", file=FILE)

    assert (answer["status"], answer["password"], answer["port"]) == ("FOUND", "secret", 8080)


def test_a_database_that_fails_is_a_fault_and_never_not_found(processor, gateway, monkeypatch):
    from airflow.secrets.metastore import MetastoreBackend
    from sqlalchemy.exc import OperationalError

    add(**WAREHOUSE)

    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("SELECT", {}, Exception("the connection was lost"))

    monkeypatch.setattr(MetastoreBackend, "get_connection", fail)
    answer = gateway.execute(
        operation_documents()["Connection"], {"connId": "warehouse", "file": FILE}, token=processor.token
    )

    assert [error["extensions"]["code"] for error in answer["errors"]] == ["INTERNAL"]


def test_a_read_that_airflow_s_backends_lost_is_made_once_more(processor, monkeypatch):
    from airflow.secrets.metastore import MetastoreBackend

    add(**WAREHOUSE)
    real = MetastoreBackend.get_connection
    calls: list[Any] = []

    def fail_first(*args: Any, **kwargs: Any) -> Any:
        calls.append(kwargs)
        if len(calls) == 1:
            raise OSError("database is locked")
        return real(*args, **kwargs)

    monkeypatch.setattr(MetastoreBackend, "get_connection", fail_first)

    assert processor.send("Connection", connId="warehouse", file=FILE)["status"] == "FOUND"


def test_a_backend_that_denies_access_is_a_refusal_and_not_not_found(processor, monkeypatch):
    from airflow.sdk.exceptions import AirflowSecretsBackendAccessDenied
    from airflow.secrets.environment_variables import EnvironmentVariablesBackend

    add(**WAREHOUSE)

    def deny(*_: Any, **__: Any) -> None:
        raise AirflowSecretsBackendAccessDenied("no")

    monkeypatch.setattr(EnvironmentVariablesBackend, "get_connection", deny)

    answer = processor.send("Connection", connId="warehouse", file=FILE)

    assert (answer["status"], answer["reason"], answer["password"]) == ("REFUSED", "NOT_PERMITTED", None)


def test_a_file_of_a_bundle_that_the_token_does_not_grant_sees_nothing(gateway, processor):
    add(**WAREHOUSE)
    limited = RegisteredProcessor(gateway, ["red-dags"])

    answer = limited.send("Connection", connId="warehouse", file=FILE)

    assert (answer["status"], answer["reason"]) == ("REFUSED", "BUNDLE_NOT_GRANTED")
    assert set(fields(answer).values()) == {None}


def test_a_bundle_reads_its_connection_before_it_is_synced(processor):
    add(**WAREHOUSE)

    answer = processor.send("Connection", connId="warehouse", file={"bundleName": "not synced yet"})

    assert answer["status"] == "FOUND"


@pytest.mark.parametrize("kind", ["processor_token", "operator_token"])
def test_only_a_job_token_reads(gateway, processor, kind):
    add(**WAREHOUSE)

    answer = gateway.execute(
        operation_documents()["Connection"], {"connId": "warehouse", "file": FILE}, token=getattr(gateway, kind)()
    )

    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]


def test_a_closed_job_reads_nothing(processor):
    add(**WAREHOUSE)
    processor.send("CompleteJob", input={"state": "SUCCESS"})

    assert processor.send("Connection", connId="warehouse", file=FILE)["reason"] == "JOB_CLOSED"


@pytest.mark.parametrize("conn_id", ["a\0b", "x" * 5000, "../../x", "%", "a/b?c"])
def test_odd_ids_are_answered(processor, conn_id):
    answer = processor.send("Connection", connId=conn_id, file=FILE)

    assert answer["status"] == ("REFUSED" if "\0" in conn_id else "NOT_FOUND")


@pytest.mark.usefixtures("multi_team")
@pytest.mark.parametrize(
    ("bundle", "visible"), [("red-dags", {"red", "global"}), ("blue-dags", {"blue", "global"}), ("dags", {"global"})]
)
def test_a_team_sees_its_own_connections_and_those_of_no_team(processor, bundle, visible):
    make_teams()
    add(conn_id="red", conn_type="http", team_name="red")
    add(conn_id="blue", conn_type="http", team_name="blue")
    add(conn_id="global", conn_type="http")

    answers = {
        conn_id: processor.send("Connection", connId=conn_id, file=file_of(bundle))["status"]
        for conn_id in ("red", "blue", "global")
    }

    assert {conn_id for conn_id, status in answers.items() if status == "FOUND"} == visible
    assert set(answers.values()) <= {"FOUND", "NOT_FOUND"}


def test_no_log_shows_a_secret(processor, caplog, capfd):
    add(**WAREHOUSE)

    with caplog.at_level(logging.DEBUG):
        assert processor.send("Connection", connId="warehouse", file=FILE)["password"] == WAREHOUSE["password"]
        processor.send("Connection", connId="missing", file=FILE)

    written = caplog.text + "".join(capfd.readouterr())
    assert "POST /graphql 200" in written
    assert WAREHOUSE["password"] not in written
    assert "tökens" not in written
