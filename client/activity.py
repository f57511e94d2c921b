"""What the manager does now, told to the agent for the next heartbeat."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from . import protocol

INTERVAL = 2.0
"""Seconds between two tellings, at least: heartbeats are farther apart."""

MOST_FILES = 32


class File(Protocol):
    """Airflow's ``DagFileInfo``, as far as it is told."""

    @property
    def bundle_name(self) -> str: ...
    @property
    def rel_path(self) -> object: ...


class ActivityReport:
    """Makes messages of what the manager's loop sees, when there is something new."""

    def __init__(self) -> None:
        self._told: protocol.Activity | None = None
        self._told_at = float("-inf")

    def news(self, parsing: Iterable[File], queued_files: int, now: float) -> protocol.Activity | None:
        """What the agent has to be told now, if anything.

        :param now: on a monotonic clock, seconds
        """
        if now - self._told_at < INTERVAL:
            return None
        self._told_at = now
        files = sorted((file.bundle_name, str(file.rel_path)) for file in parsing)[:MOST_FILES]
        activity = protocol.Activity(
            parsing=[protocol.FileAtWork(bundle_name=bundle, relative_fileloc=path) for bundle, path in files],
            queued_files=queued_files,
        )
        if activity == self._told:
            return None
        self._told = activity
        return activity
