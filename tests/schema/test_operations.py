"""The documents in ``client/operations`` and the client generated from them cover the contract."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from graphql import FieldNode, OperationDefinitionNode, OperationType, build_schema, parse, validate

ROOT = Path(__file__).parents[2]
SCHEMA = build_schema((ROOT / "schema.graphql").read_text())
DOCUMENTS = sorted((ROOT / "client" / "operations").glob("*.graphql"))
SAVED_QUERIES = sorted((ROOT / "gateway" / "graphiql" / "queries").glob("*.graphql"))


def operations(document: Path) -> list[OperationDefinitionNode]:
    return [node for node in parse(document.read_text()).definitions if isinstance(node, OperationDefinitionNode)]


def root_fields(operation: OperationDefinitionNode) -> list[str]:
    fields = operation.selection_set.selections
    assert all(isinstance(field, FieldNode) for field in fields)
    return [field.name.value for field in fields if isinstance(field, FieldNode)]


@pytest.mark.parametrize("document", [*DOCUMENTS, *SAVED_QUERIES], ids=lambda path: path.stem)
def test_a_document_fits_the_contract(document: Path) -> None:
    assert validate(SCHEMA, parse(document.read_text())) == []


@pytest.mark.parametrize(
    "document",
    [document for document in DOCUMENTS if not document.stem.startswith("operator")],
    ids=lambda path: path.stem,
)
def test_an_operation_has_one_root_field_and_its_name(document: Path) -> None:
    """But for those of operators' commands, which are named for what they are for."""
    for operation in operations(document):
        assert operation.name is not None
        [field] = root_fields(operation)
        assert operation.name.value.lower() == field.lower()


@pytest.mark.parametrize("kind", [OperationType.QUERY, OperationType.MUTATION], ids=lambda kind: kind.value)
def test_every_root_field_has_an_operation(kind: OperationType) -> None:
    root = SCHEMA.get_root_type(kind)
    assert root is not None

    covered = {
        field
        for document in DOCUMENTS
        for operation in operations(document)
        if operation.operation is kind
        for field in root_fields(operation)
    }

    assert set(root.fields) == covered


@pytest.mark.slow
def test_generating_the_client_again_changes_nothing() -> None:
    check = subprocess.run([ROOT / "scripts" / "generate-client", "--check"], capture_output=True, text=True)

    assert check.returncode == 0, f"{check.stderr}\n{check.stdout[:2000]}"
