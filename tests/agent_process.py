"""A real agent in a process of its own, and the manager's end of its socket."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from parsegate.client import protocol
from parsegate.client.agent_config import AgentConfig, config_descriptor

MessageT = TypeVar("MessageT", bound=protocol.Message)

PATIENCE = 30.0
"""Seconds after which a test gives up on something that should have come long before."""


def eventually(condition: Callable[[], Any], timeout: float = PATIENCE) -> Any:
    """What ``condition`` gives as soon as it is true."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)
    return value


class PeerSocket:
    """A process that speaks to an agent: sends messages, and collects what comes."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = protocol.FrameBuffer()
        self.received: list[tuple[float, protocol.Message]] = []
        self.ended = threading.Event()
        self._seen = 0
        self._sending = threading.Lock()
        threading.Thread(target=self._receive, daemon=True).start()

    def send(self, message: protocol.Message) -> None:
        self.send_bytes(protocol.encode(message))

    def send_bytes(self, data: bytes) -> None:
        # The thread that ticks sends too, and a large frame takes several writes.
        with self._sending:
            self._socket.sendall(data)

    def expect(
        self, kind: type[MessageT], timeout: float = PATIENCE, where: Callable[[MessageT], bool] = lambda _: True
    ) -> MessageT:
        """The first message of this kind since the last that was expected; others on the way are passed over."""
        deadline = time.monotonic() + timeout
        while True:
            while self._seen < len(self.received):
                _, message = self.received[self._seen]
                self._seen += 1
                if isinstance(message, kind) and where(message):
                    return message
            if self.ended.is_set() and self._seen == len(self.received):
                raise AssertionError(f"The agent ended without a {kind.__name__}: {self.received}")
            assert time.monotonic() < deadline, f"no {kind.__name__}: {self.received}"
            time.sleep(0.01)

    def all(self, kind: type[MessageT]) -> list[MessageT]:
        return [message for _, message in self.received if isinstance(message, kind)]

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _receive(self) -> None:
        decoder = msgspec.msgpack.Decoder(protocol.FromAgent)
        try:
            while data := self._socket.recv(65536):
                for frame in self._buffer.feed(data):
                    self.received.append((time.monotonic(), decoder.decode(frame)))
        except OSError:
            pass
        self.ended.set()


class AgentProcess:
    """:param settings: fields of AgentConfig
    :param sidecar: whether the agent listens on a socket, to which the manager connects
    :param python: options of the interpreter
    :param environment: variables beyond the ``PATH``
    """

    def __init__(
        self,
        directory: Path,
        url: str,
        token_path: Path,
        *,
        sidecar: bool = False,
        python: tuple[str, ...] = (),
        user: int | None = None,
        environment: dict[str, str] | None = None,
        **settings: Any,
    ) -> None:
        self.log_path = directory / "agent.log"
        self.status_path = directory / "status.json"
        self.socket_path = directory / "agent.sock"
        self._ticking = threading.Event()
        ours, theirs = socket.socketpair()
        helper_ours, helper_theirs = socket.socketpair()
        inherited = (
            {"listen_path": str(self.socket_path)}
            if sidecar
            else {"manager_fd": theirs.fileno(), "helper_fd": helper_theirs.fileno()}
        )
        config = AgentConfig(
            url=url, token_path=str(token_path), status_path=str(self.status_path), **inherited, **settings
        )
        descriptor = config_descriptor(config)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *python, "-P", "-m", "parsegate.client.agent", "--config-fd", str(descriptor)],
                pass_fds=[descriptor] if sidecar else [descriptor, theirs.fileno(), helper_theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], **(environment or {})},
                user=user,
            )
        os.close(descriptor)
        theirs.close()
        helper_theirs.close()
        if sidecar:
            ours.close()
            helper_ours.close()
            ours, helper_ours = self._connected(), self._connected()
        self.manager = PeerSocket(ours)
        self.helper = PeerSocket(helper_ours)
        threading.Thread(target=self._tick, daemon=True).start()

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def log_lines(self, pattern: str) -> list[str]:
        return [line for line in self.log.splitlines() if re.search(pattern, line)]

    def register(self, **fields: Any) -> None:
        from airflow import __version__ as airflow_version

        self.manager.send(
            protocol.Register(
                **{
                    "hostname": "processor-1",
                    "unixname": "dags",
                    "pid": 4711,
                    "airflow_version": airflow_version,
                    "bundle_names": None,
                    "max_callbacks": 20,
                    "heartbeat_interval": 5.0,
                    **fields,
                }
            )
        )

    def start(self, *bundles: str, **fields: Any) -> int:
        """Register, sync bundles of these names and let the manager's loop turn; the Job's id."""
        self.register(**fields)
        job_id = self.manager.expect(protocol.Registered).job_id
        self.manager.send(
            protocol.SyncBundles(bundles=[bundle_definition(name) for name in bundles], deactivate_missing=False)
        )
        self.tick()
        return job_id

    def tick(self, going_on: bool = True) -> None:
        """Let the manager's loop turn, or hang."""
        self._ticking.set() if going_on else self._ticking.clear()

    def complete(self, succeeded: bool = True, timeout: float = 20.0) -> protocol.Completed:
        self.manager.send(protocol.Complete(succeeded=succeeded, timeout=timeout))
        return self.manager.expect(protocol.Completed)

    def read(
        self, request: dict[str, Any], *, number: int = 1, bundle: str = "dags", file: str | None = "a.py"
    ) -> None:
        self.manager.send(protocol.Read(id=number, bundle_name=bundle, relative_fileloc=file, request=request))

    def kill(self) -> None:
        self.tick(False)
        self.manager.close()
        self.helper.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def _tick(self) -> None:
        while not self.manager.ended.is_set():
            if self._ticking.wait(0.5):
                try:
                    self.manager.send(protocol.Tick())
                except OSError:
                    return
                time.sleep(0.1)

    def _connected(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)

        def connected() -> bool:
            try:
                connection.connect(str(self.socket_path))
            except (FileNotFoundError, ConnectionRefusedError):  # not made yet, or nobody listens yet
                if self.process.poll() is not None:
                    raise
                return False
            return True

        try:
            eventually(connected)
        except BaseException:
            connection.close()
            raise
        return connection


def bundle_definition(name: str) -> protocol.BundleDefinition:
    return protocol.BundleDefinition(
        name=name,
        path=f"/bundles/{name}",
        team_name=None,
        refresh_interval=300.0,
        supports_versioning=False,
        view_url_template=None,
        template_params={},
    )


def parse_result(file: str = "a.py", *, sequence: int = 1, bundle: str = "dags", **fields: Any) -> protocol.ParseResult:
    """One attempt that found no DAG."""
    return protocol.ParseResult(
        **{
            "attempt_id": str(uuid.uuid4()),
            "sequence": sequence,
            "bundle_name": bundle,
            "bundle_path": f"/bundles/{bundle}",
            "relative_fileloc": file,
            "bundle_version": None,
            "version_data": None,
            "parse_duration": 0.25,
            "timed_out": False,
            "dags": [],
            "import_errors": {},
            "warnings": [],
            "sources": {},
            "lease_ids": [],
            **fields,
        }
    )


StartAgent = Callable[..., AgentProcess]
"""The fixture ``start_agent``: takes the settings of an agent, and ends it with the test."""
