"""Rows of Airflow's and parsegate's tables as many parses leave them, written directly: what operators' lists show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway_app import Gateway

LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)

READ_ALL = {
    "bundles": """query Read($first: Int!, $after: String) { bundles(first: $first, after: $after) {
        nodes { id name active version lastRefreshed teamName
            fileCount dagCount staleDagCount importErrorCount warningCount
            errorFileCount oldestParse slowestFile { relativeFileloc parseDuration } }
        edges { cursor } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount } }""",
    "files": """query Read($first: Int!, $after: String) { files(first: $first, after: $after) {
        nodes { id bundleName relativeFileloc status reason message lastParsedAt lastStoredAt parseDuration
            bundleVersion dagCount importErrorCount warningCount processor { jobId alive }
            importErrors { id stacktrace }
            recentParses { parsedAt duration status bundleVersion processor { jobId } }
            dags(first: 5) { totalCount pageInfo { hasNextPage endCursor } nodes { dagId tags latestVersion
                warnings { message } file { relativeFileloc } } } }
        edges { cursor } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount } }""",
    "dags": """query Read($first: Int!, $after: String) { dags(first: $first, after: $after) {
        nodes { id dagId displayName description bundleName bundleVersion relativeFileloc fileloc isStale isPaused
            hasImportErrors lastParsedTime lastParseDuration owners timetableSummary timetableDescription nextDagrun
            nextDagrunDataIntervalStart nextDagrunDataIntervalEnd nextDagrunCreateAfter maxActiveRuns maxActiveTasks
            tags latestVersion warnings { id message }
            file { status importErrors { stacktrace } processor { hostname } } }
        edges { cursor } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount } }""",
    "importErrors": """query Read($first: Int!, $after: String) { importErrors(first: $first, after: $after) {
        nodes { id bundleName relativeFileloc timestamp stacktrace }
        edges { cursor } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount } }""",
    "dagWarnings": """query Read($first: Int!, $after: String) { dagWarnings(first: $first, after: $after) {
        nodes { id dagId warningType message timestamp bundleName relativeFileloc }
        edges { cursor } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount } }""",
    "processors": """query Read($first: Int!, $after: String) { processors(first: $first, after: $after) {
        nodes { id jobId subject hostname pid bundleNames parsegateVersion airflowVersion registeredAt state alive
            latestHeartbeat startDate endDate
            activity { parsing { bundleName relativeFileloc } queuedFiles undeliveredResults at } }
        edges { cursor } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount } }""",
    "pendingCallbacks": """query Read($first: Int!, $after: String) { pendingCallbacks(first: $first, after: $after) {
        nodes { id state type bundleName bundleVersion relativeFileloc dagId runId taskId mapIndex tryNumber
            priorityWeight createdAt age attempts lastOutcome message leaseExpiresAt owner { jobId hostname } }
        edges { cursor } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount } }""",
}
"""For each root list, a document that asks for everything in it."""


def read(gateway: Gateway, field: str, arguments: str, selection: str, bundles: tuple[str, ...] = ("*",)) -> list[Any]:
    """The nodes of one page, as an operator whose token grants ``bundles``."""
    document = f"{{ {field}({arguments}) {{ nodes {{ {selection} }} }} }}"
    return gateway.data(document, token=gateway.operator_token(bundles))[field]["nodes"]


def read_everything(gateway: Gateway, field: str, first: int, bundles: tuple[str, ...] = ("*",)) -> list[Any]:
    """The nodes of all pages."""
    nodes: list[Any] = []
    after = None
    while True:
        variables = {"first": first, "after": after}
        page = gateway.data(READ_ALL[field], variables, token=gateway.operator_token(bundles))[field]
        assert len(page["nodes"]) == len(page["edges"]) <= first
        nodes += page["nodes"]
        if not page["pageInfo"]["hasNextPage"]:
            return nodes
        after = page["pageInfo"]["endCursor"]


@contextmanager
def counted_statements() -> Iterator[list[str]]:
    """The statements that Airflow's engine sends while the block runs."""
    from airflow import settings
    from sqlalchemy import event

    sent: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    engine = settings.get_engine()
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


def insert(model: Any, *rows: dict[str, Any]) -> None:
    """Insert rows; what they leave out gets the model's default."""
    from sqlalchemy import insert as insert_into

    from parsegate.resolvers.database import transaction

    with transaction() as session:
        session.execute(insert_into(model), list(rows))


def add_bundle(name: str, **columns: Any) -> None:
    from airflow.models.dagbundle import DagBundleModel

    insert(DagBundleModel, {"name": name, "active": True, **columns})


def file_row(path: str, bundle: str = "dags", **columns: Any) -> dict[str, Any]:
    return {
        "bundle_name": bundle,
        "relative_fileloc": path,
        "status": "STORED",
        "last_parsed_at": LONG_AGO,
        "last_stored_at": LONG_AGO,
        "parse_duration": 0.5,
        "dag_count": 1,
        "import_error_count": 0,
        "warning_count": 0,
        "job_id": 1,
        "attempt_id": "00000000-0000-0000-0000-000000000000",
        "sequence": 1,
        **columns,
    }


def dag_row(dag_id: str, path: str, bundle: str = "dags", **columns: Any) -> dict[str, Any]:
    return {
        "dag_id": dag_id,
        "bundle_name": bundle,
        "relative_fileloc": path,
        "fileloc": f"/bundles/{bundle}/{path}",
        "is_stale": False,
        "is_paused": False,
        "owners": "airflow",
        "max_active_tasks": 16,
        "max_consecutive_failed_dag_runs": 0,
        "has_task_concurrency_limits": False,
        **columns,
    }


