"""The real bundle helper with real git repositories, and a test in the place of manager and agent."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from agent_peer import PATIENCE, open_directory

from parsegate.client import protocol

TOKEN = "git-token-that-nobody-may-see"


def git(repository: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repository), "-c", "user.name=T", "-c", "user.email=t@example.com", *arguments]
    return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).strip()


def commit(repository: Path, text: str) -> str:
    (repository / "dag.py").write_text(text)
    git(repository, "add", ".")
    git(repository, "commit", "-m", "change")
    return git(repository, "rev-parse", "HEAD")


class Helper:
    """:param answers: how the agent answers, by connection id; a callable is asked each time"""

    def __init__(self, root: Path, bundles: list[dict[str, Any]]) -> None:
        self.reads: list[protocol.Read] = []
        self.unreachable = 0
        self.connection: dict[str, Any] = {}
        self._manager, manager_end = socket.socketpair()
        self._agent, agent_end = socket.socketpair()
        self._manager.settimeout(PATIENCE)
        self._frames = protocol.FrameBuffer()
        self._decoder = msgspec.msgpack.Decoder(protocol.FromBundleHelper)
        self.raw = b""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(root),
            "AIRFLOW_HOME": str(root),
            "AIRFLOW_CONFIG": os.devnull,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////nonexistent/parsegate",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(root / "bundles"),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        self.log = root / "helper.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "parsegate.client.bundle_helper"),
                    *("--manager-fd", str(manager_end.fileno())),
                    *("--agent-fd", str(agent_end.fileno())),
                ],
                pass_fds=[manager_end.fileno(), agent_end.fileno()],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        manager_end.close()
        agent_end.close()
        threading.Thread(target=self._answer_reads, daemon=True).start()

    def _answer_reads(self) -> None:
        frames = protocol.FrameBuffer()
        with suppress(OSError):
            while data := self._agent.recv(65536):
                for frame in frames.feed(data):
                    read = msgspec.msgpack.decode(frame, type=protocol.ToAgent)
                    assert isinstance(read, protocol.Read)
                    self.reads.append(read)
                    if self.unreachable:
                        self.unreachable -= 1
                        answer = protocol.ReadAnswer(id=read.id, unreachable=True)
                    else:
                        answer = protocol.ReadAnswer(id=read.id, body=self.connection)
                    self._agent.sendall(protocol.encode(answer))

    def ask(self, message: protocol.Message) -> Any:
        self._manager.sendall(protocol.encode(message))
        while True:
            data = self._manager.recv(65536)
            assert data, self.log.read_text()
            self.raw += data
            if frames := self._frames.feed(data):
                return self._decoder.decode(frames[0])

    def close(self) -> int:
        self._manager.close()
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self._agent.close()


@pytest.fixture
def repository() -> Iterator[Path]:
    with open_directory() as root:
        repository = root / "repository"
        repository.mkdir()
        git(repository, "init", "-b", "main")
        commit(repository, "first")
        yield repository


@pytest.fixture
def helper(repository: Path) -> Iterator[Helper]:
    bundle = {
        "name": "git",
        "classpath": "airflow.providers.git.bundles.git.GitDagBundle",
        "kwargs": {"tracking_ref": "main", "git_conn_id": "repository", "refresh_interval": 5},
    }
    running = Helper(repository.parent, [bundle])
    running.connection = {
        "conn_id": "repository",
        "conn_type": "git",
        "host": str(repository),
        "schema": None,
        "login": "somebody",
        "password": TOKEN,
        "port": None,
        "extra": None,
    }
    try:
        yield running
    finally:
        running.close()


def test_a_git_bundle_gets_its_credentials_through_the_agent_and_the_manager_never_sees_them(
    helper: Helper, repository: Path
):
    described = helper.ask(protocol.DescribeBundles(bundle_names=None))
    assert described.error is None
    assert [(bundle.name, bundle.supports_versioning) for bundle in described.bundles] == [("git", True)]
    assert [(read.bundle_name, read.relative_fileloc, read.request["conn_id"]) for read in helper.reads] == [
        ("git", None, "repository")
    ]
    first = helper.ask(protocol.RefreshBundle(bundle_name="git"))
    assert first.error is None
    assert first.version == git(repository, "rev-parse", "HEAD")
    assert Path(first.path, "dag.py").read_text() == "first"
    assert TOKEN.encode() not in helper.raw
    assert TOKEN not in helper.log.read_text()


def test_a_refresh_brings_the_next_commit(helper: Helper, repository: Path):
    helper.ask(protocol.RefreshBundle(bundle_name="git"))
    expected = commit(repository, "second")
    ready = helper.ask(protocol.RefreshBundle(bundle_name="git"))
    assert ready.version == expected
    assert Path(ready.path, "dag.py").read_text() == "second"
    # The bundle object is kept: its connection was read once.
    assert len(helper.reads) == 1


def test_an_older_version_is_prepared_beside_the_current_one(helper: Helper, repository: Path):
    first = helper.ask(protocol.RefreshBundle(bundle_name="git"))
    commit(repository, "second")
    helper.ask(protocol.RefreshBundle(bundle_name="git"))
    old = helper.ask(protocol.PrepareVersion(bundle_name="git", version=first.version))
    assert (old.requested_version, old.error) == (first.version, None)
    assert Path(old.path, "dag.py").read_text() == "first"


def test_a_version_that_does_not_exist_is_an_error_and_not_the_end(helper: Helper):
    ready = helper.ask(protocol.PrepareVersion(bundle_name="git", version="0" * 40))
    assert ready.error
    assert ready.path is None
    assert helper.ask(protocol.RefreshBundle(bundle_name="git")).error is None


def test_an_unreachable_gateway_is_waited_for(helper: Helper):
    helper.unreachable = 1
    described = helper.ask(protocol.DescribeBundles(bundle_names=None))
    assert [bundle.name for bundle in described.bundles] == ["git"]
    assert len(helper.reads) == 2


def test_after_a_failed_refresh_the_credentials_are_read_again(helper: Helper, repository: Path):
    helper.ask(protocol.DescribeBundles(bundle_names=None))
    # The clone has not been made yet, so the new address is what is cloned.
    repository.rename(repository.with_name("moved"))
    assert helper.ask(protocol.RefreshBundle(bundle_name="git")).error
    helper.connection = {**helper.connection, "host": str(repository.with_name("moved"))}
    assert helper.ask(protocol.RefreshBundle(bundle_name="git")).error is None


def test_a_bundle_that_is_not_configured_is_named(helper: Helper):
    described = helper.ask(protocol.DescribeBundles(bundle_names=["git", "nonesuch"]))
    assert re.search("not configured: nonesuch", described.error)


def test_a_configuration_that_airflow_cannot_use_is_reported():
    with open_directory() as root:
        helper = Helper(root, [{"name": "broken", "classpath": "no.such.Bundle", "kwargs": {}}])
        try:
            described = helper.ask(protocol.DescribeBundles(bundle_names=None))
            assert "no" in described.error
        finally:
            helper.close()


def test_it_ends_with_its_manager(helper: Helper):
    helper.ask(protocol.DescribeBundles(bundle_names=None))
    assert helper.close() == 0
