"""One parse child as the manager sees it: nothing it sends or leaves unread can hurt the manager or its siblings.

Airflow's own class (``airflow/dag_processing/processor.py:DagFileProcessorProcess``) trusts the child: a malformed
frame ends the manager, a long one allocates 4 GiB, an answer that the child does not read blocks the loop, and a read
waits for the Execution API. Here frames are cut with a limit, what can't be understood ends that child, writes are
buffered and bounded, and reads are handed on and answered when the gateway's answer comes.
"""

from __future__ import annotations

import functools
import logging
import os
import selectors
import signal
import socket
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import attrs
import msgspec
from airflow.dag_processing.processor import DagFileProcessorProcess
from airflow.sdk._shared.logging.structlog import reconfigure_logger
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse, MaskSecret
from airflow.sdk.execution_time.comms import _RequestFrame as RequestFrame  # pyright: ignore[reportPrivateUsage]
from airflow.sdk.execution_time.comms import _ResponseFrame as ResponseFrame  # pyright: ignore[reportPrivateUsage]
from airflow.sdk.execution_time.supervisor import forward_to_log, process_log_messages_from_subprocess
from pydantic import BaseModel, TypeAdapter, ValidationError
from structlog.processors import CallsiteParameterAdder

from . import masks
from .answers import AnsweredClient, AnsweredWithError, error_response
from .callback_outcome import NOT_STARTED, RAISED, CallbackOutcome
from .child import SourcedParsingResult, ToManager, open_descriptors, parse_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .protocol import ReadAnswer

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 48 * 1024 * 1024
"""The largest frame that a child may send. The gateway takes less; this leaves it to refuse with a reason."""
MAX_LINE_BYTES = 1024 * 1024
"""The longest line of output; what is longer is cut."""
MAX_UNANSWERED = 100
"""Requests of one child that wait for the gateway. Airflow's client has one at a time."""
MAX_UNREAD_BYTES = 64 * 1024 * 1024
MAX_UNREAD_ANSWERS = 1000
"""Answers, and their bytes, that a child has not read yet."""

_READ_BYTES = 64 * 1024
_DRAIN_BYTES = 4 * 1024 * 1024
_FRAMES: msgspec.msgpack.Decoder[RequestFrame] = msgspec.msgpack.Decoder(RequestFrame)


class Forward(Protocol):
    """Hands a child's read on; the answer comes to :meth:`ParseProcess.answer`."""

    def __call__(self, process: ParseProcess, request: BaseModel, request_id: int) -> None: ...


class ProcessExit:
    """The child's exit as something that a selector can watch, so that its result is collected at once."""

    def __init__(self, pid: int) -> None:
        self._descriptor = os.pidfd_open(pid)

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _exited(_: object) -> bool:
    """Nothing is read from a process that has exited, and nothing more comes."""
    return False


class LineReader:
    """Gives each line of a child's output to one of Airflow's log forwarders. A long line is cut."""

    def __init__(self, process: ParseProcess, forward: Generator[None, bytes | bytearray, None]) -> None:
        self._process = process
        self._forward = forward
        self._buffer = bytearray()
        next(forward)

    def __call__(self, connection: socket.socket) -> bool:
        try:
            data = connection.recv(_READ_BYTES)
        except BlockingIOError:
            return True
        try:
            if not data:
                if self._buffer:
                    self._forward.send(self._buffer)
                return False
            *lines, rest = (self._buffer + data).split(b"\n") if b"\n" in data else (self._buffer + data,)
            if len(rest) > MAX_LINE_BYTES:
                lines.append(rest)
                rest = bytearray()
            self._buffer = rest
            for line in lines:
                self._forward.send(line + b"\n")
        except StopIteration:
            return False
        except (
            Exception
        ) as error:  # Whatever a line of the child's makes Airflow's forwarder raise is the child's fault.
            self._process.fail(f"it wrote a log line that can't be read ({type(error).__name__}: {error})")
            return False
        return True


