"""Airflow's DAG file processor manager with the gateway in place of the database.

``airflow/dag_processing/manager.py:DagFileProcessorManager`` (apache-airflow-core 3.3) is subclassed at its override
seams; its loop, queues, statistics and limits stay as they are. What it would write goes to the agent as messages, what
it would read is what the agent has sent before, and bundles are refreshed by the bundle helper while the loop turns.
The loop waits in one place, its selector: never for the network, a child or a helper. No threads: this process forks.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import attrs
from airflow.configuration import conf
from airflow.dag_processing.manager import DagFileInfo, DagFileProcessorManager
from airflow.dag_processing.processor import DagFileParsingResult, DagFileProcessorProcess
from airflow.sdk import SecretCache
from pydantic import BaseModel
from uuid6 import uuid7

from . import protocol, spans
from .activity import ActivityReport
from .callback_outcome import NOT_STARTED
from .child import SourcedParsingResult
from .claimed_work import WorkClaimingManager
from .counts import Counts, CountsFeed
from .process import ParseProcess

TICK_INTERVAL = 1.0
COUNT_INTERVAL = 0.5
HOLD_TIME = 0.25
"""Seconds that results are kept together, so that the agent wakes up for many."""
PURGE_INTERVAL = 60.0
RETRY_DELAY = 10.0
"""Seconds until a file is parsed again whose reads failed because the gateway was away."""
MAX_PENDING_BYTES = 64 * 1024 * 1024
"""What the agent may leave unread before no further file is parsed."""
_BUSY = 0.02
"""Seconds that one turn of the loop may go on reading when there is more to read."""


class ProcessorStopped(Exception):
    """The loop must end before its time.

    :param signal_number: the signal that asked for it; None if the processor can't go on
    """

    def __init__(self, reason: str, signal_number: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.signal_number = signal_number


@attrs.define(kw_only=True, repr=False)
class GatewayDagFileProcessorManager(WorkClaimingManager):
    """Parses the configured bundles over and over again; made and ended by :mod:`.launcher`."""

    # Airflow's manager makes an API server of its own here, with database access.
    _api_server: None = attrs.field(init=False, default=None)  # pyright: ignore[reportIncompatibleVariableOverride]

    counts: CountsFeed | None = attrs.field(default=None)
    """Where to tell how far parsing has come, for whoever watches on a terminal."""

    _reads: dict[int, tuple[ParseProcess, BaseModel, int]] = attrs.field(factory=dict, init=False)
    _read_ids: itertools.count[int] = attrs.field(factory=lambda: itertools.count(1), init=False)
    _sequences: itertools.count[int] = attrs.field(factory=lambda: itertools.count(1), init=False)
    _unsettled: dict[tuple[str, Path], str] = attrs.field(factory=dict, init=False)
    _flushed: bool = attrs.field(default=False, init=False)
    """Whether the agent knows that no result follows those sent."""
    _retry_at: dict[tuple[str, Path], float] = attrs.field(factory=dict, init=False)
    _finishing: ParseProcess | None = attrs.field(default=None, init=False)
    _signal: int | None = attrs.field(default=None, init=False)
    _completed: protocol.Completed | None = attrs.field(default=None, init=False)
    _activity: ActivityReport = attrs.field(factory=ActivityReport, init=False)
    _last_tick: float = attrs.field(default=0.0, init=False)
    _last_count: float = attrs.field(default=0.0, init=False)
    _last_purge: float = attrs.field(default=0.0, init=False)

    def __repr__(self) -> str:
        # Python makes it up in every child, for an error that nobody sees (``signal.signal`` looks whether the handler
        # was a number); that of attrs has all files in it.
        return f"<{type(self).__name__} of {len(self._file_stats)} files>"

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.heartbeat = self._beat

    # Start ------------------------------------------------------------------------------------------------------------

    def prepare_server_process_context(self) -> None:
        """Nothing: the process has no secrets backend that needs a database."""

    def prepare_process_context(self) -> None:
        super().prepare_process_context()
        self.agent.attach(self.selector)
        self.helper.attach(self.selector)
        if conf.getboolean("secrets", "use_cache", fallback=False):
            # Airflow's cache is shared by all files; a plain dict is copied by the fork, so each parse has its own.
            SecretCache._cache = {}  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
            SecretCache._ttl = timedelta(seconds=900)  # pyright: ignore[reportPrivateUsage]

    def register_exit_signals(self) -> None:
        signal.signal(signal.SIGINT, self._note_signal)
        signal.signal(signal.SIGTERM, self._note_signal)
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)

    def _note_signal(self, number: int, frame: object) -> None:
        # Airflow ends here and now, maybe in the middle of a frame; the loop sees this within a second.
        self._signal = number

    # The loop ---------------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Called by Airflow's loop once a turn."""
        if self._signal is not None:
            raise ProcessorStopped(f"Received {signal.Signals(self._signal).name}.", self._signal)
        self._take_messages()
        for channel in (self.agent, self.helper):
            if channel.closed is not None:
                raise ProcessorStopped(f"The processor can't go on: {channel.closed}.")
        if (now := time.monotonic()) - self._last_tick >= TICK_INTERVAL:
            self._last_tick = now
            if news := self._activity.news(self._processors, len(self._file_queue), now):
                self.agent.hold(news)
            self.agent.send(protocol.Tick())
        if self.counts is not None and now - self._last_count >= COUNT_INTERVAL:
            self._last_count = now
            self.counts.tell(self._count())
        self.agent.release(HOLD_TIME if self._processors else 0.0)

    def _count(self) -> Counts:
        """How far parsing has come; of ``--num-runs``, or of having parsed every file once."""
        runs = max(self.max_runs, 1)
        known = [self._file_stats.get(file) for files in self._known_files.values() for file in files]
        stats = [stat for stat in known if stat is not None]
        return Counts(
            parsed=sum(stat.run_count >= runs for stat in stats),
            total=len(known),
            parses=sum(stat.run_count for stat in self._file_stats.values()),
            errors=sum(stat.import_errors > 0 for stat in stats),
        )

    def _service_processor_sockets(self, timeout: float | None = 1.0) -> None:
        super()._service_processor_sockets(timeout)
        until = time.monotonic() + _BUSY
        while time.monotonic() < until and self.selector.select(0):
            super()._service_processor_sockets(0)
        self._take_messages()

    def _take_messages(self) -> None:
        while self.agent.received:
            self._take(self.agent.received.popleft())
        while self.helper.received:
            message = self.helper.received.popleft()
            if isinstance(message, protocol.BundleReady):
                self.take_bundle(message)

    def _take(self, message: protocol.FromAgent) -> None:
        match message:
            case protocol.ReadAnswer():
                if read := self._reads.pop(message.id, None):
                    process, request, request_id = read
                    process.answer(request, request_id, message)
            case protocol.ResultSettled():
                self._take_settlement(message)
            case protocol.CallbacksLeased():
                self.take_callbacks(message.leases)
            case protocol.ParseRequestsLeased():
                self.take_parse_requests(message.leases)
            case protocol.LeaseLost():
                self.forget_lease(message.lease_id)
            case protocol.BundleStates():
                for state in message.states:
                    self.take_bundle_state(state)
            case protocol.Stopped():
                raise ProcessorStopped(f"The gateway ended this processor: {message.reason}: {message.message}")
            case protocol.Completed():
                self._completed = message
            case protocol.Registered():
                pass  # comes once, before the loop begins

    def max_runs_reached(self) -> bool:
        """Whether every file of every bundle has been parsed that often, and the gateway has taken the results."""
        if self.max_runs == -1 or self._num_run < self.max_runs or self._processors:
            return False
        if self.has_claimed_work:
            return False
        if any(not proxy.tried or proxy.refreshing for proxy in self._proxies.values()):
            return False
        files = itertools.chain.from_iterable(self._known_files.values())
        if not all(file in self._file_stats and self._file_stats[file].run_count >= self.max_runs for file in files):
            return False
        if self._unsettled and not self._flushed:
            self._flushed = True
            self.agent.send(protocol.Flush())
        return not self._unsettled

    def deactivate_stale_dags(self, last_parsed: dict[DagFileInfo, datetime | None], **_: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        # The gateway compares with the results that it acknowledged, on its own clock.
        self.agent.send(protocol.ScanStale(stale_dag_threshold=self.stale_dag_threshold))

    def purge_inactive_dag_warnings(self) -> None:
        if (now := time.monotonic()) - self._last_purge >= PURGE_INTERVAL:
            self._last_purge = now
            self.agent.send(protocol.PurgeWarnings())

    # Children ---------------------------------------------------------------------------------------------------------

    def _start_new_processes(self) -> None:
        # Airflow's goes through the whole queue at every turn of the loop, also when it can start nothing.
        if len(self._processors) >= self._parallelism or self.agent.pending_bytes > MAX_PENDING_BYTES:
            return
        now = time.monotonic()
        if too_early := {key for key, at in self._retry_at.items() if at > now}:
            for file in [file for file in self._file_queue if file.presence_key in too_early]:
                del self._file_queue[file]
        self.queue_claimed_work()
        super()._start_new_processes()

    def _create_process(self, dag_file: DagFileInfo) -> ParseProcess:
        leased = self._callbacks.next_for(dag_file)
        logger, logger_filehandle = self._get_logger_for_dag_file(dag_file)
        versioned = dag_file.bundle_version is not None
        return ParseProcess.start(
            id=uuid7(),
            path=dag_file.absolute_path,
            bundle_path=cast("Path", dag_file.bundle_path),
            bundle_name=dag_file.bundle_name,
            dag_file_rel_path=str(dag_file.rel_path),
            callbacks=[leased.request] if leased else [],
            selector=self.selector,
            logger=logger,
            logger_filehandle=logger_filehandle,
            subprocess_logs_to_stdout=conf.get("logging", "dag_processor_log_target") == "stdout",
            forward=self._forward,
            settle=self._settle,
            callback_lease_id=leased.lease_id if leased else None,
            lease_ids=() if leased else tuple(self._parse_requests.take(dag_file)),
            bundle_version=dag_file.bundle_version if versioned else self._bundle_versions.get(dag_file.bundle_name),
            version_data=None if versioned else self._bundle_version_data.get(dag_file.bundle_name),
        )

    def _forward(self, process: ParseProcess, request: BaseModel, request_id: int) -> None:
        read_id = next(self._read_ids)
        self._reads[read_id] = (process, request, request_id)
        self.agent.send(
            protocol.Read(
                id=read_id,
                bundle_name=process.bundle_name,
                relative_fileloc=process.dag_file_rel_path,
                request=request.model_dump(mode="json"),
            )
        )

    def _settle(self, process: ParseProcess, index: int, outcome: str) -> None:
        if index == 0 and process.callback_lease_id is not None:
            self._callbacks.settle(process.callback_lease_id, outcome)

    def _forget(self, process: ParseProcess) -> None:
        """The child has ended: its reads go unanswered, and a callback of which it said nothing goes back."""
        for read_id in [read_id for read_id, (reader, _, _) in self._reads.items() if reader is process]:
            del self._reads[read_id]
        if process.callback_lease_id is not None:
            self._callbacks.settle(process.callback_lease_id, NOT_STARTED)

    def _collect_results(self) -> None:
        before = dict(self._processors)
        super()._collect_results()
        self._close_ended(before)

    def _close_ended(self, before: Mapping[DagFileInfo, DagFileProcessorProcess]) -> None:
        """Close those of ``before`` that Airflow has dropped since: 3.3.0 closes nothing but their logs."""
        for file, process in before.items():
            if file not in self._processors:
                cast("ParseProcess", process).close()

    def handle_parsing_result(self, file: DagFileInfo, proc: DagFileProcessorProcess, **_: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        process = cast("ParseProcess", proc)
        self._forget(process)
        self._looked_in_vain = 0.0
        if process.unreachable and not process.had_callbacks:
            self._retry(file, process)
            return
        if process.had_callbacks or process.fault is not None:
            process.parsing_result = None
        self._retry_at.pop(file.presence_key, None)
        self._finishing = process
        # Without the decorator that opens a database session.
        unwrapped = DagFileProcessorManager.handle_parsing_result.__wrapped__  # pyright: ignore[reportFunctionMemberAccess]
        unwrapped(self, file, process, session=None)
        if process.had_callbacks:
            if file.bundle_version is not None:
                # Airflow would take the entry for that of the file's current version.
                self._file_stats.pop(file, None)
        elif process.parsing_result is None:
            self._send_failure(process)

    def _retry(self, file: DagFileInfo, process: ParseProcess) -> None:
        """What came of this attempt is the outage's doing: as if it had not been."""
        self.log.debug("%s is parsed again later: the gateway could not be reached", file)
        self._retry_at[file.presence_key] = time.monotonic() + RETRY_DELAY
        self._parse_requests.add(file, process.lease_ids)

    def persist_parsing_result(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        *,
        bundle_name: str,
        parsing_result: DagFileParsingResult,
        run_duration: float,
        relative_fileloc: str | None,
        **_: Any,
    ) -> None:
        assert self._finishing is not None
        self._send_result(
            self._finishing,
            run_duration,
            timed_out=False,
            dags=[
                protocol.SerializedDagDocument(document=dag.data, last_loaded=dag.last_loaded)
                for dag in parsing_result.serialized_dags
            ],
            import_errors=parsing_result.import_errors or {},
            warnings=[warning for warning in parsing_result.warnings or [] if isinstance(warning, dict)],
            sources=cast("SourcedParsingResult", parsing_result).sources,
        )

    def _send_failure(self, process: ParseProcess) -> None:
        """A parse that yielded no result: nothing of Airflow's changes, but the file counts as parsed."""
        self._send_result(process, time.monotonic() - process.start_time, timed_out=True)

    def _send_result(
        self,
        process: ParseProcess,
        duration: float,
        *,
        timed_out: bool,
        dags: list[protocol.SerializedDagDocument] | None = None,
        import_errors: dict[str, str] | None = None,
        warnings: list[dict[str, Any]] | None = None,
        sources: dict[str, str] | None = None,
    ) -> None:
        result = protocol.ParseResult(
            attempt_id=str(process.id),
            sequence=next(self._sequences),
            bundle_name=process.bundle_name,
            bundle_path=str(process.checkout),
            relative_fileloc=process.dag_file_rel_path,
            bundle_version=process.bundle_version,
            version_data=process.version_data,
            parse_duration=duration,
            timed_out=timed_out,
            dags=dags or [],
            import_errors=import_errors or {},
            warnings=warnings or [],
            sources=sources or {},
            lease_ids=list(process.lease_ids),
            traceparent=spans.parsed(process.bundle_name, process.dag_file_rel_path, duration, timed_out=timed_out),
        )
        if result.lease_ids:
            self.agent.send(result)
        else:
            self.agent.hold(result)
        self._flushed = False
        self._unsettled[process.bundle_name, Path(process.dag_file_rel_path)] = result.attempt_id

    def _take_settlement(self, settled: protocol.ResultSettled) -> None:
        key = (settled.bundle_name, Path(settled.relative_fileloc))
        if self._unsettled.get(key) == settled.attempt_id:
            del self._unsettled[key]
        if settled.status != "ACCEPTED":
            # During an outage each parse takes the place of the one before it, which is nothing to be told of.
            self.log.log(
                logging.DEBUG if settled.reason == "SUPERSEDED" else logging.WARNING,
                "The gateway refused the result of %s in bundle %s: %s: %s (request %s)",
                settled.relative_fileloc,
                settled.bundle_name,
                settled.reason,
                settled.message,
                settled.request_id,
            )

    def _kill_timed_out_processors(self) -> None:
        before, stats = dict(self._processors), {file: self._file_stats.get(file) for file in self._processors}
        super()._kill_timed_out_processors()
        self._close_ended(before)
        for file, stat in stats.items():
            if file in self._processors:
                continue
            process = cast("ParseProcess", before[file])
            self._forget(process)
            if process.had_callbacks or process.unreachable:
                # Airflow counts it as a parse, which it was not.
                if stat is None:
                    self._file_stats.pop(file, None)
                else:
                    self._file_stats[file] = stat
            if not process.had_callbacks:
                if process.unreachable:
                    self._retry(file, process)
                else:
                    self._send_failure(process)

    def terminate_orphan_processes(self, present: set[DagFileInfo]) -> None:
        # A callback may need a file of an older version, which the current one has not.
        callbacks = {file for file, process in self._processors.items() if process.had_callbacks}
        before = dict(self._processors)
        super().terminate_orphan_processes(present | callbacks)
        self._close_ended(before)
        for file, proc in before.items():
            if file not in self._processors:
                process = cast("ParseProcess", proc)
                self._forget(process)
                self._parse_requests.release(process.lease_ids)

    def remove_orphaned_file_stats(self, present: set[DagFileInfo]) -> None:
        super().remove_orphaned_file_stats(present)
        keys = {file.presence_key for file in present}
        for held in (self._unsettled, self._retry_at):
            for key in [key for key in held if key not in keys]:
                del held[key]
        for file in [file for file in self._parse_requests.files if file.presence_key not in keys]:
            self._parse_requests.release(self._parse_requests.take(file))

    # End --------------------------------------------------------------------------------------------------------------

    def terminate(self) -> None:
        """End all children: SIGTERM, and SIGKILL five seconds later. What they had not settled goes back."""
        processes = [cast("ParseProcess", process) for process in self._processors.values()]
        for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 1.0)):
            running = [process for process in processes if process.send_signal(number)]
            deadline = time.monotonic() + patience
            while running and time.monotonic() < deadline:
                time.sleep(0.01)
                running = [process for process in running if process.is_running]
        for process in processes:
            self._forget(process)
            self._parse_requests.release(process.lease_ids)
            process.close()
        self._processors.clear()

    def finish(self, *, succeeded: bool, timeout: float) -> int | None:
        """End the children, give back what has not run, and have everything delivered.

        :param timeout: seconds that the delivery may take
        :return: how many entries could not be delivered; None if the agent did not say
        """
        if self.counts is not None:
            self.counts.tell(self._count())
        self.terminate()
        self.release_claimed_work()
        self.agent.send(protocol.Complete(succeeded=succeeded, timeout=timeout))
        deadline = time.monotonic() + timeout + 2.0
        while self._completed is None and self.agent.closed is None and (left := deadline - time.monotonic()) > 0:
            self.agent.wait(left)
            while self.agent.received:
                message = self.agent.received.popleft()
                if isinstance(message, protocol.Completed | protocol.ResultSettled):
                    self._take(message)
        return self._completed.undelivered if self._completed else None


def log_directory() -> str:
    """Where the logs of parse children go; ``[logging] dag_processor_child_process_log_directory``."""
    return os.fspath(conf.get_mandatory_value("logging", "dag_processor_child_process_log_directory"))
