"""``parsegate agent`` as a person starts it, and the configuration that reaches an agent."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from agent_process import PeerSocket, eventually
from faulty_gateway import FaultyGateway

from parsegate.client import protocol
from parsegate.client.agent_config import AgentConfig, config_descriptor, read_config

COMMAND = [
    sys.executable,
    "-c",
    "import sys; from parsegate.client.agent_command import run; sys.exit(run(sys.argv[1:]))",
]


def environment(home: Path, **settings: str) -> dict[str, str]:
    named = {f"AIRFLOW__PARSEGATE__{name.upper()}": value for name, value in settings.items()}
    return {"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(home), **named}


def test_the_command_waits_for_a_processor_serves_it_and_ends_with_it(served: FaultyGateway, tmp_path: Path):
    from airflow import __version__ as airflow_version

    served.mint(tmp_path / "token")
    path = tmp_path / "agent.sock"
    settings = {"url": served.url, "token_path": str(tmp_path / "token"), "agent_socket": str(path)}
    process = subprocess.Popen(COMMAND, env=environment(tmp_path, **settings), stderr=subprocess.PIPE, text=True)
    try:
        eventually(path.exists)
        assert path.stat().st_mode & 0o777 == 0o660
        command_line = Path(f"/proc/{process.pid}/cmdline").read_text()
        assert "parsegate.client.agent" in command_line
        assert served.url not in command_line
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(path))
        manager = PeerSocket(connection)
        manager.send(
            protocol.Register(
                hostname="h",
                unixname="u",
                pid=1,
                airflow_version=airflow_version,
                bundle_names=None,
                max_callbacks=1,
                heartbeat_interval=5.0,
            )
        )
        manager.expect(protocol.Registered)
        assert (tmp_path / "parsegate-status.json").exists()
        manager.send(protocol.Complete(succeeded=True, timeout=5.0))
        manager.expect(protocol.Completed)
        assert process.wait(20) == 0
        manager.close()
    finally:
        process.kill()
        process.communicate()


def test_a_sidecar_without_a_processor_ends_when_told(tmp_path: Path):
    path = tmp_path / "agent.sock"
    settings = {"url": "http://localhost/graphql", "token_path": "/t", "agent_socket": str(path)}
    process = subprocess.Popen(COMMAND, env=environment(tmp_path, **settings), stderr=subprocess.PIPE)
    try:
        eventually(path.exists)
        second = subprocess.run(COMMAND, env=environment(tmp_path, **settings), capture_output=True, text=True)
        assert second.returncode == 2
        assert "Another agent" in second.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert not path.exists()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("settings", "missing"),
    [({"agent_socket": "/s"}, "url"), ({"url": "http://x", "token_path": "/t"}, "agent_socket")],
)
def test_a_missing_setting_is_named(tmp_path: Path, settings: dict[str, str], missing: str):
    run = subprocess.run(COMMAND, env=environment(tmp_path, **settings), capture_output=True, text=True)
    assert run.returncode == 2
    assert missing in run.stderr
    assert "Traceback" not in run.stderr


def test_a_configuration_survives_the_descriptor():
    config = AgentConfig(url="https://g/graphql", token_path="/t", manager_fd=7, proxy="http://user:password@proxy")
    descriptor = config_descriptor(config)
    assert os.get_inheritable(descriptor)
    with os.fdopen(descriptor, "rb") as stream:
        assert read_config(stream) == config


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"url": "https://g", "token_path": "/t"},
        {"url": "https://g", "token_path": "/t", "manager_fd": 3, "listen_path": "/s"},
        {"url": "ftp://g", "token_path": "/t", "manager_fd": 3},
        {"url": "https://g", "token_path": "/t", "manager_fd": 3, "client_key_path": "/k"},
        {"url": "https://g", "token_path": "/t", "manager_fd": 3, "unknown": 1},
    ],
)
def test_a_configuration_that_contradicts_itself_is_refused(document: dict[str, object]):
    with pytest.raises(ValueError, match=r"."):
        read_config(io.BytesIO(msgspec.json.encode(document)))