@attrs.define(kw_only=True)
class ParseProcess(DagFileProcessorProcess):
    """A parse child, its unanswered reads, and what is known of its end.

    Made by :meth:`start`, like Airflow's. The manager reads ``fault``, ``unreachable`` and ``outcomes`` when it ends.
    """

    decoder: ClassVar[TypeAdapter[Any]] = TypeAdapter(ToManager)

    checkout: Path
    """Where the bundle is."""
    forward: Forward
    settle: Callable[[ParseProcess, int, str], None] = attrs.field(repr=False)
    """Told the outcome of each of the child's callbacks, by index."""
    bundle_version: str | None = None
    version_data: dict[str, Any] | None = None
    lease_ids: Sequence[str] = ()
    """Priority parse requests that this parse answers."""
    callback_lease_id: str | None = None

    fault: str | None = attrs.field(default=None, init=False)
    """Why the manager ended this child; its result doesn't count."""
    unreachable: bool = attrs.field(default=False, init=False)
    """A read failed because the gateway was away: what came of this attempt must not be believed."""
    outcomes: dict[int, str] = attrs.field(factory=dict, init=False)
    _exit: ProcessExit | None = attrs.field(default=None, init=False, repr=False)
    _incoming: bytearray = attrs.field(factory=bytearray, init=False, repr=False)
    _outgoing: bytearray = attrs.field(factory=bytearray, init=False, repr=False)
    _unread: int = attrs.field(default=0, init=False)
    _unanswered: set[int] = attrs.field(factory=set, init=False)

    @classmethod
    def start(cls, **kwargs: Any) -> ParseProcess:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Fork a child for one file. Arguments as for Airflow's, and this class' own attributes."""
        target = functools.partial(parse_file, open_descriptors())
        return super().start(target=target, client=None, checkout=kwargs["bundle_path"], **kwargs)  # pyright: ignore[reportArgumentType]

    def _register_pipe_readers(
        self,
        stdout: socket.socket,
        stderr: socket.socket,
        requests: socket.socket,
        logs: socket.socket,
        *,
        data: dict[socket.socket, bytes],
    ) -> None:
        loggers = self._get_target_loggers()
        plain = tuple(reconfigure_logger(logger, CallsiteParameterAdder) for logger in loggers)
        readers: dict[socket.socket, tuple[str, Callable[[socket.socket], bool]]] = {
            stdout: ("stdout", self._lines(forward_to_log(plain, logger="dag_processor.stdout", level=logging.INFO))),
            stderr: ("stderr", self._lines(forward_to_log(plain, logger="dag_processor.stderr", level=logging.ERROR))),
            logs: ("logs", self._lines(process_log_messages_from_subprocess(loggers))),
            requests: ("requests", self._service_requests),
        }
        for connection, (kind, reader) in readers.items():
            connection.setblocking(False)
            self._open_sockets[connection] = kind
            self.selector.register(connection, selectors.EVENT_READ, (reader, self._on_socket_closed))
        # Without (an old kernel, or it has gone already) the loop finds out a little later.
        with suppress(OSError):
            self._exit = ProcessExit(self.pid)
            self.selector.register(self._exit, selectors.EVENT_READ, (_exited, self._on_exit))

    def _lines(self, forward: Generator[None, bytes | bytearray, None]) -> LineReader:
        return LineReader(self, forward)

    def _on_exit(self, _: object) -> None:
        if self._exit is not None and self._exit.fileno() >= 0:
            with suppress(KeyError, ValueError):
                self.selector.unregister(self._exit)
            self._exit.close()

    def _on_socket_closed(self, sock: socket.socket) -> None:
        with suppress(KeyError, ValueError):
            self.selector.unregister(sock)
        self._open_sockets.pop(sock, None)

    def _service_requests(self, connection: socket.socket) -> bool:
        if self._outgoing:
            self._flush()
        if self.fault is not None:
            return False
        try:
            data = connection.recv(_READ_BYTES)
        except BlockingIOError:
            return True
        if not data:
            return False
        self._incoming += data
        position = 0
        while len(self._incoming) - position >= 4:
            length = int.from_bytes(self._incoming[position : position + 4], "big")
            if length > MAX_REQUEST_BYTES:
                self.fail(f"it announced a frame of {length} bytes; the limit is {MAX_REQUEST_BYTES}")
                return False
            if len(self._incoming) - position - 4 < length:
                break
            frame = bytes(self._incoming[position + 4 : position + 4 + length])
            position += 4 + length
            try:
                request = _FRAMES.decode(frame)
            except (msgspec.DecodeError, RecursionError) as error:
                self.fail(f"it sent a malformed frame ({error})")
                return False
            self._take(request)
            if self.fault is not None:
                return False
        del self._incoming[:position]
        return True

    def _take(self, request: RequestFrame) -> None:
        try:
            message = self.decoder.validate_python(request.body)
        except (ValidationError, RecursionError):
            self.process_log.error("A message from the DAG file's process can't be understood", request_id=request.id)
            error = ErrorResponse(error=ErrorType.GENERIC_ERROR, detail={"message": "The message can't be understood."})
            self.send_msg(None, request_id=request.id, error=error)
            return
        if isinstance(message, SourcedParsingResult | MaskSecret):
            with masks.learned_by(self.pid):
                self._handle_request(message, self.process_log, request.id)
        elif isinstance(message, CallbackOutcome):
            self._settle(message)
            self.send_msg(None, request_id=request.id)
        elif len(self._unanswered) >= MAX_UNANSWERED:
            self.fail(f"more than {MAX_UNANSWERED} of its requests are waiting for an answer")
        elif request.id in self._unanswered:
            self.fail(f"it used the request id {request.id} twice")
        else:
            self._unanswered.add(request.id)
            self.forward(self, message, request.id)

    def _settle(self, message: CallbackOutcome) -> None:
        if message.index in self.outcomes:
            return
        # A callback that an outage made fail has not had its chance.
        outcome = NOT_STARTED if message.outcome == RAISED and self.unreachable else message.outcome
        self.outcomes[message.index] = outcome
        self.settle(self, message.index, outcome)

    def answer(self, request: BaseModel, request_id: int, answer: ReadAnswer) -> None:
        """The gateway's answer to one of this child's reads has come; Airflow's handler turns it into the child's."""
        self._unanswered.discard(request_id)
        if self.fault is not None or self.stdin.fileno() < 0:
            return
        if answer.unreachable:
            self.unreachable = True
            self.send_msg(None, request_id=request_id, error=error_response(answer))
            return
        self.client = AnsweredClient(answer)  # pyright: ignore[reportAttributeAccessIssue]
        try:
            with masks.learned_by(self.pid):
                self._handle_request(request, self.process_log, request_id)  # pyright: ignore[reportArgumentType]
        except AnsweredWithError as error:
            self.send_msg(None, request_id=request_id, error=error.response)
        except ValidationError as error:
            self.process_log.error("The gateway's answer has not the expected shape", error=str(error))
            detail = {"message": "The gateway's answer has not the expected shape."}
            response = ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=detail)
            self.send_msg(None, request_id=request_id, error=response)
        finally:
            self.client = None  # pyright: ignore[reportAttributeAccessIssue]

    def send_msg(
        self, msg: BaseModel | None, request_id: int, error: ErrorResponse | None = None, **dump_opts: Any
    ) -> None:
        """As Airflow's, into a bounded buffer that is written when the child reads."""
        if self.fault is not None or self.stdin.fileno() < 0:
            return
        if msg is not None:
            frame = ResponseFrame(id=request_id, body=msg.model_dump(**dump_opts))
        else:
            frame = ResponseFrame(id=request_id, error=error.model_dump() if error else None)
        self._outgoing += frame.as_bytes()
        self._unread += 1
        self._flush()
        if len(self._outgoing) > MAX_UNREAD_BYTES or self._unread > MAX_UNREAD_ANSWERS:
            self.fail(f"it does not read its answers ({self._unread} answers, {len(self._outgoing)} bytes)")

    def _flush(self) -> None:
        if self._outgoing:
            try:
                sent = self.stdin.send(self._outgoing, socket.MSG_DONTWAIT)
            except BlockingIOError:
                sent = 0
            except OSError:
                # The child has closed its end; its exit says the rest.
                sent = len(self._outgoing)
            del self._outgoing[:sent]
        if not self._outgoing:
            self._unread = 0
        interest = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outgoing else 0)
        with suppress(KeyError, ValueError):
            key = self.selector.get_key(self.stdin)
            if key.events != interest:
                self.selector.modify(self.stdin, interest, key.data)

    def fail(self, reason: str) -> None:
        """End this child, whose result then doesn't count. Does not wait for it."""
        if self.fault is not None:
            return
        self.fault = reason
        self.process_log.error("The DAG file's process is ended", reason=reason)
        log.error("Ending the process of %s (PID %s): %s.", self.dag_file_rel_path, self.pid, reason)
        self._incoming.clear()
        self._outgoing.clear()
        self._on_socket_closed(self.stdin)
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> bool:
        """Signal the child; whether it still ran. Does not wait for it."""
        if not self.is_running:
            return False
        with suppress(self._process.ProcessNotFound):
            self._process.send_signal(number)
        return True

    @property
    def is_running(self) -> bool:
        return self._check_subprocess_exit() is None

    @property
    def is_ready(self) -> bool:
        """The process has exited, and what it wrote has been read (as far as it counts)."""
        if self._check_subprocess_exit() is None:
            return False
        # Something that a faulty child has left running may keep its sockets open.
        return self.fault is not None or not self._open_sockets

    def kill(self, *args: Any, **kwargs: Any) -> None:
        super().kill(*args, **kwargs)
        # Airflow 3.3.0 closes the log next, and what is read later could not be written there.
        self.cleanup_sockets_after_kill()

    def close(self) -> None:
        """Let go of everything; may be called again."""
        # As Airflow's own; 3.3.0 has none.
        self.cleanup_sockets_after_kill()
        try:
            self.logger_filehandle.close()
        except OSError as error:
            log.warning("The log of %s could not be closed: %s", self.dag_file_rel_path, error)

    def cleanup_sockets_after_kill(self) -> None:
        """Read what is left of the output, up to a limit, and close everything."""
        for connection, kind in list(self._open_sockets.items()):
            if kind != "requests":
                self._drain(connection)
            self._on_socket_closed(connection)
            connection.close()
        self._open_sockets.clear()
        self._on_exit(None)
        self.stdin.close()
        masks.forget(self.pid)

    def _drain(self, connection: socket.socket) -> None:
        try:
            reader, _ = self.selector.get_key(connection).data
        except (KeyError, ValueError):
            return
        for _ in range(_DRAIN_BYTES // _READ_BYTES):
            try:
                if not connection.recv(1, socket.MSG_PEEK) or not reader(connection):
                    return
            except OSError:
                return
