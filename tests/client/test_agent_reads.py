"""Reads of DAG code through a real agent and the real gateway, compared with what Airflow's own client answers."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import httpx
import pytest
from agent_process import StartAgent
from faulty_gateway import Fault, FaultyGateway

from parsegate.client import protocol

NOW = "2026-01-02T00:00:00Z"
XCOM = {"key": "return_value", "dag_id": "d", "run_id": "r", "task_id": "t"}


def asked(start_agent: StartAgent, *requests: dict[str, Any]) -> list[protocol.ReadAnswer]:
    agent = start_agent()
    agent.start("dags")
    for number, request in enumerate(requests):
        agent.read(request, number=number)
    answers = {answer.id: answer for answer in (agent.manager.expect(protocol.ReadAnswer) for _ in requests)}
    return [answers[number] for number in range(len(requests))]


def airflows_error(call: Any, status: int) -> dict[str, Any]:
    """What Airflow's own client makes of an HTTP status."""
    from airflow.sdk.api.client import Client

    def respond(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json={"detail": {"reason": "x", "message": "y"}})

    client = Client(base_url=None, dry_run=True, token="", transport=httpx.MockTransport(respond))
    return call(client).model_dump(mode="json", exclude={"type"})


def test_a_connection_comes_decrypted_with_the_fields_of_airflows_model(start_agent: StartAgent):
    from airflow.models import Connection
    from airflow.sdk.api.datamodels._generated import ConnectionResponse

    from parsegate.resolvers.database import transaction

    with transaction() as session:
        session.add(
            Connection(
                conn_id="warehouse",
                conn_type="postgres",
                host="db",
                schema="s",
                password="secret",
                port=5,
                extra='{"a": 1}',
            )
        )
    (answer,) = asked(start_agent, {"type": "GetConnection", "conn_id": "warehouse"})
    assert answer.body is not None
    connection = ConnectionResponse.model_validate(answer.body)
    assert (connection.host, connection.schema_, connection.password, connection.port) == ("db", "s", "secret", 5)
    assert connection.login is None


def test_variables_are_read_listed_written_and_deleted(start_agent: StartAgent):
    agent = start_agent()
    agent.start("dags")

    def ask(**request: Any) -> protocol.ReadAnswer:
        agent.read(request)
        return agent.manager.expect(protocol.ReadAnswer)

    assert ask(type="PutVariable", key="a", value="1", description=None).body == {}
    assert ask(type="GetVariable", key="a").body == {"key": "a", "value": "1"}
    assert ask(type="GetVariableKeys", prefix="a", limit=10, offset=0).body == {"keys": ["a"], "total_entries": 1}
    assert ask(type="DeleteVariable", key="a").body == {}
    assert ask(type="GetVariable", key="a").error == airflows_error(lambda client: client.variables.get("a"), 404)


def test_what_is_not_found_is_told_as_airflows_client_tells_it(start_agent: StartAgent):
    connection, variable, xcom, item, count, group = asked(
        start_agent,
        {"type": "GetConnection", "conn_id": "absent"},
        {"type": "GetVariable", "key": "absent"},
        {"type": "GetXCom", **XCOM},
        {"type": "GetXComSequenceItem", **XCOM, "offset": 2},
        {"type": "GetXComCount", **XCOM},
        {"type": "GetTICount", "dag_id": "absent", "task_group_id": "absent"},
    )
    assert connection.error == airflows_error(lambda client: client.connections.get("absent"), 404)
    assert variable.error == airflows_error(lambda client: client.variables.get("absent"), 404)
    assert xcom.body == airflows_error(lambda client: client.xcoms.get(**XCOM), 404)
    assert item.error == airflows_error(lambda client: client.xcoms.get_sequence_item(**XCOM, offset=2), 404)
    assert count.body == {"len": 0}
    assert group.error is not None
    assert group.error["error"] == "API_SERVER_ERROR"
    assert group.error["detail"]["status_code"] == 404


def test_what_the_token_does_not_grant_is_denied_as_airflows_client_tells_it(
    served: FaultyGateway, start_agent: StartAgent, tmp_path: Any
):
    served.mint(tmp_path / "token", bundles=["mine"])
    agent = start_agent()
    agent.start("mine")
    agent.read({"type": "GetConnection", "conn_id": "c"}, bundle="other")
    denied = agent.manager.expect(protocol.ReadAnswer)
    assert denied.error == airflows_error(lambda client: client.connections.get("c"), 403)
    agent.read({"type": "GetVariable", "key": "k"}, bundle="other")
    denied = agent.manager.expect(protocol.ReadAnswer)
    assert denied.error == airflows_error(lambda client: client.variables.get("k"), 403)


