"""What a processor tells of the versions of a bundle that it finds, and of their files, which have no DAGs."""

from __future__ import annotations

import uuid
from typing import Any

from registered_processor import RegisteredProcessor


def find(processor: RegisteredProcessor, version: str | None, *files: str, bundle: str = "dags") -> dict[str, Any]:
    """The processor refreshes the bundle and finds this version."""
    payload = processor.send(
        "ReconcileBundle",
        input={
            "bundleName": bundle,
            "bundleVersion": version,
            "files": list(files),
            "observedFilelocs": list(files),
        },
    )
    assert payload["status"] == "ACCEPTED", payload
    return payload


def parse(processor: RegisteredProcessor, version: str | None, path: str, **fields: Any) -> None:
    """The processor parses a file without DAGs; ``fields`` replace what the result has."""
    result = {
        "attemptId": str(uuid.uuid4()),
        "sequence": 1,
        "bundleName": "dags",
        "bundlePath": "/bundles/dags",
        "relativeFileloc": path,
        "bundleVersion": version,
        "versionData": None,
        "parseDuration": 0.1,
        "dags": [],
        "importErrors": [],
        "warnings": [],
        "sources": [],
        **fields,
    }
    (outcome,) = processor.record(result)
    assert outcome["status"] == "ACCEPTED" or fields.get("sequence") == 0, outcome


def broken(path: str) -> dict[str, Any]:
    return {"importErrors": [{"relativeFileloc": path, "stacktrace": "Traceback: broken"}]}
