"""The contract as a whole: its root types, put together from one mixin per capability, and the schema made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import strawberry
from strawberry.extensions import SchemaExtension
from strawberry.printer import print_schema
from strawberry.schema.config import StrawberryConfig

from .bundle_version import BundleVersionQuery
from .bundles import BundleMutation, BundleQuery
from .callbacks import CallbackMutation
from .claims import ClaimMutation
from .connections import ConnectionQuery
from .dags import DagMutation
from .jobs import JobMutation
from .nodes import NodeQuery
from .operator_mutations import OperatorMutation
from .parse_requests import ParseRequestMutation
from .parse_results import ParseResultMutation
from .parse_state import ParseStateQuery
from .runs import RunQuery
from .scalars import SCALAR_MAP
from .subscriptions import Subscription
from .unchanged_results import UnchangedResultMutation
from .variables import VariableMutation, VariableQuery
from .waiting_work import WaitingWorkQuery
from .warnings import WarningMutation
from .xcoms import XComQuery


@strawberry.type(
    description="What can be read. Processors read what DAG code asks for, as far as the file's bundle and team may "
    "see it; operators read the state of parsing."
)
class Query(
    BundleQuery,
    WaitingWorkQuery,
    ConnectionQuery,
    VariableQuery,
    RunQuery,
    XComQuery,
    ParseStateQuery,
    BundleVersionQuery,
    NodeQuery,
):
    pass


@strawberry.type(
    description="What can be changed. Each root field is one transaction, unless its description says otherwise, and "
    "can be sent again: a repetition gives the first answer."
)
class Mutation(
    JobMutation,
    BundleMutation,
    ParseResultMutation,
    UnchangedResultMutation,
    DagMutation,
    WarningMutation,
    ClaimMutation,
    CallbackMutation,
    ParseRequestMutation,
    VariableMutation,
    OperatorMutation,
):
    pass


def build_schema(
    extensions: Iterable[type[SchemaExtension] | Callable[[], SchemaExtension]] = (),
) -> strawberry.Schema:
    """The executable schema.

    :param extensions: Strawberry's, as classes or factories: each operation gets instances of its own
    """
    return strawberry.Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        config=StrawberryConfig(scalar_map=SCALAR_MAP),
        extensions=list(extensions),
    )


def contract() -> str:
    """The contract in the schema definition language, as ``schema.graphql`` holds it."""
    return print_schema(build_schema()).rstrip() + "\n"
