"""The agent's ends of its sockets: frames in, frames out, and the unix socket of an agent that runs as a sidecar."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import msgspec

from . import protocol

_CHUNK = 256 * 1024


class MalformedFrame(Exception):
    """The peer sent what is no frame of the protocol; the connection is of no use any more."""


class Peer:
    """One connected process that speaks :mod:`.protocol`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._buffer = protocol.FrameBuffer()
        self._decoder: msgspec.msgpack.Decoder[protocol.ToAgent] = msgspec.msgpack.Decoder(protocol.ToAgent)

    @classmethod
    async def of_descriptor(cls, descriptor: int) -> Peer:
        """Takes over an inherited, connected stream socket."""
        return await cls.of_socket(socket.socket(fileno=descriptor))

    @classmethod
    async def of_socket(cls, connection: socket.socket) -> Peer:
        os.set_inheritable(connection.fileno(), False)
        connection.setblocking(False)
        return cls(*await asyncio.open_connection(sock=connection))

    async def messages(self) -> AsyncIterator[tuple[protocol.ToAgent, bytes]]:
        """Every message with its bytes, until the peer closes the connection.

        :raises MalformedFrame: what came can't be read
        """
        while True:
            try:
                data = await self._reader.read(_CHUNK)
            except ConnectionError:
                return
            if not data:
                return
            try:
                messages = [(self._decoder.decode(frame), frame) for frame in self._buffer.feed(data)]
            except (ValueError, RecursionError) as error:
                raise MalformedFrame(str(error)) from error
            for message in messages:
                yield message

    def send(self, message: protocol.FromAgent) -> None:
        """Hands a message over; it is dropped when the peer has gone."""
        if not self._writer.is_closing():
            self._writer.write(protocol.encode(message))

    async def close(self, timeout: float) -> None:
        """Closes the connection once everything handed over is written, or ``timeout`` seconds have passed."""
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(timeout):
                await self._writer.drain()
        self._writer.close()


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
