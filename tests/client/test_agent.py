"""A real agent process in front of the real gateway: registering, polling, delivering, and how it all ends."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from agent_process import AgentProcess, StartAgent, bundle_definition, eventually, parse_result
from faulty_gateway import Fault, FaultyGateway
from gateway_app import Gateway
from scheduler_work import (
    dag_callback,
    expire,
    leave_callbacks,
    leave_parse_requests,
    left_parse_requests,
    stored_claims,
)

from parsegate.client import protocol


def job_state(job_id: int) -> tuple[str, str | None]:
    from airflow.jobs.job import Job

    from parsegate.resolvers.database import reading

    with reading() as session:
        job = session.get_one(Job, job_id)
        return job.hostname, job.state


def ledger() -> dict[str, tuple[str, str]]:
    """Status and attempt of each file."""
    from sqlalchemy import select

    from parsegate.resolvers.database import reading
    from parsegate.resolvers.tables import ParsedFile

    with reading() as session:
        return {row.relative_fileloc: (row.status, row.attempt_id) for row in session.scalars(select(ParsedFile))}


def sent_in_full(served: FaultyGateway) -> list[list[str]]:
    """The files of each request that recorded whole results."""
    requests = [request.variables("RecordParseResults") for request in served.asked("RecordParseResults")]
    return [[result["relativeFileloc"] for result in variables["results"]] for variables in requests]


def outcome(result: protocol.ParseResult, status: str) -> dict[str, Any]:
    """What a gateway says of a result."""
    return {
        "status": status,
        "reason": None,
        "message": "made up",
        "attemptId": result.attempt_id,
        "bundleName": result.bundle_name,
        "relativeFileloc": result.relative_fileloc,
        "dagCount": 0,
        "importErrorCount": 0,
        "recordedAt": None,
        "recognizable": False,
    }


def test_registers_the_processor_under_its_own_name_and_completes_its_job(start_agent: StartAgent):
    agent = start_agent()
    job_id = agent.start("dags")
    assert job_state(job_id) == ("processor-1", "running")
    assert agent.complete().undelivered == 0
    assert agent.process.wait(10) == 0
    assert job_state(job_id) == ("processor-1", "success")


def test_a_manager_that_failed_leaves_a_failed_job(start_agent: StartAgent):
    agent = start_agent()
    job_id = agent.start("dags")
    agent.complete(succeeded=False)
    assert job_state(job_id)[1] == "failed"


def test_results_are_stored_and_acknowledged(start_agent: StartAgent):
    agent = start_agent()
    agent.start("dags")
    result = parse_result(import_errors={"a.py": "Traceback"})
    agent.manager.send(result)
    settled = agent.manager.expect(protocol.ResultSettled)
    assert (settled.attempt_id, settled.status) == (result.attempt_id, "ACCEPTED")
    assert ledger()["a.py"][1] == result.attempt_id


def test_a_refused_result_is_final_and_harms_no_other(start_agent: StartAgent):
    agent = start_agent()
    agent.start("dags")
    agent.manager.send(parse_result("../escape.py"))
    agent.manager.send(parse_result("good.py"))
    settled = {agent.manager.expect(protocol.ResultSettled).relative_fileloc: None for _ in range(2)}
    outcomes = {message.relative_fileloc: message for message in agent.manager.all(protocol.ResultSettled)}
    assert set(settled) == {"../escape.py", "good.py"}
    assert (outcomes["../escape.py"].status, outcomes["../escape.py"].reason) == ("REFUSED", "INVALID_PATH")
    assert outcomes["../escape.py"].message
    assert outcomes["good.py"].status == "ACCEPTED"


def test_an_item_beyond_the_gateways_limit_is_refused_here_and_the_others_are_stored(start_agent: StartAgent):
    agent = start_agent()
    agent.start("dags")
    agent.manager.send(parse_result("large.py", import_errors={"large.py": "x" * (17 * 1024 * 1024)}))
    agent.manager.send(parse_result("small.py"))
    large = agent.manager.expect(protocol.ResultSettled, where=lambda settled: settled.relative_fileloc == "large.py")
    assert (large.status, large.reason) == ("REFUSED", "TOO_LARGE")
    assert "16777216" in (large.message or "")
    eventually(lambda: "small.py" in ledger())


def test_items_that_are_too_large_only_together_are_all_stored(served: FaultyGateway, start_agent: StartAgent):
    agent = start_agent()
    agent.start("dags")
    served.faults.append(Fault("RecordParseResults", status=413, answer=b"{}"))
    served.faults.append(Fault("RecordParseResults", delay=0.5))
    served.stop()
    for name in "abc":
        agent.manager.send(parse_result(f"{name}.py"))
    served.start()
    eventually(lambda: set(ledger()) == {"a.py", "b.py", "c.py"})
    eventually(lambda: len(agent.manager.all(protocol.ResultSettled)) == 3)
    assert {settled.status for settled in agent.manager.all(protocol.ResultSettled)} == {"ACCEPTED"}


def test_a_number_that_is_no_number_is_refused_for_its_file_alone(start_agent: StartAgent):
    agent = start_agent()
    agent.start("dags")
    document = {
        "__version": 3,
        "dag": {"dag_id": "d", "fileloc": "/x", "relative_fileloc": "nan.py", "x": float("nan")},
    }
    dag = protocol.SerializedDagDocument(document=document, last_loaded=None)
    agent.manager.send(parse_result("nan.py", dags=[dag], sources={"/x": "text"}))
    agent.manager.send(parse_result("good.py"))
    settled = {}
    for _ in range(2):
        message = agent.manager.expect(protocol.ResultSettled)
        settled[message.relative_fileloc] = message.status
    assert settled == {"nan.py": "REFUSED", "good.py": "ACCEPTED"}


def test_an_answer_lost_after_the_commit_is_given_again_for_the_same_attempt(
    served: FaultyGateway, start_agent: StartAgent
):
    agent = start_agent()
    agent.start("dags")
    served.faults.append(Fault("RecordParseResults", runs=True, times=3))
    result = parse_result()
    agent.manager.send(result)
    assert agent.manager.expect(protocol.ResultSettled).status == "ACCEPTED"
    sent = served.asked("RecordParseResults")
    attempts = {request.variables("RecordParseResults")["results"][0]["attemptId"] for request in sent}
    assert len(sent) == 4
    assert attempts == {result.attempt_id}
    assert len(agent.manager.all(protocol.ResultSettled)) == 1


def test_a_registration_whose_answer_was_lost_gives_one_job(served: FaultyGateway, start_agent: StartAgent):
    from airflow.jobs.job import Job
    from sqlalchemy import func, select

    from parsegate.resolvers.database import reading

    served.faults.append(Fault("RegisterProcessor", runs=True, times=3))
    start_agent().start("dags")
    with reading() as session:
        assert session.scalar(select(func.count(Job.id))) == 1


def test_a_callback_reaches_the_manager_once_although_the_claims_answer_was_lost(
    served: FaultyGateway, start_agent: StartAgent
):
    agent = start_agent()
    agent.start("dags")
    agent.manager.expect(protocol.BundleStates)
    served.faults.append(Fault("ClaimCallbacks", runs=True, times=2))
    (callback_id,) = leave_callbacks(dag_callback("run-1"))
    left_at = time.monotonic()
    leased = agent.manager.expect(protocol.CallbacksLeased)
    assert time.monotonic() - left_at < 10
    (lease,) = leased.leases
    assert lease.callback["run_id"] == "run-1"
    assert [row.state for row in stored_claims().values()] == ["LEASED"]
    time.sleep(1)
    assert len(agent.manager.all(protocol.CallbacksLeased)) == 1
    agent.manager.send(protocol.CallbackSettled(lease_id=lease.lease_id, outcome="RAN"))
    eventually(lambda: not stored_claims())
    assert callback_id


def test_a_callback_that_did_not_run_is_handed_out_again(start_agent: StartAgent):
    agent = start_agent()
    agent.start("dags")
    leave_callbacks(dag_callback("run-1"))
    (first,) = agent.manager.expect(protocol.CallbacksLeased).leases
    agent.manager.send(protocol.CallbackSettled(lease_id=first.lease_id, outcome="NOT_STARTED"))
    eventually(lambda: [row.state for row in stored_claims().values()] == ["WAITING"])
    expire(first.lease_id)
    (second,) = agent.manager.expect(protocol.CallbacksLeased).leases
    assert (first.attempt, second.attempt) == (1, 2)


def test_leases_are_renewed_while_the_manager_has_them_and_told_when_lost(
    served: FaultyGateway, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
):
    from sqlalchemy import update

    from parsegate.resolvers.database import transaction
    from parsegate.resolvers.tables import Claim

    monkeypatch.setenv("AIRFLOW__PARSEGATE__LEASE_DURATION", "5")
    agent = start_agent()
    agent.start("dags")
    leave_callbacks(dag_callback("run-1"))
    (lease,) = agent.manager.expect(protocol.CallbacksLeased).leases
    eventually(lambda: len(served.asked("RenewClaims")) >= 3)
    assert not agent.manager.all(protocol.LeaseLost)
    with transaction() as session:
        session.execute(update(Claim).values(state="PARKED", job_id=None))
    assert agent.manager.expect(protocol.LeaseLost).lease_id == lease.lease_id


def test_a_parse_request_is_answered_by_the_result_of_its_file(start_agent: StartAgent):
    agent = start_agent()
    agent.start("dags")
    leave_parse_requests("wanted.py")
    (lease,) = agent.manager.expect(protocol.ParseRequestsLeased).leases
    assert (lease.bundle_name, lease.relative_fileloc) == ("dags", "wanted.py")
    assert stored_claims()
    agent.manager.send(parse_result("wanted.py", lease_ids=[lease.lease_id]))
    agent.manager.expect(protocol.ResultSettled)
    assert not stored_claims()
    assert not left_parse_requests()


def test_a_refresh_shows_in_the_bundles_state_at_once_and_is_stored(served: FaultyGateway, start_agent: StartAgent):
    agent = start_agent()
    agent.start("dags")
    refreshed = datetime.now(UTC)
    served.faults.append(Fault("UpdateBundleStates", status=503, times=2))
    agent.manager.send(protocol.BundleRefreshed(bundle_name="dags", last_refreshed=refreshed, version="v7"))
    known = agent.manager.expect(protocol.BundleStates, where=lambda states: bool(states.states))
    assert [(state.version, state.last_refreshed) for state in known.states] == [("v7", refreshed)]

    def stored_version() -> str | None:
        from airflow.models.dagbundle import DagBundleModel

        from parsegate.resolvers.database import reading

        with reading() as session:
            return session.get_one(DagBundleModel, "dags").version

    eventually(lambda: stored_version() == "v7")


def test_an_idle_agent_sends_one_request_per_interval_and_a_callback_comes_within_it(
    served: FaultyGateway, start_agent: StartAgent
):
    agent = start_agent(poll_interval=2.0)
    agent.start("dags")
    agent.manager.expect(protocol.BundleStates)
    agent.manager.expect(protocol.BundleStates)
    before = len(served.requests)
    time.sleep(8)
    idle = served.requests[before:]
    assert 2 <= len(idle) <= 5
    assert sum("Heartbeat" in request.operations for request in idle) >= 1
    leave_callbacks(dag_callback())
    left_at = time.monotonic()
    agent.manager.expect(protocol.CallbacksLeased)
    assert time.monotonic() - left_at < 3


def test_what_the_manager_does_goes_with_a_heartbeat_and_once_only(served: FaultyGateway, start_agent: StartAgent):
    def told() -> list[Any]:
        return [request.variables("Heartbeat").get("activity") for request in served.asked("Heartbeat")]

    agent = start_agent()
    agent.start("dags", heartbeat_interval=0.5)
    at_work = [protocol.FileAtWork(bundle_name="dags", relative_fileloc="a.py")]
    first = {
        "parsing": [{"bundleName": "dags", "relativeFileloc": "a.py"}],
        "queuedFiles": 3,
        "undeliveredResults": 0,
    }

    agent.manager.send(protocol.Activity(parsing=at_work, queued_files=3))
    eventually(lambda: first in told() and told()[-2:] == [None, None])
    # What the gateway refuses, it is not asked again, and the processor goes on living.
    agent.manager.send(protocol.Activity(parsing=at_work, queued_files=-1))
    eventually(lambda: agent.log_lines("What this processor does can't be told"))
    agent.manager.send(protocol.Activity(parsing=[], queued_files=0))
    last = {"parsing": [], "queuedFiles": 0, "undeliveredResults": 0}
    eventually(lambda: last in told() and told()[-2:] == [None, None])

    assert [activity for activity in told() if activity] == [first, {**first, "queuedFiles": -1}, last]


def test_a_hung_manager_looks_dead(served: FaultyGateway, start_agent: StartAgent):
    agent = start_agent()
    agent.start("dags", heartbeat_interval=0.5)
    eventually(lambda: len(served.asked("Heartbeat")) >= 2)
    agent.tick(False)
    time.sleep(0.7)
    before = len(served.requests)
    time.sleep(2)
    assert len(served.requests) == before
    agent.tick(True)
    eventually(lambda: len(served.requests) > before)


def test_an_outage_is_one_line_and_everything_arrives_after_it(served: FaultyGateway, start_agent: StartAgent):
    agent = start_agent()
    agent.start("dags")
    agent.manager.expect(protocol.BundleStates)
    served.stop()
    for sequence in range(3):
        for name in "abc":
            agent.manager.send(parse_result(f"{name}.py", sequence=sequence))
            time.sleep(0.05)
    agent.manager.send(protocol.ScanStale(stale_dag_threshold=50.0))
    time.sleep(3)
    served.start()
    eventually(lambda: set(ledger()) == {"a.py", "b.py", "c.py"})
    eventually(lambda: len(agent.manager.all(protocol.ResultSettled)) == 9)
    assert len(agent.log_lines("WARNING.*The gateway at .* fails")) == 1
    eventually(lambda: agent.log_lines("works again"))
    assert len(agent.log_lines("works again")) == 1
    stored = [settled for settled in agent.manager.all(protocol.ResultSettled) if settled.status == "ACCEPTED"]
    newest = {settled.attempt_id for settled in stored}
    assert {attempt for _, attempt in ledger().values()} <= newest
    replaced = [settled for settled in agent.manager.all(protocol.ResultSettled) if settled.status == "REFUSED"]
    assert {settled.reason for settled in replaced} <= {"SUPERSEDED"}
    assert not served.asked("DeactivateStaleDags")


def test_a_server_error_is_an_outage_too(served: FaultyGateway, start_agent: StartAgent):
    agent = start_agent()
    agent.start("dags")
    served.faults.append(Fault(status=500, times=6))
    agent.manager.send(parse_result())
    assert agent.manager.expect(protocol.ResultSettled).status == "ACCEPTED"
    assert len(agent.log_lines("WARNING.*The gateway at .* fails")) == 1


def test_an_item_that_the_gateway_failed_to_store_is_tried_again_alone(served: FaultyGateway, start_agent: StartAgent):
    agent = start_agent(gather_time=0.5)
    agent.start("dags")
    results = [parse_result("bad.py"), parse_result("good.py")]
    for status, of in (("FAILED", results), ("FAILED", results[:1])):
        outcomes = [outcome(result, status if result.relative_fileloc == "bad.py" else "ACCEPTED") for result in of]
        answer = json.dumps([{"data": {"recordParseResults": outcomes}}]).encode()
        served.faults.append(Fault("RecordParseResults", status=200, answer=answer))
    for result in results:
        agent.manager.send(result)
    settled = [agent.manager.expect(protocol.ResultSettled) for _ in results]
    assert [(message.relative_fileloc, message.status) for message in settled] == [
        ("good.py", "ACCEPTED"),
        ("bad.py", "ACCEPTED"),
    ]
    assert sent_in_full(served) == [["bad.py", "good.py"], ["bad.py"], ["bad.py"]]


def test_a_refused_job_token_is_renewed_and_the_request_sent_again(served: FaultyGateway, start_agent: StartAgent):
    agent = start_agent()
    job_id = agent.start("dags")
    served.faults.append(Fault("RecordParseResults", status=401))
    agent.manager.send(parse_result())
    assert agent.manager.expect(protocol.ResultSettled).status == "ACCEPTED"
    first, second = served.asked("RegisterProcessor")
    ids = {request.payload["variables"]["input"]["registrationId"] for request in (first, second)}
    assert len(ids) == 1
    assert job_state(job_id)[1] == "running"


def test_a_job_token_is_renewed_before_it_expires_with_the_processor_token_then_in_the_file(
    gateway: Gateway,
    served: FaultyGateway,
    start_agent: StartAgent,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    from parsegate.gateway import app, settings

    brief = dataclasses.replace(settings.JOB_TOKEN_LIFETIME, minimum=1.0)
    monkeypatch.setattr(settings, "JOB_TOKEN_LIFETIME", brief)
    monkeypatch.setenv("AIRFLOW__PARSEGATE__JOB_TOKEN_LIFETIME", "12")
    gateway.app = app.create_app()
    agent = start_agent()
    agent.start("dags")
    rotated = served.mint(tmp_path / "token", lifetime=1234)
    eventually(lambda: len(served.asked("RegisterProcessor")) == 2, timeout=60)
    assert served.asked("RegisterProcessor")[1].headers["authorization"] == f"Bearer {rotated}"
    before = len(served.requests)
    eventually(lambda: len(served.requests) > before + 1)
    assert served.requests[-1].headers["authorization"] != served.requests[0].headers["authorization"]


def test_a_token_that_comes_late_or_is_rotated_is_used(served: FaultyGateway, start_agent: StartAgent, tmp_path: Path):
    (tmp_path / "token").write_text("a.stale.token")
    agent = start_agent()
    agent.register()
    eventually(lambda: agent.log_lines("WARNING.*The gateway at .* fails"))
    (tmp_path / "token").unlink()
    eventually(lambda: agent.log_lines("can't be read"))
    served.mint(tmp_path / "token")
    agent.manager.expect(protocol.Registered)


def test_a_gateway_that_does_not_come_in_time_ends_the_start_with_the_reason(
    served: FaultyGateway, start_agent: StartAgent
):
    served.stop()
    agent = start_agent(startup_timeout=1.5)
    agent.register()
    stopped = agent.manager.expect(protocol.Stopped)
    assert stopped.reason == "GATEWAY_UNREACHABLE"
    assert served.url in stopped.message
    assert agent.complete(succeeded=False).undelivered == 0
    assert agent.process.wait(10) == 0


def test_a_processor_of_another_airflow_is_told_to_stop(start_agent: StartAgent):
    agent = start_agent()
    agent.register(airflow_version="2.11.0")
    stopped = agent.manager.expect(protocol.Stopped)
    assert stopped.reason == "VERSION_MISMATCH"
    assert "2.11.0" in stopped.message


def test_a_bundle_that_the_token_does_not_grant_is_told(served: FaultyGateway, start_agent: StartAgent, tmp_path: Path):
    served.mint(tmp_path / "token", bundles=["mine"])
    agent = start_agent()
    agent.register(bundle_names=["other"])
    assert agent.manager.expect(protocol.Stopped).reason == "BUNDLE_NOT_GRANTED"


@pytest.mark.parametrize(
    ("notices", "closed_as", "ends_as"), [("heartbeat", "restarting", "success"), ("result", "failed", "failed")]
)
def test_a_closed_job_stops_the_processor_which_ends_it_if_it_was_asked_to(
    start_agent: StartAgent, notices: str, closed_as: str, ends_as: str
):
    from airflow.jobs.job import Job

    from parsegate.resolvers.database import transaction

    agent = start_agent()
    job_id = agent.start("dags", heartbeat_interval=0.5 if notices == "heartbeat" else 3600.0)
    agent.manager.expect(protocol.BundleStates)
    if notices == "result":
        agent.tick(False)
    with transaction() as session:
        session.get_one(Job, job_id).state = closed_as
    if notices == "result":
        agent.manager.send(parse_result())
    assert agent.manager.expect(protocol.Stopped).reason == "JOB_CLOSED"
    agent.read({"type": "GetVariable", "key": "x"})
    assert agent.manager.expect(protocol.ReadAnswer).unreachable
    agent.complete(succeeded=False)
    assert job_state(job_id)[1] == ends_as


def test_a_manager_that_vanishes_leaves_its_results_and_a_failed_job(served: FaultyGateway, start_agent: StartAgent):
    agent = start_agent()
    job_id = agent.start("dags")
    agent.manager.expect(protocol.BundleStates)
    served.faults.append(Fault("RecordParseResults", status=503, times=1))
    agent.manager.send(parse_result())
    agent.manager.close()
    assert agent.process.wait(20) == 1
    assert set(ledger()) == {"a.py"}
    assert job_state(job_id)[1] == "failed"


def test_garbage_from_the_manager_ends_the_agent_and_the_job(start_agent: StartAgent):
    agent = start_agent()
    job_id = agent.start("dags")
    agent.tick(False)
    agent.manager.send_bytes(b"\0\0\0\3abc")
    assert agent.process.wait(20) == 1
    assert job_state(job_id)[1] == "failed"


def test_what_could_not_be_delivered_in_time_is_counted(served: FaultyGateway, start_agent: StartAgent):
    agent = start_agent()
    agent.start("dags")
    agent.manager.expect(protocol.BundleStates)
    served.stop()
    agent.manager.send(parse_result("a.py"))
    agent.manager.send(parse_result("b.py"))
    assert agent.complete(timeout=2.0).undelivered == 2


def test_signals_are_the_managers_business(start_agent: StartAgent):
    agent = start_agent()
    job_id = agent.start("dags")
    for number in (signal.SIGTERM, signal.SIGINT):
        agent.process.send_signal(number)
    agent.manager.send(parse_result())
    agent.manager.expect(protocol.ResultSettled)
    agent.complete()
    assert job_state(job_id)[1] == "success"


def test_a_sidecar_that_is_terminated_completes_the_job(start_agent: StartAgent):
    agent = start_agent(sidecar=True, farewell_timeout=1.0)
    job_id = agent.start("dags")
    assert not agent.socket_path.exists(), "nobody else may connect"
    agent.process.send_signal(signal.SIGTERM)
    assert agent.manager.expect(protocol.Stopped).reason == "TERMINATED"
    assert agent.process.wait(15) == 0
    assert job_state(job_id)[1] == "success"


def test_a_sidecar_serves_the_manager_and_its_bundle_helper(start_agent: StartAgent):
    agent = start_agent(sidecar=True)
    agent.start("dags")
    request = {"type": "GetVariable", "key": "absent"}
    agent.helper.send(protocol.Read(id=5, bundle_name="dags", relative_fileloc=None, request=request))
    answer = agent.helper.expect(protocol.ReadAnswer)
    assert answer.error == {"error": "VARIABLE_NOT_FOUND", "detail": {"key": "absent"}}
    agent.complete()
    assert agent.process.wait(10) == 0


def test_the_bundle_helper_can_do_nothing_but_read(start_agent: StartAgent):
    agent = start_agent()
    job_id = agent.start("dags")
    agent.helper.send(protocol.Complete(succeeded=False, timeout=1.0))
    agent.helper.ended.wait(10)
    assert agent.helper.ended.is_set()
    assert job_state(job_id)[1] == "running"
    agent.manager.send(protocol.SyncBundles(bundles=[bundle_definition("dags")], deactivate_missing=False))
    agent.manager.send(parse_result())
    agent.manager.expect(protocol.ResultSettled)


def test_imports_no_airflow_and_stays_small(start_agent: StartAgent):
    agent = start_agent(python=("-X", "importtime"))
    agent.start("dags")
    agent.manager.send(parse_result())
    agent.manager.expect(protocol.ResultSettled)
    status = Path(f"/proc/{agent.process.pid}/status").read_text()
    (resident,) = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")]
    print(f"The agent's resident memory is {resident} KiB.")
    agent.complete()
    imported = {line.rpartition("|")[2].strip() for line in agent.log.splitlines() if "import time:" in line}
    assert "parsegate.client.outbox" in imported
    assert not {
        name for name in imported if name.partition(".")[0] in {"airflow", "sqlalchemy", "strawberry", "starlette"}
    }
    assert not {name for name in imported if name.startswith(("parsegate.gateway", "parsegate.resolvers"))}
    assert "httpx" in imported
    assert not {name for name in imported if name.partition(".")[0] in {"rich", "pygments", "click"}}
    assert resident < 80 * 1024


@pytest.mark.skipif(os.getuid() != 0, reason="starts a process as another user")
@pytest.mark.isolation
def test_other_processes_of_its_user_cannot_look_into_it(served: FaultyGateway):
    # pytest's own directories are closed to other users.
    directory = Path(tempfile.mkdtemp())
    served.mint(directory / "token")
    os.chown(directory, 65534, 65534)
    os.chown(directory / "token", 65534, 65534)
    agent = AgentProcess(directory, served.url, directory / "token", user=65534)
    try:
        agent.start("dags")
        assert os.stat(f"/proc/{agent.process.pid}").st_uid == 65534
        assert os.stat(f"/proc/{agent.process.pid}/mem").st_uid == 0
    finally:
        agent.kill()
        shutil.rmtree(directory)


def test_its_log_holds_no_secret_even_at_debug(served: FaultyGateway, start_agent: StartAgent, tmp_path: Path):
    from airflow.models import Variable

    Variable.set("password", "hunter2-and-more")
    agent = start_agent(log_level="DEBUG")
    agent.start("dags")
    agent.read({"type": "GetVariable", "key": "password"})
    assert agent.manager.expect(protocol.ReadAnswer).body == {"key": "password", "value": "hunter2-and-more"}
    agent.complete()
    assert "hunter2" not in agent.log
    assert (tmp_path / "token").read_text() not in agent.log
    assert "Bearer" not in agent.log


def test_every_request_says_who_sends_it_and_which_it_is(served: FaultyGateway, start_agent: StartAgent):
    agent = start_agent()
    agent.start("dags")
    agent.manager.expect(protocol.BundleStates)
    eventually(lambda: len(served.requests) >= 3)
    from parsegate import __version__

    assert {request.headers["user-agent"] for request in served.requests} == {f"parsegate-agent/{__version__}"}
    assert len({request.headers["x-request-id"] for request in served.requests}) == len(served.requests)
