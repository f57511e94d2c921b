"""Serve the gateway: GraphQL at /graphql, probes at /health and /ready.

It works on the database and with the keys that Airflow's own configuration names. One process is enough for SQLite and
the most that it allows; on PostgreSQL any number of processes and replicas share the work.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
from airflow.exceptions import AirflowConfigException

from ..resolvers import metrics
from ..resolvers.database import airflow_engine
from . import settings
from .app import create_app
from .level_reports import LevelReports
from .metrics_page import MULTIPROCESS_DIRECTORY
from .tokens import KeysMisconfigured, TokenMinter, TokenVerifier

if TYPE_CHECKING:
    from starlette.applications import Starlette

KEEP_ALIVE = 75
"""Seconds for which an idle connection stays open: longer than any pause that a processor makes."""

PING_INTERVAL = 20.0
"""Seconds between the pings on a WebSocket, and those in which each must be answered."""

GRACE = 30
"""Seconds for which a stopping server lets running operations end."""


def run(argv: Sequence[str]) -> int:
    arguments = parser().parse_args(argv)
    refusal = _refusal(arguments)
    if refusal is not None:
        print(f"parsegate serve: {refusal}", file=sys.stderr)
        return 2
    # uvicorn raises the signal that ended it once more. Taken as an exit, it lets Airflow close its connections, and
    # SQLite with the last of them its write-ahead log.
    signal.signal(signal.SIGTERM, _exit)
    if arguments.workers > 1 and MULTIPROCESS_DIRECTORY not in os.environ:
        with TemporaryDirectory(prefix="parsegate-metrics-") as directory:
            os.environ[MULTIPROCESS_DIRECTORY] = directory
            uvicorn.run("parsegate.gateway.server:served_app", **uvicorn_options(arguments))
        return 0
    uvicorn.run("parsegate.gateway.server:served_app", **uvicorn_options(arguments))
    return 0


def served_app() -> Starlette:
    """The application of one server process, whose start is over.

    Python's garbage collector need not look at what lives as long as the process: Airflow alone is 300,000 objects, and
    every full collection stops all threads until it has seen them.
    """
    app = create_app()
    if metrics.airflow_is_told():
        LevelReports().start()
    gc.collect()
    gc.freeze()
    return app


def _exit(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def uvicorn_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What uvicorn is started with."""
    options: dict[str, Any] = {
        "factory": True,
        "host": arguments.host,
        "port": arguments.port,
        "workers": arguments.workers,
        # Airflow's logging is set up by importing it, and the application logs requests itself, with their id.
        "log_config": None,
        "access_log": False,
        "server_header": False,
        # A caller could otherwise say where it comes from.
        "proxy_headers": False,
        "timeout_keep_alive": KEEP_ALIVE,
        "timeout_graceful_shutdown": GRACE,
        "lifespan": "off",
        "http": "parsegate.gateway.http_protocol:HttpProtocol",
        "ws": "websockets-sansio",
        "ws_max_size": settings.MAX_MESSAGE_BYTES.read(),
        # For the reason that answers are not compressed for, see app.py; and a few bytes could inflate to millions.
        "ws_per_message_deflate": False,
        "ws_ping_interval": PING_INTERVAL,
        "ws_ping_timeout": PING_INTERVAL,
    }
    if arguments.ssl_certfile is not None:
        options |= {"ssl_certfile": str(arguments.ssl_certfile), "ssl_keyfile": _text(arguments.ssl_keyfile)}
    if arguments.ssl_ca_certs is not None:
        options |= {"ssl_ca_certs": str(arguments.ssl_ca_certs), "ssl_cert_reqs": ssl.CERT_REQUIRED}
    return options


def _refusal(arguments: argparse.Namespace) -> str | None:
    """Why the server cannot start like this; None when it can."""
    if arguments.workers > 1 and airflow_engine().dialect.name == "sqlite":
        return "--workers must be 1 on SQLite, which lets one process write at a time. Use PostgreSQL for more."
    if arguments.ssl_certfile is None and (arguments.ssl_keyfile is not None or arguments.ssl_ca_certs is not None):
        return "--ssl-keyfile and --ssl-ca-certs need --ssl-certfile."
    for path in (arguments.ssl_certfile, arguments.ssl_keyfile, arguments.ssl_ca_certs):
        if path is not None and not path.is_file():
            return f"There is no file {path}."
    try:
        TokenVerifier(TokenMinter())
        for option in settings.GATEWAY_OPTIONS:
            option.read()
    except (KeysMisconfigured, AirflowConfigException) as error:
        return str(error)
    return None


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="parsegate serve", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8765, help="port to listen on (default: %(default)s)")
    parser.add_argument("--workers", type=_positive, default=1, help="processes (default: %(default)s; 1 on SQLite)")
    parser.add_argument(
        "--ssl-certfile", type=Path, metavar="FILE", help="PEM file of the certificate to serve TLS with"
    )
    parser.add_argument(
        "--ssl-keyfile",
        type=Path,
        metavar="FILE",
        help="PEM file of its private key, unless the certificate's file holds it",
    )
    parser.add_argument(
        "--ssl-ca-certs",
        type=Path,
        metavar="FILE",
        help="PEM file of the authorities whose client certificates are accepted; callers without one are refused",
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
