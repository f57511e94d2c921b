"""The gateway as a part of Airflow's API server; :mod:`parsegate.gateway.airflow_plugin` puts it there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.api_fastapi.app import get_auth_manager
from starlette.datastructures import MutableHeaders

from .airflow_login import AirflowAuthentication
from .app import Mounting, create_app

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


def create_mounted_app() -> ASGIApp:
    """The application, with Airflow's login.

    :raises KeysMisconfigured: Airflow's configuration names no key that tokens could be signed and verified with
    """
    return Uncompressed(create_app(mounting=Mounting(AirflowAuthentication, _login_address)))


class Uncompressed:
    """ASGI middleware that keeps Airflow's from compressing answers, which hold secrets beside text of DAG code."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                # What has an encoding already is left alone by Starlette's GZipMiddleware.
                MutableHeaders(scope=message).setdefault("Content-Encoding", "identity")
            await send(message)

        await self.app(scope, receive, send_marked)


def _login_address() -> str:
    return get_auth_manager().get_url_login()
