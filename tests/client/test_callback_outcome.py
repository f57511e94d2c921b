"""Real callbacks in real children, and what the manager reports about each; fails when Airflow runs them otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import airflow
import pytest
from agent_peer import ProcessorUnderTest, ScriptedAgent, not_found, open_directory
from airflow.callbacks.callback_requests import DagCallbackRequest, EmailRequest, TaskCallbackRequest

from parsegate.client import protocol
from parsegate.client.callback_outcome import AIRFLOW_VERSION

DAGS = """
import os, sys, time
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Variable

def note(text):
    with open("MARKS", "a") as file:
        file.write(text + "\\n")

def fine(context):
    note("fine " + context["run_id"])
def raises(context):
    note("raises")
    raise ValueError("meant to fail")
def exits(context):
    note("exits")
    sys.exit(3)
def dies(context):
    note("dies")
    os.kill(os.getpid(), 9)
def hangs(context):
    note("hangs")
    time.sleep(600)
def reads(context):
    note("reads")
    note("read " + Variable.get("colour"))
def of_task(context):
    note("task " + context["ti"].task_id + " " + context["dag_run"].run_id)

for callback in (fine, raises, exits, dies, hangs, reads):
    globals()[callback.__name__ + "_dag"] = DAG(callback.__name__, on_failure_callback=callback)
without = DAG("without")
both = DAG("both", on_failure_callback=[raises, fine])
with DAG("tasks") as tasks:
    EmptyOperator(task_id="failing", on_failure_callback=of_task, email="someone@example.com")
    EmptyOperator(task_id="retrying", on_retry_callback=of_task)
