"""What DAG files hold, described by a few words each, and the parse results that they come to.

The DAGs are real ones of the Task SDK, built and serialized in this process with Airflow's own code: parsing a file for
each variation would take too long.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parsed_files import ParsedFile

if TYPE_CHECKING:
    from airflow.sdk import DAG, Asset

START = datetime(2026, 2, 27, tzinfo=UTC)
"""Every DAG's start date: some days before the sequences begin, so that catching up makes a difference."""


class _Sparse:
    """Shows the fields that are not what they are by default."""

    def __repr__(self) -> str:
        shown = [
            f"{field.name}={value!r}"
            for field in fields(self)  # type: ignore[arg-type]  # every subclass is a dataclass
            if (value := getattr(self, field.name)) != field.default
        ]
        return f"{type(self).__name__.removesuffix('Content')}({', '.join(shown)})"


@dataclass(frozen=True, repr=False)
class AssetContent(_Sparse):
    """An asset as a file declares it; ``watched`` gives it a watcher with that argument."""

    name: str
    uri: str | None = None
    group: str = "asset"
    extra: str | None = None
    watched: str | None = None
    teams: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        return self.uri or f"x-test://{self.name}/"

    def build(self) -> Asset:
        from airflow.sdk import Asset, AssetAccessControl, AssetWatcher
        from watched_events import WatchedEvent

        return Asset(
            self.name,
            uri=self.address,
            group=self.group,
            extra={"is": self.extra} if self.extra else {},
            watchers=[AssetWatcher(name=f"watches {self.name}", trigger=WatchedEvent(self.watched))]
            if self.watched
            else [],
            access_control=AssetAccessControl(producer_teams=list(self.teams), allow_global=not self.teams),
        )


@dataclass(frozen=True, repr=False)
class DagContent(_Sparse):
    """A DAG as a file declares it.

    :param schedule: a key of SCHEDULES
    :param reads: assets that its schedule ``assets`` waits for, and its first task's inlets
    :param alias: an alias that its last task writes to, and that its schedule ``alias`` waits for
    :param settings: further arguments of ``DAG``
    """

    dag_id: str
    schedule: str = "daily"
    tags: tuple[str, ...] = ()
    owner: str | None = None
    owner_link: str | None = None
    catchup: bool = False
    tasks: int = 1
    reads: tuple[AssetContent, ...] = ()
    writes: tuple[AssetContent, ...] = ()
    alias: str | None = None
    deadline: str | None = None
    settings: tuple[tuple[str, Any], ...] = ()

    def build(self) -> DAG:
        from airflow.providers.standard.operators.empty import EmptyOperator
        from airflow.sdk import DAG, AssetAlias, chain

        reads = [asset.build() for asset in self.reads]
        writes: list[Any] = [asset.build() for asset in self.writes]
        if self.alias:
            writes.append(AssetAlias(self.alias, group="aliases"))
        with DAG(
            self.dag_id,
            schedule=SCHEDULES[self.schedule](self),
            start_date=START,
            catchup=self.catchup,
            tags=list(self.tags),
            owner_links={self.owner or "airflow": self.owner_link} if self.owner_link else {},
            default_args={"owner": self.owner} if self.owner else {},
            deadline=_deadline(self.deadline) if self.deadline else None,
            **{"max_active_runs": 1, **dict(self.settings)} if self.schedule == "continuous" else dict(self.settings),
        ) as dag:
            last = self.tasks - 1
            chain(
                *(
                    EmptyOperator(
                        task_id=f"task_{number}",
                        inlets=reads if number == 0 else None,
                        outlets=writes if number == last else None,
                    )
                    for number in range(self.tasks)
                )
            )
        return dag


def _deadline(name: str) -> Any:
    from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference

    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(hours=len(name)),
        callback=AsyncCallback("asyncio.sleep"),
        name=name,
    )


def _partitioned(dag: DagContent) -> Any:
    from airflow.sdk import CronPartitionTimetable

    return CronPartitionTimetable("0 * * * *", timezone="UTC")


def _trigger(dag: DagContent) -> Any:
    from airflow.sdk import CronTriggerTimetable

    return CronTriggerTimetable("*/10 * * * *", timezone="UTC", interval=timedelta(minutes=10))


