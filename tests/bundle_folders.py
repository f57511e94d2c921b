"""Folders of the bundles that differential tests speak of; their paths are the same wherever they are named."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path

import dag_files
from airflow_database import AIRFLOW_HOME
from parsed_files import ParsedFile

FOLDER = AIRFLOW_HOME / "bundles"


def write_sources(files: Iterable[ParsedFile]) -> None:
    """Put the source code of these files on the disk, where Airflow's own processor reads it from."""
    for file in files:
        if file.archive is not None:
            dag_files.write_zip(Path(file.bundle_path) / file.relative_fileloc, **file.archive)
            continue
        for fileloc, text in file.sources.items():
            path = Path(fileloc)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def remove() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)


VARIABLE = "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"


def configure_bundles(names: Iterable[str], teams: Mapping[str, str] | None = None) -> None:
    """Airflow's bundle configuration: these, and no others. The gateway has none of its own.

    :param teams: by bundle, the team that it belongs to
    """
    os.environ[VARIABLE] = json.dumps(
        [
            {
                "name": name,
                "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                "kwargs": {"path": str(FOLDER / name)},
                "team_name": (teams or {}).get(name),
            }
            for name in names
        ]
    )


@contextmanager
def configured_bundles(names: Iterable[str]) -> Generator[None]:
    """As on the host of another writer, for the length of the block."""
    before = os.environ[VARIABLE]
    configure_bundles(names)
    try:
        yield
    finally:
        os.environ[VARIABLE] = before
