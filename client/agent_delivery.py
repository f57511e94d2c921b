"""Delivers what waits in the outbox, one request at a time; while one is under way the next batch collects.

A parse result that the gateway may have already is named by its fingerprint first, and sent in full if the gateway
wants it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence

from pydantic import ValidationError

from . import protocol, spans
from .entries import Deliverable, Entry, Limits
from .fingerprints import fingerprint
from .gateway_client import PASSING_CODES, GatewayClient, ProcessorMustStop, require_open_job
from .generated.enums import OutcomeStatus, RefusalReason
from .generated.record_parse_results import RecordParseResultsRecordParseResults
from .gql_base_client import OperationError
from .known_results import KnownResults
from .outage import Backoff, Outage, jittered
from .outbox import Outbox
from .shipments import Outcome, Shipment, shipments
from .transport import GatewayError, RequestRejected, RequestTooLarge

LIMITS = Limits(unchanged=500, others=50, bytes=4 * 1024 * 1024)
"""What the gateway takes in one operation; fewer operations than it takes in one request, even if every other entry
needs one of its own; and bytes far below what it reads, because as JSON messages can take several times that."""

_UNKNOWN_OPERATION = "GRAPHQL_VALIDATION_FAILED"

log = logging.getLogger(__name__)


class Delivery:
    """:param settled: told the gateway's word on a parse result
    :param lease_done: told a lease that needs no renewing any more
    :param gather_time: seconds that a result may wait for others to share a request
    :param unchanged_gather_time: likewise, for one that says what the gateway has
    """

    def __init__(
        self,
        gateway: GatewayClient,
        outbox: Outbox,
        settled: Callable[[protocol.ResultSettled], None],
        lease_done: Callable[[str], None],
        gather_time: float,
        unchanged_gather_time: float,
    ) -> None:
        self._gateway = gateway
        self._outbox = outbox
        self._settled = settled
        self._lease_done = lease_done
        self._gather_time = gather_time
        self._unchanged_gather_time = unchanged_gather_time
        self._ends = False
        self._known = KnownResults()
        self._too_old: str | None = None
        self._changed = asyncio.Event()
        self._sleeps_until = math.inf
        self._emptied = asyncio.Event()
        self._backoff = Backoff()
        self._faults = Outage("Storing on the gateway")

    def put(self, message: Deliverable | protocol.PackedResult, content: bytes | None = None) -> None:
        """Hand a message over.

        :param content: its bytes, if they are at hand
        """
        if self._gateway.away and isinstance(message, protocol.ScanStale | protocol.PurgeWarnings):
            return
        entry = Entry.of(message, content)
        match message:
            case protocol.PackedResult():
                entry.fingerprint = fingerprint(message)
                self._prepare(entry)
            case protocol.BundleRefreshed():
                self._gather(entry, self._unchanged_gather_time)
            case protocol.FilesObserved():
                self._known.keep_only(message.bundle_name, message.files)
            case _:
                pass
        self._replaced(self._outbox.put(entry))
        self._emptied.clear()
        if entry.due < self._sleeps_until or self._outbox.fills(LIMITS):
            self._changed.set()

    def flush(self) -> None:
        """What waits now waits for no company."""
        self._outbox.flush()
        self._changed.set()

    async def emptied(self) -> None:
        """Wait until the gateway has taken everything; :meth:`run` must be running."""
        self._ends = True
        self.flush()
        while len(self._outbox):
            self._emptied.clear()
            await self._emptied.wait()

    async def run(self) -> None:
        """Deliver for ever.

        :raises ProcessorMustStop: the gateway will take nothing more
        """
        while True:
            batch = self._outbox.take(time.monotonic(), LIMITS)
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
        self._sleeps_until = math.inf if due is None else due
        try:
            async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _prepare(self, entry: Entry) -> None:
        """Choose how a result is sent, and how long it may wait."""
        is_same = is_unknown = False
        if entry.fingerprint is not None and self._takes_fingerprints:
            is_same = self._known.is_same(entry.file, entry.fingerprint)
            is_unknown = self._known.is_unknown(entry.file)
        entry.unchanged = is_same or is_unknown
        if not entry.lease_ids:
            self._gather(entry, self._unchanged_gather_time if is_same else self._gather_time)

    def _gather(self, entry: Entry, seconds: float) -> None:
        if not self._ends:
            entry.waits_until = time.monotonic() + seconds

    @property
    def _takes_fingerprints(self) -> bool:
        return self._too_old is None or self._too_old != self._gateway.version

    async def _deliver(self, batch: list[Entry]) -> None:
        sent = shipments(self._gateway.client, batch, fingerprints=self._takes_fingerprints)
        try:
            with spans.delivery([entry.traceparent for entry in batch if entry.traceparent is not None]):
                await self._gateway.send(*(shipment.operation for shipment in sent))
        except (RequestTooLarge, RequestRejected) as error:
            reason = "TOO_LARGE" if isinstance(error, RequestTooLarge) else "REJECTED"
            self._divide(batch, reason, str(error), error.request_id)
            return
        except BaseException as error:
            # Also when cancelled: what is not known to be delivered counts as waiting.
            if isinstance(error, GatewayError):
                batch = self._without_passing_wishes(batch)
            self._replaced(self._outbox.restore(batch))
            raise
        stop: ProcessorMustStop | None = None
        for shipment in sent:
            try:
                self._settle(shipment)
            except ProcessorMustStop as error:
                stop = error
        if stop is not None:
            raise stop

    def _settle(self, shipment: Shipment) -> None:
        try:
            outcomes = shipment.outcomes(shipment.operation.result())
        except OperationError as error:
            if shipment.names_results and _UNKNOWN_OPERATION in error.codes:
                self._gateway_is_too_old(shipment.entries)
            elif error.codes and not error.codes & PASSING_CODES:
                reason = next(iter(sorted(error.codes)))
                self._divide(shipment.entries, reason, str(error), shipment.operation.request_id)
            else:
                self._defer(shipment.entries, str(error))
            return
        except ValidationError:
            self._defer(shipment.entries, "the answer is not what the contract says")
            return
        if len(outcomes) != len(shipment.entries):
            self._defer(shipment.entries, "the answer has not one outcome per item")
            return
        self._take_outcomes(shipment.entries, outcomes, shipment.operation.request_id)

    def _take_outcomes(
        self, entries: Sequence[Entry], outcomes: Sequence[Outcome | None], request_id: str | None
    ) -> None:
        wanted: list[Entry] = []
        failed: list[Entry] = []
        failure = ""
        stop: ProcessorMustStop | None = None
        for entry, outcome in zip(entries, outcomes, strict=True):
            if outcome is None:
                wanted.append(entry)
            elif outcome.status not in (OutcomeStatus.ACCEPTED, OutcomeStatus.REFUSED):
                failed.append(entry)
                failure = outcome.message or "the gateway failed to store an item"
            else:
                try:
                    self._settle_entry(entry, outcome, request_id)
                except ProcessorMustStop as error:
                    stop = error
        if failed:
            self._defer(failed, failure)
        self._replaced(self._outbox.want(wanted))
        if stop is not None:
            raise stop

    def _settle_entry(self, entry: Entry, outcome: Outcome, request_id: str | None) -> None:
        if outcome.status is OutcomeStatus.ACCEPTED:
            self._faults.succeeded()
            self._done(entry, "ACCEPTED", None, None)
            if isinstance(outcome, RecordParseResultsRecordParseResults) and not outcome.recognizable:
                self._known.unrecognizable(entry.file)
            return
        reason = outcome.reason.value if outcome.reason else "UNKNOWN"
        self._done(entry, "REFUSED", reason, outcome.message, request_id)
        require_open_job(outcome.reason, outcome.message)
        if entry.is_barrier:
            raise ProcessorMustStop(reason, outcome.message or "The gateway refused the bundles.")
        if not entry.is_result and outcome.reason is not RefusalReason.LEASE_LOST:
            told = outcome.message or reason
            log.warning("The gateway refused %s: %s (request %s)", " ".join(entry.key), told, request_id)

    def _gateway_is_too_old(self, entries: list[Entry]) -> None:
        if self._takes_fingerprints:
            log.warning("The gateway does not recognise unchanged results; they are all sent in full from now on.")
        self._too_old = self._gateway.version
        self._outbox.send_in_full()
        self._replaced(self._outbox.want(entries))

    def _divide(self, entries: list[Entry], reason: str, message: str, request_id: str | None) -> None:
        """The gateway can't take these together: try them one by one; one alone is given up.

        Results that are named by their fingerprints stay together, until they turn out to be the trouble.
        """
        unchanged = [entry for entry in entries if entry.unchanged]
        if len(unchanged) == len(entries):
            self._replaced(self._outbox.want(entries))
            return
        if len(entries) > 1:
            for entry in entries:
                entry.alone = not entry.unchanged
            self._replaced(self._outbox.restore(entries))
            return
        for entry in entries:
            if not entry.is_result:
                log.error("The gateway can't take %s: %s (request %s)", " ".join(entry.key), message, request_id)
            self._done(entry, "REFUSED", reason, message, request_id)
            if entry.is_barrier:
                raise ProcessorMustStop(reason, message)

    def _defer(self, entries: Sequence[Entry], reason: str) -> None:
        self._faults.failed(GatewayError(reason))
        now = time.monotonic()
        together = now + jittered(max((entry.failures for entry in entries if entry.unchanged), default=0))
        for entry in entries:
            until = together if entry.unchanged else now + jittered(entry.failures)
            self._replaced(self._outbox.defer(entry, until))

    def _done(
        self, entry: Entry, status: str, reason: str | None, message: str | None, request_id: str | None = None
    ) -> None:
        self._outbox.settle(entry)
        for lease_id in entry.lease_ids:
            self._lease_done(lease_id)
        if entry.key[0] in ("CallbackSettled", "ParseRequestReleased"):
            self._lease_done(entry.key[1])
        if entry.fingerprint is not None:
            if status == "ACCEPTED":
                self._known.accepted(entry.file, entry.fingerprint)
            else:
                self._known.unrecognizable(entry.file)
        if entry.is_result:
            self._tell(entry, status, reason, message, request_id)

    def _replaced(self, entries: list[Entry]) -> None:
        for entry in entries:
            self._tell(entry, "REFUSED", "SUPERSEDED", "A newer result took its place before it was delivered.")

    def _tell(
        self, entry: Entry, status: str, reason: str | None, message: str | None, request_id: str | None = None
    ) -> None:
        assert entry.attempt_id is not None
        self._settled(
            protocol.ResultSettled(
                attempt_id=entry.attempt_id,
                bundle_name=entry.key[1],
                relative_fileloc=entry.key[2],
                status=status,
                reason=reason,
                message=message,
                request_id=request_id,
            )
        )

    def _without_passing_wishes(self, batch: list[Entry]) -> list[Entry]:
        """The batch without what is dropped while the gateway is away: it will be asked for again."""
        for entry in batch:
            if entry.key[0] in ("ScanStale", "PurgeWarnings"):
                self._outbox.settle(entry)
        return [entry for entry in batch if entry.key[0] not in ("ScanStale", "PurgeWarnings")]
