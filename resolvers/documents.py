"""What a parse result must look like before anything of it is stored.

Airflow's write path trusts its own processor. What comes over the network is checked here: paths, identifiers, numbers
that a database or a JSON reader would not take, and that the source of every DAG travels along.
"""

from __future__ import annotations

import math
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from airflow.models.dagwarning import DagWarningType
from airflow.sdk.exceptions import AirflowException
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.helpers import validate_key

from .refusals import Refusal, RefusalReason

if TYPE_CHECKING:
    from collections.abc import Collection

    from .parse_result import ParseResult

MAX_PATH = 2000
MAX_IMPORT_ERROR_PATH = 1024
MAX_BUNDLE_VERSION = 200
MAX_ATTEMPT_ID = 36
MAX_FINGERPRINT = 64
_INTEGER_BOUND = 2**63


def check_identity(result: ParseResult) -> None:
    """Check what names the attempt and its file.

    :raises Refusal: INVALID_PATH, INVALID_DOCUMENT
    """
    check_path(result.relative_fileloc, MAX_PATH)
    check_attempt_id(result.attempt_id)


def check_contents(result: ParseResult) -> None:
    """Check everything else that can be judged without the database.

    :raises Refusal: INVALID_PATH, INVALID_DOCUMENT, SOURCE_MISSING
    """
    if not result.bundle_path.startswith("/") or "\0" in result.bundle_path:
        raise Refusal(RefusalReason.INVALID_PATH, f"bundlePath {result.bundle_path!r} is not an absolute path.")
    check_duration(result.parse_duration)
    if result.bundle_version is not None and (
        len(result.bundle_version) > MAX_BUNDLE_VERSION or "\0" in result.bundle_version
    ):
        raise _invalid(f"bundleVersion has at most {MAX_BUNDLE_VERSION} characters, none of them NUL.")
    if result.fingerprint is not None and (
        not 1 <= len(result.fingerprint) <= MAX_FINGERPRINT or "\0" in result.fingerprint
    ):
        raise _invalid(f"fingerprint has 1 to {MAX_FINGERPRINT} characters, none of them NUL.")
    if result.version_data is not None:
        if not isinstance(result.version_data, dict):
            raise _invalid("versionData is not an object.")
        _check_numbers(result.version_data, "versionData")
    for path, _ in result.import_errors:
        _check_import_error_path(path, result)
    for warning in result.warnings:
        if warning.warning_type not in _WARNING_TYPES:
            raise _invalid(
                f"{warning.warning_type!r} is no warning type; there are {', '.join(sorted(_WARNING_TYPES))}."
            )
    _check_dags(result)


def check_attempt_id(attempt_id: str) -> None:
    """Check the name of an attempt.

    :raises Refusal: INVALID_DOCUMENT
    """
    if not attempt_id or len(attempt_id) > MAX_ATTEMPT_ID or "\0" in attempt_id:
        raise _invalid(f"attemptId must have 1 to {MAX_ATTEMPT_ID} characters, none of them NUL.")


def check_duration(seconds: float) -> None:
    """Check how long parsing took.

    :raises Refusal: INVALID_DOCUMENT
    """
    if not math.isfinite(seconds) or seconds < 0:
        raise _invalid("parseDuration must be a finite number of seconds, not negative.")


def check_path(path: str, longest: int) -> None:
    """Check a path inside a bundle: relative, normalised, without ``..`` and NUL.

    :raises Refusal: INVALID_PATH
    """
    # Bytes, because PostgreSQL's index on the ledger's key has no room for 2,000 characters of four bytes each.
    length = len(path.encode(errors="surrogatepass"))
    if not 1 <= length <= longest:
        raise Refusal(
            RefusalReason.INVALID_PATH, f"A path in a bundle has 1 to {longest} bytes in UTF-8; this one has {length}."
        )
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\0" in path or str(pure) != path or path == ".":
        raise Refusal(
            RefusalReason.INVALID_PATH,
            f"{path!r} does not name a file in the bundle: paths are relative to it, normalised and without '..'.",
        )


_WARNING_TYPES: Collection[str] = {kind.value for kind in DagWarningType}


def _check_import_error_path(path: str, result: ParseResult) -> None:
    # Airflow reports a file inside a zip by its absolute path (importers/python_importer.py:_load_modules_from_zip).
    prefix = f"{result.bundle_path}/{result.relative_fileloc}/"
    check_path(path.removeprefix(prefix), MAX_IMPORT_ERROR_PATH)
    if len(path) > MAX_IMPORT_ERROR_PATH:
        raise Refusal(
            RefusalReason.INVALID_PATH, f"The path of an import error has at most {MAX_IMPORT_ERROR_PATH} characters."
        )


def _check_dags(result: ParseResult) -> None:
    seen: set[str] = set()
    for position, dag in enumerate(result.documents):
        dag_id, fileloc = _check_document(dag.document, f"dags[{position}].document")
        if dag_id in seen:
            raise _invalid(f"DAG {dag_id} is in this result twice.")
        seen.add(dag_id)
        if not result.sources.get(fileloc):
            raise Refusal(
                RefusalReason.SOURCE_MISSING,
                f"DAG {dag_id} comes from {fileloc}, whose source code the result does not carry.",
            )


def _check_document(document: Any, name: str) -> tuple[str, str]:
    """The document's ``dag_id`` and ``fileloc``."""
    if not isinstance(document, dict):
        raise _invalid(f"{name} is not an object.")
    version = document.get("__version")
    if type(version) is not int or not 1 <= version <= DagSerialization.SERIALIZER_VERSION:
        raise _invalid(
            f"{name} has the serialization version {version!r}; "
            f"this gateway reads 1 to {DagSerialization.SERIALIZER_VERSION}."
        )
    dag = document.get("dag")
    if not isinstance(dag, dict):
        raise _invalid(f"{name} has no object 'dag'.")
    dag_id = _text(dag, "dag_id", name)
    try:
        validate_key(dag_id)
    except AirflowException as error:
        raise _invalid(f"{name}: {error}") from error
    fileloc = _text(dag, "fileloc", name)
    if len(fileloc) > MAX_PATH:
        raise _invalid(f"{name} has a fileloc of more than {MAX_PATH} characters.")
    check_path(_text(dag, "relative_fileloc", name), MAX_PATH)
    if not isinstance(dag.get("tasks"), list):
        raise _invalid(f"{name} has no list 'tasks'.")
    if not isinstance(dag.get("timetable"), dict):
        raise _invalid(f"{name} has no object 'timetable'.")
    _check_numbers(document, name)
    return dag_id, fileloc


def _text(dag: dict[Any, Any], field: str, name: str) -> str:
    value = dag.get(field)
    if not isinstance(value, str) or not value or "\0" in value:
        raise _invalid(f"{name} has no text '{field}'.")
    return value


def _check_numbers(document: Any, name: str) -> None:
    remaining = [document]
    while remaining:
        value = remaining.pop()
        if isinstance(value, dict):
            remaining.extend(value.values())
        elif isinstance(value, list):
            remaining.extend(value)
        elif isinstance(value, int):
            if not -_INTEGER_BOUND <= value < _INTEGER_BOUND:
                raise _invalid(f"{name} holds a whole number of more than 64 bits.")
        elif isinstance(value, float) and not math.isfinite(value):
            raise _invalid(f"{name} holds {value}, which is not a number that JSON has.")


def _invalid(message: str) -> Refusal:
    return Refusal(RefusalReason.INVALID_DOCUMENT, message)
