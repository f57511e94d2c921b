"""Samples where the CPU time of this process goes, by thread and stack, while a switch in a file is on.

A thread of its own looks at all others every millisecond and books the CPU time that each has used since on the
stack that it finds. Unlike a profiler that is called for every function, it makes no code slower than other code. When
the switch goes off, the sums are written as lines ``frame;frame;frame microseconds``, the format that flame graphs are
made from. The texts of SQL statements that were counted meanwhile are written beside them, each with how often.
"""

from __future__ import annotations

import mmap
import os
import sys
import threading
import time
from collections import Counter
from types import FrameType

SWITCH = "switch"
INTERVAL = 0.001
SWITCH_INTERVAL = 0.0002
"""Seconds after which a thread that computes lets the sampler in. With Python's own 5 ms most samples would find it
where it lets go by itself, when it waits for something."""


def install(folder: str, command: str, statements: Counter[str]) -> None:
    """Watch the switch in ``folder`` from now on.

    :param statements: how often each text was counted so far
    """
    path = os.path.join(folder, SWITCH)
    if not os.path.exists(path):
        return
    with open(path, "rb") as file:
        switch = mmap.mmap(file.fileno(), 1, access=mmap.ACCESS_READ)
    output = os.path.join(folder, f"{_name(command)}-{os.getpid()}")
    threading.Thread(target=_watch, args=(switch, output, statements), name="sampler", daemon=True).start()


def _name(command: str) -> str:
    for name in ("bundle_helper", "agent", "serve", "dag-processor", "parse_only"):
        if name in command:
            return "gateway" if name == "serve" else name
    return "process"


def _watch(switch: mmap.mmap, output: str, statements: Counter[str]) -> None:
    own = threading.get_ident()
    before: Counter[str] = Counter()
    used: dict[int, int] = {}
    sums: dict[str, int] = {}
    was_on = False
    while True:
        on = switch[0] == 1
        if on and not was_on:
            sys.setswitchinterval(SWITCH_INTERVAL)
            before = statements.copy()
        if on:
            _sample(own, used, sums, book=was_on)
        elif was_on:
            with open(f"{output}.folded", "w") as file:
                file.writelines(f"{stack} {nanoseconds // 1000}\n" for stack, nanoseconds in sums.items())
            with open(f"{output}.statements", "a") as file:
                file.writelines(f"{number} {text}\n" for text, number in (statements - before).most_common())
        was_on = on
        time.sleep(INTERVAL if on else 0.1)


def _sample(own: int, used: dict[int, int], sums: dict[str, int], *, book: bool) -> None:
    """:param book: whether the time since the last sample counts, or is from before the switch went on"""
    for identity, frame in sys._current_frames().items():
        if identity == own:
            continue
        try:
            now = time.clock_gettime_ns(time.pthread_getcpuclockid(identity))
        except OSError:
            continue  # the thread has ended just now
        spent = now - used.get(identity, now if not book else 0)
        used[identity] = now
        if spent > 0 and book:
            stack = _folded(frame)
            sums[stack] = sums.get(stack, 0) + spent


def _folded(frame: FrameType | None) -> str:
    names: list[str] = []
    while frame is not None:
        code = frame.f_code
        names.append(f"{frame.f_globals.get('__name__', '?')}.{code.co_qualname}:{code.co_firstlineno}")
        frame = frame.f_back
    return ";".join(reversed(names)).replace(" ", "_")
