"""A scripted agent: speaks the protocol of ``parsegate.client.protocol`` with a real DAG processor, without a gateway.

It listens as a sidecar agent does, so the processor under test is the real ``parsegate dag-processor`` with a manager,
children and a bundle helper of its own.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from parsegate.client import protocol

UNPRIVILEGED = 65534
PATIENCE = 60.0
"""Seconds after which a test gives up waiting."""


@contextmanager
def open_directory() -> Iterator[Path]:
    """A temporary directory that another user can reach; pytest's own are closed by every run of pytest."""
    with TemporaryDirectory(prefix="parsegate-test-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


class ScriptedAgent:
    """Accepts one manager and its bundle helper; keeps what they send; answers as told.

    :param answer: what a read is answered with; None leaves it unanswered
    """

    def __init__(self, directory: Path, answer: Callable[[protocol.Read], protocol.ReadAnswer | None] | None = None):
        self.path = directory / "agent.sock"
        self.received: list[Any] = []
        self.answer = answer or not_found
        self.settle: Callable[[protocol.ParseResult], protocol.ResultSettled] | None = accepted
        self.registers = True
        self._changed = threading.Condition()
        self._connections: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self.path.chmod(0o777)
        self._listener.listen(2)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            for _ in range(2):
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        frames = protocol.FrameBuffer()
        decoder = msgspec.msgpack.Decoder(protocol.ToAgent)
        with suppress(OSError):
            while data := connection.recv(1 << 20):
                for frame in frames.feed(data):
                    message = decoder.decode(frame)
                    self._react(connection, message)
                    with self._changed:
                        self.received.append(message)
                        self._changed.notify_all()

    def _react(self, connection: socket.socket, message: Any) -> None:
        replies: list[protocol.Message | None] = []
        match message:
            case protocol.Register() if self.registers:
                replies.append(protocol.Registered(job_id=1, gateway_version="test"))
            case protocol.SyncBundles():
                states = [
                    protocol.BundleStateRow(name=bundle.name, last_refreshed=None, version=None)
                    for bundle in message.bundles
                ]
                replies.append(protocol.BundleStates(states=states))
            case protocol.ParseResult() if self.settle is not None:
                replies.append(self.settle(message))
            case protocol.Read():
                replies.append(self.answer(message))
            case protocol.Complete():
                replies.append(protocol.Completed(undelivered=0))
        for reply in replies:
            if reply is not None:
                connection.sendall(protocol.encode(reply))

    def send(self, message: protocol.Message) -> None:
        """To the manager."""
        self._connections[0].sendall(protocol.encode(message))

    def close(self) -> None:
        self._listener.close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def of(self, kind: type[Any]) -> list[Any]:
        with self._changed:
            return [message for message in self.received if isinstance(message, kind)]

    def result_of(self, name: str) -> protocol.ParseResult | None:
        """The latest result of this file."""
        results = [result for result in self.of(protocol.ParseResult) if result.relative_fileloc == name]
        return results[-1] if results else None

    def wait(self, what: Callable[[], Any], patience: float = PATIENCE) -> Any:
        """The first true value of ``what``, looked at after each message."""
        deadline = time.monotonic() + patience
        with self._changed:
            while not (value := what()):
                if time.monotonic() > deadline:
                    kinds = [type(message).__name__ for message in self.received]
                    raise AssertionError(f"It did not come in {patience} s. Received: {kinds}")
                self._changed.wait(0.2)
        return value


def not_found(read: protocol.Read) -> protocol.ReadAnswer:
    kind = read.request["type"]
    if kind == "GetConnection":
        error = {"error": "CONNECTION_NOT_FOUND", "detail": {"conn_id": read.request["conn_id"]}}
    else:
        error = {"error": "VARIABLE_NOT_FOUND", "detail": {"key": read.request.get("key")}}
    return protocol.ReadAnswer(id=read.id, error=error)


def accepted(result: protocol.ParseResult) -> protocol.ResultSettled:
    return protocol.ResultSettled(
        attempt_id=result.attempt_id,
        bundle_name=result.bundle_name,
        relative_fileloc=result.relative_fileloc,
        status="ACCEPTED",
        reason=None,
        message=None,
    )


class ProcessorUnderTest:
    """``parsegate dag-processor`` in a home of its own, as an unprivileged user when the tests run as root.

    :param bundles: folders of bundles by name, or the whole bundle configuration
    :param options: of the command
    :param drops: start it as root all the same, because it gives up its privileges itself
    :param terminal: descriptor of the terminal that it is started on; None for a file
    :param settings: environment variables
    """

    def __init__(
        self,
        home: Path,
        agent_socket: Path,
        bundles: Mapping[str, Path] | str,
        *options: str,
        drops: bool = False,
        terminal: int | None = None,
        **settings: str,
    ):
        home.mkdir(exist_ok=True)
        self.output = home / "processor.log"
        if isinstance(bundles, str):
            bundle_list = bundles
        else:
            bundle_list = msgspec.json.encode(
                [
                    {
                        "name": name,
                        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                        "kwargs": {"path": str(path), "refresh_interval": 1},
                    }
                    for name, path in bundles.items()
                ]
            ).decode()
        inherited = ("PATH", "LANG", "PYTHONPATH", "VIRTUAL_ENV")
        self.environment = {
            **{name: os.environ[name] for name in inherited if name in os.environ},
            "HOME": str(home),
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__PARSEGATE__AGENT_SOCKET": str(agent_socket),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": bundle_list,
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(home / "bundles"),
            "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
            "AIRFLOW__DAG_PROCESSOR__PRINT_STATS_INTERVAL": "0",
            "PYTHONUNBUFFERED": "1",
            **settings,
        }
        user = (
            {"user": UNPRIVILEGED, "group": UNPRIVILEGED, "extra_groups": []} if os.geteuid() == 0 and not drops else {}
        )
        if user:
            for path in (home, agent_socket.parent):
                os.chown(path, UNPRIVILEGED, UNPRIVILEGED)
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "parsegate.client.cli", "dag-processor", *options],
                env=self.environment,
                cwd=home,
                stdout=output if terminal is None else terminal,
                stderr=subprocess.STDOUT,
                **user,
            )

    @property
    def log(self) -> str:
        return self.output.read_text(errors="replace")

    def stop(self, patience: float = PATIENCE) -> int:
        """End it as an operator would; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.wait(patience)

    def wait(self, patience: float = PATIENCE) -> int:
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"The processor did not end:\n{self.log[-4000:]}") from None
