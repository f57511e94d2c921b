"""A bundle with versions that needs no repository: one folder per version, and a file that names the current one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion


class VersionedFolder(BaseDagBundle):
    supports_versioning = True

    def __init__(self, *, folder: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._folder = Path(folder)

    @property
    def path(self) -> Path:
        return self._folder / (self.version or self._current())

    def _current(self) -> str:
        return (self._folder / "CURRENT").read_text().strip()

    def initialize(self) -> None:
        if not self.path.is_dir():
            raise FileNotFoundError(f"There is no version {self.version} in {self._folder}.")
        super().initialize()

    def refresh(self) -> None:
        pass

    def get_current_version(self) -> BundleVersion:
        current = self.version or self._current()
        return BundleVersion(current, {"folder": current})
