"""Scalars take what their descriptions say and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from graphql import GraphQLError, GraphQLScalarType, GraphQLSchema

from parsegate.schema.root import build_schema


@pytest.fixture(scope="module")
def contract() -> GraphQLSchema:
    return build_schema()._schema


def taken(contract: GraphQLSchema, scalar: str, value: Any) -> Any:
    type_ = contract.get_type(scalar)
    assert isinstance(type_, GraphQLScalarType)
    return type_.parse_value(value)


@pytest.mark.parametrize("value", [0, -1, 2**31, 2**63 - 1, -(2**63)])
def test_a_big_int_is_any_whole_number_of_64_bits(contract: GraphQLSchema, value: int) -> None:
    assert taken(contract, "BigInt", value) == value


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 1.0, "1", True])
def test_a_big_int_is_nothing_else(contract: GraphQLSchema, value: Any) -> None:
    with pytest.raises(GraphQLError, match="BigInt cannot represent"):
        taken(contract, "BigInt", value)


@pytest.mark.parametrize("value", ["2026-01-31T08:30:00Z", "2026-01-31T10:30:00.25+02:00"])
def test_a_date_time_names_its_offset(contract: GraphQLSchema, value: str) -> None:
    assert taken(contract, "DateTime", value).utcoffset() is not None


@pytest.mark.parametrize("value", ["2026-01-31T08:30:00", "2026-01-31", "yesterday", 1767225600])
def test_a_date_time_without_an_offset_is_refused(contract: GraphQLSchema, value: Any) -> None:
    with pytest.raises(GraphQLError, match="DateTime"):
        taken(contract, "DateTime", value)
