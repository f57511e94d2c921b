"""The ``parsegate agent`` command: an agent on its own, such as in a sidecar container.

It waits on the unix socket ``[parsegate] agent_socket`` for one DAG processor, serves it, completes its Job and ends.
The processor finds the socket through the same setting and needs no token; it should run as another user, or in
another container, that can't read ``token_path``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import isolation, settings
from .agent_config import AgentConfig, config_descriptor
from .status import default_status_path


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="parsegate agent", description="Hold the token of a DAG processor and speak to the gateway for it."
    )
    parser.add_argument("--socket", help="unix socket to listen on, instead of [parsegate] agent_socket")
    return parser


def run(argv: Sequence[str]) -> int:
    """``parsegate agent``: becomes the agent, or exits with 2 if a setting is missing."""
    options = parser().parse_args(argv)
    try:
        descriptor = config_descriptor(_config(options.socket))
    except (settings.SettingsError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    # The process that keeps the token is a fresh one: whatever Airflow has loaded to read its settings is gone.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "parsegate.client.agent", "--config-fd", str(descriptor)])


def _config(listen_path: str | None) -> AgentConfig:
    isolation.prepare_environment(os.environ)
    from airflow.configuration import conf

    read = settings.read_processor_settings(conf)
    listen_path = listen_path or (str(read.agent_socket) if read.agent_socket else None)
    if listen_path is None:
        raise settings.SettingsError("[parsegate] agent_socket is not set, and no --socket is given.")
    if read.url is None or read.token_path is None:
        raise settings.SettingsError("The agent needs [parsegate] url and [parsegate] token_path.")
    return agent_config(read, listen_path=listen_path)


def agent_config(
    read: settings.ProcessorSettings,
    *,
    listen_path: str | None = None,
    manager_fd: int | None = None,
    helper_fd: int | None = None,
) -> AgentConfig:
    """What an agent needs of the processor's settings, and where it meets the manager and the bundle helper.

    :raises ValueError: the settings lack something, or contradict each other
    """
    from airflow.configuration import conf

    return AgentConfig(
        url=read.url or "",
        token_path=str(read.token_path or ""),
        listen_path=listen_path,
        manager_fd=manager_fd,
        helper_fd=helper_fd,
        ca_path=_optional(read.ca_path),
        client_certificate_path=_optional(read.client_certificate_path),
        client_key_path=_optional(read.client_key_path),
        proxy=read.proxy,
        startup_timeout=read.startup_timeout,
        poll_interval=read.poll_interval,
        compress_above=read.compress_above,
        status_path=str(read.status_path or default_status_path(os.environ)),
        health_check_threshold=conf.getfloat("dag_processor", "health_check_threshold", fallback=30.0),
        log_level=conf.get_mandatory_value("logging", "logging_level"),
        traced=conf.getboolean("traces", "otel_on", fallback=False),
    )


def _optional(path: Path | None) -> str | None:
    return None if path is None else str(path)
