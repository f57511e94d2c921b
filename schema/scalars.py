"""Scalars of the contract beyond GraphQL's own."""

from __future__ import annotations

from typing import Any, NewType

import strawberry
from graphql import GraphQLError

_BIGINT_BOUND = 2**63


def _parse_big_int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -_BIGINT_BOUND <= value < _BIGINT_BOUND:
        raise GraphQLError(f"BigInt cannot represent {value!r}: not a whole number of at most 64 bits.")
    return value


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
