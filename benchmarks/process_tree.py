"""The processes of one processor or server: their CPU time, their memory, and holding them still.

CPU time is read from /proc: what each process used itself, and what its children used that have ended and were waited
for. Summed over a tree, nothing is lost when a child ends.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import psutil
from measurement import CHILDREN

_TICKS = os.sysconf("SC_CLK_TCK")


def own_and_reaped_cpu(pid: int) -> tuple[float, float]:
    """Seconds of CPU that a process used itself, and that its children used which it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, reaped_user, reaped_system = (int(field) for field in fields[11:15])
    return (user + system) / _TICKS, (reaped_user + reaped_system) / _TICKS


class ProcessTree:
    """A process and all its descendants.

    :param pid: the root
    :param role: what the root is called in sums of CPU time
    :param companions: by a part of their command line, what lasting descendants are called; all other descendants
        are children that parse
    """

    def __init__(self, pid: int, role: str, companions: dict[str, str] | None = None) -> None:
        self._root = psutil.Process(pid)
        self._role = role
        self._companions = companions or {}
        self._known: dict[int, str] = {}

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU by role since each process began."""
        sums: dict[str, float] = {self._role: 0.0}
        for process in self._processes():
            role = self._role_of(process)
            try:
                own, reaped = own_and_reaped_cpu(process.pid)
            except FileNotFoundError:
                continue  # ended and waited for since: it is in its parent's sum next time
            sums[role] = sums.get(role, 0.0) + own
            ended = CHILDREN if self._companions or self._role == "manager" else self._role
            sums[ended] = sums.get(ended, 0.0) + reaped
        return sums

    @property
    def is_parsing(self) -> bool:
        """Whether a child is at work."""
        return any(self._role_of(process) == CHILDREN for process in self._processes())

    def pids(self, role: str) -> list[int]:
        return [process.pid for process in self._processes() if self._role_of(process) == role]

    def freeze(self) -> None:
        """Hold all processes still, the root first, so that it starts none meanwhile."""
        self._signal(signal.SIGSTOP)
        deadline = time.monotonic() + 10
        while any(self._status(process) != psutil.STATUS_STOPPED for process in self._processes()):
            if time.monotonic() > deadline:
                raise RuntimeError(f"Process {self._root.pid} can't be held still.")
            time.sleep(0.005)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    @property
    def is_alive(self) -> bool:
        try:
            return self._root.is_running() and self._root.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes():
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue

    def _status(self, process: psutil.Process) -> str:
        try:
            status = process.status()
        except psutil.NoSuchProcess:
            return psutil.STATUS_STOPPED
        return psutil.STATUS_STOPPED if status == psutil.STATUS_ZOMBIE else status

    def _processes(self) -> list[psutil.Process]:
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _role_of(self, process: psutil.Process) -> str:
        if process.pid == self._root.pid:
            return self._role
        if not self._companions:
            return CHILDREN if self._role == "manager" else self._role
        # A companion keeps its role; a process between fork and exec is looked at again.
        if process.pid not in self._known:
            try:
                command = " ".join(process.cmdline())
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                return CHILDREN
            role = next((role for part, role in self._companions.items() if part in command), None)
            if role is None:
                return CHILDREN
            self._known[process.pid] = role
        return self._known[process.pid]


def proportional_memory(pids: Iterable[int]) -> int:
    """The largest PSS among these processes, in bytes: memory that is shared counts for each in part."""
    largest = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        largest = max(largest, int(text.partition("\nPss:")[2].split()[0]) * 1024)
    return largest


def total(sums: Iterable[dict[str, float]]) -> dict[str, float]:
    """The sums of several trees, role by role."""
    together: dict[str, float] = {}
    for one in sums:
        for role, seconds in one.items():
            together[role] = together.get(role, 0.0) + seconds
    return together
