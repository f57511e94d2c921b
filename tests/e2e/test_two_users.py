"""The boundary of a deployment with two users: DAG code runs as one, the agent with the token as another."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dag_files
import pytest
from running_gateway import PARSEGATE, RunningGateway
from running_processor import RunningProcessor, local_bundle, processor_home, processor_of, unprivileged_uid
from stored_rows import serialized

pytestmark = [
    pytest.mark.any_database,
    pytest.mark.isolation,
    pytest.mark.skipif(os.geteuid() != 0, reason="Only root can start a processor that becomes another user."),
]

SPY = '''
import json
import os
import stat

import pendulum
from airflow.sdk import DAG


def attempt(path):
    """Whether a DAG file can open this."""
    try:
        with open(path, "rb") as file:
            file.read(1)
        return "open"
    except OSError as error:
        return type(error).__name__


def processes():
    """By command, what of each process of this deployment is open to this one."""
    found = {{}}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = open(f"/proc/{{pid}}/cmdline").read().replace("\\0", " ")
            parent = open(f"/proc/{{pid}}/stat").read().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if os.getppid() not in (int(pid), int(parent)):  # another test's
            continue
        for name in ("parsegate.client.agent", "parsegate.client.bundle_helper", "dag-processor"):
            if name in command and int(pid) != os.getpid():
                found[name] = {{entry: attempt(f"/proc/{{pid}}/{{entry}}") for entry in ("environ", "mem")}}
    return found


def sockets():
    """Inode of each socket that this process has open."""
    inodes = []
    for descriptor in range(256):
        try:
            status = os.fstat(descriptor)
        except OSError:
            continue
        if stat.S_ISSOCK(status.st_mode):
            inodes.append(status.st_ino)
    return inodes


seen = {{
    "uid": os.getuid(),
    "groups": os.getgroups(),
    "token": attempt({token!r}),
    "database": attempt({database!r}),
    "processes": processes(),
    "sockets": sockets(),
}}
with DAG({dag_id!r}, schedule=None, start_date=pendulum.datetime(2024, 1, 1, tz="UTC"), description=json.dumps(seen)):
    pass
'''


AGENT_UID = 65533


@pytest.fixture(scope="module", params=["run_as_user", "sidecar"])
def processor(request: pytest.FixtureRequest, gateway: RunningGateway) -> Iterator[RunningProcessor]:
    """One whose pass is over, in each of the two ways to give the agent a user of its own."""
    uid = unprivileged_uid()
    if uid is None:
        pytest.skip("Another user cannot reach this checkout's Python.")
    with processor_home() as home, processor_home() as agent_home:
        token_path = agent_home / "processor.token"
        gateway.mint("processor", token_path, "--bundles", "*")
        database = gateway.database.path or "/nowhere"
        for dag_id in ("spy", "another_spy"):
            text = SPY.format(dag_id=dag_id, token=str(token_path), database=str(database))
            dag_files.write(home / "dags", **{dag_id: text})
        bundles = [local_bundle("dags", home / "dags")]
        if request.param == "run_as_user":
            # Started as root: the agent stays root, the manager becomes another user.
            settings = {"parsegate": {"run_as_user": str(uid), "token_path": str(token_path)}}
            with processor_of(gateway, home, bundles, settings=settings, uid=None) as processor:
                os.chown(home, uid, uid)
                processor.run_once()
                yield processor
            return
        with sidecar_agent(gateway, agent_home, token_path, uid) as socket_path:
            settings = {"parsegate": {"agent_socket": str(socket_path), "url": "", "token_path": ""}}
            with processor_of(gateway, home, bundles, settings=settings, uid=uid) as processor:
                processor.run_once()
                yield processor


@contextmanager
def sidecar_agent(gateway: RunningGateway, home: Path, token_path: Path, processor_gid: int) -> Iterator[Path]:
    """A ``parsegate agent`` as a user of its own, and the socket that it shares with the processor's group."""
    shared = home / "shared"
    shared.mkdir()
    for path in (home, token_path, shared):
        os.chown(path, AGENT_UID, AGENT_UID)
    # As Kubernetes does with fsGroup: what is made in here belongs to the group.
    os.chown(shared, AGENT_UID, processor_gid)
    shared.chmod(0o2770)
    socket_path = shared / "agent.sock"
    with (home / "agent.log").open("wb") as log:
        agent = subprocess.Popen(
            [*PARSEGATE, "agent", "--socket", str(socket_path)],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "AIRFLOW_HOME": str(home),
                "AIRFLOW__PARSEGATE__URL": gateway.url,
                "AIRFLOW__PARSEGATE__TOKEN_PATH": str(token_path),
            },
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            user=AGENT_UID,
            group=AGENT_UID,
            extra_groups=[processor_gid],
        )
    try:
        yield socket_path
        # Its manager has gone, so it completes the Job and ends by itself.
        assert agent.wait(30) == 0, (home / "agent.log").read_text()
    finally:
        if agent.poll() is None:
            agent.kill()
            agent.wait()


@pytest.fixture(scope="module")
def seen(processor: RunningProcessor) -> dict[str, Any]:
    """What the DAG file saw while it was parsed."""
    return json.loads(serialized("spy")["description"])


def test_dag_code_runs_as_the_other_user_without_groups(seen: dict[str, Any]) -> None:
    assert seen["uid"] == unprivileged_uid()
    assert 0 not in seen["groups"]


def test_dag_code_cannot_read_the_token(seen: dict[str, Any]) -> None:
    assert seen["token"] == "PermissionError"


def test_dag_code_cannot_read_the_database(seen: dict[str, Any]) -> None:
    assert seen["database"] in ("PermissionError", "FileNotFoundError")


def test_dag_code_cannot_look_into_the_other_processes(seen: dict[str, Any]) -> None:
    assert seen["processes"].keys() >= {"parsegate.client.agent", "parsegate.client.bundle_helper", "dag-processor"}
    for process in seen["processes"].values():
        assert process == {"environ": "PermissionError", "mem": "PermissionError"}


def test_dag_code_has_no_socket_of_another_process(seen: dict[str, Any]) -> None:
    # What two children share came from their parent: its connections to agent and helper, or a sibling's.
    another = json.loads(serialized("another_spy")["description"])

    assert seen["sockets"]
    assert not set(seen["sockets"]) & set(another["sockets"])
