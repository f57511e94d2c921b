"""The two functions of Airflow that would look at the gateway's disk, and what replaces them."""

from __future__ import annotations

import ast
from pathlib import Path

import airflow
import pytest

from parsegate.resolvers import source_code


def _uses(attribute: str) -> set[tuple[str, str]]:
    """Where Airflow's core calls a method of this name: file, and the function around the call."""
    root = Path(airflow.__path__[0])
    found: set[tuple[str, str]] = set()
    for folder in ("models", "dag_processing", "jobs", "serialization", "api_fastapi"):
        for path in (root / folder).rglob("*.py"):
            text = path.read_text()
            if attribute not in text:
                continue
            for function in ast.walk(ast.parse(text)):
                if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and any(
                    isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == attribute
                    for node in ast.walk(function)
                ):
                    found.add((str(path.relative_to(root)), function.name))
    return found


def test_airflow_calls_what_is_replaced_where_it_did_in_3_3_2() -> None:
    """Fails when Airflow changes: then look again at who reads what, and adapt the module."""
    assert _uses("get_code_from_file") == {
        ("models/dagcode.py", "write_code"),
        ("models/dagcode.py", "update_source_code"),
    }
    assert _uses("full_file_path") == {("dag_processing/collection.py", "_update_import_errors")}


def test_without_supplied_sources_airflow_reads_the_file_as_ever(tmp_path: Path) -> None:
    from airflow.models.dagcode import DagCode

    file = tmp_path / "a.py"
    file.write_text("on disk")
    with source_code.supplied({str(file): "supplied"}, "/bundle"):
        assert DagCode.get_code_from_file(str(file)) == "supplied"
    assert DagCode.get_code_from_file(str(file)) == "on disk"


def test_what_is_not_supplied_is_not_read(tmp_path: Path) -> None:
    from airflow.models.dagcode import DagCode

    file = tmp_path / "a.py"
    file.write_text("on disk")
    with source_code.supplied({}, "/bundle"), pytest.raises(source_code.SourceNotSuppliedError, match=r"a\.py"):
        DagCode.get_code_from_file(str(file))


def test_paths_of_import_errors_are_the_processors_while_supplied() -> None:
    from airflow.models.errors import ParseImportError

    error = ParseImportError(bundle_name="nowhere-configured", filename="sub/a.py")
    with source_code.supplied({}, "/processor/dags"):
        assert error.full_file_path() == "/processor/dags/sub/a.py"
    with pytest.raises(ValueError, match="not configured"):
        error.full_file_path()
