"""Really parses DAG files, as a parse child of Airflow's processor does, in a process of its own.

Run as a program it parses the files named on its command line and prints what came of them as one JSON array.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ParsedFile:
    """One parsed file.

    :param result: Airflow's ``DagFileParsingResult`` as JSON
    :param sources: source text by ``fileloc`` of the DAGs in it
    """

    bundle_name: str
    bundle_path: str
    relative_fileloc: str
    result: dict[str, Any]
    sources: dict[str, str] = field(default_factory=dict)
    bundle_version: str | None = None
    version_data: dict[str, Any] | None = None
    parse_duration: float = 0.25
    archive: dict[str, str] | None = None
    """Texts of the files inside, by name; None of what is no zip."""

    def as_input(self, *, sequence: int = 1, **fields: Any) -> dict[str, Any]:
        """A ``ParseResultInput`` of the contract, a new attempt, the caller's own; ``fields`` replace what it has."""
        return {
            "attemptId": str(uuid.uuid4()),
            "sequence": sequence,
            "bundleName": self.bundle_name,
            "bundlePath": self.bundle_path,
            "relativeFileloc": self.relative_fileloc,
            "bundleVersion": self.bundle_version,
            "versionData": self.version_data,
            "parseDuration": self.parse_duration,
            "dags": [
                {"document": deepcopy(dag["data"]), "lastLoaded": dag["last_loaded"]}
                for dag in self.result["serialized_dags"]
            ],
            "importErrors": [
                {"relativeFileloc": path, "stacktrace": trace}
                for path, trace in (self.result["import_errors"] or {}).items()
            ],
            "warnings": [
                {"dagId": warning["dag_id"], "warningType": warning["warning_type"], "message": warning["message"]}
                for warning in self.result["warnings"] or []
            ],
            "sources": [{"fileloc": fileloc, "text": text} for fileloc, text in self.sources.items()],
            **fields,
        }


def parse(bundle_name: str, bundle_path: Path, *relative_filelocs: str) -> list[ParsedFile]:
    """Parse these files of a bundle, or all that Airflow finds in it."""
    run = subprocess.run(
        [sys.executable, __file__, bundle_name, str(bundle_path), *relative_filelocs],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-8000:]
    return [ParsedFile(**parsed) for parsed in json.loads(run.stdout.splitlines()[-1])]


def parse_in_fork(bundle_name: str, bundle_path: Path, relative_fileloc: str) -> ParsedFile:
    """Parse this file in a fork of this process, as Airflow's processor does: no other way imports so little."""
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        return ParsedFile(**pool.submit(_parsed, bundle_name, str(bundle_path), relative_fileloc).result())


def _parsed(bundle_name: str, bundle_path: str, relative_fileloc: str) -> dict[str, Any]:
    import structlog
    from airflow.dag_processing.processor import DagFileParseRequest, _parse_file
    from airflow.models.dagcode import DagCode

    request = DagFileParseRequest(
        file=f"{bundle_path}/{relative_fileloc}", bundle_path=Path(bundle_path), bundle_name=bundle_name
    )
    result = _parse_file(request, structlog.get_logger())
    assert result is not None
    filelocs = {dag.fileloc for dag in result.serialized_dags}
    return {
        "bundle_name": bundle_name,
        "bundle_path": bundle_path,
        "relative_fileloc": relative_fileloc,
        "result": result.model_dump(mode="json"),
        "sources": {fileloc: DagCode.get_code_from_file(fileloc) for fileloc in sorted(filelocs)},
    }


def _main(bundle_name: str, bundle_path: str, *relative_filelocs: str) -> None:
    from airflow.utils.file import list_py_file_paths

    files = sorted(
        relative_filelocs or (str(Path(p).relative_to(bundle_path)) for p in list_py_file_paths(bundle_path))
    )
    parsed = [_parsed(bundle_name, bundle_path, relative_fileloc) for relative_fileloc in files]
    print()
    print(json.dumps(parsed))


if __name__ == "__main__":
    _main(*sys.argv[1:])
