"""Scalars of the contract beyond GraphQL's own."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, NewType
from uuid import UUID

import strawberry
from graphql import GraphQLError
from strawberry.schema.types.base_scalars import DateTimeDefinition, UUIDDefinition

_BIGINT_BOUND = 2**63


def _parse_big_int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -_BIGINT_BOUND <= value < _BIGINT_BOUND:
        raise GraphQLError(f"BigInt cannot represent {value!r}: not a whole number of at most 64 bits.")
    return value


def _parse_date_time(value: Any) -> datetime:
    parsed: datetime = _parse_any_date_time(value)
    if parsed.tzinfo is None:
        raise GraphQLError(f"DateTime cannot represent {value!r}: it lacks its offset from UTC, such as `Z`.")
    return parsed


assert DateTimeDefinition.parse_value is not None
_parse_any_date_time = DateTimeDefinition.parse_value

BigInt = NewType("BigInt", int)
SerializedDag = NewType("SerializedDag", dict)  # pyright: ignore[reportMissingTypeArgument]
CallbackRequestDocument = NewType("CallbackRequestDocument", dict)  # pyright: ignore[reportMissingTypeArgument]

SCALAR_MAP: dict[object, Any] = {
    BigInt: strawberry.scalar(
        name="BigInt",
        description="A whole number of at most 64 bits, signed, as a JSON number.",
        serialize=lambda value: value,
        parse_value=_parse_big_int,
    ),
    datetime: replace(
        DateTimeDefinition,
        description="A point in time as ISO 8601 writes it, with its offset from UTC: `2026-01-31T08:30:00.25+00:00`.",
        parse_value=_parse_date_time,
    ),
    UUID: replace(
        UUIDDefinition,
        description="A UUID in its usual form of 36 characters: `0197e6a4-6f4b-7d0e-9a3c-0d5b8f1e2a34`.",
    ),
    SerializedDag: strawberry.scalar(
        name="SerializedDag",
        description=(
            "A DAG as Airflow serializes it (`DagSerialization.to_dict`), an object with `__version` and `dag`. "
            "Opaque to the contract; the gateway checks it before it stores it."
        ),
        serialize=lambda value: value,
        parse_value=lambda value: value,
    ),
    CallbackRequestDocument: strawberry.scalar(
        name="CallbackRequest",
        description=(
            "A callback as Airflow's scheduler wrote it (`airflow.callbacks.callback_requests.CallbackRequest`), "
            "an object with a `type`. Opaque to the contract."
        ),
        serialize=lambda value: value,
        parse_value=lambda value: value,
    ),
}
