"""OpenTelemetry spans of parses, deliveries and HTTP requests, where Airflow's ``[traces] otel_on`` is set.

The manager has the provider that Airflow made when it was imported; the agent, without Airflow, makes the same one.
Where it is off, opentelemetry is not imported. Spans hold no arguments, and of an exception its class alone.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanContext, Tracer

MOST_LINKS = 128
"""The links of one span that OpenTelemetry keeps unless told otherwise."""

log = logging.getLogger(__name__)

_tracer: Tracer | None = None


def use_configured() -> None:
    """Give spans to the provider that this process has, as Airflow's have."""
    global _tracer
    from opentelemetry import trace

    _tracer = trace.get_tracer("parsegate.client")


def start(service_name: str) -> None:
    """Export spans as ``OTEL_*`` of the environment says (``airflow/_shared/observability/traces:configure_otel``).

    Without opentelemetry's packages, or with an exporter that there is not, that is logged and nothing is exported.

    :param service_name: unless ``OTEL_SERVICE_NAME`` says another
    """
    try:
        from importlib.metadata import entry_points

        from opentelemetry import trace
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        # The variables are OpenTelemetry's own; its packages read the others.
        exporter = os.environ.get("OTEL_TRACES_EXPORTER", "otlp")
        (found,) = entry_points(group="opentelemetry_traces_exporter", name=exporter)
        resource = Resource.create()
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: service_name}))
        provider = TracerProvider(resource=resource)
        provider.add_span_processor(BatchSpanProcessor(found.load()()))
        trace.set_tracer_provider(provider)
    except (ImportError, ValueError) as error:
        log.warning("Traces are on, but can't be exported: %s: %s", type(error).__name__, error)
        return
    use_configured()


def parsed(bundle_name: str, relative_fileloc: str, seconds: float, *, timed_out: bool) -> str | None:
    """Tell of a parse that has just ended; the ``traceparent`` of its span, None where tracing is off."""
    if _tracer is None:
        return None
    ended_at = time.time_ns()
    span = _tracer.start_span(
        "parse",
        start_time=ended_at - int(seconds * 1e9),
        attributes={
            "parsegate.bundle": bundle_name,
            "parsegate.file": relative_fileloc,
            "parsegate.timed_out": timed_out,
        },
    )
    span.end(ended_at)
    return _carrier(span).get("traceparent")


def delivery(traceparents: Sequence[str]) -> AbstractContextManager[Any]:
    """A span of one delivery, linked to the parses whose results it delivers."""
    return nullcontext() if _tracer is None else _delivery(_tracer, traceparents)


def request(operation_names: Sequence[str], request_id: str) -> AbstractContextManager[dict[str, str]]:
    """A span of one HTTP request; the headers by which the gateway goes on with its trace."""
    return nullcontext({}) if _tracer is None else _request(_tracer, operation_names, request_id)


@contextmanager
def _delivery(tracer: Tracer, traceparents: Sequence[str]) -> Generator[None]:
    from opentelemetry.trace import Link

    links = [Link(context) for parent in traceparents[:MOST_LINKS] if (context := _context(parent)) is not None]
    attributes = {"parsegate.results": len(traceparents)}
    with tracer.start_as_current_span(
        "deliver", links=links, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield
        except Exception as error:
            _fail(span, error)
            raise


@contextmanager
def _request(tracer: Tracer, operation_names: Sequence[str], request_id: str) -> Generator[dict[str, str]]:
    from opentelemetry.trace import SpanKind

    attributes = {
        "http.request.method": "POST",
        "graphql.operations": list(operation_names),
        "parsegate.request_id": request_id,
    }
    with tracer.start_as_current_span(
        "POST", kind=SpanKind.CLIENT, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield _carrier(span)
        except Exception as error:
            _fail(span, error)
            raise


def _carrier(span: Span) -> dict[str, str]:
    from opentelemetry.trace import set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, context=set_span_in_context(span))
    return carrier


def _context(traceparent: str) -> SpanContext | None:
    from opentelemetry.trace import get_current_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    extracted = TraceContextTextMapPropagator().extract({"traceparent": traceparent})
    context = get_current_span(extracted).get_span_context()
    return context if context.is_valid else None


def _fail(span: Span, error: BaseException) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("error.type", type(error).__name__)
    span.set_status(Status(StatusCode.ERROR, type(error).__name__))
