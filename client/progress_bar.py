"""What is shown on a terminal while files are parsed: how many of how many, how fast, how many with errors."""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from .counts import Counts

RATE_WINDOW = 10.0
"""Seconds of which the rate is the mean."""


class ProgressBar:
    """Shows the counts that it is given last; nothing unless the console is a terminal. A context manager."""

    def __init__(self, console: Console, *, auto_refresh: bool = True) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("files, {task.fields[rate]:.1f}/s, {task.fields[errors]}"),
            console=console,
            transient=True,
            auto_refresh=auto_refresh,
            disable=not console.is_terminal or console.is_dumb_terminal,
        )
        self._task = self._bar.add_task("Parsing", total=None, rate=0.0, errors="no errors")
        self._seen: deque[tuple[float, int]] = deque()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, counts: Counts) -> None:
        """From now on."""
        self._bar.update(
            self._task,
            total=counts.total,
            completed=counts.parsed,
            rate=self._rate(counts.parses, time.monotonic()),
            errors=f"[red]{counts.errors} with errors[/]" if counts.errors else "no errors",
        )

    def refresh(self) -> None:
        """Draw it; for one that does not do so by itself."""
        self._bar.refresh()

    def _rate(self, parses: int, now: float) -> float:
        """Parses per second, lately."""
        self._seen.append((now, parses))
        while self._seen[0][0] < now - RATE_WINDOW:
            self._seen.popleft()
        began, before = self._seen[0]
        return max(0.0, (parses - before) / (now - began)) if now > began else 0.0
