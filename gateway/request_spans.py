"""OpenTelemetry spans of requests, operations, transactions and statements, when Airflow's ``[traces]`` is on.

Airflow makes the provider that they go to when it is imported (``airflow/settings.py:initialize``), as ``OTEL_*``
configures it; without one nothing here is installed. A trace goes on from the caller's ``traceparent``. Spans name
things and hold no arguments: neither variables of GraphQL nor its documents, in which callers may write values, nor
parameters of SQL, and of an error its class alone, because SQLAlchemy's messages quote parameters.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import NoOpTracerProvider, ProxyTracerProvider, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

NAME = "parsegate.gateway"

_UNTRACED = ("/health", "/ready", "/metrics")
_PROPAGATOR = TraceContextTextMapPropagator()


def tracing_is_on() -> bool:
    """Whether there is anybody to give spans to."""
    return not isinstance(trace.get_tracer_provider(), NoOpTracerProvider | ProxyTracerProvider)


@contextmanager
def span(name: str, kind: SpanKind = SpanKind.INTERNAL, **options: Any) -> Generator[Span]:
    """A span that is the current one within the block; of an error that passes it knows no more than the class."""
    tracer = trace.get_tracer(NAME)
    with tracer.start_as_current_span(
        name, kind=kind, record_exception=False, set_status_on_exception=False, **options
    ) as started:
        try:
            yield started
        except Exception as error:
            fail(started, error)
            raise


def fail(span: Span, error: BaseException) -> None:
    """Mark a span as one that failed with this."""
    span.set_attribute("error.type", type(error).__name__)
    span.set_status(Status(StatusCode.ERROR, type(error).__name__))


class RequestSpans:
    """ASGI middleware: a span for each HTTP request and for each WebSocket. Inside RequestLog, whose id it tells."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"].endswith(_UNTRACED):
            await self.app(scope, receive, send)
            return
        method = scope.get("method", "WEBSOCKET")
        attributes = {
            "http.request.method": method,
            "url.path": scope["path"][:200],
            "parsegate.request_id": scope["state"]["request_id"],
        }
        caller = _PROPAGATOR.extract({"traceparent": Headers(scope=scope).get("traceparent", "")})
        with span(method, SpanKind.SERVER, context=caller, attributes=attributes) as request:

            async def send_with_status(message: Message) -> None:
                if message["type"] == "http.response.start":
                    request.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        request.set_status(Status(StatusCode.ERROR))
                await send(message)

            await self.app(scope, receive, send_with_status)
