"""Storing some files reads the import errors of those files, and does with them what it would do with all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import dag_files
import pytest
from airflow_database import AirflowDatabase
from executed_statements import executed_statements
from gateway_app import Gateway
from many_rows import insert_import_errors
from parsed_files import ParsedFile, parse
from registered_processor import RegisteredProcessor

KNOWN, NEW, GONE, IN_A_ZIP = "broken_0.py", "new.py", "broken_1.py", "packed.zip/inner.py"
Narrowed = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def thousand_errors(gateway: Gateway) -> RegisteredProcessor:
    """A processor of the bundles ``dags`` and ``others``; ``dags`` has 1,000 import errors, ``others`` that of NEW."""
    processor = RegisteredProcessor(gateway)
    processor.sync("dags", "others")
    insert_import_errors(range(1000))
    insert_import_errors([0], file=IN_A_ZIP)
    insert_import_errors([0], bundle_name="others", file=NEW)
    return processor


def test_what_is_stored_and_told_is_as_if_all_were_read(
    thousand_errors: RegisteredProcessor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from parsegate.resolvers import known_import_errors

    dag_files.write_zip(tmp_path / "packed.zip", inner=dag_files.DAILY.format(dag_id="packed"))
    (packed,) = parse("dags", tmp_path)
    of_all = _outcome(packed, monkeypatch, lambda *_: nullcontext())
    assert _outcome(packed, monkeypatch, known_import_errors.narrowed) == of_all
    calls, errors = of_all
    assert calls == [("existing", KNOWN), ("new", NEW), ("existing", IN_A_ZIP)]
    assert len(errors) == 1002


def _outcome(packed: ParsedFile, monkeypatch: pytest.MonkeyPatch, narrowed: Narrowed) -> tuple[list[Any], list[Any]]:
    """What listeners hear, and the import errors then, in a transaction that is rolled back: one file's error is known,
    one's is new, one has none any more, and a DAG in a zip can't be serialized.
    """
    from airflow.dag_processing.collection import update_dag_parsing_results_in_db
    from airflow.listeners.listener import get_listener_manager
    from airflow.models.errors import ParseImportError
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from sqlalchemy import select

    from parsegate.resolvers import database, source_code

    calls: list[tuple[str, str]] = []

    class Listener:
        from airflow.listeners import hookimpl

        @staticmethod
        @hookimpl
        def on_new_dag_import_error(filename: str, stacktrace: str) -> None:
            calls.append(("new", filename.removeprefix("/bundles/dags/")))

        @staticmethod
        @hookimpl
        def on_existing_dag_import_error(filename: str, stacktrace: str) -> None:
            calls.append(("existing", filename.removeprefix("/bundles/dags/")))

    def unserializable(*_: Any, **__: Any) -> bool:
        raise ValueError("not today")

    monkeypatch.setattr(SerializedDagModel, "write_dag", unserializable)
    get_listener_manager().add_listener(Listener)
    errors: dict[tuple[str, str], str] = {("dags", KNOWN): "again", ("dags", NEW): "first"}
    files = {("dags", path) for path in (KNOWN, NEW, GONE, "packed.zip")}
    try:
        with database.reading() as session:
            with source_code.supplied(packed.sources, "/bundles/dags"), narrowed(session, files, errors):
                update_dag_parsing_results_in_db(
                    bundle_name="dags",
                    bundle_version=None,
                    dags=[
                        LazyDeserializedDAG(data=dag["data"], last_loaded=None)
                        for dag in packed.result["serialized_dags"]
                    ],
                    import_errors=errors,
                    parse_duration=0.1,
                    warnings=set(),
                    session=session,
                    files_parsed=files,
                )
            columns = (ParseImportError.bundle_name, ParseImportError.filename, ParseImportError.stacktrace)
            return calls, [tuple(row) for row in session.execute(select(*columns).order_by(*columns[:2]))]
    finally:
        get_listener_manager().pm.unregister(Listener)


def test_no_statement_reads_the_import_errors_of_other_files(
    thousand_errors: RegisteredProcessor, broken: ParsedFile, daily: ParsedFile
) -> None:
    with executed_statements() as executed:
        thousand_errors.record_files(broken, daily)
        thousand_errors.record_files(broken, sequence=2)
    read = [each for each in executed if each.text.startswith("SELECT") and "FROM import_error" in each.text]
    assert len(read) == 4, "once for each result, and the row of the error that was known already"
    for each in read:
        assert {broken.relative_fileloc, daily.relative_fileloc} & set(each.values), each
        assert each.count_rows() <= 1, each


def test_the_restriction_ends_with_the_block(airflow_database: AirflowDatabase) -> None:
    from airflow.models.errors import ParseImportError
    from sqlalchemy import func, select

    from parsegate.resolvers import database
    from parsegate.resolvers.known_import_errors import narrowed

    insert_import_errors(range(3))
    count = select(func.count(ParseImportError.id))
    with database.reading() as session:
        with narrowed(session, [("dags", "broken_1.py")], {}):
            assert session.scalar(count) == 1
        assert session.scalar(count) == 3
