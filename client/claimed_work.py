"""The part of the manager that takes the work which its agent has claimed: callbacks and priority parse requests.

Airflow's manager fetches both from the database in its loop. Here they arrive as leases at any time, and are queued
when what they need is on disk: a bundle, a version of it, or a refresh that began after the request was made.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
from airflow.dag_processing.manager import DagFileInfo

from . import protocol
from .bundle_refresh import BundleRefreshingManager
from .bundles import BundleProxy
from .callback_outcome import NOT_STARTED
from .leases import BundleNeed, CallbackLeases, LeasedCallback, ParseRequestLeases


@attrs.define(kw_only=True)
class WorkClaimingManager(BundleRefreshingManager):
    """A manager with the agent's claims in place of Airflow's tables of callbacks and priority parse requests."""

    _callbacks: CallbackLeases = attrs.field(init=False)
    _parse_requests: ParseRequestLeases = attrs.field(init=False)
    _requests_before_refresh: dict[str, list[protocol.ParseRequestLease]] = attrs.field(factory=dict, init=False)
    _requests_in_refresh: dict[str, list[protocol.ParseRequestLease]] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._callbacks = CallbackLeases(self.agent.send)
        self._parse_requests = ParseRequestLeases(self.agent.send)

    def fetch_callbacks(self) -> list[Any]:
        """Nothing: callbacks are placed when the agent hands them over."""
        return []

    def claim_priority_files(self) -> list[DagFileInfo]:
        """Nothing: a requested file is queued once its bundle has been refreshed, which Airflow does first, too."""
        return []

    def take_callbacks(self, leases: Iterable[protocol.CallbackLease]) -> None:
        """The agent hands over callbacks."""
        for lease in leases:
            if leased := self._callbacks.accept(lease):
                self._place(leased)

    def take_parse_requests(self, leases: Iterable[protocol.ParseRequestLease]) -> None:
        """The agent hands over priority parse requests."""
        for lease in leases:
            if lease.bundle_name not in self._proxies:
                self._parse_requests.release([lease.lease_id])
                continue
            self._requests_before_refresh.setdefault(lease.bundle_name, []).append(lease)
            self.request_bundle_refresh(lease.bundle_name)

    def forget_lease(self, lease_id: str) -> None:
        """Another processor may have it by now."""
        self._parse_requests.lost(lease_id)
        if self._callbacks.lost(lease_id):
            self.log.warning("The lease of a callback was lost before it ran: %s", lease_id)

    @property
    def has_claimed_work(self) -> bool:
        """Whether a parse or a callback is wanted that no child has begun."""
        return bool(self._requests_before_refresh or self._parse_requests.files or self._callbacks.queued_files)

    def queue_claimed_work(self) -> None:
        """Put what is wanted in front of the queue, from which Airflow drops a file whose process is running."""
        wanted = [*self._parse_requests.files, *self._callbacks.queued_files]
        self._add_files_to_queue([file for file in wanted if file not in self._processors], mode="frontprio")

    def release_claimed_work(self) -> None:
        """Give back all that has not run."""
        self._callbacks.release_all()
        self._parse_requests.release_all()
        for requests in (self._requests_before_refresh, self._requests_in_refresh):
            self._parse_requests.release(lease.lease_id for lease in itertools.chain.from_iterable(requests.values()))

    def refresh_begins(self, bundle_name: str) -> None:
        if requests := self._requests_before_refresh.pop(bundle_name, None):
            self._requests_in_refresh[bundle_name] = requests

    def bundle_answered(self, proxy: BundleProxy, ready: protocol.BundleReady) -> None:
        if ready.requested_version is not None:
            self._place_waiting(BundleNeed(proxy.name, ready.requested_version), ready.path, ready.error)
            return
        if ready.error is None:
            self._place_waiting(BundleNeed(proxy.name, None), str(proxy.path), None)
        self._queue_parse_requests(self._requests_in_refresh.pop(proxy.name, []))

    def _place(self, leased: LeasedCallback) -> None:
        """Put a callback where it waits: for a version of its bundle, for the bundle, or for its file's turn."""
        request = leased.request
        proxy = self._proxies.get(request.bundle_name)
        if proxy is None:
            self.log.error("Bundle %s is not parsed here, a callback of it is given back", request.bundle_name)
            self._callbacks.settle(leased.lease_id, NOT_STARTED)
        elif request.bundle_version and proxy.supports_versioning:
            need = BundleNeed(proxy.name, request.bundle_version)
            self._callbacks.wait_for(need, leased)
            self.helper.send(protocol.PrepareVersion(bundle_name=proxy.name, version=request.bundle_version))
        elif proxy not in self._dag_bundles:
            self._callbacks.wait_for(BundleNeed(proxy.name, None), leased)
        else:
            self._enqueue(leased, proxy.path)

    def _place_waiting(self, need: BundleNeed, path: str | None, error: str | None) -> None:
        for leased in self._callbacks.waited_for(need):
            if error is not None or path is None:
                self.log.error(
                    "Bundle %s version %s could not be prepared for a callback, which is given back: %s", *need, error
                )
                self._callbacks.settle(leased.lease_id, NOT_STARTED)
            else:
                self._enqueue(leased, Path(path))

    def _enqueue(self, leased: LeasedCallback, path: Path) -> None:
        request = leased.request
        file = DagFileInfo(
            rel_path=Path(request.filepath),
            bundle_path=path,
            bundle_name=request.bundle_name,
            bundle_version=request.bundle_version,
        )
        self._callbacks.enqueue(file, leased)

    def _queue_parse_requests(self, leases: Iterable[protocol.ParseRequestLease]) -> None:
        for lease in leases:
            path = Path(lease.relative_fileloc)
            known = (file for file in self._known_files.get(lease.bundle_name, ()) if file.rel_path == path)
            if file := next(known, None):
                self._parse_requests.add(file, [lease.lease_id])
            else:
                self.log.warning("A parse was requested of %s, which bundle %s has not", path, lease.bundle_name)
                self._parse_requests.release([lease.lease_id])
