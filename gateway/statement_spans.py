"""Spans of transactions and of their statements, by SQLAlchemy's events.

A statement's text is what SQLAlchemy compiled, with marks where its parameters go, cut where it gets long; parameters
are never told. Only what belongs to a request that is traced is told at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind
from sqlalchemy import event

from .request_spans import NAME, fail

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine, ExceptionContext

LONGEST = 500
"""Characters of a statement that are told; those of many rows can have a hundred thousand."""

_TRANSACTION = "parsegate_transaction_span"
_STATEMENT = "parsegate_statement_span"


def trace_statements(engine: Engine) -> None:
    """Have every transaction and statement of ``engine`` make a span when it is part of a traced request."""
    listeners: list[tuple[str, Any]] = [
        ("begin", _begin),
        ("commit", _commit),
        ("rollback", _rollback),
        ("before_cursor_execute", _before),
        ("after_cursor_execute", _after),
        ("handle_error", _error),
    ]
    for name, listener in listeners:
        if not event.contains(engine, name, listener):
            event.listen(engine, name, listener)


def _begin(connection: Connection) -> None:
    if trace.get_current_span().is_recording():
        connection.info[_TRANSACTION] = trace.get_tracer(NAME).start_span(
            "transaction", kind=SpanKind.CLIENT, attributes={"db.system.name": connection.dialect.name}
        )


def _commit(connection: Connection) -> None:
    _end(connection, "commit")


def _rollback(connection: Connection) -> None:
    _end(connection, "rollback")


def _end(connection: Connection, how: str) -> None:
    span: Span | None = connection.info.pop(_TRANSACTION, None)
    if span is not None:
        span.set_attribute("parsegate.transaction.end", how)
        span.end()


def _before(
    connection: Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, executemany: bool
) -> None:
    transaction: Span | None = connection.info.get(_TRANSACTION)
    if transaction is None:
        return
    text = " ".join(statement[: 4 * LONGEST].split())
    attributes: dict[str, str | int] = {
        "db.system.name": connection.dialect.name,
        "db.query.text": text if len(text) <= LONGEST else f"{text[:LONGEST]}…",
    }
    if executemany:
        attributes["db.operation.batch.size"] = len(parameters)
    connection.info[_STATEMENT] = trace.get_tracer(NAME).start_span(
        text.partition(" ")[0].upper()[:20] or "SQL",
        context=trace.set_span_in_context(transaction),
        kind=SpanKind.CLIENT,
        attributes=attributes,
    )


def _after(connection: Connection, *_: Any) -> None:
    span: Span | None = connection.info.pop(_STATEMENT, None)
    if span is not None:
        span.end()


def _error(context: ExceptionContext) -> None:
    if context.connection is None or context.connection.invalidated or context.connection.closed:
        return
    span: Span | None = context.connection.info.pop(_STATEMENT, None)
    if span is not None:
        fail(span, context.original_exception)
        span.end()
