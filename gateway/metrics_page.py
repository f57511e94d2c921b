"""``/metrics``: what the gateway has counted and timed, and how much there is in the database, for Prometheus.

The database is asked when somebody scrapes, at most once in :data:`FRESH` seconds, in a thread of its own: scrapers
that come more often, or a slow database, cost no operation its turn. When it does not answer, the rest is shown.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from anyio import CapacityLimiter, Lock, fail_after, to_thread
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response

from ..resolvers import metrics
from ..resolvers.database import reading
from ..resolvers.levels import Samples, levels
from ..resolvers.principal import TokenKind
from .authentication import authenticated_principal
from .errors import ErrorCode, RequestRefused, refusal_response

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric
    from starlette.types import Receive, Scope, Send

    from ..resolvers.metrics import Level

logger = logging.getLogger(__name__)

FRESH = 5.0
"""Seconds for which what the database said is shown again."""

TIMEOUT = 5.0
"""Seconds that the database may take; Prometheus gives up after 10 unless told otherwise."""

MULTIPROCESS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable by which Prometheus' client lets the processes of one server count together."""


class MetricsPage:
    """ASGI application of ``/metrics``.

    :param is_open: whether anyone may scrape; otherwise it needs the token of an operator for all bundles, and has to
        be put inside Starlette's AuthenticationMiddleware
    """

    def __init__(self, *, is_open: bool) -> None:
        self._is_open = is_open
        self._levels: Mapping[Level, Samples] = {}
        self._read_at = float("-inf")
        self._reading = Lock()
        self._turns = CapacityLimiter(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            if not self._is_open:
                _require_operator(request)
            response = await self._respond(request)
        except RequestRefused as refused:
            response = refusal_response(request, refused)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            raise RequestRefused(405, ErrorCode.METHOD_NOT_ALLOWED, "Metrics are read by GET.", {"Allow": "GET, HEAD"})
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        shown = _Shown(await self._current_levels())
        return Response(
            encode(shown),  # pyright: ignore[reportArgumentType]  # of a registry it uses no more than collect()
            headers={"Content-Type": content_type, "Cache-Control": "no-store"},
        )

    async def _current_levels(self) -> Mapping[Level, Samples]:
        async with self._reading:
            if time.monotonic() - self._read_at >= FRESH:
                self._levels = await self._read()
                self._read_at = time.monotonic()
            return self._levels

    async def _read(self) -> Mapping[Level, Samples]:
        try:
            with fail_after(TIMEOUT):
                return await to_thread.run_sync(read_levels, limiter=self._turns, abandon_on_cancel=True)
        except TimeoutError:
            logger.warning("The database took longer than %g s to say what is shown at /metrics.", TIMEOUT)
            return _DATABASE_DOWN


def read_levels() -> Mapping[Level, Samples]:
    """Every level; when the database can't be asked, that."""
    try:
        with reading() as session:
            return {**levels(session), metrics.DATABASE_UP: {(): 1.0}}
    except SQLAlchemyError as error:
        logger.warning("The database can't be asked for what is shown at /metrics: %s", type(error).__name__)
        return _DATABASE_DOWN


_DATABASE_DOWN: Mapping[Level, Samples] = {metrics.DATABASE_UP: {(): 0.0}}


class _Shown(Collector):
    def __init__(self, current: Mapping[Level, Samples]) -> None:
        self._current = current

    def collect(self) -> Iterable[Metric]:
        for metric in _counted().collect():
            # When counting began differs from process to process; it is no metric of ours.
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric
        for level, samples in self._current.items():
            yield level.family(samples)


def _counted() -> CollectorRegistry:
    """What this process has counted, or with several workers all of them."""
    if MULTIPROCESS_DIRECTORY not in os.environ:
        return metrics.REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return registry


def _require_operator(request: Request) -> None:
    principal = authenticated_principal(request)
    if principal.kind is not TokenKind.OPERATOR or not principal.grants_all_bundles:
        raise RequestRefused(
            403,
            ErrorCode.FORBIDDEN,
            "Metrics tell of all bundles: this needs the token of an operator that grants all of them.",
        )