def _custom(dag: DagContent) -> Any:
    from every_sunset import EverySunset

    return EverySunset(hour=18)


def _assets_or_time(dag: DagContent) -> Any:
    from airflow.sdk import AssetOrTimeSchedule

    return AssetOrTimeSchedule(timetable=_trigger(dag), assets=[asset.build() for asset in dag.reads])


def _any_asset(dag: DagContent) -> Any:
    from airflow.sdk import AssetAll, AssetAny

    first, *others = (asset.build() for asset in dag.reads)
    return AssetAny(first, AssetAll(first, *others)) if others else AssetAny(first)


def _alias(dag: DagContent) -> Any:
    from airflow.sdk import AssetAlias

    return AssetAlias(dag.alias or "", group="aliases")


def _references(dag: DagContent) -> Any:
    from airflow.sdk import Asset

    return [
        reference for asset in dag.reads for reference in (Asset.ref(name=asset.name), Asset.ref(uri=asset.address))
    ]


SCHEDULES: dict[str, Callable[[DagContent], Any]] = {
    "none": lambda dag: None,
    "once": lambda dag: "@once",
    "daily": lambda dag: "@daily",
    "hourly": lambda dag: "0 * * * *",
    "minutely": lambda dag: timedelta(minutes=1),
    "five-hourly": lambda dag: timedelta(hours=5),
    "continuous": lambda dag: "@continuous",
    "trigger": _trigger,
    "partitioned": _partitioned,
    "custom": _custom,
    "assets": lambda dag: [asset.build() for asset in dag.reads],
    "any-asset": _any_asset,
    "assets-or-time": _assets_or_time,
    "alias": _alias,
    "references": _references,
}


@dataclass(frozen=True, repr=False)
class FileContent(_Sparse):
    """A DAG file of a bundle.

    :param error: what importing it raises, in place of yielding DAGs
    :param warned: DAG ids and texts of warnings that parsing it gives
    :param comment: what in its source text changes nothing else
    """

    path: str
    dags: tuple[DagContent, ...] = ()
    error: str | None = None
    warned: tuple[tuple[str, str], ...] = ()
    comment: str = ""
    bundle: str = "dags"
    version: str | None = None
    version_data: str | None = None
    parse_duration: float = 0.25
    edits: tuple[tuple[str, Any], ...] = ()
    """Values to put into the first document, by dotted path: what the SDK would not build."""

    def parsed(self, bundles: Path, at: datetime) -> ParsedFile:
        """What parsing it gives.

        :param bundles: folder with a folder for each bundle
        :param at: when it was parsed
        """
        fileloc = str(bundles / self.bundle / self.path)
        documents = [deepcopy(_document(dag, fileloc, self.path)) for dag in self.dags] if not self.error else []
        for path, value in self.edits:
            *parents, key = path.split(".")
            holder = documents[0]
            for parent in parents:
                holder = holder[parent]
            holder[key] = value
        return ParsedFile(
            bundle_name=self.bundle,
            bundle_path=str(bundles / self.bundle),
            relative_fileloc=self.path,
            result={
                "fileloc": fileloc,
                "serialized_dags": [{"data": document, "last_loaded": at.isoformat()} for document in documents],
                "import_errors": {self.path: f"Traceback of {self.error}"} if self.error else {},
                "warnings": [
                    {"dag_id": dag_id, "warning_type": "runtime varying value", "message": message}
                    for dag_id, message in self.warned
                ],
            },
            sources={fileloc: self.source} if documents else {},
            bundle_version=self.version,
            version_data={"ref": self.version_data} if self.version_data else None,
            parse_duration=self.parse_duration,
        )

    @property
    def source(self) -> str:
        return f"# {self.comment}\n" + "".join(f"{dag!r}\n" for dag in self.dags)


@cache
def _document(dag: DagContent, fileloc: str, relative_fileloc: str) -> dict[str, Any]:
    from airflow.serialization.serialized_objects import DagSerialization

    built = dag.build()
    built.fileloc = fileloc
    built.relative_fileloc = relative_fileloc
    return json.loads(json.dumps(DagSerialization.to_dict(built)))
