"""The agent's ends of its sockets: frames in, frames out, and the unix socket of an agent that runs as a sidecar."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress

import msgspec

from . import protocol

_CHUNK = 64 * 1024


class MalformedFrame(Exception):
    """The peer sent what is no frame of the protocol; the connection is of no use any more."""


class Peer(asyncio.BufferedProtocol):
    """One connected process that speaks :mod:`.protocol`.

    asyncio's streams would do, at twice the CPU for each frame: they allocate 256 KiB each time something can be read.
    """

    def __init__(self) -> None:
        self._chunk = memoryview(bytearray(_CHUNK))
        self._frames = protocol.FrameBuffer()
        self._decoder: msgspec.msgpack.Decoder[protocol.Received] = msgspec.msgpack.Decoder(protocol.Received)
        self._received: deque[tuple[protocol.Received, bytes]] = deque()
        self._malformed: Exception | None = None
        self._ended = False
        self._changed = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._outgoing: list[bytes] = []
        self._written = asyncio.Event()
        self._written.set()

    @classmethod
    async def of_descriptor(cls, descriptor: int) -> Peer:
        """Takes over an inherited, connected stream socket."""
        return await cls.of_socket(socket.socket(fileno=descriptor))

    @classmethod
    async def of_socket(cls, connection: socket.socket) -> Peer:
        os.set_inheritable(connection.fileno(), False)
        connection.setblocking(False)
        _, peer = await asyncio.get_running_loop().create_connection(cls, sock=connection)
        return peer

    async def messages(self) -> AsyncIterator[tuple[protocol.Received, bytes]]:
        """Every message with its bytes, until the peer closes the connection.

        :raises MalformedFrame: what came can't be read
        """
        while True:
            while self._received:
                yield self._received.popleft()
            if self._malformed is not None:
                raise MalformedFrame(str(self._malformed)) from self._malformed
            if self._ended:
                return
            self._changed.clear()
            await self._changed.wait()

    def send(self, message: protocol.FromAgent) -> None:
        """Hands a message over; it is dropped when the peer has gone."""
        if not self._outgoing:
            # Hundreds of results are settled at a time: one write for all of them.
            asyncio.get_running_loop().call_soon(self._write)
        self._outgoing.append(protocol.encode(message))

    async def close(self, timeout: float) -> None:
        """Closes the connection once everything handed over is written, or ``timeout`` seconds have passed."""
        self._write()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._written.wait()
        if self._transport is not None:
            self._transport.close()

    def _write(self) -> None:
        frames = b"".join(self._outgoing)
        self._outgoing.clear()
        if frames and self._transport is not None and not self._transport.is_closing():
            self._transport.write(frames)

    # Called by asyncio ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=0)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._chunk

    def buffer_updated(self, nbytes: int) -> None:
        if self._malformed is not None:
            return
        try:
            self._received += [
                (self._decoder.decode(frame), frame) for frame in self._frames.feed(self._chunk[:nbytes])
            ]
        except (ValueError, RecursionError) as error:
            self._malformed = error
        self._changed.set()

    def eof_received(self) -> bool:
        self._ended = True
        self._changed.set()
        return True  # what is still to be said may be

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._changed.set()
        self._written.set()

    def pause_writing(self) -> None:
        self._written.clear()

    def resume_writing(self) -> None:
        self._written.set()


class Listener:
    """The unix socket of a sidecar agent, which serves one manager.

    The first connection is the manager's; a second one, made before the manager registers, is its bundle helper's. Then
    the socket is removed: no DAG code can connect.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        # What a killed agent left behind is replaced; a living agent's socket is not, it holds the lock.
        self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise OSError(f"Another agent listens on {path}.") from None
        with suppress(FileNotFoundError):
            os.unlink(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.bind(path)
            # The manager may be another user; the group and the directory decide who can connect.
            os.chmod(path, 0o660)
            self._socket.listen(2)
        except OSError:
            self._socket.close()
            os.close(self._lock)
            raise
        self._socket.setblocking(False)

    async def manager(self) -> Peer:
        connection, _ = await asyncio.get_running_loop().sock_accept(self._socket)
        return await Peer.of_socket(connection)

    async def helper(self) -> Peer | None:
        """The bundle helper's connection, if it has been made by now."""
        try:
            connection, _ = self._socket.accept()
        except BlockingIOError:
            return None
        return await Peer.of_socket(connection)

    def close(self) -> None:
        """Once; connections made stay."""
        if self._socket.fileno() == -1:
            return
        self._socket.close()
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        os.close(self._lock)
