"""Bundles as the manager knows them: names, paths and versions, without the objects that hold credentials.

The real bundles live in the bundle helper's process. The manager's loop uses these in their place: Airflow's refresh
logic (``airflow/dag_processing/manager.py:_refresh_dag_bundles``) runs unchanged on them, once the helper has done the
work, and finds the new path and version where it expects them.
"""

from __future__ import annotations

from pathlib import Path

from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion

from .protocol import BundleDefinition, BundleReady


class BundleProxy(BaseDagBundle):
    """One configured bundle; ``refresh`` adopts what the helper last reported."""

    def __init__(self, definition: BundleDefinition) -> None:
        super().__init__(
            name=definition.name,
            refresh_interval=definition.refresh_interval,  # pyright: ignore[reportArgumentType]  # Airflow only compares it
            view_url_template=definition.view_url_template,
        )
        self.supports_versioning = definition.supports_versioning
        self.team_name = definition.team_name
        self.refreshing = False
        """The helper has been asked and has not answered yet."""
        self.tried = False
        """The helper has answered at least once, if only with an error."""
        self._path = Path(definition.path)
        self._current: BundleVersion | None = None
        self._ready: BundleReady | None = None

    @property
    def path(self) -> Path:
        return self._path

    def offer(self, ready: BundleReady) -> None:
        """What the helper reported, to be adopted by the next ``refresh``."""
        self._ready = ready

    def refresh(self) -> None:
        if (ready := self._ready) is None:
            return
        self._ready = None
        if ready.path is not None:
            self._path = Path(ready.path)
        self._current = None if ready.version is None else BundleVersion(ready.version, ready.version_data)

    def get_current_version(self) -> BundleVersion | None:
        return self._current