"""


class Callbacks:
    def __init__(self, root: Path) -> None:
        self.marks = root / "marks"
        self.marks.touch()
        self.marks.chmod(0o666)
        dags = root / "dags"
        dags.mkdir()
        (root / "socket").mkdir()
        (dags / "callbacks.py").write_text(DAGS.replace("MARKS", str(self.marks)))
        for version in ("v1", "v2"):
            (root / "versions" / version).mkdir(parents=True)
        (root / "versions" / "CURRENT").write_text("v2")
        old = root / "versions" / "v1" / "old.py"
        old.write_text(DAGS.replace("MARKS", str(self.marks)))
        self.agent = ScriptedAgent(root / "socket")
        bundles = [
            {
                "name": "plain",
                "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                "kwargs": {"path": str(dags), "refresh_interval": 1},
            },
            {
                "name": "versioned",
                "classpath": "versioned_folder.VersionedFolder",
                "kwargs": {"folder": str(root / "versions"), "refresh_interval": 1},
            },
        ]
        self.processor = ProcessorUnderTest(
            root / "home",
            self.agent.path,
            json.dumps(bundles),
            PYTHONPATH=str(Path(__file__).parents[1]),
            # Where Airflow looks for the team of a DAG whose callback failed, in a database.
            AIRFLOW__CORE__MULTI_TEAM="True",
            AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT="8",
            AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL="600",
        )

    def lease(self, callback: DagCallbackRequest | TaskCallbackRequest | EmailRequest, attempt: int = 1) -> str:
        lease_id = str(uuid4())
        self.agent.send(protocol.CallbacksLeased(leases=[as_lease(lease_id, callback, attempt)]))
        return lease_id

    def outcome(self, lease_id: str) -> str:
        settled = self.agent.wait(
            lambda: [message for message in self.agent.of(protocol.CallbackSettled) if message.lease_id == lease_id]
        )
        assert len(settled) == 1
        return settled[0].outcome

    @property
    def noted(self) -> list[str]:
        return self.marks.read_text().splitlines()


def as_lease(lease_id: str, callback, attempt: int = 1) -> protocol.CallbackLease:
    return protocol.CallbackLease(lease_id=lease_id, attempt=attempt, callback=json.loads(callback.to_json()))


def of_dag(dag_id: str, run_id: str = "run-1", **changes) -> DagCallbackRequest:
    fields = {"filepath": "callbacks.py", "bundle_name": "plain", "bundle_version": None, **changes}
    return DagCallbackRequest(dag_id=dag_id, run_id=run_id, is_failure_callback=True, msg="it failed", **fields)


def task_fields(task_id: str) -> dict:
    run = {
        "dag_id": "tasks",
        "run_id": "run-7",
        "logical_date": "2026-01-01T00:00:00Z",
        "data_interval_start": None,
        "data_interval_end": None,
        "run_after": "2026-01-01T00:00:00Z",
        "start_date": "2026-01-01T00:00:00Z",
        "end_date": None,
        "run_type": "manual",
        "state": "running",
        "conf": {},
        "consumed_asset_events": [],
        "partition_key": None,
    }
    return {
        "filepath": "callbacks.py",
        "bundle_name": "plain",
        "bundle_version": None,
        "msg": "the task failed",
        "ti": {
            "id": str(uuid4()),
            "task_id": task_id,
            "dag_id": "tasks",
            "run_id": "run-7",
            "try_number": 1,
            "dag_version_id": str(uuid4()),
        },
        "context_from_server": {"dag_run": run, "max_tries": 1, "task_reschedule_count": 0},
    }


@pytest.fixture(scope="module")
def callbacks() -> Iterator[Callbacks]:
    with open_directory() as root:
        running = Callbacks(root)
        try:
            running.agent.wait(lambda: running.agent.result_of("callbacks.py"))
            yield running
        finally:
            running.processor.stop()
            running.agent.close()


def test_this_is_the_airflow_whose_functions_are_wrapped():
    assert airflow.__version__.startswith(AIRFLOW_VERSION + ".")


def test_a_callback_that_runs(callbacks: Callbacks):
    assert callbacks.outcome(callbacks.lease(of_dag("fine", "run-fine"))) == "RAN"
    assert "fine run-fine" in callbacks.noted


def test_a_callback_that_raises(callbacks: Callbacks):
    assert callbacks.outcome(callbacks.lease(of_dag("raises"))) == "RAISED"


def test_a_callback_that_raises_does_not_drop_the_next_one_of_its_request(callbacks: Callbacks):
    assert callbacks.outcome(callbacks.lease(of_dag("both", "run-both"))) == "RAISED"
    assert "fine run-both" in callbacks.noted


def test_a_callback_that_exits_its_process(callbacks: Callbacks):
    assert callbacks.outcome(callbacks.lease(of_dag("exits"))) == "RAISED"


def test_a_callback_whose_dag_is_gone(callbacks: Callbacks):
    assert callbacks.outcome(callbacks.lease(of_dag("nonesuch"))) == "NOT_FOUND"


def test_a_callback_whose_file_is_gone(callbacks: Callbacks):
    assert callbacks.outcome(callbacks.lease(of_dag("fine", filepath="gone.py"))) == "NOT_FOUND"


def test_a_callback_that_the_dag_no_longer_defines_is_done(callbacks: Callbacks):
    assert callbacks.outcome(callbacks.lease(of_dag("without"))) == "RAN"


def test_a_callback_whose_child_is_killed_goes_back(callbacks: Callbacks):
    assert callbacks.outcome(callbacks.lease(of_dag("dies"))) == "NOT_STARTED"
    assert "dies" in callbacks.noted


def test_a_callback_that_times_out_goes_back(callbacks: Callbacks):
    assert callbacks.outcome(callbacks.lease(of_dag("hangs"))) == "NOT_STARTED"
    assert "hangs" in callbacks.noted


def test_task_callbacks_have_their_context(callbacks: Callbacks):
    failed = TaskCallbackRequest.model_validate({**task_fields("failing"), "task_callback_type": "failed"})
    retried = TaskCallbackRequest.model_validate({**task_fields("retrying"), "task_callback_type": "up_for_retry"})
    assert callbacks.outcome(callbacks.lease(failed)) == "RAN"
    assert callbacks.outcome(callbacks.lease(retried)) == "RAN"
    assert {"task failing run-7", "task retrying run-7"} <= set(callbacks.noted)


def test_a_task_callback_whose_task_is_gone(callbacks: Callbacks):
    callback = TaskCallbackRequest.model_validate({**task_fields("nonesuch"), "task_callback_type": "failed"})
    assert callbacks.outcome(callbacks.lease(callback)) == "NOT_FOUND"


def test_a_mail_that_cannot_be_sent(callbacks: Callbacks):
    # There is no mail server here, so Airflow fails to send it.
    assert callbacks.outcome(callbacks.lease(EmailRequest.model_validate(task_fields("failing")))) == "RAISED"


def test_a_callback_that_fails_because_of_an_outage_goes_back(callbacks: Callbacks):
    callbacks.agent.answer = lambda read: protocol.ReadAnswer(id=read.id, unreachable=True)
    try:
        assert callbacks.outcome(callbacks.lease(of_dag("reads"))) == "NOT_STARTED"
    finally:
        callbacks.agent.answer = not_found


def test_a_callback_reads_through_the_gateway(callbacks: Callbacks):
    callbacks.agent.answer = lambda read: protocol.ReadAnswer(id=read.id, body={"key": "colour", "value": "blue"})
    try:
        assert callbacks.outcome(callbacks.lease(of_dag("reads"))) == "RAN"
    finally:
        callbacks.agent.answer = not_found
    assert "read blue" in callbacks.noted


def test_callbacks_of_one_file_run_one_per_child(callbacks: Callbacks):
    leases = [callbacks.lease(of_dag(dag_id, "run-many")) for dag_id in ("dies", "fine", "exits", "fine")]
    assert [callbacks.outcome(lease) for lease in leases] == ["NOT_STARTED", "RAN", "RAISED", "RAN"]


def test_a_callback_of_an_older_version_runs_on_that_version(callbacks: Callbacks):
    # The file is not in the current version.
    callback = of_dag("fine", "run-old", bundle_name="versioned", bundle_version="v1", filepath="old.py")
    leases = [callbacks.lease(callback), callbacks.lease(callback)]
    assert [callbacks.outcome(lease) for lease in leases] == ["RAN", "RAN"]
    assert callbacks.noted.count("fine run-old") == 2


def test_a_callback_of_a_version_that_cannot_be_had_goes_back(callbacks: Callbacks):
    callback = of_dag("fine", bundle_name="versioned", bundle_version="v0", filepath="old.py")
    assert callbacks.outcome(callbacks.lease(callback)) == "NOT_STARTED"


def test_a_callback_of_a_bundle_that_is_not_parsed_here_goes_back(callbacks: Callbacks):
    assert callbacks.outcome(callbacks.lease(of_dag("fine", bundle_name="nonesuch"))) == "NOT_STARTED"


def test_a_lease_that_comes_twice_runs_once(callbacks: Callbacks):
    lease = as_lease(str(uuid4()), of_dag("fine", "run-twice"))
    callbacks.agent.send(protocol.CallbacksLeased(leases=[lease, lease]))
    assert callbacks.outcome(lease.lease_id) == "RAN"
    callbacks.agent.send(protocol.CallbacksLeased(leases=[lease]))
    # The answer is repeated, the callback is not.
    callbacks.agent.wait(
        lambda: (
            [m.outcome for m in callbacks.agent.of(protocol.CallbackSettled) if m.lease_id == lease.lease_id]
            == ["RAN", "RAN"]
        )
    )
    assert callbacks.noted.count("fine run-twice") == 1


def test_a_lost_lease_is_not_run_while_it_waits(callbacks: Callbacks):
    blocking = callbacks.lease(of_dag("hangs"))
    waiting = as_lease(str(uuid4()), of_dag("fine", "run-lost"))
    callbacks.agent.send(protocol.CallbacksLeased(leases=[waiting]))
    callbacks.agent.send(protocol.LeaseLost(lease_id=waiting.lease_id))
    last = callbacks.lease(of_dag("fine", "run-last"))
    assert callbacks.outcome(blocking) == "NOT_STARTED"
    assert callbacks.outcome(last) == "RAN"
    assert "fine run-lost" not in callbacks.noted


def test_running_callbacks_does_not_replace_the_parse_of_the_file(callbacks: Callbacks):
    before = len(callbacks.agent.of(protocol.ParseResult))
    callbacks.lease(of_dag("fine"))
    callbacks.agent.wait(lambda: len(callbacks.agent.of(protocol.ParseResult)) > before)
    result = callbacks.agent.result_of("callbacks.py")
    assert not result.timed_out
    assert len(result.dags) == 9
