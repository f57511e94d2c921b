"""parsegate's processors with their gateway, as they are and with nothing left but their parsing."""

from __future__ import annotations

import sys
from pathlib import Path

from airflow_database import AirflowDatabase
from measurement import CHILDREN, MANAGER, PARSEGATE, PARSEGATE_PARSING
from process_tree import ProcessTree, proportional_memory
from running_gateway import PARSEGATE as PARSEGATE_COMMAND
from running_gateway import RunningGateway
from running_processor import AUDIT_HOOK, RunningProcessor
from sides import SAME_ORDER, Setup, Side, request_parses
from stored_parses import StoredParses
from wire import Wire

COMPANIONS = {"parsegate.client.agent": "agent", "parsegate.client.bundle_helper": "bundle helper"}


class Parsegate(Side):
    """Processors without a database, one for each bundle, and one gateway for all of them."""

    name = PARSEGATE
    command = PARSEGATE_COMMAND

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
                command=self.command,
            )
            processor.configure()
            self._running.append(processor)
        for processor, bundle in zip(self._running, self.setup.folder.bundle_names, strict=True):
            processor.start("--bundle-name", bundle)
            self.processors.append(ProcessTree(processor.pid, "manager", COMPANIONS))

    def look_for_files(self) -> None:
        assert self.stored is not None
        request_parses(self.setup.folder, self.stored)

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


class ParsegateParsing(Parsegate):
    """parsegate's manager, which parses and hands no result to its agent; it has a gateway and a database of its own.

    What counts is what its manager and their children use.
    """

    name = PARSEGATE_PARSING
    command = [sys.executable, str(Path(__file__).parent / "parse_only_parsegate.py")]  # noqa: RUF012
    _database: StoredParses | None = None

    def start(self) -> None:
        super().start()
        # Nothing of what it parses gets there.
        self._database, self.stored = self.stored, None

    def cpu(self) -> dict[str, float]:
        return {role: seconds for role, seconds in super().cpu().items() if role in (MANAGER, CHILDREN)}

    def look_for_files(self) -> None:
        assert self._database is not None
        request_parses(self.setup.folder, self._database)

    def stop(self) -> None:
        super().stop()
        if self._database is not None:
            self._database.close()
