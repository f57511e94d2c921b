"""docs/graphql.md tells of the contract that there is, and of what was measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    build_schema,
    get_named_type,
    parse,
    validate,
)

from parsegate.gateway.limits import MAX_ALIASES, MAX_DEPTH, MAX_TOKENS
from parsegate.resolvers.batches import MOST_IMPORT_ERRORS, MOST_SOURCES
from parsegate.resolvers.ledger import MOST_RECENT_PARSES
from parsegate.resolvers.pages import MAX_PAGE_SIZE
from parsegate.schema.parsed_file import MOST_DAGS

pytestmark = pytest.mark.any_database

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "graphql.md").read_text()
LISTS = ("bundles", "files", "dags", "importErrors", "dagWarnings", "processors", "pendingCallbacks")


@pytest.fixture(scope="module")
def contract() -> GraphQLSchema:
    return build_schema((ROOT / "schema.graphql").read_text())


def test_its_examples_fit_the_contract(contract: GraphQLSchema) -> None:
    examples = re.findall(r"```graphql\n(.*?)```", PAGE, re.DOTALL)

    assert examples
    assert [error for example in examples for error in validate(contract, parse(example))] == []


def test_it_tells_of_every_list_filter_and_order(contract: GraphQLSchema) -> None:
    assert contract.query_type is not None
    fields = {name: contract.query_type.fields[name] for name in LISTS}
    named = {*LISTS, *(name for field in fields.values() for name in field.args)}
    named |= {
        value
        for field in fields.values()
        if "orderBy" in field.args
        for order in [get_named_type(field.args["orderBy"].type)]
        if isinstance(order, GraphQLEnumType)
        for value in order.values
    }

    assert len(named) > 25
    assert [name for name in sorted(named) if f"`{name}`" not in PAGE] == []


def test_its_limits_are_those_of_the_code() -> None:
    for row in (
        f"| {MAX_PAGE_SIZE}, of a file's DAGs {MOST_DAGS} |",
        f"| ids in `nodes` | {MAX_PAGE_SIZE} |",
        f"| import errors of one file (an archive can have many) | {MOST_IMPORT_ERRORS} |",
        f"| files that `source` is asked of | {MOST_SOURCES} |",
        f"| depth of the document | {MAX_DEPTH} |",
        f"| tokens, aliases in the document | {MAX_TOKENS:,}, {MAX_ALIASES} |",
        f"the last {MOST_RECENT_PARSES} attempts",
    ):
        assert row in PAGE


def test_each_saved_query_was_measured_and_is_fast_enough() -> None:
    measured = {
        (query, database): float(median.replace(",", ""))
        for query, database, median in re.findall(r"^\| `([\w-]+)` \| (SQLite|PostgreSQL) \| ([\d.,]+) \|", PAGE, re.M)
    }
    queries = [
        path.stem
        for path in (ROOT / "gateway" / "graphiql" / "queries").glob("*.graphql")
        for node in parse(path.read_text()).definitions
        if isinstance(node, OperationDefinitionNode) and node.operation is OperationType.QUERY
    ]

    assert set(measured) == {(query, database) for query in queries for database in ("SQLite", "PostgreSQL")}
    assert max(measured.values()) <= 200
