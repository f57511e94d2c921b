"""How long each operation runs, by its root field: what callers call their operations could be anything."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from graphql import FieldNode, OperationDefinitionNode, OperationType
from strawberry.extensions import SchemaExtension
from strawberry.types.execution import PreExecutionError

from ..resolvers import metrics

if TYPE_CHECKING:
    from strawberry.types.execution import ExecutionContext

SEVERAL = "several"
"""An operation with more than one root field, or with fragments there."""
INVALID = "invalid"
"""One that was not executed: not GraphQL, not of this schema, beyond a limit, not allowed here."""


class OperationMetrics(SchemaExtension):
    """Strawberry's extension; one instance for each operation."""

    def on_operation(self) -> Generator[None]:
        began_at = time.perf_counter()
        yield
        operation = operation_of(self.execution_context)
        if operation is not None and operation.operation is OperationType.SUBSCRIPTION:
            # It lasts as long as somebody watches.
            return
        result: Any = self.execution_context.result
        seconds = time.perf_counter() - began_at
        if operation is None or result is None or isinstance(result, PreExecutionError):
            metrics.OPERATIONS.observe(seconds, INVALID, "error")
        else:
            metrics.OPERATIONS.observe(seconds, root_field(operation), "error" if result.errors else "ok")


def operation_of(context: ExecutionContext) -> OperationDefinitionNode | None:
    """The operation of the document that is executed; None when there is none."""
    if context.graphql_document is None:
        return None
    operations = [node for node in context.graphql_document.definitions if isinstance(node, OperationDefinitionNode)]
    if len(operations) == 1:
        return operations[0]
    name = context.operation_name
    return next((node for node in operations if node.name is not None and node.name.value == name), None)


def root_field(operation: OperationDefinitionNode) -> str:
    """The one root field of an operation that fits the schema; one of finitely many words."""
    selections = operation.selection_set.selections
    if len(selections) == 1 and isinstance(selections[0], FieldNode):
        return selections[0].name.value
    return SEVERAL
