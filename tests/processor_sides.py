"""One DAG processor's work, done twice: by Airflow's own manager on a database, and through the gateway over HTTP.

Both sides do the same things under the same names; what they leave behind is for others to compare. How the results
of parsing are delivered to the gateway is one function, a :data:`Delivery` of :mod:`deliveries`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bundle_folders import FOLDER, configure_bundles, write_sources
from deliveries import Delivery
from parsed_files import ParsedFile
from registered_processor import RegisteredProcessor

if TYPE_CHECKING:
    from gateway_app import Gateway

NO_TEAMS: Mapping[str, str] = {}
HOSTNAME, USER = "processor-1.example.com", "dags"


class Side(Protocol):
    """What a processor does with a database."""

    is_stock: bool
    at_the_end: ExitStack
    """What steps leave to be undone when the sequence is over."""
    wanted: list[str] | None
    """Files that were named by their fingerprints when results were last stored, but were needed in full; None when no
    file was named so."""

    def store(self, files: Sequence[ParsedFile]) -> list[str]:
        """Store what parsing these files gave, in order; for each file the reason why nothing was stored, or ''."""
        ...

    def time_out(self, file: ParsedFile) -> None:
        """Parsing the file took too long: there is no result."""
        ...

    def reconcile(self, bundle_name: str, files: Sequence[str]) -> None:
        """The bundle has these files and no others."""
        ...

    def deactivate_stale(self) -> None: ...

    def purge_warnings(self) -> None: ...

    def sync_bundles(self, names: Sequence[str], teams: Mapping[str, str] = NO_TEAMS) -> None:
        """These bundles are configured, and no others.

        :param teams: by bundle, the team that it belongs to
        """
        ...

    def restart(self) -> None:
        """The processor starts anew, as its supervisor makes it when it has ended."""
        ...

    def refreshed(self, bundle_name: str, version: str | None) -> None: ...


class StockSide:
    """Airflow's ``DagFileProcessorManager``, with a database connection.

    :param orders: for each time that results are stored, their numbers in the order in which to store them; None
        keeps the order in which they come
    """

    is_stock = True

    def __init__(self, orders: Iterator[Sequence[int]] | None = None) -> None:
        self.at_the_end = ExitStack()
        self.wanted: list[str] | None = None
        self._orders = orders
        self.restart()

    def restart(self) -> None:
        from airflow.dag_processing.manager import DagFileProcessorManager
        from airflow.jobs.job import Job, JobState
        from airflow.utils.session import create_session

        self._manager = DagFileProcessorManager(max_runs=1)
        self._finished: dict[tuple[str, str], datetime] = {}
        with create_session() as session:
            job = Job(job_type="DagProcessorJob", state=JobState.RUNNING)
            job.hostname, job.unixname = HOSTNAME, USER
            session.add(job)

    def store(self, files: Sequence[ParsedFile]) -> list[str]:
        reasons = {number: self._store(files[number]) for number in self._order(len(files))}
        return [reasons[number] for number in range(len(files))]

    def _order(self, count: int) -> Sequence[int]:
        return range(count) if self._orders is None else next(self._orders)

    def _store(self, file: ParsedFile) -> str:
        from airflow.dag_processing.processor import DagFileParsingResult
        from airflow.utils.session import create_session

        self._finish(file)
        write_sources([file])
        try:
            with create_session() as session:
                self._manager.persist_parsing_result(
                    bundle_name=file.bundle_name,
                    bundle_version=file.bundle_version,
                    version_data=file.version_data,
                    parsing_result=DagFileParsingResult.model_validate(file.result),
                    run_duration=file.parse_duration,
                    relative_fileloc=file.relative_fileloc,
                    session=session,
                )
        except Exception as error:  # as handle_parsing_result: the next file is stored all the same
            return type(error).__name__
        return ""

    def time_out(self, file: ParsedFile) -> None:
        self._finish(file)

    def _finish(self, file: ParsedFile) -> None:
        from airflow._shared.timezones.timezone import utcnow

        self._finished[file.bundle_name, file.relative_fileloc] = utcnow()

    def reconcile(self, bundle_name: str, files: Sequence[str]) -> None:
        present = {self._file(bundle_name, path) for path in files}
        self._manager.deactivate_deleted_dags(bundle_name, present)
        self._manager.clear_orphaned_import_errors(bundle_name, {str(file.rel_path) for file in present})
        for name, path in list(self._finished):
            if name == bundle_name and path not in files:
                del self._finished[name, path]

    def deactivate_stale(self) -> None:
        self._manager.deactivate_stale_dags(
            last_parsed={self._file(*file): finished for file, finished in self._finished.items()}
        )

    def purge_warnings(self) -> None:
        self._manager.purge_inactive_dag_warnings()

    def sync_bundles(self, names: Sequence[str], teams: Mapping[str, str] = NO_TEAMS) -> None:
        configure_bundles(names, teams)
        self._manager.sync_bundles()

    def refreshed(self, bundle_name: str, version: str | None) -> None:
        from airflow._shared.timezones.timezone import utcnow

        self._manager.update_bundle_state(bundle_name, last_refreshed=utcnow(), version=version)

    @staticmethod
    def _file(bundle_name: str, path: str) -> Any:
        from airflow.dag_processing.manager import DagFileInfo

        return DagFileInfo(rel_path=Path(path), bundle_name=bundle_name, bundle_path=FOLDER / bundle_name)


class GatewaySide:
    """A processor without a database: everything goes through the gateway.

    :param deliver: how results are delivered
    :param orders: is given, each time, the numbers of the results in the order in which they were recorded
    """

    is_stock = False

    def __init__(self, gateway: Gateway, deliver: Delivery, orders: list[list[int]]) -> None:
        self.at_the_end = ExitStack()
        self.wanted: list[str] | None = None
        self._gateway = gateway
        self._deliver = deliver
        self._orders = orders
        self._inside: dict[tuple[str, str], list[str]] = {}
        self.restart()

    def restart(self) -> None:
        self._sequence = 0
        self._processor = RegisteredProcessor(self._gateway, hostname=HOSTNAME, unixname=USER)

    @property
    def processor(self) -> RegisteredProcessor:
        """With a token of this very moment: the clock may have gone on by days."""
        self._processor.token = self._processor.gateway.job_token(self._processor.job_id)
        return self._processor

    def store(self, files: Sequence[ParsedFile]) -> list[str]:
        self._sequence += 1
        for file in files:
            inside = [f"{file.relative_fileloc}/{name}.py" for name in file.archive or ()]
            self._inside[file.bundle_name, file.relative_fileloc] = inside or [file.relative_fileloc]
        outcomes = self._deliver(self.processor, files, self._sequence)
        self._orders.append(sorted(range(len(files)), key=lambda number: outcomes[number].get("turn", 0)))
        named = [(file, outcome) for file, outcome in zip(files, outcomes, strict=True) if "wanted" in outcome]
        self.wanted = [file.relative_fileloc for file, outcome in named if outcome["wanted"]] if named else None
        return [
            "" if outcome["status"] == "ACCEPTED" else outcome["reason"] or outcome["status"] for outcome in outcomes
        ]

    def time_out(self, file: ParsedFile) -> None:
        self._sequence += 1
        nothing = {"dags": [], "importErrors": [], "warnings": [], "sources": []}
        (outcome,) = self.processor.record(file.as_input(sequence=self._sequence, timedOut=True, **nothing))
        assert outcome["status"] == "ACCEPTED", outcome

    def reconcile(self, bundle_name: str, files: Sequence[str]) -> None:
        # As the manager's _get_observed_filelocs, which looks into zips.
        observed = [inside for path in files for inside in self._inside.get((bundle_name, path), [path])]
        self._send("ReconcileBundle", {"bundleName": bundle_name, "files": list(files), "observedFilelocs": observed})

    def deactivate_stale(self) -> None:
        from airflow.configuration import conf

        self._send("DeactivateStaleDags", {"staleDagThreshold": conf.getfloat("dag_processor", "stale_dag_threshold")})

    def purge_warnings(self) -> None:
        outcome = self.processor.send("PurgeInactiveDagWarnings")
        assert outcome["status"] == "ACCEPTED", outcome

    def sync_bundles(self, names: Sequence[str], teams: Mapping[str, str] = NO_TEAMS) -> None:
        configure_bundles(())
        bundles = [{"name": name, "path": str(FOLDER / name), "teamName": teams.get(name)} for name in names]
        self._send("SyncBundles", {"bundles": bundles, "deactivateMissing": True})

    def refreshed(self, bundle_name: str, version: str | None) -> None:
        from airflow._shared.timezones.timezone import utcnow

        state = {"name": bundle_name, "lastRefreshed": utcnow().isoformat(), "version": version}
        (outcome,) = self.processor.send("UpdateBundleStates", states=[state])
        assert outcome["status"] == "ACCEPTED", outcome

    def _send(self, operation: str, input: dict[str, Any]) -> None:
        outcome = self.processor.send(operation, input=input)
        assert outcome["status"] == "ACCEPTED", outcome
