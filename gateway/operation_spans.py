"""A span for each GraphQL operation, which names it and holds nothing else of it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from graphql import OperationType
from opentelemetry import trace
from opentelemetry.trace import Span, Status, StatusCode
from strawberry.extensions import SchemaExtension

from .operation_metrics import INVALID, operation_of, root_field
from .request_spans import NAME, fail

_LONGEST_NAME = 100


class OperationSpans(SchemaExtension):
    """Strawberry's extension; one instance for each operation. Where tracing is off, schemas have none."""

    _span: Span

    def on_operation(self) -> Generator[None]:
        self._span = trace.get_tracer(NAME).start_span("graphql")
        try:
            yield
        except Exception as error:
            fail(self._span, error)
            raise
        finally:
            self._describe()
            self._span.end()

    def on_execute(self) -> Generator[None]:
        operation = operation_of(self.execution_context)
        if operation is None or operation.operation is OperationType.SUBSCRIPTION:
            # Its events come in contexts of their own, and what is made current in one can't be undone in another.
            yield
            return
        with trace.use_span(self._span, record_exception=False, set_status_on_exception=False):
            yield

    def _describe(self) -> None:
        operation = operation_of(self.execution_context)
        field = INVALID if operation is None else root_field(operation)
        if operation is not None:
            self._span.set_attribute("graphql.operation.type", operation.operation.value)
            self._span.update_name(f"{operation.operation.value} {field}")
            if operation.name is not None:
                self._span.set_attribute("graphql.operation.name", operation.name.value[:_LONGEST_NAME])
        result: Any = self.execution_context.result
        is_stream = operation is not None and operation.operation is OperationType.SUBSCRIPTION
        if not is_stream and (result is None or result.errors):
            self._span.set_status(Status(StatusCode.ERROR))
