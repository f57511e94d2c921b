"""The gateway as an ASGI application: the status page at ``/``, ``/graphql`` with the files of its page, ``/login``,
``/health`` and ``/ready``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from airflow.configuration import conf
from anyio import CapacityLimiter, fail_after, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute

from ..resolvers import metrics
from ..resolvers.database import airflow_engine
from ..schema.root import build_schema
from . import settings
from .authentication import TokenAuthentication, refuse_authentication
from .body_limit import BodyLimit
from .compressed_body import CompressedBody
from .errors import ErrorCode, RequestRefused, refusal_response
from .execution import Execution
from .graphiql_page import GraphiQLAssets
from .graphql_view import GraphQLView
from .limits import EXTENSIONS
from .login import Login, logout, session
from .metrics_page import MetricsPage
from .operation_spans import OperationSpans
from .readiness import READY, readiness
from .request_log import RequestLog
from .request_spans import RequestSpans, tracing_is_on
from .statement_spans import trace_statements
from .status_page import StatusPage
from .status_templates import StatusAssets
from .subscribers import SubscriberLimits, Subscribers
from .subscription_socket import SubscriptionSocket
from .tokens import TokenMinter, TokenVerifier

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send
    from strawberry.schema import BaseSchema

READINESS_TIMEOUT = 5.0
"""Seconds after which ``/ready`` answers that the database cannot be reached."""


@dataclass(frozen=True)
class Mounting:
    """What is different when the gateway is a part of Airflow's API server.

    :param authentication: says who sends a request, with the gateway's own tokens beside another login
    :param login_address: tells where that login is
    """

    authentication: Callable[[TokenVerifier], TokenAuthentication]
    login_address: Callable[[], str]


def create_app(schema: BaseSchema | None = None, *, mounting: Mounting | None = None) -> Starlette:
    """The application, on the database and the keys that Airflow's configuration names.

    :param schema: what ``/graphql`` executes; None for the contract
    :param mounting: None for a server of its own
    :raises KeysMisconfigured: Airflow's configuration names no key that tokens could be signed and verified with
    """
    metrics.tell_airflow()
    traced = tracing_is_on()
    if traced:
        trace_statements(airflow_engine())
    minter = TokenMinter()
    max_bytes = settings.MAX_BODY_BYTES.read()
    execution = Execution(
        schema or build_schema([OperationSpans, *EXTENSIONS] if traced else EXTENSIONS),
        mint_job_token=partial(minter.mint_job_token, settings.JOB_TOKEN_LIFETIME.read()),
        threads=operation_threads(mounted=mounting is not None),
    )
    subscribers = Subscribers(SubscriberLimits.configured())
    view = GraphQLView(execution, subscribers, max_operations=settings.MAX_BATCH_OPERATIONS.read())
    verifier = TokenVerifier(minter)
    authentication = TokenAuthentication(verifier) if mounting is None else mounting.authentication(verifier)

    def authenticated(app: ASGIApp) -> ASGIApp:
        return AuthenticationMiddleware(app, authentication, refuse_authentication)

    graphql = authenticated(view)
    socket = SubscriptionSocket(execution, authentication, subscribers)
    metrics_open = settings.METRICS_OPEN.read()
    metrics_page = MetricsPage(is_open=metrics_open)
    status_page = StatusPage(
        execution,
        login_address=None if mounting is None else mounting.login_address,
        frame_ancestors="'none'" if mounting is None else "'self'",
    )
    own_login = [Route("/login", Login(minter, verifier)), Route("/logout", logout, methods=["POST"])]
    return Starlette(
        routes=[
            # Twice, because a redirect to the other spelling would lose a POST's body.
            Route("/graphql", graphql),
            Route("/graphql/", graphql),
            WebSocketRoute("/graphql", socket),
            WebSocketRoute("/graphql/", socket),
            Mount("/graphql/assets", GraphiQLAssets()),
            Route("/", AuthenticationMiddleware(status_page, authentication, status_page.refuse), methods=["GET"]),
            Mount("/assets", StatusAssets()),
            *(own_login if mounting is None else []),
            Route("/session", session, middleware=[Middleware(authenticated)]),
            Route("/metrics", metrics_page if metrics_open else authenticated(metrics_page)),
            Route("/health", _health),
            Route("/ready", _Readiness()),
        ],
        # Answers are not compressed. They hold connections, variables and tokens beside text that DAG code chooses (the
        # names that it asks for), and several files' reads share an answer: its length would tell whoever sees the
        # encrypted traffic whether a guess matches the secret next to it (CVE-2013-3587, BREACH).
        middleware=[
            Middleware(RequestLog),
            *([Middleware(RequestSpans)] if traced else []),
            Middleware(BodyLimit, max_bytes=max_bytes),
            Middleware(CompressedBody, max_bytes=max_bytes),
        ],
        exception_handlers={HTTPException: _refuse_http, Exception: _mask_fault},
    )


def operation_threads(*, mounted: bool = False) -> int:
    """How many operations may run at once: fewer than Airflow's connection pool has connections.

    Half of them unless configured, because Airflow's code now and then opens a session of its own inside an operation:
    operations that hold all connections while each waits for one more would wait for ever. A quarter of them when
    ``mounted`` in Airflow's API server, which needs the others.
    """
    pool_size = conf.getint("database", "sql_alchemy_pool_size", fallback=5)
    overflow = conf.getint("database", "sql_alchemy_max_overflow", fallback=10)
    if pool_size == 0 or overflow < 0 or not conf.getboolean("database", "sql_alchemy_pool_enabled", fallback=True):
        return settings.OPERATION_THREADS.read() or 8
    connections = pool_size + overflow
    share = connections // (4 if mounted else 2)
    return max(1, min(settings.OPERATION_THREADS.read() or share, connections - 1))


async def _health(_: Request) -> Response:
    """Whether the process answers; says nothing about the database."""
    return JSONResponse({"status": "ok"})


class _Readiness:
    """ASGI endpoint of ``/ready``; asks the database in threads of its own, so that busy operations don't delay it."""

    def __init__(self) -> None:
        self._turns = CapacityLimiter(2)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        states = {"database": "unreachable"}
        try:
            with fail_after(READINESS_TIMEOUT):
                states = await to_thread.run_sync(readiness, limiter=self._turns, abandon_on_cancel=True)
        except TimeoutError:
            pass
        ready = all(state == READY for state in states.values())
        response = JSONResponse(
            {"status": READY if ready else "not ready", "checks": states}, status_code=200 if ready else 503
        )
        await response(scope, receive, send)


async def _refuse_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    codes = {404: ErrorCode.NOT_FOUND, 405: ErrorCode.METHOD_NOT_ALLOWED}
    refused = RequestRefused(
        error.status_code,
        codes.get(error.status_code, ErrorCode.BAD_REQUEST),
        f"{error.detail}.",
        dict(error.headers or {}),
    )
    return refusal_response(request, refused)


async def _mask_fault(request: Request, _: Exception) -> Response:
    # Starlette raises the fault again after this, and the server logs it.
    return refusal_response(request, RequestRefused(500, ErrorCode.INTERNAL, "The gateway failed to answer."))
