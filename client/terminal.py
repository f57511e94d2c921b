"""The terminal of a DAG processor: its log lines, and below them how far parsing has come.

Manager, agent, bundle helper and parse children all write to the terminal that the processor was started on. Whoever
draws there must see each line. So what they write goes through a pseudo terminal (they still see a terminal) to a small
process that alone writes to the real one (:mod:`.terminal_display`): whole lines above, the bar below. The manager
tells it the counts without ever waiting for it. Where standard error is no terminal, nothing of this happens.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import termios
import tty
from collections.abc import Generator
from contextlib import contextmanager, suppress

from .counts import CountsFeed

_FAREWELL = 2.0
"""Seconds that the last lines may take to be shown."""


@contextmanager
def shared_terminal() -> Generator[CountsFeed | None]:
    """While the block runs, what this process and its children write to the terminal stays above a progress bar.

    Gives what the bar is told by; None where standard error is no terminal, or one that can't draw.
    """
    if not os.isatty(2) or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        yield None
        return
    lines, feed, process = _start()
    _flush()
    # A standard output that goes elsewhere is nobody's terminal.
    kept = {descriptor: os.dup(descriptor) for descriptor in (1, 2) if os.isatty(descriptor)}
    for descriptor in kept:
        os.dup2(lines, descriptor)
    os.close(lines)
    counts = CountsFeed(feed)
    try:
        yield counts
    finally:
        _flush()
        for descriptor, terminal in kept.items():
            os.dup2(terminal, descriptor)
            os.close(terminal)
        counts.close()
        _wait_for(process)


def _start() -> tuple[int, int, subprocess.Popen[bytes]]:
    """The process that draws, with the descriptors where lines and counts go in."""
    master, slave = os.openpty()
    tty.setraw(slave)
    with suppress(OSError):
        fcntl.ioctl(slave, termios.TIOCSWINSZ, fcntl.ioctl(2, termios.TIOCGWINSZ, bytes(8)))
    counts_out, counts_in = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "parsegate.client.terminal_display", str(master), str(counts_out)],
        stdin=subprocess.DEVNULL,
        stdout=2,
        pass_fds=[master, counts_out],
        # A Ctrl-C is the manager's to handle, and what it then says is still to be shown.
        start_new_session=True,
    )
    os.close(master)
    os.close(counts_out)
    return slave, counts_in, process


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def _wait_for(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_FAREWELL)
    except subprocess.TimeoutExpired:
        # Somebody who was left behind can still write. It may be another user's process by now, and ends later then.
        with suppress(PermissionError):
            process.terminate()
