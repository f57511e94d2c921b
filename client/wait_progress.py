"""What ``parsegate wait`` shows while it waits: a bar on a terminal, otherwise a line when something has changed."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .operator import OperatorUnreachable, VersionProgress

_LINE_INTERVAL = 5.0
"""Seconds between two lines that differ in the number of stored files alone."""


class WaitProgress:
    """Listens to a wait; use it as a context manager.

    :param bundle: for as long as there is nothing to show
    """

    def __init__(self, bundle: str, version: str | None, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._name = f"{bundle} {version[:12]}" if version else bundle
        self._bar = _bar(self._console) if self._console.is_terminal else None
        self._task = self._bar.add_task(f"{self._name}: not seen yet", total=None) if self._bar else None
        self._last_kind: tuple[object, ...] = ()
        self._last_line = ""
        self._last_at = 0.0

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def __call__(self, progress: VersionProgress | None, trouble: OperatorUnreachable | None) -> None:
        if self._bar and self._task is not None:
            self._bar.update(
                self._task,
                description=self._describe(progress, trouble, with_count=False),
                total=progress.file_count if progress else None,
                completed=progress.stored_count if progress else 0,
            )
            return
        line = self._describe(progress, trouble, with_count=True)
        kind = (trouble is None, progress and (progress.version, progress.failed_count, progress.import_error_count))
        now = time.monotonic()
        if line == self._last_line or (kind == self._last_kind and now - self._last_at < _LINE_INTERVAL):
            return
        self._last_kind, self._last_line, self._last_at = kind, line, now
        print(line, file=sys.stderr, flush=True)

    def _describe(
        self, progress: VersionProgress | None, trouble: OperatorUnreachable | None, *, with_count: bool
    ) -> str:
        if trouble is not None:
            return f"{self._name}: {trouble}; trying again"
        if progress is None:
            return f"{self._name}: no processor has seen it yet"
        name = f"{progress.bundle_name} {progress.version[:12]}".rstrip()
        parts = [f"{progress.stored_count} of {progress.file_count} files stored"] if with_count else []
        if progress.failed_count:
            parts.append(f"{progress.failed_count} failed")
        if progress.import_error_count:
            parts.append(f"{progress.import_error_count} import errors")
        return f"{name}: {', '.join(parts)}" if parts else name


def _bar(console: Console) -> Progress:
    # Descriptions hold names that others chose: no markup in them.
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)
