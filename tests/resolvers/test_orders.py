"""The orders that files and DAGs are listed in, and the cursors of each."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from gateway_app import Gateway
from parse_state_rows import LONG_AGO, add_bundle, add_dags, add_files, dag_row, file_row

FILES = {
    "PATH": ["a.py", "b.py", "c.py", "d.py", "e.py", "b.py"],
    "SLOWEST": ["c.py", "a.py", "b.py", "b.py", "d.py", "e.py"],
    "LAST_PARSED": ["e.py", "b.py", "c.py", "b.py", "a.py", "d.py"],
    "OLDEST_PARSE": ["a.py", "d.py", "b.py", "c.py", "b.py", "e.py"],
}
DAGS = {
    "DAG_ID": ["a", "b", "c", "d", "e"],
    "PATH": ["c", "a", "b", "d", "e"],
    "SLOWEST": ["d", "b", "e", "a", "c"],
    "LAST_PARSED": ["b", "a", "c", "d", "e"],
    "OLDEST_PARSE": ["c", "a", "b", "d", "e"],
    "NEXT_RUN": ["e", "a", "b", "c", "d"],
}
ALL = [("files", order) for order in FILES] + [("dags", order) for order in DAGS]
NAME = {"files": "relativeFileloc", "dags": "dagId"}


def at(seconds: float) -> Any:
    return LONG_AGO + timedelta(seconds=seconds)


@pytest.fixture
def rows(gateway: Gateway) -> Gateway:
    """Rows with ties and nulls."""
    add_bundle("one")
    add_bundle("two")
    add_files(
        file_row("a.py", "one", parse_duration=0.1 + 0.2, last_parsed_at=at(0)),
        file_row("b.py", "one", parse_duration=0.1, last_parsed_at=at(1.000001)),
        file_row("c.py", "one", parse_duration=1e9, last_parsed_at=at(1.000001)),
        file_row("d.py", "one", parse_duration=None, last_parsed_at=at(0)),
        file_row("e.py", "one", parse_duration=None, last_parsed_at=at(2)),
        file_row("b.py", "two", parse_duration=0.1, last_parsed_at=at(1.000001)),
    )
    add_dags(
        dag_row("a", "y.py", "one", last_parse_duration=0.0, last_parsed_time=at(1), next_dagrun_create_after=at(9)),
        dag_row("b", "z.py", "one", last_parse_duration=0.5, last_parsed_time=at(2), next_dagrun_create_after=at(9)),
        dag_row("c", "x.py", "one", last_parse_duration=None, last_parsed_time=at(0)),
        {**dag_row("d", "", "one", last_parse_duration=0.7), "relative_fileloc": None},
        {**dag_row("e", "a.py", "two", last_parse_duration=0.5), "next_dagrun_create_after": at(8)},
    )
    return gateway


def page(gateway: Gateway, field: str, order: str, first: int, after: str | None = None) -> Any:
    document = f"""query Read($first: Int!, $after: String) {{
        page: {field}(first: $first, after: $after, orderBy: {order})
        {{ nodes {{ {NAME[field]} }} edges {{ cursor }} pageInfo {{ hasNextPage endCursor }} totalCount }} }}"""
    return gateway.data(document, {"first": first, "after": after}, token=gateway.operator_token())["page"]


def names(field: str, page: Any) -> list[str]:
    return [node[NAME[field]] for node in page["nodes"]]


def pages(gateway: Gateway, field: str, order: str, first: int) -> list[str]:
    found: list[str] = []
    after = None
    for _ in range(10):
        read = page(gateway, field, order, first, after)
        found += names(field, read)
        if not read["pageInfo"]["hasNextPage"]:
            return found
        after = read["pageInfo"]["endCursor"]
    raise AssertionError(f"The list has no end: {found}")


def test_pages_of_any_size_put_together_are_the_list_in_its_order(rows: Gateway) -> None:
    for field, order in ALL:
        expected = (FILES if field == "files" else DAGS)[order]
        for first in (1, 2, 9):
            assert pages(rows, field, order, first) == expected, (field, order, first)


def test_what_is_inserted_between_pages_repeats_and_hides_nothing_else(rows: Gateway) -> None:
    behind = {
        (field, order, place): page(rows, field, order, place + 1)["pageInfo"]["endCursor"]
        for field, order in ALL
        for place in (0, 2, 4)
    }

    add_files(*(file_row("new.py", f"new {n}", parse_duration=n, last_parsed_at=at(n or 0)) for n in (0, 0.1, 3)))
    add_files(file_row("new.py", "one", parse_duration=None, last_parsed_at=at(1.000001)))
    add_dags(*(dag_row(f"new {n}", "m.py", "one", last_parse_duration=n, last_parsed_time=at(n)) for n in (0, 0.5, 3)))
    add_dags(dag_row("new", "z.py", "two"))

    for (field, order, place), cursor in behind.items():
        rest = [name for name in names(field, page(rows, field, order, 99, cursor)) if not name.startswith("new")]
        assert rest == (FILES if field == "files" else DAGS)[order][place + 1 :], (field, order, place)


def test_a_cursor_of_another_order_is_a_typed_error(rows: Gateway) -> None:
    cursors = {key: page(rows, *key, 1)["pageInfo"]["endCursor"] for key in ALL}

    for field, order in ALL:
        for other, cursor in cursors.items():
            document = f'{{ {field}(first: 1, orderBy: {order}, after: "{cursor}") {{ totalCount }} }}'
            response = rows.execute(document, token=rows.operator_token())
            codes = [error["extensions"]["code"] for error in response.get("errors", ())]
            assert codes == ([] if other == (field, order) else ["BAD_USER_INPUT"]), (field, order, other)
