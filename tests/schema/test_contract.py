"""``schema.graphql`` says what ``schema/`` declares, says it to people too, and breaks no client that is out there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    is_introspection_type,
    is_specified_scalar_type,
)
from graphql.utilities import BreakingChange, find_breaking_changes

from parsegate.resolvers.versions import CONTRACT_VERSION
from parsegate.schema.root import contract

pytestmark = pytest.mark.any_database

CONTRACT = Path(__file__).parents[2] / "schema.graphql"
RELEASED = Path(__file__).parent / "released.graphql"


@pytest.fixture(scope="module")
def exported() -> GraphQLSchema:
    return build_schema(CONTRACT.read_text())


def test_the_checked_in_contract_is_what_the_code_declares() -> None:
    assert CONTRACT.read_text() == contract(), (
        "schema/ declares something else: run scripts/export-schema and scripts/generate-client, and check them in."
    )


def major(version: str) -> int:
    return int(version.split(".")[0])


def released_version() -> str:
    """The version of the contract that was last released, from the first line of released.graphql."""
    return RELEASED.read_text().splitlines()[0].removeprefix("# Contract ").strip()


def breaking_changes(released: str, current: str) -> list[BreakingChange]:
    return find_breaking_changes(build_schema(released), build_schema(current))


def test_no_change_breaks_a_released_client() -> None:
    changes = breaking_changes(RELEASED.read_text(), CONTRACT.read_text())

    assert not changes or major(CONTRACT_VERSION) > major(released_version()), (
        f"These changes break clients of contract {released_version()}:\n"
        + "\n".join(f"  {change.description}" for change in changes)
        + "\nKeep the old field beside the new one and deprecate it. If clients must really be broken, raise the first "
        "number of CONTRACT_VERSION (resolvers/versions.py): gateways then refuse older processors. A release copies "
        f"schema.graphql to tests/schema/{RELEASED.name}, below a first line `# Contract <version>`."
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("type Query { a: Int b: Int }", "type Query { a: Int }"),
        ("type Query { a: Int }", "type Query { a(limit: Int!): Int }"),
        ("type Query { a: Int! }", "type Query { a: Int }"),
        ("type Query { a: E } enum E { X Y }", "type Query { a: E } enum E { X }"),
        ("type Query { a(i: I): Int } input I { x: Int }", "type Query { a(i: I): Int } input I { x: Int y: Int! }"),
    ],
    ids=["field removed", "argument demanded", "null allowed", "enum value removed", "input field demanded"],
)
def test_a_change_that_breaks_clients_is_noticed(before: str, after: str) -> None:
    assert breaking_changes(before, after)


def test_a_new_enum_value_breaks_no_client() -> None:
    assert not breaking_changes("type Query { a: E } enum E { X }", "type Query { a: E } enum E { X Y }")


def described_elements(schema: GraphQLSchema) -> Iterator[tuple[str, str | None]]:
    """Everything in the contract that can carry a description, with it."""
    for type_ in schema.type_map.values():
        if is_introspection_type(type_) or is_specified_scalar_type(type_):
            continue
        yield type_.name, type_.description
        match type_:
            case GraphQLEnumType():
                for name, value in type_.values.items():
                    yield f"{type_.name}.{name}", value.description
            case GraphQLInputObjectType():
                for name, field in type_.fields.items():
                    yield f"{type_.name}.{name}", field.description
            case GraphQLObjectType() | GraphQLInterfaceType():
                for name, field in type_.fields.items():
                    yield f"{type_.name}.{name}", field.description
                    for argument_name, argument in field.args.items():
                        yield f"{type_.name}.{name}({argument_name}:)", argument.description


def test_every_element_is_described(exported: GraphQLSchema) -> None:
    elements = dict(described_elements(exported))

    assert len(elements) > 100
    undescribed = [path for path, description in elements.items() if not description]
    assert not undescribed, "\n".join(undescribed)


ARTICLES = {"a", "an", "the", "this", "its", "of", "is", "it"}


def words(text: str) -> set[str]:
    return set("".join(c.lower() if c.isalpha() else " " for c in text).split())


def test_no_description_only_repeats_the_name(exported: GraphQLSchema) -> None:
    repetitions = [
        f"{path}: {description}"
        for path, description in described_elements(exported)
        if description and not words(description) - words(re.sub("(?=[A-Z])", " ", path)) - words(path) - ARTICLES
    ]

    assert not repetitions, "\n".join(repetitions)


def undocumented_deprecations(schema: GraphQLSchema) -> list[str]:
    """What is deprecated without saying since which version of the contract, and what to use instead."""
    found: list[str] = []
    for type_ in schema.type_map.values():
        if isinstance(type_, GraphQLEnumType):
            parts = dict(type_.values)
        elif isinstance(type_, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            parts = {**type_.fields}
            for name, field in type_.fields.items():
                if isinstance(field, GraphQLField):
                    parts |= {f"{name}({argument}:)": value for argument, value in field.args.items()}
        else:
            continue
        found += [
            f"{type_.name}.{name}"
            for name, part in parts.items()
            if part.deprecation_reason is not None and not re.match(r"Since \d+\.\d+: use .", part.deprecation_reason)
        ]
    return found


def test_what_is_deprecated_says_since_when_and_what_to_use_instead(exported: GraphQLSchema) -> None:
    assert undocumented_deprecations(exported) == []


def test_a_deprecation_without_a_way_out_is_noticed() -> None:
    schema = build_schema("""
        type Query {
            a: Int @deprecated(reason: "Since 1.2: use `b`.")
            b(old: Int @deprecated): Int @deprecated(reason: "Old.")
        }
        enum Size { SMALL @deprecated(reason: "Since 2.0.") }
        input Input { c: Int @deprecated(reason: "Gone soon") }
    """)

    assert undocumented_deprecations(schema) == ["Query.b", "Query.b(old:)", "Size.SMALL", "Input.c"]
