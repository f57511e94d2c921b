"""Delivers what waits in the outbox, one request at a time; while one is under way the next batch collects."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ValidationError

from . import agent_inputs, protocol
from .gateway_client import PASSING_CODES, GatewayClient, ProcessorMustStop, require_open_job
from .generated.enums import OutcomeStatus, RefusalReason
from .gql_base_client import Operation, OperationError
from .outage import Backoff, Outage, jittered
from .outbox import Deliverable, Entry, Outbox
from .transport import GatewayError, RequestRejected, RequestTooLarge

MAX_BATCH_ENTRIES = 50
"""Below the operations that a gateway takes in one request, even if every entry needs one of its own."""

MAX_BATCH_BYTES = 4 * 1024 * 1024
"""Of messages as they came in. Far below the gateway's limit: as JSON they can take several times that."""

log = logging.getLogger(__name__)


class Outcome(Protocol):
    """What all outcomes of the contract have."""

    status: OutcomeStatus
    reason: RefusalReason | None
    message: str | None


@dataclass
class Shipment:
    """One operation and the entries that it delivers.

    :param outcomes: from the operation's result, one outcome for each entry
    """

    entries: list[Entry]
    operation: Operation[Any]
    outcomes: Callable[[Any], Sequence[Outcome]]


class Delivery:
    """:param settled: told the gateway's word on a parse result
    :param lease_done: told a lease that needs no renewing any more
    """

    def __init__(
        self,
        gateway: GatewayClient,
        outbox: Outbox,
        settled: Callable[[protocol.ResultSettled], None],
        lease_done: Callable[[str], None],
    ) -> None:
        self._gateway = gateway
        self._outbox = outbox
        self._settled = settled
        self._lease_done = lease_done
        self._changed = asyncio.Event()
        self._emptied = asyncio.Event()
        self._backoff = Backoff()
        self._faults = Outage("Storing on the gateway")

    def put(self, message: Deliverable, content: bytes | None = None) -> None:
        """Hand a message over."""
        if self._gateway.away and isinstance(message, protocol.ScanStale | protocol.PurgeWarnings):
            return
        self._replaced(self._outbox.put(message, content))
        self._emptied.clear()
        self._changed.set()

    async def emptied(self) -> None:
        """Wait until the gateway has taken everything; :meth:`run` must be running."""
        while len(self._outbox):
            self._emptied.clear()
            await self._emptied.wait()

    async def run(self) -> None:
        """Deliver for ever.

        :raises ProcessorMustStop: the gateway will take nothing more
        """
        while True:
            batch = self._outbox.take(time.monotonic(), MAX_BATCH_ENTRIES, MAX_BATCH_BYTES)
            if not batch:
                await self._wait_until_due()
                continue
            try:
                await self._deliver(batch)
            except GatewayError:
                await self._gateway.pause(self._backoff.pause())
            else:
                self._backoff.reset()
            if not len(self._outbox):
                self._emptied.set()

    async def _wait_until_due(self) -> None:
        self._changed.clear()
        due = self._outbox.next_due()
        try:
            async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _deliver(self, batch: list[Entry]) -> None:
        shipments = self._shipments(batch)
        try:
            await self._gateway.send(*(shipment.operation for shipment in shipments))
        except (RequestTooLarge, RequestRejected) as error:
            self._divide(batch, "TOO_LARGE" if isinstance(error, RequestTooLarge) else "REJECTED", str(error))
            return
        except BaseException as error:
            # Also when cancelled: what is not known to be delivered counts as waiting.
            if isinstance(error, GatewayError):
                batch = self._without_passing_wishes(batch)
            self._replaced(self._outbox.restore(batch))
            raise
        stop: ProcessorMustStop | None = None
        for shipment in shipments:
            try:
                self._settle(shipment)
            except ProcessorMustStop as error:
                stop = error
        if stop is not None:
            raise stop

    def _shipments(self, batch: list[Entry]) -> list[Shipment]:
        """Operations in the order of the entries, which matters between results and observations of files; consecutive
        results share one, and acknowledgements of a kind share one behind them."""
        client = self._gateway.client
        shipments: list[Shipment] = []
        run: list[tuple[Entry, protocol.ParseResult]] = []
        later: dict[str, list[Entry]] = {}

        def end_run() -> None:
            if run:
                results = list(run)
                run.clear()
                operation = client.record_parse_results(
                    [agent_inputs.parse_result(message, entry.lease_ids) for entry, message in results]
                )
                entries = [entry for entry, _ in results]
                shipments.append(Shipment(entries, operation, lambda data: data.record_parse_results))

        for entry in batch:
            match message := entry.message:
                case protocol.ParseResult():
                    run.append((entry, message))
                case protocol.SyncBundles():
                    operation = client.sync_bundles(agent_inputs.sync_bundles(message))
                    shipments.append(Shipment([entry], operation, lambda data: [data.sync_bundles]))
                case protocol.FilesObserved():
                    end_run()
                    operation = client.reconcile_bundle(agent_inputs.observed_files(message))
                    shipments.append(Shipment([entry], operation, lambda data: [data.reconcile_bundle]))
                case protocol.ScanStale():
                    end_run()
                    operation = client.deactivate_stale_dags(agent_inputs.stale_scan(message))
                    shipments.append(Shipment([entry], operation, lambda data: [data.deactivate_stale_dags]))
                case protocol.PurgeWarnings():
                    operation = client.purge_inactive_dag_warnings()
                    shipments.append(Shipment([entry], operation, lambda data: [data.purge_inactive_dag_warnings]))
                case protocol.BundleRefreshed():
                    later.setdefault("refreshed", []).append(entry)
                case protocol.CallbackSettled():
                    kind = "ran" if message.outcome in agent_inputs.RAN else "not_run"
                    later.setdefault(kind, []).append(entry)
                case protocol.ParseRequestReleased():
                    later.setdefault("unparsed", []).append(entry)
        end_run()
        for kind, entries in later.items():
            shipments.append(self._shared(kind, entries))
        return shipments

    def _shared(self, kind: str, entries: list[Entry]) -> Shipment:
        client = self._gateway.client
        messages: list[Any] = [entry.message for entry in entries]
        match kind:
            case "refreshed":
                states = client.update_bundle_states([agent_inputs.bundle_state(message) for message in messages])
                return Shipment(entries, states, lambda data: data.update_bundle_states)
            case "ran":
                ran = client.acknowledge_callbacks([agent_inputs.acknowledgement(message) for message in messages])
                return Shipment(entries, ran, lambda data: data.acknowledge_callbacks)
            case "not_run":
                not_run = client.release_callbacks([agent_inputs.release(message) for message in messages])
                return Shipment(entries, not_run, lambda data: data.release_callbacks)
            case _:
                unparsed = client.release_parse_requests([message.lease_id for message in messages])
                return Shipment(entries, unparsed, lambda data: data.release_parse_requests)

    def _settle(self, shipment: Shipment) -> None:
        try:
            outcomes = shipment.outcomes(shipment.operation.result())
        except OperationError as error:
            if error.codes and not error.codes & PASSING_CODES:
                self._divide(shipment.entries, next(iter(sorted(error.codes))), str(error))
            else:
                self._defer(shipment.entries, str(error))
            return
        except ValidationError:
            self._defer(shipment.entries, "the answer is not what the contract says")
            return
        if len(outcomes) != len(shipment.entries):
            self._defer(shipment.entries, "the answer has not one outcome per item")
            return
        stop: ProcessorMustStop | None = None
        for entry, outcome in zip(shipment.entries, outcomes, strict=True):
            try:
                self._settle_entry(entry, outcome)
            except ProcessorMustStop as error:
                stop = error
        if stop is not None:
            raise stop

    def _settle_entry(self, entry: Entry, outcome: Outcome) -> None:
        match outcome.status:
            case OutcomeStatus.ACCEPTED:
                self._faults.succeeded()
                self._done(entry, "ACCEPTED", None, None)
            case OutcomeStatus.REFUSED:
                reason = outcome.reason.value if outcome.reason else "UNKNOWN"
                self._done(entry, "REFUSED", reason, outcome.message)
                require_open_job(outcome.reason, outcome.message)
                if entry.is_barrier:
                    raise ProcessorMustStop(reason, outcome.message or "The gateway refused the bundles.")
                if not entry.is_result and outcome.reason is not RefusalReason.LEASE_LOST:
                    log.warning("The gateway refused %s: %s", " ".join(entry.key), outcome.message or reason)
            case _:
                self._defer([entry], outcome.message or "the gateway failed to store an item")

    def _divide(self, entries: list[Entry], reason: str, message: str) -> None:
        """The gateway can't take these together: try them one by one; one alone is given up."""
        if len(entries) > 1:
            for entry in entries:
                entry.alone = True
            self._replaced(self._outbox.restore(entries))
            return
        for entry in entries:
            if not entry.is_result:
                log.error("The gateway can't take %s: %s", " ".join(entry.key), message)
            self._done(entry, "REFUSED", reason, message)
            if entry.is_barrier:
                raise ProcessorMustStop(reason, message)

    def _defer(self, entries: list[Entry], reason: str) -> None:
        self._faults.failed(GatewayError(reason))
        for entry in entries:
            self._replaced(self._outbox.defer(entry, time.monotonic() + jittered(entry.failures)))

    def _done(self, entry: Entry, status: str, reason: str | None, message: str | None) -> None:
        self._outbox.settle(entry)
        for lease_id in entry.lease_ids:
            self._lease_done(lease_id)
        if entry.key[0] in ("CallbackSettled", "ParseRequestReleased"):
            self._lease_done(entry.key[1])
        if entry.is_result:
            self._tell(entry, status, reason, message)

    def _replaced(self, entries: list[Entry]) -> None:
        for entry in entries:
            self._tell(entry, "REFUSED", "SUPERSEDED", "A newer result took its place before it was delivered.")

    def _tell(self, entry: Entry, status: str, reason: str | None, message: str | None) -> None:
        assert entry.attempt_id is not None
        self._settled(
            protocol.ResultSettled(
                attempt_id=entry.attempt_id,
                bundle_name=entry.key[1],
                relative_fileloc=entry.key[2],
                status=status,
                reason=reason,
                message=message,
            )
        )

    def _without_passing_wishes(self, batch: list[Entry]) -> list[Entry]:
        """The batch without what is dropped while the gateway is away: it will be asked for again."""
        for entry in batch:
            if entry.key[0] in ("ScanStale", "PurgeWarnings"):
                self._outbox.settle(entry)
        return [entry for entry in batch if entry.key[0] not in ("ScanStale", "PurgeWarnings")]
