"""The agent: the one process of a DAG processor that holds tokens and speaks to the gateway.

Like ssh-agent it keeps a secret away from those who need what it opens: the manager, whose memory every process of a
DAG file inherits, hands over what is to be stored or read (:mod:`.protocol`) and never waits. The agent has no Airflow
imported. Its life is that of its manager's connection.

Run as ``python -m parsegate.client.agent [--config-fd N]``; the configuration is one JSON document
(:class:`.agent_config.AgentConfig`) on that descriptor, or on standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from . import (
    isolation,
    lean_imports,  # noqa: F401  # pyright: ignore[reportUnusedImport]
    protocol,
    spans,
)
from .agent_config import AgentConfig, read_config
from .agent_delivery import Delivery
from .agent_poll import Poll
from .agent_sockets import Listener, MalformedFrame, Peer
from .gateway_client import GatewayClient, ProcessorMustStop
from .outage import Backoff
from .outbox import Outbox
from .read_queue import ReadQueue
from .status import AgentStatus, write_status
from .transport import GatewayError

COMPLETION_TIME = 3.0
"""Seconds kept back from what a delivery at the end may take, to complete the Job."""

log = logging.getLogger("parsegate.agent")


class Agent:
    """Serves one manager, from its first frame to the end of its connection.

    :param manager: the manager's connection
    :param helper: the bundle helper's connection, if it is there from the start
    :param listener: of a sidecar agent; gives the helper's connection, and is closed when the manager registers
    """

    def __init__(
        self, config: AgentConfig, manager: Peer, helper: Peer | None = None, listener: Listener | None = None
    ) -> None:
        self._config = config
        self._manager = manager
        self._helper = helper
        self._listener = listener
        self._gateway = GatewayClient(config)
        self._outbox = Outbox()
        self._delivery = Delivery(
            self._gateway,
            self._outbox,
            manager.send,
            self._lease_done,
            gather_time=config.gather_time,
            unchanged_gather_time=config.unchanged_gather_time,
        )
        self._reads = ReadQueue(self._gateway, config.read_timeout, self._must_stop)
        self._poll: Poll | None = None
        self._registered = asyncio.Event()
        self._stopping: ProcessorMustStop | None = None
        self._work: list[asyncio.Task[None]] = []
        self._helping: asyncio.Task[None] | None = None
        self._serving: asyncio.Task[protocol.Complete | None] | None = None
        self._terminated = asyncio.Event()
        self._registered_at: datetime | None = None
        self._job_id: int | None = None
        self._status_fails = False

    async def run(self) -> int:
        """The exit code: 0 if the manager said goodbye."""
        await self._gateway.connect()
        self._write_status()
        self._start(self._reads.run(self._registered))
        if self._helper is not None:
            self._helping = asyncio.create_task(self._serve_helper(self._helper))
        self._serving = asyncio.create_task(self._serve_manager())
        terminating = asyncio.create_task(self._terminate())
        try:
            complete = await self._serving
        except MalformedFrame as error:
            log.error("The manager sent what is no message: %s", error)
            complete = None
        finally:
            terminating.cancel()
        if complete is not None:
            undelivered = await self._finish(complete.succeeded, complete.timeout)
            self._manager.send(protocol.Completed(undelivered=undelivered))
        else:
            log.warning("The connection to the manager has ended without a word.")
            await self._finish(self._terminated.is_set(), self._config.farewell_timeout)
        await self._manager.close(timeout=5.0)
        await self._gateway.close()
        return 0 if complete is not None or self._terminated.is_set() else 1

    def terminate(self) -> None:
        """Asked from outside to end: tell the manager, and complete the Job without it if it does not."""
        self._terminated.set()

    async def _terminate(self) -> None:
        await self._terminated.wait()
        self._manager.send(protocol.Stopped(reason="TERMINATED", message="The agent was asked to end."))
        await asyncio.sleep(self._config.farewell_timeout)
        await self._manager.close(timeout=0.5)

    # Messages --------------------------------------------------------------------------------------------------------

    async def _serve_manager(self) -> protocol.Complete | None:
        """Until the manager says that it is done, or is gone."""
        async for message, content in self._manager.messages():
            match message:
                case protocol.Complete():
                    return message
                case protocol.Register():
                    if self._poll is not None:
                        raise MalformedFrame("a manager registers once")
                    await self._take_helper()
                    self._poll = Poll(
                        self._gateway,
                        message,
                        self._config.poll_interval,
                        self._manager.send,
                        self._write_status,
                        lambda: self._outbox.undelivered_results,
                    )
                    self._start(self._register(message, self._poll))
                case protocol.Tick():
                    if self._poll is not None:
                        self._poll.tick()
                case protocol.Activity():
                    if self._poll is not None:
                        self._poll.activity = message
                case protocol.Read():
                    self._reads.ask(message, self._manager.send)
                case protocol.Flush():
                    self._delivery.flush()
                case protocol.SyncBundles():
                    if self._poll is not None:
                        self._poll.bundle_names = [bundle.name for bundle in message.bundles]
                    self._delivery.put(message, content)
                case protocol.BundleRefreshed():
                    if self._poll is not None:
                        self._poll.bundle_refreshed(message)
                    self._delivery.put(message, content)
                case _:
                    self._delivery.put(message, content)
        return None

    async def _serve_helper(self, helper: Peer) -> None:
        try:
            async for message, _ in helper.messages():
                if not isinstance(message, protocol.Read):
                    raise MalformedFrame(f"a bundle helper sends no {type(message).__name__}")
                self._reads.ask(message, helper.send)
        except MalformedFrame as error:
            log.error("The bundle helper sent what it may not: %s", error)
        await helper.close(timeout=0.0)

    async def _take_helper(self) -> None:
        if self._listener is None:
            return
        helper = await self._listener.helper()
        self._listener.close()
        if helper is not None:
            self._helping = asyncio.create_task(self._serve_helper(helper))

    # Work ------------------------------------------------------------------------------------------------------------

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except ProcessorMustStop as stop:
                self._must_stop(stop)

        task = asyncio.create_task(guarded())
        task.add_done_callback(self._ended)
        self._work.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            # Half an agent is worse than none: the manager learns of it and ends.
            log.critical("The agent failed.", exc_info=error)
            self._must_stop(ProcessorMustStop("AGENT_FAILED", f"The agent failed: {type(error).__name__}."))

    def _must_stop(self, stop: ProcessorMustStop) -> None:
        if self._stopping is not None:
            return
        self._stopping = stop
        log.error("The processor must stop (%s): %s", stop.reason, stop.message)
        self._manager.send(protocol.Stopped(reason=stop.reason, message=stop.message))
        self._reads.close()
        for task in self._work:
            task.cancel()
        self._write_status()

    async def _register(self, registration: protocol.Register, poll: Poll) -> None:
        """Until it is registered, or ``startup_timeout`` has passed; then keep polling and delivering."""
        timeout = self._config.startup_timeout
        deadline = time.monotonic() + timeout
        backoff = Backoff(longest=5.0)
        log.info("Registering with the gateway at %s, for at most %g s.", self._config.url, timeout)
        while True:
            try:
                async with asyncio.timeout(max(0.1, deadline - time.monotonic())):
                    job = await self._gateway.register(registration)
                break
            except (GatewayError, TimeoutError) as error:
                self._write_status()
                pause = backoff.pause()
                if time.monotonic() + pause >= deadline:
                    raise ProcessorMustStop(
                        "GATEWAY_UNREACHABLE",
                        f"The processor could not register with the gateway at {self._config.url} within "
                        f"{timeout:g} s: {str(error) or 'no answer'}.",
                    ) from error
                await asyncio.sleep(pause)
        log.info("Registered as Job %d with a gateway of parsegate %s.", job.job_id, job.gateway_version)
        self._job_id, self._registered_at = job.job_id, datetime.now(UTC)
        poll.alive()
        self._registered.set()
        self._manager.send(protocol.Registered(job_id=job.job_id, gateway_version=job.gateway_version))
        self._write_status()
        self._start(poll.run())
        self._start(self._delivery.run())

    def _lease_done(self, lease_id: str) -> None:
        if self._poll is not None:
            self._poll.lease_done(lease_id)

    async def _finish(self, succeeded: bool, timeout: float) -> int:
        """Deliver what waits and complete the Job, as far as that is possible in time; the number of results left."""
        deadline = time.monotonic() + timeout
        if self._registered.is_set() and self._stopping is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(timeout - COMPLETION_TIME, timeout / 2)):
                    await self._delivery.emptied()
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        if self._helping is not None:
            self._helping.cancel()
        if self._registered.is_set() and self._stopping is None:
            await self._complete(succeeded, deadline - time.monotonic())
        elif self._stopping is not None and self._stopping.reason == "JOB_CLOSED":
            # Perhaps the Job was asked to end, and somebody waits for that.
            await self._complete(True, deadline - time.monotonic())
        if self._stopping is None:
            # A probe would take the last heartbeat for a sign of life.
            self._stopping = ProcessorMustStop("ENDED", "it has ended")
            self._write_status()
        if undelivered := self._outbox.undelivered_results:
            log.warning("%d parse results could not be delivered.", undelivered)
        return undelivered

    async def _complete(self, succeeded: bool, timeout: float) -> None:
        backoff = Backoff(longest=1.0)
        try:
            async with asyncio.timeout(max(timeout, 0.5)):
                while True:
                    try:
                        await self._gateway.complete(succeeded)
                        return
                    except GatewayError:
                        await asyncio.sleep(backoff.pause())
        except TimeoutError:
            log.warning("The Job could not be completed in time; it counts as failed when its heartbeats are missed.")
        except ProcessorMustStop as stop:
            log.warning("The Job could not be completed: %s", stop.message)

    def _write_status(self) -> None:
        if self._config.status_path is None:
            return
        poll, stop = self._poll, self._stopping
        status = AgentStatus(
            pid=os.getpid(),
            written_at=datetime.now(UTC),
            health_check_threshold=self._config.health_check_threshold,
            job_id=self._job_id,
            registered_at=self._registered_at,
            last_tick_at=poll.last_tick_at if poll else None,
            last_heartbeat_at=poll.last_heartbeat_at if poll else None,
            waiting=len(self._outbox),
            last_error=self._gateway.trouble,
            stopped=f"{stop.reason}: {stop.message}" if stop else None,
        )
        try:
            write_status(self._config.status_path, status)
        except OSError as error:
            if not self._status_fails:
                log.warning("The status file %s can't be written: %s", self._config.status_path, error.strerror)
            self._status_fails = True


async def serve(config: AgentConfig) -> int:
    """Run the agent that ``config`` describes until its manager has ended; the exit code."""
    loop = asyncio.get_running_loop()
    # A signal to the process group reaches the agent too; it ends when its manager does, not before.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: None)
    if config.listen_path is None:
        assert config.manager_fd is not None
        manager = await Peer.of_descriptor(config.manager_fd)
        helper = await Peer.of_descriptor(config.helper_fd) if config.helper_fd is not None else None
        return await Agent(config, manager, helper).run()
    listener = Listener(config.listen_path)
    try:
        log.info("Waiting for a DAG processor on %s.", config.listen_path)
        waiting = asyncio.create_task(listener.manager())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, waiting.cancel)
        try:
            manager = await waiting
        except asyncio.CancelledError:
            return 0
        agent = Agent(config, manager, listener=listener)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, agent.terminate)
        return await agent.run()
    finally:
        listener.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the agent; the exit code is 2 if it can't start."""
    parser = argparse.ArgumentParser(prog="parsegate.client.agent", description="The agent of a DAG processor.")
    parser.add_argument(
        "--config-fd", type=int, default=0, help="descriptor that gives the configuration (default: standard input)"
    )
    descriptor: int = parser.parse_args(argv).config_fd
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # Their DEBUG and INFO records quote requests and answers.
    for name in ("httpx", "httpcore", "gql"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        isolation.make_undumpable()
        with open(descriptor, "rb") as stream:
            config = read_config(stream)
        logging.getLogger("parsegate").setLevel(config.log_level)
        if config.traced:
            spans.start("parsegate-agent")
        return asyncio.run(serve(config))
    except (OSError, ValueError) as error:
        log.critical("The agent can't start: %s", error)
        return 2


if __name__ == "__main__":
    sys.exit(main())
