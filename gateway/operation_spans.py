"""A span for each GraphQL operation, which names it and holds nothing else of it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from opentelemetry.trace import Status, StatusCode
from strawberry.extensions import SchemaExtension

from .operation_metrics import INVALID, operation_of, root_field
from .request_spans import span

_LONGEST_NAME = 100


class OperationSpans(SchemaExtension):
    """Strawberry's extension; one instance for each operation. Where tracing is off, schemas have none."""

    def on_operation(self) -> Generator[None]:
        with span("graphql") as started:
            yield
            operation = operation_of(self.execution_context)
            field = INVALID if operation is None else root_field(operation)
            if operation is not None:
                started.set_attribute("graphql.operation.type", operation.operation.value)
                started.update_name(f"{operation.operation.value} {field}")
                if operation.name is not None:
                    started.set_attribute("graphql.operation.name", operation.name.value[:_LONGEST_NAME])
            result: Any = self.execution_context.result
            if result is None or result.errors:
                started.set_status(Status(StatusCode.ERROR))