def test_reads_that_match_nothing_are_answered_with_what_airflow_answers(start_agent: StartAgent):
    from airflow.sdk.api.datamodels._generated import PrevSuccessfulDagRunResponse
    from airflow.sdk.execution_time.comms import PreviousDagRunResult, PreviousTIResult

    run, successful, count, states, instance, values = asked(
        start_agent,
        {"type": "GetPreviousDagRun", "dag_id": "d", "logical_date": NOW, "state": None},
        {"type": "GetPrevSuccessfulDagRun", "ti_id": str(uuid4())},
        {"type": "GetTICount", "dag_id": "d", "map_index": -1, "states": ["success"]},
        {"type": "GetTaskStates", "dag_id": "d", "run_ids": ["r"]},
        {"type": "GetPreviousTI", "dag_id": "d", "task_id": "t", "logical_date": NOW, "map_index": -1},
        {"type": "GetXComSequenceSlice", **XCOM, "start": None, "stop": None, "step": -1},
    )
    assert PreviousDagRunResult.model_validate(run.body).dag_run is None
    assert PrevSuccessfulDagRunResponse.model_validate(successful.body).start_date is None
    assert count.body == {"count": 0}
    assert states.body == {"task_states": {}}
    assert PreviousTIResult.model_validate(instance.body).task_instance is None
    assert values.body == {"root": []}


def test_a_previous_run_has_the_fields_of_airflows_model(start_agent: StartAgent):
    from datetime import UTC, datetime

    from airflow.models.dagrun import DagRun
    from airflow.sdk.execution_time.comms import PreviousDagRunResult
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    from parsegate.resolvers.database import transaction

    logical_date = datetime(2026, 1, 1, tzinfo=UTC)
    with transaction() as session:
        session.add(
            DagRun(
                dag_id="d",
                run_id="r",
                logical_date=logical_date,
                run_after=logical_date,
                run_type=DagRunType.MANUAL,
                triggered_by=DagRunTriggeredByType.TEST,
                state=DagRunState.SUCCESS,
                conf={"a": [1, None]},
            )
        )
    (answer,) = asked(start_agent, {"type": "GetPreviousDagRun", "dag_id": "d", "logical_date": NOW, "state": None})
    run = PreviousDagRunResult.model_validate(answer.body).dag_run
    assert run is not None
    assert (run.run_id, run.logical_date, run.conf) == ("r", logical_date, {"a": [1, None]})


def test_an_unknown_request_is_answered_as_airflow_answers_it(start_agent: StartAgent):
    (answer,) = asked(start_agent, {"type": "DeleteXCom", **XCOM})
    assert answer.error == {"error": "GENERIC_ERROR", "detail": {"status_code": 400, "message": "Unhandled request"}}


def test_reads_that_come_together_travel_together(served: FaultyGateway, start_agent: StartAgent):
    agent = start_agent()
    agent.start("dags")
    agent.manager.expect(protocol.BundleStates)
    agent.tick(False)
    served.faults.append(Fault("Variable", delay=0.5, times=4))
    for number in range(40):
        agent.read({"type": "GetVariable", "key": f"k{number}"}, number=number)
    answers = [agent.manager.expect(protocol.ReadAnswer) for _ in range(40)]
    assert {answer.id for answer in answers} == set(range(40))
    assert len(served.asked("Variable")) < 12


def test_a_read_rides_out_a_short_outage(served: FaultyGateway, start_agent: StartAgent):
    agent = start_agent(read_timeout=20.0)
    agent.start("dags")
    agent.manager.expect(protocol.BundleStates)
    agent.tick(False)
    served.faults.append(Fault("Variable", status=503, times=2))
    served.faults.append(Fault("Variable", times=2))
    agent.read({"type": "GetVariable", "key": "absent"})
    assert agent.manager.expect(protocol.ReadAnswer).error is not None


@pytest.mark.parametrize("how", ["gone", "silent", "failing"])
def test_a_read_in_a_longer_outage_is_unreachable_in_time(served: FaultyGateway, start_agent: StartAgent, how: str):
    agent = start_agent(read_timeout=2.0)
    agent.start("dags")
    agent.manager.expect(protocol.BundleStates)
    agent.tick(False)
    if how == "gone":
        served.stop()
    elif how == "silent":
        served.faults.append(Fault("Variable", delay=6.0, times=100))
    else:
        internal = b'[{"data": null, "errors": [{"message": "no", "extensions": {"code": "INTERNAL"}}]}]'
        served.faults.append(Fault("Variable", status=200, answer=internal, times=1000))
    began = time.monotonic()
    agent.read({"type": "GetVariable", "key": "k"})
    answer = agent.manager.expect(protocol.ReadAnswer)
    assert answer.unreachable
    assert (answer.body, answer.error) == (None, None)
    assert time.monotonic() - began < 10


def test_a_read_before_the_registration_waits_for_it(served: FaultyGateway, start_agent: StartAgent):
    served.stop()
    agent = start_agent(read_timeout=20.0)
    agent.register()
    agent.helper.send(
        protocol.Read(id=1, bundle_name="dags", relative_fileloc=None, request={"type": "GetVariable", "key": "absent"})
    )
    time.sleep(0.5)
    served.start()
    assert agent.helper.expect(protocol.ReadAnswer).error is not None
