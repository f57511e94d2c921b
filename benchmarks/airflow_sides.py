"""Airflow's own processor, as it is and with nothing left but its parsing."""

from __future__ import annotations

import subprocess
import sys
from abc import abstractmethod
from pathlib import Path

from airflow_database import AirflowDatabase
from measurement import STOCK, STOCK_PARSING
from process_tree import ProcessTree
from sides import Setup, Side, request_parses
from stock_processor import stock_environment
from stored_parses import StoredParses


class _AirflowSide(Side):
    """Processes of Airflow's own command, one for each bundle, or one for the only bundle."""

    module: tuple[str, ...]

    def __init__(self, setup: Setup, database: AirflowDatabase) -> None:
        super().__init__(setup)
        self.database = database
        self.watch = StoredParses(database)
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
            # Processors that put the bundles into an empty database at the same time end with an error.
            self.wait_until(self.watch.has_bundles)

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Variables beyond the settings."""

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        self.resume()
        for process in self._processes:
            _end(process)
        self.watch.close()

    @property
    def log(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.directory.glob("*.log")))


class Stock(_AirflowSide):
    """Airflow's own processor, which stores in the database itself."""

    name = STOCK
    module = ("-m", "airflow")

    def environment(self) -> dict[str, str]:
        return self.setup.instruments(self.counts.folder)

    def start(self) -> None:
        self.stored = self.watch
        super().start()

    def look_for_files(self) -> None:
        request_parses(self.setup.folder, self.watch)


class StockParsing(_AirflowSide):
    """Airflow's own processor, which parses and does nothing else."""

    name = STOCK_PARSING
    module = (str(Path(__file__).parent / "parse_only.py"),)

    def environment(self) -> dict[str, str]:
        self._refresh.mkdir()
        return {"PARSEGATE_BENCHMARK_REFRESH": str(self._refresh)}

    @property
    def _refresh(self) -> Path:
        return self.directory / "refresh"

    def look_for_files(self) -> None:
        for bundle in self.setup.folder.bundle_names:
            (self._refresh / bundle).touch()


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
