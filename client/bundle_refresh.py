"""The part of the manager that keeps its bundles: refreshed elsewhere, adopted by Airflow's own logic.

Airflow's manager initializes and refreshes a bundle in the middle of its loop
(``airflow/dag_processing/manager.py:_refresh_dag_bundles``). Here the bundle helper is asked and the loop goes on; when
it has answered, Airflow's logic runs for that one bundle, on a proxy that takes what the helper reported.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any, cast

import attrs
from airflow._shared.timezones import timezone
from airflow.dag_processing.bundles.base import BaseDagBundle
from airflow.dag_processing.manager import BundleState, DagFileInfo, DagFileProcessorManager, utc_epoch

from . import protocol
from .bundles import BundleProxy
from .manager_channel import ManagerChannel

AgentChannel = ManagerChannel[protocol.FromAgent]
HelperChannel = ManagerChannel[protocol.FromBundleHelper]

LOOK_INTERVAL = 0.5
"""Seconds between two looks at the files on the disk, of which none is due and none has been parsed meanwhile."""


@attrs.define(kw_only=True)
class BundleRefreshingManager(DagFileProcessorManager):
    """Airflow's manager with the bundle helper in place of bundle objects."""

    agent: AgentChannel
    helper: HelperChannel
    definitions: list[protocol.BundleDefinition]

    _proxies: dict[str, BundleProxy] = attrs.field(factory=dict, init=False)
    _bundle_states: dict[str, BundleState] = attrs.field(factory=dict, init=False)
    _known_files: dict[str, set[DagFileInfo]] = attrs.field(factory=dict, init=False)
    _present: dict[str, set[DagFileInfo]] = attrs.field(factory=dict, init=False)
    _looked_in_vain: float = attrs.field(default=0.0, init=False)
    """When none of the files was due, on the monotonic clock; 0 when something has happened since."""

    def sync_bundles(self) -> None:
        deactivate_missing = not self.bundle_names_to_parse
        self.agent.send(protocol.SyncBundles(bundles=self.definitions, deactivate_missing=deactivate_missing))

    def get_all_bundles(self) -> list[BaseDagBundle]:
        return [BundleProxy(definition) for definition in self.definitions]

    def load_dag_bundles(self) -> None:
        super().load_dag_bundles()
        self._proxies = {bundle.name: cast("BundleProxy", bundle) for bundle in self._dag_bundles}
        # A bundle counts as one once the helper has initialized it.
        self._dag_bundles = []

    def _get_team_names(self, bundle_names: Iterable[str]) -> dict[str, str | None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not self._multi_team:
            return {}
        return {name: proxy.team_name for name in bundle_names if (proxy := self._proxies.get(name))}

    def _refresh_dag_bundles(self, known_files: dict[str, set[DagFileInfo]]) -> None:
        """Ask the helper for the bundles that are due; what it does comes back as BundleReady."""
        self._known_files = known_files
        now = time.monotonic()
        forced = any(not proxy.refreshing for name in self._force_refresh_bundles if (proxy := self._proxies.get(name)))
        if now < self._bundles_last_refreshed + self.bundle_refresh_check_interval and not forced:
            return
        self._bundles_last_refreshed = now
        for proxy in self._proxies.values():
            if not proxy.refreshing and self._is_due(proxy):
                proxy.refreshing = True
                self._force_refresh_bundles.discard(proxy.name)
                self.refresh_begins(proxy.name)
                self.helper.send(protocol.RefreshBundle(bundle_name=proxy.name))

    def _is_due(self, proxy: BundleProxy) -> bool:
        state = self._bundle_states.get(proxy.name)
        last_refreshed = (state.last_refreshed if state else None) or utc_epoch()
        seen = proxy.name in self._bundle_versions
        return not self.should_skip_refresh(
            bundle=proxy,
            elapsed_time_since_refresh=(timezone.utcnow() - last_refreshed).total_seconds(),
            current_version_matches_db=not proxy.supports_versioning
            or state is None
            or self._bundle_versions.get(proxy.name) == state.version,
            previously_seen=seen,
        )

    def refresh_begins(self, bundle_name: str) -> None:
        """For a subclass: the helper is asked for this bundle now."""

    def bundle_answered(self, proxy: BundleProxy, ready: protocol.BundleReady) -> None:
        """For a subclass: the helper has answered, and a refreshed bundle has been adopted."""

    def take_bundle(self, ready: protocol.BundleReady) -> None:
        """The helper has answered."""
        proxy = self._proxies.get(ready.bundle_name)
        if proxy is None:
            return
        if ready.requested_version is None:
            proxy.refreshing = False
            proxy.tried = True
            if ready.error is not None:
                self.log.error("Bundle %s could not be refreshed: %s", proxy.name, ready.error)
            else:
                self._adopt(proxy, ready)
                self._looked_in_vain = 0.0
        self.bundle_answered(proxy, ready)

    def _adopt(self, proxy: BundleProxy, ready: protocol.BundleReady) -> None:
        """Airflow's own refresh, for this bundle alone; ``proxy.refresh`` takes what the helper reports."""
        proxy.offer(ready)
        forced_meanwhile = set(self._force_refresh_bundles)
        last_check = self._bundles_last_refreshed
        bundles = self._dag_bundles if proxy in self._dag_bundles else [*self._dag_bundles, proxy]
        self._dag_bundles = [proxy]
        self._force_refresh_bundles = {proxy.name}
        try:
            super()._refresh_dag_bundles(self._known_files)
        finally:
            self._dag_bundles = bundles
            self._force_refresh_bundles = forced_meanwhile
            self._bundles_last_refreshed = last_check

    def get_bundle_state(self, bundle_name: str, **_: Any) -> BundleState | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._bundle_states.get(bundle_name, BundleState(last_refreshed=None, version=None))

    def update_bundle_state(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, bundle_name: str, *, last_refreshed: datetime, version: str | None, **_: Any
    ) -> None:
        known = self.get_bundle_state(bundle_name)
        self._bundle_states[bundle_name] = BundleState(
            last_refreshed=last_refreshed, version=version if version is not None or known is None else known.version
        )
        self.agent.send(
            protocol.BundleRefreshed(bundle_name=bundle_name, last_refreshed=last_refreshed, version=version)
        )

    def take_bundle_state(self, state: protocol.BundleStateRow) -> None:
        known = self._bundle_states.get(state.name)
        # The gateway may not have our own refresh yet.
        if known and known.last_refreshed and (not state.last_refreshed or state.last_refreshed < known.last_refreshed):
            return
        self._bundle_states[state.name] = BundleState(last_refreshed=state.last_refreshed, version=state.version)

    def prepare_file_queue(self, known_files: dict[str, set[DagFileInfo]]) -> None:
        # Airflow looks at every file on the disk at each turn of a loop that has nothing to do, which is once a second.
        # This loop also turns whenever the agent has something to say.
        if time.monotonic() - self._looked_in_vain < LOOK_INTERVAL:
            return
        super().prepare_file_queue(known_files=known_files)
        self._looked_in_vain = 0.0 if self._file_queue else time.monotonic()

    def cleanup_stale_bundle_versions(self) -> None:
        self.helper.send(protocol.RemoveStaleVersions())

    def deactivate_deleted_dags(self, bundle_name: str, present: set[DagFileInfo]) -> None:
        # Airflow calls clear_orphaned_import_errors right after this; the two are one message.
        self._present[bundle_name] = present

    def clear_orphaned_import_errors(self, bundle_name: str, observed_filelocs: set[str], **_: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.agent.send(
            protocol.FilesObserved(
                bundle_name=bundle_name,
                files=sorted(str(file.rel_path) for file in self._present.pop(bundle_name, set())),
                observed_filelocs=sorted(observed_filelocs),
                # Airflow has just set it, before it looked for the files.
                bundle_version=self._bundle_versions.get(bundle_name),
            )
        )
