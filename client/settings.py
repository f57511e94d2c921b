"""The processor's settings: section ``[parsegate]`` of Airflow's configuration, read once at start.

``AIRFLOW__PARSEGATE__URL`` and the like work as for any Airflow setting. Only this module knows the names; Airflow's
``conf`` is handed in, so that importing this module imports no Airflow.
"""

from __future__ import annotations

import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

SECTION = "parsegate"

DEFAULT_STARTUP_TIMEOUT = 300.0
DEFAULT_POLL_INTERVAL = 2.0
DEFAULT_COMPRESS_ABOVE = 1024


class SettingsError(Exception):
    """A setting is missing or makes no sense; the message names it."""


class Configuration(Protocol):
    """What is needed of ``airflow.configuration.conf``."""

    def get(self, section: str, key: str, **kwargs: Any) -> str | None: ...

    def getfloat(self, section: str, key: str, **kwargs: Any) -> float: ...

    def getint(self, section: str, key: str, **kwargs: Any) -> int: ...


@dataclass(frozen=True)
class ProcessorSettings:
    """Everything that ``parsegate dag-processor`` reads from ``[parsegate]``. Durations are seconds."""

    url: str | None
    """``url``: the gateway's GraphQL endpoint, ending in ``/graphql``. Not needed with ``agent_socket``."""
    token_path: Path | None
    """``token_path``: file of the processor token; read by the agent alone. Not needed with ``agent_socket``."""
    ca_path: Path | None
    """``ca_path``: PEM file of the authorities to trust for the gateway; default: the system's."""
    client_certificate_path: Path | None
    """``client_certificate_path``: PEM file of the certificate to present to the gateway."""
    client_key_path: Path | None
    """``client_key_path``: key of that certificate; default: in the certificate's file."""
    proxy: str | None
    """``proxy``: URL of the HTTP proxy to the gateway."""
    startup_timeout: float
    """``startup_timeout``: how long the start waits for the gateway."""
    agent_socket: Path | None
    """``agent_socket``: unix socket of an agent that runs on its own (a sidecar); default: start one."""
    run_as_user: str | None
    """``run_as_user``: user that the manager and the DAG files' processes run as; needs a start as root."""
    status_path: Path | None
    """``status_path``: file in which the agent keeps what ``parsegate status --local`` reports."""
    poll_interval: float
    """``poll_interval``: the least time between two polls of the gateway."""
    compress_above: int | None
    """``compress_above``: bytes above which a request's body is sent compressed; None for never (configured as -1)."""


def _text(conf: Configuration, key: str) -> str | None:
    value = conf.get(SECTION, key, fallback=None)
    return value.strip() or None if value is not None else None


def _path(conf: Configuration, key: str) -> Path | None:
    value = _text(conf, key)
    return Path(value).expanduser().absolute() if value else None


def _positive(conf: Configuration, key: str, default: float) -> float:
    try:
        value = conf.getfloat(SECTION, key, fallback=default)
    except Exception as error:  # Airflow raises its own exception class, which would be an import of Airflow.
        raise SettingsError(f"[{SECTION}] {key} must be a number of seconds: {error}") from error
    if not value > 0:
        raise SettingsError(f"[{SECTION}] {key} must be a number of seconds above 0, not {value}.")
    return value


def _size_or_never(conf: Configuration, key: str, default: int) -> int | None:
    try:
        value = conf.getint(SECTION, key, fallback=default)
    except Exception as error:  # As above.
        raise SettingsError(f"[{SECTION}] {key} must be a number of bytes: {error}") from error
    if value < -1:
        raise SettingsError(f"[{SECTION}] {key} must be a number of bytes, or -1 for never, not {value}.")
    return None if value == -1 else value


def read_processor_settings(conf: Configuration) -> ProcessorSettings:
    """The settings as Airflow's configuration has them.

    :raises SettingsError: something needed is missing, or a value makes no sense
    """
    settings = ProcessorSettings(
        url=_text(conf, "url"),
        token_path=_path(conf, "token_path"),
        ca_path=_path(conf, "ca_path"),
        client_certificate_path=_path(conf, "client_certificate_path"),
        client_key_path=_path(conf, "client_key_path"),
        proxy=_text(conf, "proxy"),
        startup_timeout=_positive(conf, "startup_timeout", DEFAULT_STARTUP_TIMEOUT),
        agent_socket=_path(conf, "agent_socket"),
        run_as_user=_text(conf, "run_as_user"),
        status_path=_path(conf, "status_path"),
        poll_interval=_positive(conf, "poll_interval", DEFAULT_POLL_INTERVAL),
        compress_above=_size_or_never(conf, "compress_above", DEFAULT_COMPRESS_ABOVE),
    )
    if settings.agent_socket is None:
        for key, value in (("url", settings.url), ("token_path", settings.token_path)):
            if value is None:
                raise SettingsError(
                    f"[{SECTION}] {key} is not set. The processor needs the gateway's url and the token_path of its "
                    f"processor token (AIRFLOW__PARSEGATE__{key.upper()} in the environment), or an agent_socket."
                )
        if settings.url is not None and not settings.url.startswith(("http://", "https://")):
            raise SettingsError(f"[{SECTION}] url must begin with http:// or https://, not {settings.url!r}.")
    if settings.client_key_path and not settings.client_certificate_path:
        raise SettingsError(f"[{SECTION}] client_key_path is set without client_certificate_path.")
    if settings.run_as_user is not None:
        user_entry(settings.run_as_user)
    return settings


def user_entry(run_as_user: str) -> pwd.struct_passwd:
    """The passwd entry of a user given by name or number.

    :raises SettingsError: there is no such user
    """
    try:
        return pwd.getpwuid(int(run_as_user)) if run_as_user.isdigit() else pwd.getpwnam(run_as_user)
    except KeyError:
        raise SettingsError(f"[{SECTION}] run_as_user: there is no user {run_as_user!r}.") from None
