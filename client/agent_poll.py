"""Asks the gateway, in one request at most every ``poll_interval``, for everything that the manager wants to know.

A poll goes out only if the manager's loop has turned since the last one, so a hung manager looks dead: its heartbeats
stop and its leases expire.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from . import protocol
from .gateway_client import GatewayClient, require_open_job
from .generated.claim_callbacks import ClaimCallbacks
from .generated.claim_parse_requests import ClaimParseRequests
from .generated.enums import OutcomeStatus
from .generated.heartbeat import Heartbeat
from .generated.input_types import ClaimInput, ParsingFileInput, ProcessorActivityInput
from .generated.renew_claims import RenewClaims
from .generated.waiting_work import WaitingWork
from .gql_base_client import Operation, OperationError
from .outage import Backoff
from .transport import GatewayError

log = logging.getLogger(__name__)

MAX_PARSE_REQUESTS = 100
"""Priority parse requests that a processor holds at most."""

MAX_RENEWALS = 1000
"""Leases that one renewal may name."""


class Claim:
    """The id under which work is claimed: the same until an answer has come, so that a lost answer is given again."""

    def __init__(self) -> None:
        self.id = str(uuid.uuid4())
        self.is_open = False
        """Whether it was sent and no answer has come: it may have taken what then waits for nobody."""

    def input(self, limit: int) -> ClaimInput:
        self.is_open = True
        return ClaimInput(claim_id=self.id, limit=min(limit, 1000))

    def answered(self) -> None:
        self.id = str(uuid.uuid4())
        self.is_open = False


class Poll:
    """:param send: hands a message to the manager
    :param polled: called after each poll, whether it had answers or not
    :param undelivered: how many parse results wait for the gateway
    """

    def __init__(
        self,
        gateway: GatewayClient,
        registration: protocol.Register,
        interval: float,
        send: Callable[[protocol.FromAgent], None],
        polled: Callable[[], None],
        undelivered: Callable[[], int],
    ) -> None:
        self._gateway = gateway
        self._registration = registration
        self._interval = interval
        self._send = send
        self._polled = polled
        self._undelivered = undelivered
        self._ticked = asyncio.Event()
        self._backoff = Backoff()
        self._callback_claim = Claim()
        self._request_claim = Claim()
        self._callbacks: set[str] = set()
        self._requests: set[str] = set()
        self._callbacks_wait = self._requests_wait = False
        self._refreshed: dict[str, protocol.BundleRefreshed] = {}
        self._heartbeat_at = time.monotonic()
        self._renewed_at = time.monotonic()
        self._known_activity: ProcessorActivityInput | None = None
        """What the gateway was told last of what this processor does."""
        self.activity: protocol.Activity | None = None
        self.bundle_names: list[str] = []
        self.last_tick_at: datetime | None = None
        self.last_heartbeat_at: datetime | None = None

    def alive(self) -> None:
        """The gateway has just recorded that the processor lives; registering does too."""
        self._heartbeat_at = time.monotonic()
        self.last_heartbeat_at = datetime.now(UTC)

    def tick(self) -> None:
        self.last_tick_at = datetime.now(UTC)
        self._ticked.set()

    def bundle_refreshed(self, message: protocol.BundleRefreshed) -> None:
        """Known here before the gateway knows it."""
        self._refreshed[message.bundle_name] = message

    def lease_done(self, lease_id: str) -> None:
        """It needs no renewing any more."""
        self._callbacks.discard(lease_id)
        self._requests.discard(lease_id)

    async def run(self) -> None:
        """Poll for ever.

        :raises ProcessorMustStop: the Job has ended, or its token can't be renewed
        """
        while True:
            await self._ticked.wait()
            self._ticked.clear()
            began = time.monotonic()
            pause = self._interval
            try:
                if not await self._gateway.renew_token_if_due():
                    await self._poll()
                self._backoff.reset()
            except GatewayError:
                pause = max(pause, self._backoff.pause())
            self._polled()
            await asyncio.sleep(max(0.0, began + pause - time.monotonic()))

    async def _poll(self) -> None:
        client = self._gateway.client
        now = time.monotonic()
        due = self._heartbeat_due(now)
        activity = self._activity_news() if due else None
        heartbeat = client.heartbeat(activity) if due else None
        # Renewed before anything is claimed: an expired lease would otherwise come back as a new one.
        renewal = client.renew_claims(self._leases()) if self._renewal_due(now) else None
        work = client.waiting_work(self.bundle_names)
        operations: list[Operation[Any]] = [
            operation for operation in (heartbeat, renewal, work) if operation is not None
        ]
        await self._gateway.send(*operations)
        if heartbeat is not None:
            _answered(heartbeat, lambda data: self._take_heartbeat(data, activity))
        if renewal is not None:
            _answered(renewal, self._take_renewal)
        _answered(work, self._take_work)
        await self._claim()

    async def _claim(self) -> None:
        """Claim what was seen to wait, as far as there is room for it."""
        client = self._gateway.client
        callbacks = requests = None
        room = self._registration.max_callbacks - len(self._callbacks)
        if room > 0 and (self._callbacks_wait or self._callback_claim.is_open):
            callbacks = client.claim_callbacks(self._callback_claim.input(room))
        room = MAX_PARSE_REQUESTS - len(self._requests)
        if room > 0 and (self._requests_wait or self._request_claim.is_open):
            requests = client.claim_parse_requests(self._request_claim.input(room))
        claims: list[Operation[Any]] = [claim for claim in (callbacks, requests) if claim is not None]
        if not claims:
            return
        await self._gateway.send(*claims)
        if callbacks is not None:
            _answered(callbacks, self._take_callbacks)
        if requests is not None:
            _answered(requests, self._take_requests)

    def _heartbeat_due(self, now: float) -> bool:
        # Half an interval early rather than one late.
        return now - self._heartbeat_at >= self._registration.heartbeat_interval - self._interval / 2

    def _renewal_due(self, now: float) -> bool:
        return bool(self._callbacks or self._requests) and now - self._renewed_at >= self._gateway.lease_duration / 3

    def _leases(self) -> list[str]:
        return [*self._callbacks, *self._requests][:MAX_RENEWALS]

    def _activity_news(self) -> ProcessorActivityInput | None:
        """What the gateway does not know yet of what this processor does."""
        if self.activity is None:
            return None
        activity = ProcessorActivityInput(
            parsing=[
                ParsingFileInput(bundle_name=file.bundle_name, relative_fileloc=file.relative_fileloc)
                for file in self.activity.parsing
            ],
            queued_files=self.activity.queued_files,
            undelivered_results=self._undelivered(),
        )
        return None if activity == self._known_activity else activity

    def _take_heartbeat(self, data: Heartbeat, activity: ProcessorActivityInput | None) -> None:
        payload = data.heartbeat
        require_open_job(payload.reason, payload.message)
        if payload.status is OutcomeStatus.ACCEPTED:
            self.alive()
        if activity is not None and payload.status is not OutcomeStatus.FAILED:
            # One that is refused is refused again: rather live without it.
            self._known_activity = activity
            if payload.status is OutcomeStatus.REFUSED:
                log.warning("What this processor does can't be told: %s", payload.message)

    def _take_renewal(self, data: RenewClaims) -> None:
        self._renewed_at = time.monotonic()
        for outcome in data.renew_claims:
            require_open_job(outcome.reason, outcome.message)
            if outcome.status is OutcomeStatus.REFUSED:
                self.lease_done(outcome.lease_id)
                self._send(protocol.LeaseLost(lease_id=outcome.lease_id))

    def _take_work(self, data: WaitingWork) -> None:
        work = data.waiting_work
        require_open_job(work.reason, work.message)
        if work.status is not OutcomeStatus.ACCEPTED:
            return
        self._callbacks_wait, self._requests_wait = work.callbacks, work.parse_requests
        rows: list[protocol.BundleStateRow] = []
        for state in work.bundle_states:
            last_refreshed, version = state.last_refreshed, state.version
            own = self._refreshed.get(state.name)
            if own is not None and (last_refreshed is None or own.last_refreshed > last_refreshed):
                # Not delivered yet: without this the manager would refresh the bundle again.
                last_refreshed, version = own.last_refreshed, own.version or version
            rows.append(protocol.BundleStateRow(name=state.name, last_refreshed=last_refreshed, version=version))
        if self.bundle_names:
            self._send(protocol.BundleStates(states=rows))

    def _take_callbacks(self, data: ClaimCallbacks) -> None:
        payload = data.claim_callbacks
        require_open_job(payload.reason, payload.message)
        if payload.status is not OutcomeStatus.ACCEPTED:
            return
        self._callback_claim.answered()
        leases = [
            protocol.CallbackLease(lease_id=lease.lease_id, attempt=lease.attempt, callback=lease.callback)
            for lease in payload.leases
            if lease.lease_id not in self._callbacks
        ]
        self._callbacks.update(lease.lease_id for lease in leases)
        if leases:
            self._send(protocol.CallbacksLeased(leases=leases))

    def _take_requests(self, data: ClaimParseRequests) -> None:
        payload = data.claim_parse_requests
        require_open_job(payload.reason, payload.message)
        if payload.status is not OutcomeStatus.ACCEPTED:
            return
        self._request_claim.answered()
        leases = [
            protocol.ParseRequestLease(
                lease_id=lease.lease_id, bundle_name=lease.bundle_name, relative_fileloc=lease.relative_fileloc
            )
            for lease in payload.leases
            if lease.lease_id not in self._requests
        ]
        self._requests.update(lease.lease_id for lease in leases)
        if leases:
            self._send(protocol.ParseRequestsLeased(leases=leases))


def _answered(operation: Operation[Any], take: Callable[[Any], None]) -> None:
    try:
        data = operation.result()
    except (OperationError, ValidationError):
        # The client has told it; the next poll asks again.
        return
    take(data)
