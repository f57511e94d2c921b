"""Counts what passes between agents and the gateway: a TCP relay on 127.0.0.1 that changes nothing."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import suppress


class Wire:
    """Runs in a thread; :meth:`close` ends it. ``sent`` and ``received`` are bytes as the agents see them.

    Headers of HTTP count, those of TCP don't.

    :param port: the gateway's, on 127.0.0.1
    """

    def __init__(self, port: int) -> None:
        self.sent = 0
        self.received = 0
        self._port = port
        self._loop = asyncio.new_event_loop()
        started: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="wire", daemon=True)
        self._thread.start()
        self.port = started.result(10)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self, started: Future[int]) -> None:
        async def start() -> int:
            server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
            return server.sockets[0].getsockname()[1]

        started.set_result(self._loop.run_until_complete(start()))
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            gateway_reader, gateway_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(
            self._copy(reader, gateway_writer, outgoing=True), self._copy(gateway_reader, writer, outgoing=False)
        )

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, outgoing: bool) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if outgoing:
                    self.sent += len(data)
                else:
                    self.received += len(data)
                writer.write(data)
                await writer.drain()
        # An end of either direction is the end of both, as it is for HTTP.
        writer.close()
