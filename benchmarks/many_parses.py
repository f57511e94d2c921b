"""A database as many parses of a large bundle leave it, some of which failed; rows are written directly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from parse_state_rows import (
    add_bundle,
    add_callbacks,
    add_claims,
    add_dags,
    add_files,
    add_processor,
    dag_callback,
    dag_row,
    file_row,
    insert,
)

BUNDLE = "dags"
VERSION = "9fceb02d0ae598e95dc970b74767f19372d61af8"
BEFORE = "1d3f5a7b9c0e2f4a6b8c0d1e3f5a7b9c0e2f4a6b"
FOLDERS = 50
SOURCE = "from airflow.sdk import DAG\n" + "# a line of a file that is neither short nor long\n" * 80
STACKTRACE = "Traceback (most recent call last):\n" + '  File "dags/team/file.py", line 7, in <module>\n' * 20


def fill_parse_state(files: int) -> None:
    """One bundle at a new version that most files have reached.

    Of 100 files two have import errors, one was refused, one timed out and one was not parsed at the new version yet.
    Each has two DAGs, with a tag, two versions and their source code.
    """
    now = datetime.now(UTC)
    add_bundle(BUNDLE, version=VERSION, last_refreshed=now)
    numbers = range(files)
    paths = [f"team_{number % FOLDERS:02}/pipelines/file_{number:05}.py" for number in numbers]
    add_files(*(_file(number, path, now) for number, path in enumerate(paths)))
    _add_dags(paths, now)
    _add_import_errors([path for number, path in enumerate(paths) if number % 50 == 7], now)
    _add_version(paths, now)
    for job_id in range(1, 201):
        # Four are alive; the others are the starts of some weeks.
        add_processor(job_id, **({} if job_id > 196 else {"state": "success", "end_date": now - timedelta(days=1)}))
    _tell_activity(paths[:8], now)
    callbacks = [dag_callback(f"dag_{number}", BUNDLE, filepath=paths[number % files]) for number in range(300)]
    add_callbacks(*callbacks[:200])
    add_claims(*callbacks[200:280], state="LEASED", job_id=197, expires_at=now + timedelta(seconds=60))
    add_claims(*callbacks[280:], state="PARKED", attempts=5, message="5 attempts failed.")


def _tell_activity(parsing: list[str], now: datetime) -> None:
    from sqlalchemy import update

    from parsegate.resolvers.database import transaction
    from parsegate.resolvers.tables import Processor

    activity = {"parsing": [[BUNDLE, path] for path in parsing], "queuedFiles": 1000, "undeliveredResults": 3}
    with transaction() as session:
        session.execute(update(Processor).where(Processor.job_id > 196).values(activity=activity, activity_at=now))


def _file(number: int, path: str, now: datetime) -> dict[str, Any]:
    at = now - timedelta(seconds=number % 300, microseconds=number)
    seconds = 0.05 + (number * 7919 % 1000) / 250
    status = {0: "REFUSED", 1: "TIMED_OUT"}.get(number % 100, "STORED")
    version = BEFORE if number % 100 == 2 else VERSION
    parses = [
        [(at - timedelta(minutes=5 * back)).isoformat(), seconds + back / 100, status, version, 197 + number % 4]
        for back in range(10)
    ]
    return file_row(
        path,
        BUNDLE,
        status=status,
        reason="SOURCE_MISSING" if status == "REFUSED" else None,
        message=None if status == "STORED" else "What went wrong, for a person.",
        last_parsed_at=at,
        last_stored_at=at,
        parse_duration=seconds,
        bundle_version=version,
        dag_count=2,
        import_error_count=int(number % 50 == 7),
        job_id=197 + number % 4,
        fingerprint="f" * 64,
        imprint="i" * 64,
        written={"dags": {f"dag_{number}_{index}": {"schedule": ["cron", "0 0 * * *", "UTC"]} for index in range(2)}},
        recent_parses=parses,
    )


def _add_dags(paths: list[str], now: datetime) -> None:
    from airflow.models.dag import DagTag
    from airflow.models.dag_version import DagVersion
    from airflow.models.dagcode import DagCode
    from airflow.models.dagwarning import DagWarning

    dags = [(f"dag_{number}_{index}", path) for number, path in enumerate(paths) for index in range(2)]
    add_dags(
        *(
            dag_row(
                dag_id,
                path,
                BUNDLE,
                bundle_version=VERSION,
                owners=f"owner_{number % 20}, airflow",
                description="What the DAG is for, in a sentence.",
                is_stale=number % 40 == 0,
                has_import_errors=number // 2 % 50 == 7,
                last_parsed_time=now - timedelta(seconds=number % 300),
                last_parse_duration=0.5,
                timetable_summary="0 0 * * *",
                next_dagrun=now,
                next_dagrun_create_after=now + timedelta(seconds=number),
            )
            for number, (dag_id, path) in enumerate(dags)
        )
    )
    insert(DagTag, *({"dag_id": dag_id, "name": f"tag_{number % 30}"} for number, (dag_id, _) in enumerate(dags)))
    versions = [
        (UUID(int=2 * number + version), dag_id, version, path)
        for number, (dag_id, path) in enumerate(dags)
        for version in (1, 2)
    ]
    insert(
        DagVersion,
        *(
            {"id": id_, "dag_id": dag_id, "version_number": version, "bundle_name": BUNDLE, "bundle_version": VERSION}
            for id_, dag_id, version, _ in versions
        ),
    )
    insert(
        DagCode,
        *(
            {
                "id": id_,
                "dag_version_id": id_,
                "dag_id": dag_id,
                "fileloc": f"/bundles/dags/{path}",
                "source_code": SOURCE,
                "source_code_hash": "0" * 32,
            }
            for id_, dag_id, _, path in versions
        ),
    )
    warning = {"warning_type": "non-existent pool", "message": "There is no pool `fast`.", "timestamp": now}
    insert(DagWarning, *({"dag_id": dag_id, **warning} for dag_id, _ in dags[::20]))


def _add_import_errors(paths: list[str], now: datetime) -> None:
    from airflow.models.errors import ParseImportError

    error = {"bundle_name": BUNDLE, "stacktrace": STACKTRACE, "timestamp": now}
    insert(ParseImportError, *({"filename": path, **error} for path in paths))


def _add_version(paths: list[str], now: datetime) -> None:
    from parsegate.resolvers.tables import BundleVersion

    seen = {"bundle_name": BUNDLE, "files": sorted(paths), "file_count": len(paths)}
    before, since = now - timedelta(hours=2), now - timedelta(hours=1)
    insert(
        BundleVersion,
        {**seen, "version": BEFORE, "first_seen_at": before, "last_seen_at": before, "completed_at": before},
        {**seen, "version": VERSION, "first_seen_at": since, "last_seen_at": now, "completed_at": None},
    )
