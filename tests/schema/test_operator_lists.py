"""The lists that operators read, over HTTP: who may read them, how they are paged, and what they cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gateway_app import Gateway
from parse_state_rows import (
    READ_ALL,
    add_bundle,
    add_dags,
    add_import_errors,
    add_warnings,
    counted_statements,
    dag_row,
    fill,
    read_everything,
)
from registered_processor import operation_documents

FIELDS = sorted(READ_ALL)
SAVED_QUERIES = Path(__file__).parents[2] / "gateway" / "graphiql" / "queries"
OPERATIONS = ["Bundles", "DagWarnings", "Dags", "Files", "ImportErrors", "PendingCallbacks", "Processors"]


@pytest.mark.parametrize("field", FIELDS)
def test_only_operators_read_the_lists(gateway: Gateway, field: str) -> None:
    for token in (gateway.processor_token(), gateway.job_token(job_id=1)):
        response = gateway.execute(READ_ALL[field], {"first": 1}, token=token)

        assert response["data"] is None
        assert [error["extensions"]["code"] for error in response["errors"]] == ["FORBIDDEN"]


@pytest.mark.parametrize("field", FIELDS)
def test_an_empty_list_is_a_page_without_items(gateway: Gateway, field: str) -> None:
    page = gateway.data(READ_ALL[field], {"first": 1}, token=gateway.operator_token())[field]

    assert page == {
        "nodes": [],
        "edges": [],
        "pageInfo": {"hasNextPage": False, "hasPreviousPage": False, "startCursor": None, "endCursor": None},
        "totalCount": 0,
    }


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("first", [0, -1, 501, 2**31 - 1])
def test_a_page_size_out_of_bounds_is_a_typed_error(gateway: Gateway, field: str, first: int) -> None:
    response = gateway.execute(READ_ALL[field], {"first": first}, token=gateway.operator_token())

    (error,) = response["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["extensions"]["argument"] == "first"
    assert "1 to 500" in error["message"]


@pytest.mark.parametrize("field", FIELDS)
def test_a_page_size_is_required(gateway: Gateway, field: str) -> None:
    response = gateway.execute(f"{{ {field} {{ totalCount }} }}", token=gateway.operator_token())

    assert response["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("cursor", ["", "nonsense", "é", "W10", "bnVsbA", "WyJmaWxlcyJd", "=", "\0", "WyJkYWdzIix7fV0"])
def test_a_cursor_that_the_list_never_gave_is_a_typed_error(gateway: Gateway, field: str, cursor: str) -> None:
    response = gateway.execute(READ_ALL[field], {"first": 1, "after": cursor}, token=gateway.operator_token())

    (error,) = response["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["extensions"]["argument"] == "after"


def test_a_cursor_of_another_list_is_a_typed_error(gateway: Gateway) -> None:
    add_bundle("dags")
    token = gateway.operator_token()
    cursor = gateway.data(READ_ALL["bundles"], {"first": 1}, token=token)["bundles"]["pageInfo"]["endCursor"]

    response = gateway.execute(READ_ALL["dags"], {"first": 1, "after": cursor}, token=token)

    assert response["errors"][0]["extensions"]["argument"] == "after"


@pytest.mark.parametrize("argument", ["bundle", "pathPrefix", "dagId"])
@pytest.mark.parametrize("text", ["\0", "\ud800"])
def test_a_filter_that_no_row_could_match_is_a_typed_error(gateway: Gateway, argument: str, text: str) -> None:
    document = f"query Q($text: String) {{ dags(first: 1, {argument}: $text) {{ totalCount }} }}"
    # The test client itself would not encode half of a surrogate pair.
    body = json.dumps({"query": document, "variables": {"text": text}}, ensure_ascii=True)
    headers = {"Authorization": f"Bearer {gateway.operator_token()}", "Content-Type": "application/json"}

    response = gateway.http.post("/graphql", content=body, headers=headers).json()

    (error,) = response["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


def test_an_error_about_one_list_names_it(gateway: Gateway) -> None:
    response = gateway.execute(
        "{ ok: bundles(first: 1) { totalCount } bad: dags(first: 0) { totalCount } }", token=gateway.operator_token()
    )

    assert [error["path"] for error in response["errors"]] == [["bad"]]


@pytest.mark.parametrize("field", FIELDS)
def test_pages_put_together_are_the_whole_list(gateway: Gateway, field: str) -> None:
    fill(12)

    in_one = read_everything(gateway, field, 500)
    in_many = read_everything(gateway, field, 5)

    assert len(in_one) == 12
    assert [node["id"] for node in in_many] == [node["id"] for node in in_one]
    assert len({node["id"] for node in in_one}) == 12


def test_a_page_says_what_surrounds_it(gateway: Gateway) -> None:
    for name in ("a", "b", "c"):
        add_bundle(name)
    token = gateway.operator_token()

    first = gateway.data(READ_ALL["bundles"], {"first": 2}, token=token)["bundles"]
    second = gateway.data(READ_ALL["bundles"], {"first": 2, "after": first["pageInfo"]["endCursor"]}, token=token)[
        "bundles"
    ]

    assert [node["name"] for node in first["nodes"]] == ["a", "b"]
    assert first["pageInfo"] == {
        "hasNextPage": True,
        "hasPreviousPage": False,
        "startCursor": first["edges"][0]["cursor"],
        "endCursor": first["edges"][1]["cursor"],
    }
    assert [node["name"] for node in second["nodes"]] == ["c"]
    assert second["pageInfo"]["hasNextPage"] is False
    assert second["pageInfo"]["hasPreviousPage"] is True
    assert first["totalCount"] == second["totalCount"] == 3


def test_what_is_inserted_or_deleted_between_pages_repeats_and_hides_nothing_else(gateway: Gateway) -> None:
    from airflow.models.dag import DagModel
    from sqlalchemy import delete

    from parsegate.resolvers.database import transaction

    add_bundle("dags")
    add_dags(*(dag_row(dag_id, f"{dag_id}.py") for dag_id in ("b", "d", "f", "h")))
    token = gateway.operator_token()
    first = gateway.data(READ_ALL["dags"], {"first": 2}, token=token)["dags"]
    assert [node["dagId"] for node in first["nodes"]] == ["b", "d"]

    add_dags(*(dag_row(dag_id, f"{dag_id}.py") for dag_id in ("a", "c", "e")))
    with transaction() as session:
        session.execute(delete(DagModel).where(DagModel.dag_id == "d"))

    second = gateway.data(READ_ALL["dags"], {"first": 9, "after": first["pageInfo"]["endCursor"]}, token=token)["dags"]
    assert [node["dagId"] for node in second["nodes"]] == ["e", "f", "h"]


def test_a_list_of_the_newest_stays_in_place_while_new_ones_arrive(gateway: Gateway) -> None:
    add_import_errors("1.py", "2.py", "3.py")
    token = gateway.operator_token()
    first = gateway.data(READ_ALL["importErrors"], {"first": 2}, token=token)["importErrors"]
    assert [node["relativeFileloc"] for node in first["nodes"]] == ["3.py", "2.py"]

    add_import_errors("4.py")

    after = first["pageInfo"]["endCursor"]
    second = gateway.data(READ_ALL["importErrors"], {"first": 2, "after": after}, token=token)["importErrors"]
    assert [node["relativeFileloc"] for node in second["nodes"]] == ["1.py"]


def statements_for_all_pages(gateway: Gateway, field: str, pages: int) -> int:
    """Statements of each page, which must be as many for every page."""
    counts: set[int] = set()
    after: str | None = None
    for _ in range(pages):
        with counted_statements() as sent:
            variables: dict[str, Any] = {"first": 500, "after": after}
            page = gateway.data(READ_ALL[field], variables, token=gateway.operator_token())[field]
        assert page["nodes"]
        counts.add(len(sent))
        after = page["pageInfo"]["endCursor"]
    assert after is not None
    assert page["pageInfo"]["hasNextPage"] is False
    (count,) = counts
    return count


def statements_of_saved_queries(gateway: Gateway) -> dict[str, int]:
    """Statements of each query of an operator's day, with as large a page as there is."""
    counts: dict[str, int] = {}
    for path in sorted(SAVED_QUERIES.glob("*.graphql")):
        document = path.read_text()
        if "subscription" not in document:
            with counted_statements() as sent:
                variables = {"first": 500, "bundle": "bundle_0000"}
                gateway.data(document, variables, token=gateway.operator_token())
            counts[path.stem] = len(sent)
    assert len(counts) >= 5
    return counts


