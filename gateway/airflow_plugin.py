"""The plugin that mounts the gateway in Airflow's API server and shows the status page inside Airflow's UI.

Airflow imports this in each of its processes, wherever parsegate is installed, so it imports no server framework and
builds nothing before the first request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

from .settings import MOUNT_IN_API_SERVER

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

PREFIX = "/parsegate"
"""Where the gateway is in the API server."""


class _BuiltWhenNeeded:
    """ASGI application that another one answers for, which is built in a thread at the first request."""

    def __init__(self, build: Callable[[], ASGIApp]) -> None:
        self._build = build
        self._app: ASGIApp | None = None
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            async with self._turn:
                self._app = self._app or await asyncio.to_thread(self._build)
        await self._app(scope, receive, send)


def _mounted_app() -> ASGIApp:
    from .mounted_app import create_mounted_app

    return create_mounted_app()


def _apps() -> list[Any]:
    return [{"name": "parsegate", "app": _BuiltWhenNeeded(_mounted_app), "url_prefix": PREFIX}]


def _views() -> list[Any]:
    base_path = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
    return [
        {
            "name": "Parse state",
            "href": f"{base_path}{PREFIX}/",
            "destination": "nav",
            "category": "browse",
            "url_route": "parse-state",
        }
    ]


class ParsegatePlugin(AirflowPlugin):
    name = "parsegate"

    if MOUNT_IN_API_SERVER.read():
        fastapi_apps = _apps()
        external_views = _views()
