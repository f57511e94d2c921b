from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from agent_process import StartAgent, eventually
from faulty_gateway import FaultyGateway

from parsegate.client import protocol
from parsegate.client.status import AgentStatus, ailment, check, run, write_status

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def status(**fields: object) -> AgentStatus:
    ago = {"last_tick_at": NOW - timedelta(seconds=1), "last_heartbeat_at": NOW - timedelta(seconds=5)}
    base = {"pid": 1, "written_at": NOW, "health_check_threshold": 30.0, "job_id": 7, "registered_at": NOW, **ago}
    return AgentStatus(**{**base, **fields})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, None),
        ({"last_heartbeat_at": NOW - timedelta(seconds=29)}, None),
        ({"last_heartbeat_at": NOW - timedelta(seconds=31), "last_error": "refused"}, "No heartbeat.*31 s.*refused"),
        ({"last_tick_at": NOW - timedelta(seconds=31)}, "loop has not turned for 31 s"),
        ({"last_tick_at": None}, "loop has not turned"),
        ({"registered_at": None, "last_error": "connection refused"}, "not registered.*connection refused"),
        ({"stopped": "JOB_CLOSED: it ended"}, "told to stop: JOB_CLOSED"),
    ],
)
def test_says_what_ails(fields: dict[str, object], reason: str | None):
    found = ailment(status(**fields), NOW)
    if reason is None:
        assert found is None
    else:
        assert found is not None
        assert re.search(reason, found)


def test_the_file_is_replaced_in_one_step_and_leaves_nothing_behind(tmp_path: Path):
    path = tmp_path / "status.json"
    write_status(str(path), status())
    write_status(str(path), status(job_id=8))
    assert [entry.name for entry in tmp_path.iterdir()] == ["status.json"]
    assert path.stat().st_mode & 0o777 == 0o644
    assert check(str(path), NOW)[0]


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1]"])
def test_no_usable_file_is_not_well(tmp_path: Path, content: bytes | None):
    path = tmp_path / "status.json"
    if content is not None:
        path.write_bytes(content)
    well, sentence = check(str(path))
    assert not well
    assert str(path) in sentence


def test_the_probe_follows_the_processor(
    served: FaultyGateway, start_agent: StartAgent, capsys: pytest.CaptureFixture[str]
):
    agent = start_agent(health_check_threshold=3.0)
    probe = ["--local", "--file", str(agent.status_path)]
    eventually(agent.status_path.exists)
    assert run(probe) == 1
    job_id = agent.start("dags", heartbeat_interval=0.5)
    eventually(lambda: run(probe) == 0)
    assert f"Job {job_id}" in capsys.readouterr().out
    served.stop()
    eventually(lambda: run(probe) == 1)
    assert "No heartbeat" in capsys.readouterr().err
    served.start()
    eventually(lambda: run(probe) == 0)
    agent.tick(False)
    # The last heartbeat may be a little older than the last tick, and be missed first.
    eventually(lambda: run(probe) == 1 and "loop has not turned" in capsys.readouterr().err)
    agent.complete()


def test_the_probe_tells_why_the_processor_was_stopped(start_agent: StartAgent):
    agent = start_agent()
    agent.register(airflow_version="2.11.0")
    agent.manager.expect(protocol.Stopped)
    well, sentence = check(str(agent.status_path))
    assert not well
    assert "VERSION_MISMATCH" in sentence


def test_the_command_needs_no_airflow_database_and_reads_the_setting(tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    path = tmp_path / "status.json"
    now = datetime.now(UTC)
    write_status(str(path), status(last_tick_at=now, last_heartbeat_at=now, registered_at=now))
    code = "import sys; from parsegate.client.status import run; sys.exit(run(['--local']))"
    environment = {
        "PATH": os.environ["PATH"],
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__PARSEGATE__URL": "http://localhost/graphql",
        "AIRFLOW__PARSEGATE__TOKEN_PATH": "/nonexistent",
        "AIRFLOW__PARSEGATE__STATUS_PATH": str(path),
    }
    command = [sys.executable, "-c", code]
    good = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert (good.returncode, good.stderr) == (0, "")
    assert "Job 7" in good.stdout
    time.sleep(0.01)
    path.write_text(json.dumps({**json.loads(path.read_text()), "health_check_threshold": 0.0}))
    bad = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert bad.returncode == 1
    assert not list(home.glob("*.db"))
    assert not (home / "airflow.cfg").exists(), "Airflow would have made keys of its own"
