"""The DAG files that a benchmark parses: one DAG of ten tasks in each, and a marker that grows with each parse."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from running_processor import local_bundle

SCHEDULES = ('"0 3 * * 1-5"', '"@daily"', "[Asset({asset!r})]", "None")
"""In turns: cron, daily with an outlet, an asset's, none."""
DAILY = 1
TASKS = 10
PORTION = 200
"""Files that are parsed in one turn. Turns of a few seconds let the machine drift less between the contestants."""

_TEXT = """\
from datetime import timedelta

import pendulum
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset

REVISION = {revision}

with DAG(
    {dag_id!r},
    schedule={schedule},
    start_date=pendulum.datetime(2024, 1, 1, tz="UTC"),
    catchup=False,
    description=f"Revision {{REVISION}}",
    tags=["benchmark", {tag!r}],
    default_args={{"owner": "benchmark", "retries": 2, "retry_delay": timedelta(minutes=5)}},
):
    last = None
    for number in range({tasks}):
        task = EmptyOperator(task_id=f"step_{{number}}", doc_md=f"Step {{number}} of revision {{REVISION}}")
        if last is not None:
            last >> task
        last = task
    last.outlets = {outlets}

# Counts the parses of this file and tells when it was parsed last.
with open({marker!r}, "ab") as marker:
    marker.write(b".")
"""


class DagFolder:
    """Files in bundles of equal size; all processors of a benchmark parse these same files.

    :param root: a folder of its own
    :param files: how many there are in all bundles together
    :param bundles: how many bundles
    """

    def __init__(self, root: Path, files: int, bundles: int) -> None:
        self.root = root
        self.files = files
        self.bundle_names = [f"bundle_{number}" for number in range(bundles)]
        self._revision = 0
        self._changed: set[int] = set()
        self._markers = root / "parsed"
        self._markers.mkdir(parents=True)
        for name in self.bundle_names:
            self._bundle(name).mkdir(parents=True)
            # Python can't cache bytecode where a file has the cache's name: every parse compiles, whoever parses first.
            (self._bundle(name) / "__pycache__").touch()
            # What a processor does once, at its first file, is done before anything is measured.
            (self._bundle(name) / "warm_up.py").write_text(self._text(DAILY, _warm_up_id(name)))

    @property
    def bundles(self) -> list[dict[str, Any]]:
        """As ``[dag_processor] dag_bundle_config_list`` has them, with Airflow's default interval of refreshes."""
        return [local_bundle(name, self._bundle(name), refresh_interval=300) for name in self.bundle_names]

    @property
    def everything(self) -> range:
        """The numbers of all files."""
        return range(self.files)

    def portions(self) -> list[range]:
        """The files in portions that are parsed in one turn."""
        return [self.everything[first : first + PORTION] for first in range(0, self.files, PORTION)]

    def dag_ids(self, numbers: range) -> list[str]:
        return [_dag_id(number) for number in numbers]

    @property
    def warm_up_ids(self) -> list[str]:
        """DAGs that are there from the start, one in each bundle, and never parsed again."""
        return [_warm_up_id(name) for name in self.bundle_names]

    @property
    def description(self) -> str:
        """What DAGs describe themselves as since the last change."""
        return f"Revision {self._revision}"

    @property
    def changed_files(self) -> int:
        """How many files the last change has got to."""
        return len(self._changed)

    def first_file(self, bundle: str) -> str:
        """The name of a file of ``bundle``."""
        return next(_file_name(number) for number in range(self.files) if self._bundle_of(number) == bundle)

    def change(self, numbers: range) -> None:
        """Write files; each has another DAG than before. A file that was changed already begins another change."""
        if self._changed & set(numbers) or not self._changed:
            self._revision += 1
            self._changed = set()
        self._changed.update(numbers)
        for number in numbers:
            path = self._path(number)
            # In one step, since a processor might parse half a file.
            part = path.with_suffix(".part")
            part.write_text(self._text(number, _dag_id(number)))
            part.replace(path)

    def touch(self, numbers: range) -> None:
        """Have files parsed again: Airflow's processors parse what is younger than its last parse."""
        for number in numbers:
            os.utime(self._path(number))

    def parse_counts(self) -> dict[str, int]:
        """By DAG id, how often its file was parsed up to its end."""
        with os.scandir(self._markers) as entries:
            return {entry.name: entry.stat().st_size for entry in entries}

    def parsed_at(self, dag_id: str) -> float:
        """When its file was parsed last: all that comes after is to serialize one DAG. Seconds since the epoch."""
        return (self._markers / dag_id).stat().st_mtime

    def parse_span(self, numbers: range) -> tuple[float, float]:
        """When the first and when the last of the latest parses ended."""
        ended = [self.parsed_at(dag_id) for dag_id in self.dag_ids(numbers)]
        return min(ended), max(ended)

    def _bundle(self, name: str) -> Path:
        return self.root / "bundles" / name

    def _bundle_of(self, number: int) -> str:
        # Every bundle has all kinds.
        return self.bundle_names[number // len(SCHEDULES) % len(self.bundle_names)]

    def _path(self, number: int) -> Path:
        return self._bundle(self._bundle_of(number)) / _file_name(number)

    def _text(self, number: int, dag_id: str) -> str:
        kind = number % len(SCHEDULES)
        asset = f"table_{dag_id if dag_id in self.warm_up_ids else number // len(SCHEDULES)}"
        return _TEXT.format(
            revision=self._revision,
            dag_id=dag_id,
            schedule=SCHEDULES[kind].format(asset=asset),
            tag=("cron", "daily", "asset", "unscheduled")[kind],
            tasks=TASKS,
            outlets=f"[Asset({asset!r})]" if kind == DAILY else "[]",
            marker=str(self._markers / dag_id),
        )


def _dag_id(number: int) -> str:
    return f"benchmark_{number:04}"


def _warm_up_id(bundle: str) -> str:
    return f"warm_up_{bundle}"


def _file_name(number: int) -> str:
    return f"dag_{number:04}.py"
