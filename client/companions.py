"""The processes beside the manager, each started by exec: the agent, unless it is a sidecar, and the bundle helper."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from .agent_command import agent_config
from .agent_config import config_descriptor
from .exit_codes import EXIT_MISCONFIGURED, EXIT_NO_GATEWAY, StartRefused

if TYPE_CHECKING:
    from .settings import ProcessorSettings

log = logging.getLogger(__name__)

FAREWELL_TIMEOUT = 10.0
"""Seconds that the delivery of what is waiting may take at the end."""
STARTUP_MARGIN = 15.0
"""Seconds beyond ``startup_timeout`` after which a silent agent is given up."""


@contextmanager
def companions(settings: ProcessorSettings) -> Generator[tuple[socket.socket, socket.socket]]:
    """The agent and the bundle helper, running; their sockets for the manager. On the way out they are waited for."""
    processes: list[tuple[str, subprocess.Popen[bytes]]] = []
    manager_to_helper, helper_end = socket.socketpair()
    try:
        if settings.agent_socket is not None:
            manager_to_agent = _connect(settings)
            # The agent takes the second connection, made before the first one registers, for the bundle helper's.
            helper_to_agent = _connect(settings)
        else:
            manager_to_agent, agent_end = socket.socketpair()
            helper_to_agent, agent_helper_end = socket.socketpair()
            processes.append(("agent", _start_agent(settings, agent_end, agent_helper_end)))
        processes.append(("bundle helper", _start_helper(settings, helper_end, helper_to_agent)))
        helper_to_agent.close()
        try:
            yield manager_to_agent, manager_to_helper
        finally:
            manager_to_agent.close()
            manager_to_helper.close()
    finally:
        for name, process in processes:
            _wait_for(name, process)


def _connect(settings: ProcessorSettings) -> socket.socket:
    """A connection to a sidecar agent, which may still be starting."""
    deadline = time.monotonic() + settings.startup_timeout
    log.info("Connecting to the agent at %s", settings.agent_socket)
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(settings.agent_socket))
            return connection
        except (FileNotFoundError, ConnectionRefusedError) as error:
            connection.close()
            if time.monotonic() > deadline:
                reason = f"there is no agent at {settings.agent_socket} ({error.strerror})"
                raise StartRefused(EXIT_NO_GATEWAY, reason) from error
            time.sleep(0.5)
        except OSError as error:
            connection.close()
            reason = f"the agent's socket {settings.agent_socket} can't be used: {error.strerror}"
            raise StartRefused(EXIT_MISCONFIGURED, reason) from error


def _start_agent(settings: ProcessorSettings, manager: socket.socket, helper: socket.socket) -> subprocess.Popen[bytes]:
    try:
        config = agent_config(settings, manager_fd=manager.fileno(), helper_fd=helper.fileno())
    except ValueError as error:
        raise StartRefused(EXIT_MISCONFIGURED, str(error)) from error
    descriptor = config_descriptor(config)
    try:
        return _start(
            "parsegate.client.agent", ["--config-fd", str(descriptor)], manager, helper, descriptor=descriptor
        )
    finally:
        os.close(descriptor)


def _start_helper(settings: ProcessorSettings, manager: socket.socket, agent: socket.socket) -> subprocess.Popen[bytes]:
    arguments = ["--manager-fd", str(manager.fileno()), "--agent-fd", str(agent.fileno())]
    if settings.run_as_user is not None:
        arguments.append("--shared")
    return _start("parsegate.client.bundle_helper", arguments, manager, agent)


def _start(
    module: str, arguments: list[str], *ends: socket.socket, descriptor: int | None = None
) -> subprocess.Popen[bytes]:
    """Exec a module with these sockets, which are then its alone."""
    inherited = [end.fileno() for end in ends] + ([descriptor] if descriptor is not None else [])
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        pass_fds=inherited,
        # A Ctrl-C in the terminal is the manager's to handle; it tells the others.
        start_new_session=True,
    )
    for end in ends:
        end.close()
    return process


def _wait_for(name: str, process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(FAREWELL_TIMEOUT + STARTUP_MARGIN)
    except subprocess.TimeoutExpired:
        log.warning("The %s (PID %s) does not end; terminating it", name, process.pid)
        # Not allowed once this process has given up its privileges; the companion ends by itself, later.
        with suppress(PermissionError):
            process.terminate()
