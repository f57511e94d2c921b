"""What all contestants have in common.

They are real processes. Each is started once and then held still, but for its turns: contestants work on the same files
without getting in each other's way.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dag_folder import DagFolder
from process_tree import ProcessTree, total
from statement_counts import StatementCounts
from stored_parses import StoredParses
from wire import Wire

INSTRUMENTS = Path(__file__).parent / "instruments"
START_TIMEOUT = 120.0
SAME_ORDER = {"PYTHONHASHSEED": "0"}
"""Some of what Airflow serializes has the order of a set."""


class BenchmarkFailed(Exception):
    """What was measured does not count; the message says why."""


@dataclass(frozen=True)
class Setup:
    """What all contestants have in common.

    :param directory: for logs and homes
    :param parsing_processes: of each processor
    :param profile: where samples of CPU time go; None for no samples
    """

    folder: DagFolder
    directory: Path
    parsing_processes: int
    profile: Path | None = None

    @property
    def settings(self) -> dict[str, dict[str, str]]:
        return {
            "core": {
                "dags_folder": str(self.folder.root),
                "load_examples": "False",
                # Airflow would otherwise silently leave changes out that follow each other within 30 s.
                "min_serialized_dag_update_interval": "0",
            },
            "dag_processor": {
                # Files are parsed when they have been touched.
                "min_file_process_interval": "86400",
                "parsing_processes": str(self.parsing_processes),
                "print_stats_interval": "0",
            },
        }

    @property
    def variables(self) -> dict[str, str]:
        """The settings as environment variables."""
        return {
            f"AIRFLOW__{section.upper()}__{option.upper()}": value
            for section, options in self.settings.items()
            for option, value in options.items()
        } | SAME_ORDER

    def instruments(self, counts: Path | None = None, *more: Path) -> dict[str, str]:
        """The environment of a process that is watched from inside.

        :param counts: folder of its counts of statements; None to count none
        :param more: folders of modules that it needs besides
        """
        folders = [INSTRUMENTS, *more] if counts or self.profile else [*more]
        environment = {"PYTHONPATH": os.pathsep.join(map(str, folders))} if folders else {}
        if counts is not None:
            environment["PARSEGATE_BENCHMARK_COUNTS"] = str(counts)
        if self.profile is not None:
            environment["PARSEGATE_BENCHMARK_PROFILE"] = str(self.profile)
        return environment


class Side(ABC):
    """One contestant. Start it, wait until it is ready, and give it its turns.

    :cvar stored: watches its database; None if it stores nothing
    :cvar wire: between its agents and its gateway; None if it has none
    """

    name: str
    stored: StoredParses | None = None
    wire: Wire | None = None

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.directory = setup.directory / self.name.replace(", ", "-").replace(" ", "-")
        self.directory.mkdir()
        self.processors: list[ProcessTree] = []
        self.servers: list[ProcessTree] = []
        self._parsed_before: dict[str, int] = {}
        counts = self.directory / "counts"
        counts.mkdir()
        self.counts = StatementCounts(counts)

    @abstractmethod
    def start(self) -> None:
        """Start it; the folder has only what warms up yet."""

    @abstractmethod
    def look_for_files(self) -> None:
        """Have it look into its bundles anew."""

    @abstractmethod
    def stop(self) -> None:
        """End it; it may be held still."""

    @property
    @abstractmethod
    def log(self) -> str:
        """Of all its processors."""

    @property
    def is_ready(self) -> bool:
        """Whether it has stored, or at least parsed, what warms up."""
        if self.stored is not None:
            return self.stored.all_stored(self.setup.folder.warm_up_ids)
        before, now = self._parsed_before, self.setup.folder.parse_counts()
        return all(now.get(dag_id, 0) > before.get(dag_id, 0) for dag_id in self.setup.folder.warm_up_ids)

    def start_and_freeze(self, tell: Callable[[str], None]) -> None:
        """Start it when no other contestant is running, and hold it still when it has warmed up."""
        tell(f"starting {self.name}")
        self._parsed_before = self.setup.folder.parse_counts()
        self.start()
        self.wait_until(lambda: self.is_ready and not self.is_parsing)
        self.freeze()

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait for something that comes with the start."""
        deadline = time.monotonic() + START_TIMEOUT
        while not holds():
            self.must_be_alive()
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"{self.name} was not ready within {START_TIMEOUT:g} s:\n{self.log[-4000:]}")
            time.sleep(0.2)

    def must_be_alive(self) -> None:
        if not all(tree.is_alive for tree in self.processors):
            raise BenchmarkFailed(f"A processor of {self.name} has ended:\n{self.log[-4000:]}")

    def freeze(self) -> None:
        for tree in self.processors:
            tree.freeze()

    def resume(self) -> None:
        for tree in self.processors:
            tree.resume()

    @property
    def is_parsing(self) -> bool:
        return any(tree.is_parsing for tree in self.processors)

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU by role, of all its processes and those of its database's server."""
        sums = total(tree.cpu() for tree in (*self.processors, *self.servers))
        if "database" in sums and self.stored is not None:
            sums["database"] -= self.stored.cpu
        return sums

    def agent_memory(self) -> int | None:
        """The PSS of its largest agent, in bytes; None if it has none."""
        return None

    @property
    def request_count(self) -> int:
        return 0


def request_parses(folder: DagFolder, database: StoredParses) -> None:
    """Request a parse of one file in each bundle, which has the processors look into their bundles."""
    for bundle in folder.bundle_names:
        database.request_parse(bundle, folder.first_file(bundle))
