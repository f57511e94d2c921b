"""The process that draws the terminal of a DAG processor (see :mod:`.terminal`).

Run as ``python -m parsegate.client.terminal_display LINES_FD COUNTS_FD``. It ends when nobody writes any more.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.text import Text

from .counts import Counts
from .progress_bar import ProgressBar

REFRESH_INTERVAL = 0.25
LINGER = 15.0
"""Seconds for which lines are still shown when the manager is gone but others write."""
_CHUNK = 64 * 1024


def draw(lines: int, counts: int) -> None:
    """Show lines and counts until nobody writes any more."""
    console = Console(stderr=True, highlight=False)
    unfinished = b""
    unread_counts = b""
    gone_at: float | None = None
    with ProgressBar(console, auto_refresh=False) as bar:
        while gone_at is None or time.monotonic() < gone_at + LINGER:
            watched = [lines] if gone_at is not None else [lines, counts]
            ready, _, _ = select.select(watched, [], [], REFRESH_INTERVAL)
            if lines in ready:
                data = _read(lines)
                if not data:
                    break
                *whole, unfinished = (unfinished + data).split(b"\n")
                _print(console, whole)
            if counts in ready:
                data = os.read(counts, _CHUNK)
                if not data:
                    gone_at = time.monotonic()
                *told, unread_counts = (unread_counts + data).split(b"\n")
                if told:
                    bar.show(msgspec.json.decode(told[-1], type=Counts))
            bar.refresh()
        _print(console, [unfinished] if unfinished else [])


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _CHUNK)
    except OSError:  # how Linux tells that nobody has the other end of a pseudo terminal
        return b""


def _print(console: Console, lines: Sequence[bytes]) -> None:
    if lines:
        text = b"\n".join(line.rstrip(b"\r") for line in lines).decode(errors="replace")
        console.print(Text.from_ansi(text), soft_wrap=True, markup=False)


if __name__ == "__main__":
    draw(int(sys.argv[1]), int(sys.argv[2]))
