"""Documents and source code are found through versions, and are those that Airflow finds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dag_content import DagContent, FileContent
from other_writers import create_next_run
from registered_processor import RegisteredProcessor

DAG_IDS = ["grown", "edited_before", "without_document", "without_code", "single"]


def test_what_is_found_is_what_airflow_finds(processor: RegisteredProcessor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when an older version's code was updated last, and when the latest version has no document or no code."""
    from airflow.models.dag_version import DagVersion
    from airflow.models.dagcode import DagCode
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.utils.session import create_session
    from sqlalchemy import delete, select, update

    from parsegate.resolvers import version_lookups

    monkeypatch.setenv("AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL", "0")
    _store_versions(processor)
    with create_session() as session:

        def version(dag_id: str, number: int) -> Any:
            return select(DagVersion.id).where(DagVersion.dag_id == dag_id, DagVersion.version_number == number)

        later = datetime.now(UTC) + timedelta(minutes=1)
        session.execute(
            update(DagCode)
            .where(DagCode.dag_version_id.in_(version("edited_before", 1)))
            .values(last_updated=later, source_code_hash="of the first version")
        )
        for model, dag_id in ((SerializedDagModel, "without_document"), (DagCode, "without_code")):
            session.execute(delete(model).where(model.dag_version_id.in_(version(dag_id, 3))))

    def found() -> tuple[Any, dict[str, Any]]:
        with create_session() as session:
            documents = SerializedDagModel._prefetch_dag_write_metadata([*DAG_IDS, "unknown"], session=session)
            codes = {dag_id: DagCode.get_latest_dagcode(dag_id, session=session) for dag_id in [*DAG_IDS, "unknown"]}
            return (
                {
                    dag_id: (data.last_updated, data.dag_hash, data.dag_version and data.dag_version.version_number)
                    for dag_id, data in documents.items()
                },
                {dag_id: code and (code.id, code.source_code_hash) for dag_id, code in codes.items()},
            )

    with create_session() as session, version_lookups.of(session, [*DAG_IDS, "unknown"]):
        through_versions = found()
    assert through_versions == found()
    documents, codes = through_versions
    assert [documents[dag_id][2] for dag_id in [*DAG_IDS, "unknown"]] == [3, 3, 3, 3, 1, None]
    assert documents["without_document"][1] is not None
    assert codes["edited_before"][1] == "of the first version"
    assert codes["without_code"] is not None
    assert codes["unknown"] is None
    outside = DagCode.get_latest_dagcode("single")
    assert outside is not None, "Airflow opens a session of its own"


def _store_versions(processor: RegisteredProcessor) -> None:
    """Three of each, since it ran in between; one alone of the last."""
    from airflow.utils.session import create_session

    for sequence in (1, 2, 3):
        dags = [DagContent(dag_id, tasks=sequence) for dag_id in DAG_IDS[:-1]]
        files = [FileContent(f"{dag.dag_id}.py", (dag,), comment=str(sequence)) for dag in dags]
        if sequence == 1:
            files.append(FileContent("single.py", (DagContent("single"),)))
        processor.record_files(*(file.parsed(Path("/bundles"), datetime.now(UTC)) for file in files), sequence=sequence)
        with create_session() as session:
            for dag in dags:
                create_next_run(dag.dag_id)(session)
