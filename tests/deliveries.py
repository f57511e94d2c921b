"""Ways in which the results of parsing get to the gateway."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from parsed_files import ParsedFile
from registered_processor import RegisteredProcessor

Delivery = Callable[[RegisteredProcessor, Sequence[ParsedFile], int], list[dict[str, Any]]]
"""Delivers results under a sequence number, and gives the outcome of each, in order.

An outcome says ``"wanted": True`` if naming the result by its fingerprint was tried and did not do, and has as its
``"turn"`` what sorts results by when they were recorded; without it they were recorded as they came."""


def in_full(processor: RegisteredProcessor, files: Sequence[ParsedFile], sequence: int) -> list[dict[str, Any]]:
    """Every result whole, all in one request."""
    return processor.record(*(file.as_input(sequence=sequence) for file in files))


def fingerprint_first(
    processor: RegisteredProcessor, files: Sequence[ParsedFile], sequence: int
) -> list[dict[str, Any]]:
    """Every result by its fingerprint, all in one request; then in another one those that the gateway wants in full."""
    return [
        {**outcome, "turn": (number, outcome["wanted"])}
        for number, some in enumerate(_each_file_once(files))
        for outcome in _fingerprints_first(processor, some, sequence)
    ]


def fingerprint(file: ParsedFile) -> str:
    """A digest of everything that a result holds beyond version, duration and the time when it was loaded."""
    content = file.as_input(attemptId="", sequence=0, bundleVersion=None, versionData=None, parseDuration=0)
    for dag in content["dags"]:
        del dag["lastLoaded"]
    # No sorting of keys: the digest is of the exact documents.
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=32).hexdigest()


def _each_file_once(files: Sequence[ParsedFile]) -> Iterator[list[ParsedFile]]:
    """Runs of results in which no file comes twice: a processor never has two results of one file waiting."""
    run: dict[tuple[str, str], ParsedFile] = {}
    for file in files:
        key = (file.bundle_name, file.relative_fileloc)
        if key in run:
            yield list(run.values())
            run = {}
        run[key] = file
    yield list(run.values())


def _fingerprints_first(
    processor: RegisteredProcessor, files: Sequence[ParsedFile], sequence: int
) -> list[dict[str, Any]]:
    attempts = {str(uuid.uuid4()): file for file in files}
    recorded = processor.send("RecordUnchangedResults", batches=_batches(attempts, sequence))
    assert recorded["status"] == "ACCEPTED", recorded
    # In the order of parsing, which the gateway does not see: it was told by bundles.
    wanted = [attempt_id for attempt_id in attempts if attempt_id in recorded["wanted"]]
    assert recorded["recordedCount"] == len(attempts) - len(wanted), recorded
    stored = (
        processor.record(
            *(
                attempts[attempt_id].as_input(
                    attemptId=attempt_id, sequence=sequence, fingerprint=fingerprint(attempts[attempt_id])
                )
                for attempt_id in wanted
            )
        )
        if wanted
        else []
    )
    outcomes = {outcome["attemptId"]: {**outcome, "wanted": True} for outcome in stored}
    unchanged = {"status": "ACCEPTED", "reason": None, "wanted": False}
    return [outcomes.get(attempt_id, unchanged) for attempt_id in attempts]


def _batches(attempts: dict[str, ParsedFile], sequence: int) -> list[dict[str, Any]]:
    """``UnchangedResultsInput`` of the contract, one for each bundle and version."""
    batches: dict[str, dict[str, Any]] = {}
    for attempt_id, file in attempts.items():
        of_all = {
            "bundleName": file.bundle_name,
            "bundlePath": file.bundle_path,
            "bundleVersion": file.bundle_version,
            "versionData": file.version_data,
        }
        batch = batches.setdefault(json.dumps(of_all), {**of_all, "results": []})
        batch["results"].append(
            {
                "attemptId": attempt_id,
                "sequence": sequence,
                "relativeFileloc": file.relative_fileloc,
                "fingerprint": fingerprint(file),
                "parseDuration": file.parse_duration,
            }
        )
    return list(batches.values())