FILTERED = [
    f"{field}(first: 1, {filter_}) {{ totalCount }}"
    for field in ("files", "dags")
    for filter_ in ("processor: 5", 'owner: "airflow"', 'tag: "a"', 'dagId: "dag_0005"', "slowerThan: 0.1")
]


def sqlite_steps(gateway: Gateway) -> dict[str, int]:
    """Thousands of steps of SQLite's machine that each filtered list takes."""
    from airflow import settings
    from sqlalchemy import event

    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    def watch(connection: Any, *_: Any) -> None:
        connection.set_progress_handler(count, 1000)

    engine = settings.get_engine()
    event.listen(engine, "checkout", watch)
    taken: dict[str, int] = {}
    try:
        for list_ in FILTERED:
            steps = 0
            gateway.data(f"{{ {list_} }}", token=gateway.operator_token())
            taken[list_] = steps
    finally:
        event.remove(engine, "checkout", watch)
    return taken


def test_a_thousand_rows_take_as_many_statements_as_ten(gateway: Gateway, airflow_databases: Any) -> None:
    fill(10)
    of_ten = {field: statements_for_all_pages(gateway, field, pages=1) for field in FIELDS}
    of_ten |= statements_of_saved_queries(gateway)
    larger = airflow_databases.create()
    with larger.in_use():
        fill(1000)
        of_a_thousand = {field: statements_for_all_pages(gateway, field, pages=2) for field in FIELDS}
        of_a_thousand |= statements_of_saved_queries(gateway)
        steps = sqlite_steps(gateway) if larger.kind == "sqlite" else {}
    airflow_databases.drop(larger)

    assert of_a_thousand == of_ten
    assert all(0 < count <= 12 for count in of_ten.values()), of_ten
    # Each file with each DAG would be millions of steps; the 100 archives with the DAGs that match are not.
    assert all(count <= 1000 for count in steps.values()), steps


def test_what_is_not_asked_for_is_not_queried(gateway: Gateway) -> None:
    fill(10)

    with counted_statements() as sent:
        gateway.data("{ files(first: 10) { nodes { relativeFileloc } } }", token=gateway.operator_token())

    assert len(sent) == 1


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_clients_documents_read_the_lists(gateway: Gateway, operation: str) -> None:
    fill(3)

    data = gateway.data(operation_documents()[operation], {"first": 2}, token=gateway.operator_token())

    (page,) = data.values()
    assert len(page["nodes"]) == 2
    assert page["pageInfo"]["hasNextPage"] is (page["totalCount"] > 2)


def test_ids_are_unique_among_the_items_of_all_lists(gateway: Gateway) -> None:
    add_bundle("same")
    add_dags(dag_row("same", "same", "same"))
    add_import_errors("same", bundle="same")
    add_warnings("same")

    ids = [node["id"] for field in FIELDS for node in read_everything(gateway, field, 10)]

    assert len(ids) == 4
    assert len(set(ids)) == 4
