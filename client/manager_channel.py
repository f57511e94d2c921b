"""The manager's end of a socket to the agent or the bundle helper: frames in and out through the manager's selector.

Nothing here ever blocks while the loop runs: sending appends to a buffer, receiving appends to ``received``, and the
selector does the rest. The peer's end of file is kept in ``closed`` for the loop to see.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections import deque
from contextlib import suppress
from typing import Generic, TypeVar

import msgspec

from . import protocol

_READ_BYTES = 64 * 1024

Incoming = TypeVar("Incoming")


class ManagerChannel(Generic[Incoming]):
    """One framed connection.

    :param name: what the peer is called in messages
    :param incoming: the union of messages that the peer may send
    """

    def __init__(self, connection: socket.socket, name: str, incoming: type[Incoming]) -> None:
        self.name = name
        self.received: deque[Incoming] = deque()
        self.closed: str | None = None
        """Why nothing more comes or goes; None while the connection lives."""
        self._socket = connection
        self._socket.setblocking(False)
        self._decoder = msgspec.msgpack.Decoder(incoming)
        self._frames = protocol.FrameBuffer()
        self._outgoing = bytearray()
        self._held_since: float | None = None
        self._selector: selectors.BaseSelector | None = None

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def pending_bytes(self) -> int:
        """What the peer has not read yet."""
        return len(self._outgoing)

    def attach(self, selector: selectors.BaseSelector) -> None:
        """Be served by this selector, whose keys carry Airflow's ``(handler, on_close)`` pairs."""
        self._selector = selector
        selector.register(self._socket, self._interest(), (self.service, self._on_close))

    def send(self, message: protocol.Message) -> None:
        """Hand a message over; it is dropped when the peer has gone."""
        if self.closed is not None:
            return
        self._outgoing += protocol.encode(message)
        self._flush()
        self._watch()

    def hold(self, message: protocol.Message) -> None:
        """Hand a message over with the next that is sent, or by :meth:`release`: the peer wakes up once for many."""
        if self.closed is not None:
            return
        self._outgoing += protocol.encode(message)
        if self._held_since is None:
            self._held_since = time.monotonic()

    def release(self, held_for: float) -> None:
        """Send what has been held for so many seconds."""
        if self._held_since is not None and time.monotonic() - self._held_since >= held_for:
            self._flush()
            self._watch()

    def service(self, connection: socket.socket) -> bool:
        """Read and write what can be without waiting; False when the peer has gone."""
        self._flush()
        try:
            data = connection.recv(_READ_BYTES)
        except BlockingIOError:
            data = b""
        except OSError as error:
            data = b""
            self._close(f"the connection to the {self.name} broke: {error.strerror}")
        else:
            if not data:
                self._close(f"the {self.name} has ended")
        if data:
            try:
                for frame in self._frames.feed(data):
                    self.received.append(self._decoder.decode(frame))
            except ValueError as error:
                self._close(f"the {self.name} sent what is no message: {error}")
        self._watch()
        return self.closed is None

    def wait(self, timeout: float) -> None:
        """Serve this connection alone, for at most ``timeout`` seconds or until something was received.

        For start and end, when no loop runs.
        """
        deadline = time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            while self.closed is None and not self.received and (left := deadline - time.monotonic()) > 0:
                selector.register(self._socket, self._interest())
                if selector.select(left):
                    self.service(self._socket)
                selector.unregister(self._socket)

    def close(self) -> None:
        self._close("it was closed")
        self._socket.close()

    def _interest(self) -> int:
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outgoing else 0)

    def _watch(self) -> None:
        if self._selector is None or self.closed is not None:
            return
        with suppress(KeyError):
            if self._selector.get_key(self._socket).events != (interest := self._interest()):
                self._selector.modify(self._socket, interest, (self.service, self._on_close))

    def _flush(self) -> None:
        self._held_since = None
        sent = 0
        view = memoryview(self._outgoing)
        try:
            while sent < len(view):
                sent += self._socket.send(view[sent:])
        except BlockingIOError:
            pass
        except OSError:
            # Whether the peer said something before it went, reading will tell; it also finds the end of file.
            sent = len(view)
        finally:
            view.release()
        del self._outgoing[:sent]

    def _close(self, reason: str) -> None:
        if self.closed is None:
            self.closed = reason
            self._outgoing.clear()
            self._on_close(self._socket)

    def _on_close(self, connection: socket.socket) -> None:
        if self._selector is not None:
            with suppress(KeyError, ValueError):
                self._selector.unregister(connection)
