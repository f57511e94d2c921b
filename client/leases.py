"""Callbacks and priority parse requests that the gateway has leased to this processor, from arrival to settlement.

A callback waits for its bundle (or the version it names), then in line for its file, then runs, one per child process.
Each is settled exactly once here: with the outcome that the child reported, or with ``NOT_STARTED`` when the child
ended without a word. A lease that comes a second time is not run a second time.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, KeysView
from typing import NamedTuple

import msgspec
from airflow.callbacks.callback_requests import CallbackRequest
from airflow.dag_processing.manager import DagFileInfo
from pydantic import TypeAdapter, ValidationError

from .callback_outcome import NOT_STARTED
from .protocol import CallbackLease, CallbackSettled, Message, ParseRequestReleased

log = logging.getLogger(__name__)

_REQUESTS: TypeAdapter[CallbackRequest] = TypeAdapter(CallbackRequest)
_REMEMBERED = 1000


class LeasedCallback(NamedTuple):
    lease_id: str
    attempt: int
    request: CallbackRequest


class BundleNeed(NamedTuple):
    """What a callback needs on disk: a bundle, in the version it tracks (None) or in a given one."""

    bundle_name: str
    version: str | None


class CallbackLeases:
    """The callbacks that this processor holds.

    :param send: takes messages to the agent
    """

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        self._held: dict[str, LeasedCallback] = {}
        self._settled: OrderedDict[tuple[str, int], str] = OrderedDict()
        self._waiting: defaultdict[BundleNeed, list[LeasedCallback]] = defaultdict(list)
        self._queued: dict[DagFileInfo, list[LeasedCallback]] = {}

    def accept(self, lease: CallbackLease) -> LeasedCallback | None:
        """A callback to be run; None if there is nothing to do (any more)."""
        if lease.lease_id in self._held:
            return None
        if outcome := self._settled.get((lease.lease_id, lease.attempt)):
            self._send(CallbackSettled(lease_id=lease.lease_id, outcome=outcome))
            return None
        try:
            request = _REQUESTS.validate_json(msgspec.json.encode(lease.callback))
        except ValidationError as error:
            log.error("The callback of lease %s can't be understood: %s", lease.lease_id, error)
            self._settled[lease.lease_id, lease.attempt] = NOT_STARTED
            self._send(CallbackSettled(lease_id=lease.lease_id, outcome=NOT_STARTED))
            return None
        leased = LeasedCallback(lease.lease_id, lease.attempt, request)
        self._held[leased.lease_id] = leased
        return leased

    def wait_for(self, need: BundleNeed, leased: LeasedCallback) -> None:
        self._waiting[need].append(leased)

    def waited_for(self, need: BundleNeed) -> list[LeasedCallback]:
        """The callbacks that waited for this, which is there now (or can't be had)."""
        return self._waiting.pop(need, [])

    def enqueue(self, file: DagFileInfo, leased: LeasedCallback) -> None:
        self._queued.setdefault(file, []).append(leased)

    @property
    def queued_files(self) -> KeysView[DagFileInfo]:
        """Files for which a callback is in line."""
        return self._queued.keys()

    def next_for(self, file: DagFileInfo) -> LeasedCallback | None:
        """The callback that the next child for this file shall run."""
        if not (queue := self._queued.get(file)):
            return None
        leased = queue.pop(0)
        if not queue:
            del self._queued[file]
        return leased

    def settle(self, lease_id: str, outcome: str) -> None:
        """Report what became of a callback; only the first report counts."""
        if (leased := self._held.pop(lease_id, None)) is None:
            return
        self._settled[leased.lease_id, leased.attempt] = outcome
        while len(self._settled) > _REMEMBERED:
            self._settled.popitem(last=False)
        self._send(CallbackSettled(lease_id=lease_id, outcome=outcome))

    def lost(self, lease_id: str) -> bool:
        """Another processor may have it: don't run it if it is still in line. False if it is running or unknown."""
        for queues in (self._waiting, self._queued):
            for key, queue in list(queues.items()):
                kept = [leased for leased in queue if leased.lease_id != lease_id]
                if len(kept) < len(queue):
                    queues[key] = kept  # pyright: ignore[reportArgumentType]
                    if not kept:
                        del queues[key]  # pyright: ignore[reportArgumentType]
                    self._held.pop(lease_id, None)
                    return True
        return False

    def release_all(self) -> None:
        """The processor ends: whatever has not run goes back."""
        for lease_id in list(self._held):
            self.settle(lease_id, NOT_STARTED)
        self._waiting.clear()
        self._queued.clear()


class ParseRequestLeases:
    """The priority parse requests that this processor holds, by file.

    :param send: takes messages to the agent
    """

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        self._by_file: dict[DagFileInfo, list[str]] = {}

    def add(self, file: DagFileInfo, lease_ids: Iterable[str]) -> None:
        held = self._by_file.setdefault(file, [])
        held.extend(lease_id for lease_id in lease_ids if lease_id not in held)

    @property
    def files(self) -> KeysView[DagFileInfo]:
        return self._by_file.keys()

    def take(self, file: DagFileInfo) -> list[str]:
        """The requests that a parse of this file, starting now, answers."""
        return self._by_file.pop(file, [])

    def lost(self, lease_id: str) -> None:
        for file, held in list(self._by_file.items()):
            if lease_id in held:
                held.remove(lease_id)
                if not held:
                    del self._by_file[file]

    def release(self, lease_ids: Iterable[str]) -> None:
        """These will not be answered by a parse."""
        for lease_id in lease_ids:
            self._send(ParseRequestReleased(lease_id=lease_id))

    def release_all(self) -> None:
        for held in self._by_file.values():
            self.release(held)
        self._by_file.clear()
