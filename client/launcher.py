"""Run a DAG processor that stores and reads through the gateway. Options and meaning as ``airflow dag-processor``.

It starts the agent and the bundle helper, each by exec, gives up its privileges if it is told to, makes sure that it
sees no secret of the deployment, registers, and becomes the manager. Exit codes:

0  ended as asked: by SIGTERM or SIGINT, or after ``--num-runs``
1  a fault, described in the log
2  options or configuration are wrong
3  the gateway was not reached within ``[parsegate] startup_timeout``, or refused the registration
4  a secret of the deployment is visible: a Fernet key, a JWT secret or private key, a usable database URL
5  ended while running: the gateway closed the Job, or the agent or the bundle helper ended
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import pwd
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from . import isolation
from .companions import FAREWELL_TIMEOUT, STARTUP_MARGIN, companions
from .exit_codes import (
    EXIT_ENDED,
    EXIT_FAULT,
    EXIT_MISCONFIGURED,
    EXIT_NO_GATEWAY,
    EXIT_SECRET_VISIBLE,
    EXIT_STOPPED,
    StartRefused,
)

if TYPE_CHECKING:
    from .bundle_refresh import AgentChannel, HelperChannel
    from .settings import ProcessorSettings

log = logging.getLogger(__name__)

REMINDER_INTERVAL = 30.0


def run(argv: Sequence[str]) -> int:
    """The ``parsegate dag-processor`` command."""
    arguments = parser().parse_args(argv)
    if arguments.verbose:
        os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "DEBUG"
    isolation.prepare_environment(os.environ)
    # Before Airflow is imported: its import runs the commands of _CMD settings.
    try:
        _refuse_secrets(judge_files=False)
        return _run_with_airflow(arguments)
    except StartRefused as refusal:
        print(f"parsegate dag-processor: {refusal}", file=sys.stderr, flush=True)
        return refusal.exit_code


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="parsegate dag-processor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "-n",
        "--num-runs",
        type=int,
        help="parse every file so often, then end; -1: no end (default: [scheduler] num_runs)",
    )
    parser.add_argument(
        "-B", "--bundle-name", action="append", help="parse this bundle; may be given more than once (default: all)"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log more")
    parser.add_argument(
        "-d",
        "--dev",
        action="store_true",
        help="start anew whenever a source file of Airflow's changes; for development",
    )
    parser.add_argument("-D", "--daemon", action="store_true", help="run in the background")
    parser.add_argument("--pid", help="file for the process id, with --daemon")
    parser.add_argument("--stdout", help="file for the standard output, with --daemon")
    parser.add_argument("--stderr", help="file for the standard error, with --daemon")
    parser.add_argument("-l", "--log-file", help="file for the log, with --daemon")
    return parser


def _refuse_secrets(*, judge_files: bool) -> None:
    if found := isolation.visible_secrets(os.environ, judge_files=judge_files):
        raise StartRefused(
            EXIT_SECRET_VISIBLE,
            "this process runs DAG files and must not see secrets of the deployment. It needs a home and a "
            "configuration of its own, without them.\n  " + "\n  ".join(found),
        )


def _run_with_airflow(arguments: argparse.Namespace) -> int:
    from airflow.cli.commands.daemon_utils import run_command_with_daemon_option
    from airflow.configuration import conf
    from airflow.providers_manager import ProvidersManager
    from airflow.utils.cli import should_enable_hot_reload
    from airflow.utils.process_utils import set_component_mp_start_method

    from .settings import SettingsError, read_processor_settings

    ProvidersManager().initialize_providers_configuration()
    set_component_mp_start_method("dag_processor")
    try:
        settings = read_processor_settings(conf)
    except SettingsError as error:
        raise StartRefused(EXIT_MISCONFIGURED, str(error)) from error
    if arguments.num_runs is None:
        arguments.num_runs = conf.getint("scheduler", "num_runs")
    exit_code = EXIT_FAULT

    def command() -> None:
        nonlocal exit_code
        exit_code = _process(arguments, settings)

    if should_enable_hot_reload(arguments):
        from airflow.cli.hot_reload import run_with_reloader

        # The process that watches starts this command once more and never gets to the command itself.
        exit_code = EXIT_ENDED
        run_with_reloader(command, process_name="dag-processor")
        return exit_code
    run_command_with_daemon_option(
        args=arguments, process_name="dag-processor", callback=command, should_setup_logging=True
    )
    return exit_code


def _process(arguments: argparse.Namespace, settings: ProcessorSettings) -> int:
    from airflow.configuration import conf
    from airflow.sdk.execution_time.supervisor import block_orm_access

    from . import protocol, spans
    from .manager import GatewayDagFileProcessorManager, ProcessorStopped
    from .manager_channel import ManagerChannel
    from .preload import preload
    from .terminal import shared_terminal

    with shared_terminal() as counts, companions(settings) as (agent_socket, helper_socket):
        _give_up_privileges(settings)
        _refuse_secrets(judge_files=True)
        block_orm_access()
        if conf.getboolean("traces", "otel_on", fallback=False):
            spans.use_configured()
        agent: AgentChannel = ManagerChannel(agent_socket, "agent", protocol.FromAgent)  # pyright: ignore[reportArgumentType]
        helper: HelperChannel = ManagerChannel(helper_socket, "bundle helper", protocol.FromBundleHelper)  # pyright: ignore[reportArgumentType]
        definitions = _Start(agent, helper, settings).run(arguments.bundle_name)

        manager = GatewayDagFileProcessorManager(
            max_runs=arguments.num_runs,
            bundle_names_to_parse=arguments.bundle_name,
            agent=agent,
            helper=helper,
            definitions=definitions,
            counts=counts,
        )
        exit_code = EXIT_FAULT
        preload()
        try:
            manager.run()
            exit_code = EXIT_ENDED
        except ProcessorStopped as stopped:
            exit_code = EXIT_STOPPED if stopped.signal_number is None else EXIT_ENDED
            log.log(logging.INFO if exit_code == EXIT_ENDED else logging.ERROR, "%s", stopped.reason)
        except Exception:
            log.exception("The processor's loop failed")
        finally:
            undelivered = manager.finish(succeeded=exit_code == EXIT_ENDED, timeout=FAREWELL_TIMEOUT)
            agent.close()
            helper.close()
        if undelivered or (undelivered is None and exit_code == EXIT_ENDED):
            log.warning("Not everything could be delivered to the gateway (%s left)", undelivered)
        log.info("The processor has ended with exit code %s", exit_code)
        return exit_code


class _Start:
    """What happens between the start of the processes and the first turn of the loop. It may wait, and says so."""

    def __init__(self, agent: AgentChannel, helper: HelperChannel, settings: ProcessorSettings) -> None:
        self._agent = agent
        self._helper = helper
        self._settings = settings
        self._kept: list[Any] = []
        self._registered = False

    def run(self, bundle_names: list[str] | None) -> list[Any]:
        """The bundles to parse, once this processor is registered.

        :raises StartRefused: it could not be registered in time, or has no bundles
        """
        from airflow import __version__ as airflow_version
        from airflow.configuration import conf
        from airflow.utils.net import get_hostname

        from . import protocol

        gateway = self._settings.url or f"the agent at {self._settings.agent_socket}"
        log.info("Registering with %s; waiting for up to %g s", gateway, self._settings.startup_timeout)
        self._agent.send(
            protocol.Register(
                hostname=get_hostname(),
                unixname=_user_name(),
                pid=os.getpid(),
                airflow_version=airflow_version,
                bundle_names=bundle_names,
                max_callbacks=conf.getint("dag_processor", "max_callbacks_per_loop"),
                heartbeat_interval=conf.getfloat("scheduler", "job_heartbeat_sec"),
            )
        )
        self._wait(lambda: self._registered, f"{gateway} to register this processor", STARTUP_MARGIN)
        self._helper.send(protocol.DescribeBundles(bundle_names=bundle_names))
        self._wait(lambda: bool(self._helper.received), "the bundles to be described", 0)
        described = self._helper.received.popleft()
        assert isinstance(described, protocol.BundlesDescribed)
        if described.error is not None:
            raise StartRefused(EXIT_MISCONFIGURED, described.error)
        self._agent.received.extendleft(reversed(self._kept))
        return described.bundles

    def _wait(self, done: Callable[[], bool], what: str, margin: float) -> None:
        from . import protocol

        started = reminded = time.monotonic()
        while not done():
            for channel in (self._agent, self._helper):
                if channel.closed is not None:
                    raise StartRefused(EXIT_FAULT, f"{channel.closed}; see its messages above")
            now = time.monotonic()
            if now - started > self._settings.startup_timeout + margin:
                raise StartRefused(EXIT_NO_GATEWAY, f"gave up waiting for {what} after {now - started:.0f} s")
            if now - reminded > REMINDER_INTERVAL:
                reminded = now
                log.info("Still waiting for %s (%.0f s)", what, now - started)
            if self._registered:
                self._agent.send(protocol.Tick())
                self._helper.wait(1.0)
                self._agent.wait(0.01)
            else:
                self._agent.wait(1.0)
            while self._agent.received:
                self._take(self._agent.received.popleft())

    def _take(self, message: Any) -> None:
        from . import protocol

        if isinstance(message, protocol.Stopped):
            raise StartRefused(EXIT_NO_GATEWAY, f"{message.reason}: {message.message}")
        if isinstance(message, protocol.Registered):
            self._registered = True
            log.info("Registered as Job %s with gateway %s", message.job_id, message.gateway_version)
        else:
            self._kept.append(message)


def _give_up_privileges(settings: ProcessorSettings) -> None:
    """Become ``run_as_user`` if there is one, and close this process to others. Says which boundary there is."""
    from .settings import user_entry

    if settings.run_as_user is not None:
        entry = user_entry(settings.run_as_user)
        if os.geteuid() not in (0, entry.pw_uid):
            reason = f"run_as_user is {settings.run_as_user}, which needs a start as root"
            raise StartRefused(EXIT_MISCONFIGURED, reason)
        if os.geteuid() == 0:
            _hand_over_directories(entry)
            # Airflow derives its home from the user's when it is not set.
            os.environ.setdefault("AIRFLOW_HOME", os.fspath(isolation.airflow_home(os.environ)))
            os.environ.update(HOME=entry.pw_dir, USER=entry.pw_name, LOGNAME=entry.pw_name)
            isolation.drop_to(entry.pw_name, entry.pw_uid, entry.pw_gid)
    if platform.system() == "Linux":
        isolation.make_undumpable()
    if settings.token_path is not None and os.access(settings.token_path, os.R_OK):
        log.warning(
            "Manager and agent both run as %s, so DAG files can read the processor token (%s): there is no boundary "
            "against hostile code. Set [parsegate] run_as_user, or run the agent as a sidecar under another user.",
            _user_name(),
            settings.token_path,
        )


def _hand_over_directories(entry: pwd.struct_passwd) -> None:
    """What the manager and its children write must be theirs: the children's logs, the use of bundle versions."""
    from airflow.dag_processing.bundles.base import STALE_BUNDLE_TRACKING_FOLDER

    from .manager import log_directory

    for directory in (log_directory(), os.fspath(STALE_BUNDLE_TRACKING_FOLDER)):
        os.makedirs(directory, mode=0o755, exist_ok=True)
        os.chown(directory, entry.pw_uid, entry.pw_gid)


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