def add_files(*rows: dict[str, Any]) -> None:
    from parsegate.resolvers.tables import ParsedFile

    insert(ParsedFile, *rows)


def add_dags(*rows: dict[str, Any]) -> None:
    from airflow.models.dag import DagModel

    insert(DagModel, *rows)


def add_import_errors(*paths: str, bundle: str | None = "dags") -> None:
    from airflow.models.errors import ParseImportError

    insert(
        ParseImportError,
        *(
            {"bundle_name": bundle, "filename": path, "stacktrace": f"broken {path}", "timestamp": LONG_AGO}
            for path in paths
        ),
    )


def add_warnings(*dag_ids: str, warning_type: str = "non-existent pool") -> None:
    from airflow.models.dagwarning import DagWarning

    insert(
        DagWarning,
        *(
            {"dag_id": dag_id, "warning_type": warning_type, "message": f"about {dag_id}", "timestamp": LONG_AGO}
            for dag_id in dag_ids
        ),
    )


def add_processor(job_id: int, bundles: list[str] | None = None, **job: Any) -> None:
    """A registration, and its Job; ``state=None`` for a Job that Airflow has deleted."""
    from airflow.jobs.job import Job

    from parsegate.resolvers.tables import Processor

    columns = {"state": "running", "latest_heartbeat": datetime.now(UTC), "start_date": LONG_AGO, **job}
    if columns["state"] is not None:
        row = {"id": job_id, "job_type": "DagProcessorJob", "hostname": f"host-{job_id}", **columns}
        insert(Job, row)
    insert(
        Processor,
        {
            "job_id": job_id,
            "registration_id": f"registration-{job_id}",
            "subject": f"dag-processor:host-{job_id}",
            "hostname": f"host-{job_id}",
            "pid": 100 + job_id,
            "bundle_names": bundles or ["*"],
            "parsegate_version": "0.1.0",
            "airflow_version": "3.3.2",
            "registered_at": LONG_AGO,
        },
    )


def dag_callback(dag_id: str = "orders", bundle: str = "dags", **fields: Any) -> Any:
    """A callback for a DAG run as the scheduler makes it."""
    from airflow.callbacks.callback_requests import DagCallbackRequest

    return DagCallbackRequest(
        filepath=fields.pop("filepath", "orders.py"),
        bundle_name=bundle,
        bundle_version=fields.pop("bundle_version", None),
        dag_id=dag_id,
        run_id=fields.pop("run_id", "scheduled__2024-01-01"),
        **fields,
    )


def add_callbacks(*requests: Any, created_at: datetime | None = None) -> None:
    """What the scheduler leaves: one second apart, in this order."""
    from airflow.models.callback import DagProcessorCallback

    from parsegate.resolvers.database import transaction

    with transaction() as session:
        for index, request in enumerate(requests):
            callback = DagProcessorCallback(priority_weight=1, callback=request)
            callback.created_at = (created_at or LONG_AGO) + timedelta(seconds=0 if created_at else index)
            session.add(callback)


def add_claims(*requests: Any, created_at: datetime = LONG_AGO, **columns: Any) -> None:
    from uuid6 import uuid7

    from parsegate.resolvers.tables import Claim

    insert(
        Claim,
        *(
            {
                "id": str(uuid7()),
                "kind": "CALLBACK",
                "state": "WAITING",
                "bundle_name": request.bundle_name,
                "priority_weight": 1,
                "payload": json.loads(request.to_json()),
                "created_at": created_at,
                "attempts": 1,
                **columns,
            }
            for request in requests
        ),
    )


def fill(count: int) -> None:
    """``count`` rows for every list, each parent with children."""
    from airflow.models.dag import DagTag
    from airflow.models.dag_version import DagVersion
    from airflow.models.dagbundle import DagBundleModel

    numbers = [f"{number:04}" for number in range(count)]
    insert(DagBundleModel, *({"name": f"bundle_{number}", "active": True} for number in numbers))
    add_files(
        *(
            # Every tenth is an archive, whose DAGs and errors lie in it.
            file_row(
                f"{number}.zip" if number[-1] == "0" else f"{number}.py",
                "bundle_0000",
                job_id=int(number) + 1,
                status="TIMED_OUT" if number[-1] == "1" else "STORED",
                import_error_count=int(number[-1] == "2"),
                recent_parses=[[LONG_AGO.isoformat(), 0.5, "STORED", None, int(number) + 1]] * 10,
            )
            for number in numbers
        )
    )
    paths = [f"{number}.zip/dag.py" if number[-1] == "0" else f"{number}.py" for number in numbers]
    add_dags(*(dag_row(f"dag_{number}", path, "bundle_0000") for number, path in zip(numbers, paths, strict=True)))
    insert(DagTag, *({"dag_id": f"dag_{number}", "name": name} for number in numbers for name in ("b", "a")))
    insert(
        DagVersion,
        *({"dag_id": f"dag_{number}", "version_number": version} for number in numbers for version in (1, 2)),
    )
    add_import_errors(*paths, bundle="bundle_0000")
    add_warnings(*(f"dag_{number}" for number in numbers))
    for number in numbers:
        add_processor(int(number) + 1)
    half = [dag_callback(f"dag_{number}", "bundle_0000") for number in numbers[: count // 2]]
    add_callbacks(*half)
    for index, request in enumerate(half):
        add_claims(request, created_at=LONG_AGO + timedelta(seconds=index), state="LEASED", job_id=index + 1)
