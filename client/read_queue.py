"""Answers reads: at once, several in one request when they come together, and never later than ``read_timeout``.

A parse child waits for its answer, and Airflow's import timeout runs meanwhile. So an outage is bridged for a short
time only; then the answer is ``unreachable``, and the manager discards the attempt instead of storing an error that is
none of the file's.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from . import agent_reads, protocol
from .gateway_client import PASSING_CODES, GatewayClient, ProcessorMustStop, require_open_job
from .gql_base_client import Operation, OperationError
from .outage import Backoff
from .read_requests import ReadRequest
from .transport import GatewayError, RequestRejected, RequestTooLarge

MAX_BATCH = 20
MAX_REQUESTS = 4
"""Requests under way at once; what comes while all are is sent together."""


@dataclass(eq=False)
class Waiting:
    """A read that has no answer yet.

    :param send: hands the answer to the process that asked
    :param deadline: on the monotonic clock
    """

    read: protocol.Read
    request: ReadRequest
    send: Callable[[protocol.ReadAnswer], None]
    deadline: float
    answered: bool = False

    def reply(self, answer: protocol.ReadAnswer) -> None:
        """Once."""
        if not self.answered:
            self.answered = True
            self.send(answer)

    def give_up(self) -> None:
        self.reply(agent_reads.unreachable(self.read.id))


class ReadQueue:
    """:param timeout: seconds in which a read is answered
    :param must_stop: told when the gateway says that the processor's Job has ended
    """

    def __init__(self, gateway: GatewayClient, timeout: float, must_stop: Callable[[ProcessorMustStop], None]) -> None:
        self._gateway = gateway
        self._timeout = timeout
        self._must_stop = must_stop
        self._queue: deque[Waiting] = deque()
        self._asked = asyncio.Event()
        self._free = asyncio.Semaphore(MAX_REQUESTS)
        self._closed = False

    def ask(self, read: protocol.Read, send: Callable[[protocol.ReadAnswer], None]) -> None:
        """Queue a read; ``send`` is called with its answer in time."""
        try:
            request = agent_reads.asked(read)
        except agent_reads.UnhandledRequest:
            send(agent_reads.unhandled(read.id))
            return
        waiting = Waiting(read, request, send, time.monotonic() + self._timeout)
        if self._closed:
            waiting.give_up()
            return
        self._queue.append(waiting)
        self._asked.set()

    def close(self) -> None:
        """The gateway will answer nothing more."""
        self._closed = True
        while self._queue:
            self._queue.popleft().give_up()

    async def run(self, registered: asyncio.Event) -> None:
        """Answer for ever. Before the processor is registered, reads wait for that as long as they may."""
        async with asyncio.TaskGroup() as requests:
            while True:
                await self._asked.wait()
                self._asked.clear()
                if not registered.is_set():
                    await self._wait_for(registered)
                    continue
                while self._queue:
                    await self._free.acquire()
                    batch = [self._queue.popleft() for _ in range(min(MAX_BATCH, len(self._queue)))]
                    requests.create_task(self._answer(batch)).add_done_callback(lambda _: self._free.release())

    async def _wait_for(self, registered: asyncio.Event) -> None:
        deadline = self._queue[0].deadline if self._queue else 0.0
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await registered.wait()
        except TimeoutError:
            while self._queue and self._queue[0].deadline <= time.monotonic():
                self._queue.popleft().give_up()
        if self._queue:
            self._asked.set()

    async def _answer(self, batch: list[Waiting]) -> None:
        backoff = Backoff(first=0.2, longest=1.0)
        try:
            async with asyncio.timeout(max(0.0, max(waiting.deadline for waiting in batch) - time.monotonic())):
                await self._try(batch)
                while remaining := [waiting for waiting in batch if not waiting.answered]:
                    await self._gateway.pause(backoff.pause())
                    await self._try(remaining)
        except TimeoutError:
            pass
        except ProcessorMustStop as stop:
            self._must_stop(stop)
        finally:
            for waiting in batch:
                waiting.give_up()

    async def _try(self, batch: list[Waiting]) -> None:
        """Those that get no answer stay as they are."""
        client = self._gateway.reads
        operations = [agent_reads.operation(client, waiting.read, waiting.request) for waiting in batch]
        try:
            await self._gateway.send_reads(*operations)
        except (RequestRejected, RequestTooLarge) as error:
            if len(batch) > 1:
                for waiting in batch:
                    await self._try([waiting])
            else:
                batch[0].reply(agent_reads.fault(batch[0].read.id, str(error)))
            return
        except GatewayError:
            return
        for waiting, operation in zip(batch, operations, strict=True):
            if (answer := _answer(waiting, operation)) is not None:
                waiting.reply(answer)


def _answer(waiting: Waiting, operation: Operation[Any]) -> protocol.ReadAnswer | None:
    try:
        # Every document of a read asks for one field.
        (payload,) = vars(operation.result()).values()
        require_open_job(payload.reason, payload.message)
        return agent_reads.answer(waiting.read.id, waiting.request, payload)
    except OperationError as error:
        if error.codes & PASSING_CODES or not error.codes:
            return None
        return agent_reads.fault(waiting.read.id, error.faults[0].message)
    except (ValidationError, agent_reads.PassingFault):
        return None
