"""A real ``parsegate dag-processor`` in processes of its own, as another user where the tests may choose one.

Its home is all that it has: a configuration without the gateway's secrets, a token file, its DAG folders. The
environment is empty but for what is set here.
"""

from __future__ import annotations

import configparser
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from running_gateway import PARSEGATE, RunningGateway

UNPRIVILEGED_UID = 65534
AUDIT_HOOK = Path(__file__).parent / "audit"


def local_bundle(name: str, path: Path, refresh_interval: int = 1) -> dict[str, Any]:
    return {
        "name": name,
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(path), "refresh_interval": refresh_interval},
    }


def git_bundle(name: str, connection: str) -> dict[str, Any]:
    return {
        "name": name,
        "classpath": "airflow.providers.git.bundles.git.GitDagBundle",
        "kwargs": {"tracking_ref": "main", "git_conn_id": connection, "refresh_interval": 1},
    }


QUICK = {
    "dag_processor": {
        "min_file_process_interval": "1",
        "bundle_refresh_check_interval": "1",
        "stale_dag_threshold": "1",
        "parsing_processes": "2",
        "print_stats_interval": "0",
    },
    "scheduler": {"parsing_cleanup_interval": "1", "job_heartbeat_sec": "1"},
}
"""Intervals of a second where Airflow's defaults are minutes."""


@dataclass
class RunningProcessor:
    """:param home: its ``AIRFLOW_HOME``, and its ``HOME``
    :param uid: the user that it runs as; None for the tests' own
    """

    gateway: RunningGateway
    home: Path
    bundles: list[dict[str, Any]]
    uid: int | None = None
    settings: dict[str, dict[str, str]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)
    hostname: str = "processor.test"
    command: list[str] = field(default_factory=lambda: PARSEGATE)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def log_path(self) -> Path:
        return self.home / "processor.log"

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def token_path(self) -> Path:
        return self.home / "processor.token"

    @property
    def audit_path(self) -> Path:
        return self.home / "audit.log"

    def configure(self) -> None:
        """Write the configuration, and a token that grants all bundles unless the settings name one."""
        sections: dict[str, dict[str, str]] = {
            "core": {"load_examples": "False", "dags_folder": str(self.home)},
            "database": {"sql_alchemy_conn": "sqlite:////nonexistent/airflow.db"},
            "dag_processor": {"dag_bundle_config_list": json.dumps(self.bundles)},
            "logging": {"base_log_folder": str(self.home / "logs")},
            "parsegate": {"url": self.gateway.url, "token_path": str(self.token_path)},
        }
        for section, options in self.settings.items():
            sections.setdefault(section, {}).update(options)
        parser = configparser.RawConfigParser()
        parser.read_dict(sections)
        with (self.home / "airflow.cfg").open("w") as file:
            parser.write(file)
        if "token_path" not in self.settings.get("parsegate", {}) and not self.token_path.exists():
            self.gateway.mint("processor", self.token_path, "--bundles", "*")
        self.audit_path.touch()
        self.audit_path.chmod(0o666)
        self._give(self.home)

    def _give(self, directory: Path) -> None:
        """Make everything in ``directory`` the processor's own."""
        if self.uid is None:
            return
        os.chown(directory, self.uid, self.uid)
        for parent, directories, files in os.walk(directory):
            for name in (*directories, *files):
                os.chown(Path(parent, name), self.uid, self.uid, follow_symlinks=False)

    @property
    def process_environment(self) -> dict[str, str]:
        """All of it: nothing of the test process's own comes along."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "processor_hostname.hostname",
            "PROCESSOR_HOSTNAME": self.hostname,
            "PYTHONPATH": str(AUDIT_HOOK),
            "PARSEGATE_TEST_AUDIT": str(self.audit_path),
            "GIT_CONFIG_NOSYSTEM": "1",
            **self.environment,
        }

    def start(self, *arguments: str) -> None:
        identity: dict[str, Any] = {}
        if self.uid is not None:
            identity = {"user": self.uid, "group": self.uid, "extra_groups": []}
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.command, "dag-processor", *self.arguments, *arguments],
                env=self.process_environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                **identity,
            )

    def wait(self, timeout: float = 120) -> int:
        """Its exit code, once it ended by itself."""
        assert self._process is not None
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.stop()
            raise AssertionError(f"The processor did not end within {timeout} s:\n{self.log[-8000:]}") from None
        self._process = None
        return code

    def stop(self) -> int:
        """End it with SIGTERM; its exit code."""
        assert self._process is not None
        process, self._process = self._process, None
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def run_once(self, *arguments: str) -> None:
        """One pass over all files, to its end."""
        self.start("--num-runs", "1", *arguments)
        code = self.wait()
        assert code == 0, f"The processor ended with {code}:\n{self.log[-8000:]}"

    def until(self, holds: Callable[[], Any], what: str, timeout: float = 30) -> Any:
        """What ``holds`` returns, as soon as that is true."""
        deadline = time.monotonic() + timeout
        while not (value := holds()):
            if not self.is_running:
                raise AssertionError(f"The processor ended while the test waited until {what}:\n{self.log[-8000:]}")
            if time.monotonic() > deadline:
                raise AssertionError(f"Not within {timeout} s: {what}. The processor's log:\n{self.log[-8000:]}")
            time.sleep(0.1)
        return value


def unprivileged_uid() -> int | None:
    """Another user for the processor, if the tests run as root and that user can reach this Python."""
    if os.geteuid() != 0:
        return None
    probe = subprocess.run(
        [*PARSEGATE[:1], "-c", "import parsegate"],
        user=UNPRIVILEGED_UID,
        group=UNPRIVILEGED_UID,
        extra_groups=[],
        env={"PATH": os.environ["PATH"]},
        cwd="/",
        capture_output=True,
    )
    return UNPRIVILEGED_UID if probe.returncode == 0 else None


@contextmanager
def processor_home() -> Iterator[Path]:
    """A directory that every user may enter (pytest's own are the test user's alone)."""
    home = Path(tempfile.mkdtemp(prefix="parsegate-processor-"))
    home.chmod(0o755)
    try:
        yield home
    finally:
        shutil.rmtree(home)


@contextmanager
def processor_of(
    gateway: RunningGateway, home: Path, bundles: list[dict[str, Any]], **options: Any
) -> Iterator[RunningProcessor]:
    """A configured processor that is not started yet, as another user if it can be; it is stopped in the end."""
    options.setdefault("uid", unprivileged_uid())
    processor = RunningProcessor(gateway, home, bundles, **options)
    processor.configure()
    try:
        yield processor
    finally:
        if processor.is_running:
            processor.stop()
