"""The contestants, as real processes: Airflow's own processor, parsegate's with its gateway, and parsing alone.

Each is started once and then held still, but for the passes that it makes: contestants take turns over the same files
without getting in each other's way.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from airflow_database import AirflowDatabase
from dag_folder import DagFolder
from process_tree import ProcessTree, proportional_memory, total
from running_gateway import RunningGateway
from running_processor import AUDIT_HOOK, RunningProcessor
from statement_counts import StatementCounts
from stock_processor import stock_environment
from stored_parses import StoredParses
from wire import Wire

INSTRUMENTS = Path(__file__).parent / "instruments"
START_TIMEOUT = 120.0
COMPANIONS = {"parsegate.client.agent": "agent", "parsegate.client.bundle_helper": "bundle helper"}
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

    :param stored: watches its database; None if it stores nothing
    """

    name: str
    stored: StoredParses | None = None
    wire: Wire | None = None

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.directory = setup.directory / self.name
        self.directory.mkdir()
        self.processors: list[ProcessTree] = []
        self.servers: list[ProcessTree] = []
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
        """Whether it has parsed, and stored if it does so, what warms up."""
        return self.stored is not None and self.stored.all_stored(self.setup.folder.warm_up_ids)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not self.is_ready or self.is_parsing:
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


class _AirflowSide(Side):
    """Processes of Airflow's own command, one for each bundle, or one for the only bundle."""

    module: tuple[str, ...]

    def __init__(self, setup: Setup, database: AirflowDatabase) -> None:
        super().__init__(setup)
        self.database = database
        self._processes: list[subprocess.Popen[bytes]] = []
        if database.server is not None:
            self.servers.append(ProcessTree(database.server.pid, "database"))

    def start(self) -> None:
        environment = stock_environment(
            self.database, self.directory, self.setup.folder.bundles, **self.setup.variables, **self.environment()
        )
        for bundle in self.setup.folder.bundle_names:
            with (self.directory / f"{bundle}.log").open("wb") as log:
                process = subprocess.Popen(
                    [sys.executable, *self.module, "dag-processor", "--bundle-name", bundle],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            self._processes.append(process)
            self.processors.append(ProcessTree(process.pid, "manager"))

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Variables beyond the settings."""

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        self.resume()
        for process in self._processes:
            _end(process)

    @property
    def log(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.directory.glob("*.log")))


class Stock(_AirflowSide):
    """Airflow's own processor, which stores in the database itself."""

    name = "stock"
    module = ("-m", "airflow")

    def environment(self) -> dict[str, str]:
        return self.setup.instruments(self.counts.folder)

    def start(self) -> None:
        self.stored = StoredParses(self.database)
        super().start()

    def look_for_files(self) -> None:
        _request_parses(self)

    def stop(self) -> None:
        super().stop()
        if self.stored is not None:
            self.stored.close()


class ParseOnly(_AirflowSide):
    """Airflow's own processor, which parses and does nothing else. Start it when the others stand still."""

    name = "parsing alone"
    module = (str(Path(__file__).parent / "parse_only.py"),)

    def start(self) -> None:
        self._parsed_by_others = self.setup.folder.parse_counts()
        super().start()

    @property
    def is_ready(self) -> bool:
        parsed = self.setup.folder.parse_counts()
        return all(
            parsed.get(dag_id, 0) > self._parsed_by_others.get(dag_id, 0) for dag_id in self.setup.folder.warm_up_ids
        )

    def environment(self) -> dict[str, str]:
        self._refresh.mkdir()
        return {"PARSEGATE_BENCHMARK_REFRESH": str(self._refresh)}

    @property
    def _refresh(self) -> Path:
        return self.directory / "refresh"

    def look_for_files(self) -> None:
        for bundle in self.setup.folder.bundle_names:
            (self._refresh / bundle).touch()


class Parsegate(Side):
    """Processors without a database, one for each bundle, and one gateway for all of them."""

    name = "parsegate"

    def __init__(self, setup: Setup, database: AirflowDatabase) -> None:
        super().__init__(setup)
        self.database = database
        self.gateway = RunningGateway(
            database, self.directory, {**setup.variables, **setup.instruments(self.counts.folder)}
        )
        self._running: list[RunningProcessor] = []

    def start(self) -> None:
        self.stored = StoredParses(self.database)
        self.gateway.start()
        self.servers.append(ProcessTree(self.gateway.pid, "gateway"))
        if self.database.server is not None:
            self.servers.append(ProcessTree(self.database.server.pid, "database"))
        self.wire = Wire(self.gateway.port)
        for bundle in self.setup.folder.bundle_names:
            home = self.directory / bundle
            home.mkdir()
            url = {"parsegate": {"url": f"http://127.0.0.1:{self.wire.port}/graphql"}}
            processor = RunningProcessor(
                self.gateway,
                home,
                self.setup.folder.bundles,
                settings={**self.setup.settings, **url},
                # No list of what it opens: that would be part of what is measured.
                environment={**SAME_ORDER, "PARSEGATE_TEST_AUDIT": "", **self.setup.instruments(None, AUDIT_HOOK)},
                hostname=f"{bundle}.test",
            )
            processor.configure()
            self._running.append(processor)
        for processor, bundle in zip(self._running, self.setup.folder.bundle_names, strict=True):
            processor.start("--bundle-name", bundle)
            self.processors.append(ProcessTree(processor.pid, "manager", COMPANIONS))

    def look_for_files(self) -> None:
        _request_parses(self)

    def stop(self) -> None:
        self.resume()
        for processor in self._running:
            if processor.is_running:
                processor.stop()
        if self.gateway.is_running:
            self.gateway.stop()
        if self.wire is not None:
            self.wire.close()
        if self.stored is not None:
            self.stored.close()

    @property
    def log(self) -> str:
        return "".join(processor.log for processor in self._running) + self.gateway.log

    def agent_memory(self) -> int | None:
        return proportional_memory(pid for tree in self.processors for pid in tree.pids("agent"))

    @property
    def request_count(self) -> int:
        return self.gateway.request_count


def _request_parses(side: Stock | Parsegate) -> None:
    assert side.stored is not None
    for bundle in side.setup.folder.bundle_names:
        side.stored.request_parse(bundle, side.setup.folder.first_file(bundle))


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
