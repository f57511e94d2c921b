"""What reconciling does itself because Airflow's own functions read and name far too much."""

from __future__ import annotations

import re

from executed_statements import executed_statements
from many_rows import insert_dags
from registered_processor import RegisteredProcessor


def test_airflow_removes_the_references_that_it_did_in_3_3_2(processor: RegisteredProcessor) -> None:
    """Fails when Airflow changes: then look again at what it deletes of stale DAGs, and adapt the module."""
    from airflow.models.asset import remove_references_to_deleted_dags
    from airflow.utils.session import create_session

    from parsegate.resolvers.reconciliation import REFERENCES

    insert_dags([1], stale=True)
    with executed_statements() as executed, create_session() as session:
        remove_references_to_deleted_dags(session)
    deleted = [re.match(r"DELETE FROM (\w+) WHERE (\w+)\.dag_id IN ", statement.text) for statement in executed]
    assert [match[1] for match in deleted if match] == [model.__tablename__ for model in REFERENCES]
    others = [statement.text for statement, match in zip(executed, deleted, strict=True) if not match]
    assert [text.removesuffix(" = 1") for text in others] == ["SELECT dag.dag_id FROM dag WHERE dag.is_stale"]
