"""Zips of DAG files, really parsed: what Airflow makes of one is not what it makes of the files inside."""

from __future__ import annotations

import dataclasses
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

import dag_files
from dag_content import DagContent
from parsed_files import ParsedFile, parse_in_fork

BROKEN = "# airflow would expect a DAG here\nraise NameError('gone')\n"


def member(*dags: DagContent, comment: str = "") -> str:
    """The text of a file that has these DAGs."""
    names = "from dag_content import AssetContent as Asset, DagContent as Dag\n"
    return f"# airflow: {comment}\n" + names + "".join(f"{dag.dag_id} = {dag!r}.build()\n" for dag in dags)


@dataclass(frozen=True)
class ZipContent:
    """:param members: names without suffix and texts of the files inside, in their order"""

    path: str
    members: tuple[tuple[str, str], ...]
    bundle: str = "dags"

    def parsed(self, bundles: Path, at: datetime) -> ParsedFile:
        """As ``FileContent.parsed``."""
        file = _parsed(self, bundles / self.bundle)
        result = deepcopy(file.result)
        for dag in result["serialized_dags"]:
            dag["last_loaded"] = at.isoformat()
        return dataclasses.replace(file, result=result)


@cache
def _parsed(content: ZipContent, bundle_path: Path) -> ParsedFile:
    dag_files.write_zip(bundle_path / content.path, **dict(content.members))
    file = parse_in_fork(content.bundle, bundle_path, content.path)
    (bundle_path / content.path).unlink()
    return dataclasses.replace(file, archive=dict(content.members))
