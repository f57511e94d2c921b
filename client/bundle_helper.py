"""The bundle helper: the one process that holds bundle objects, and with them their credentials.

``python -m parsegate.client.bundle_helper --manager-fd N --agent-fd M``, exec'd by the launcher before it drops its
privileges. Airflow's git bundle keeps tokens and private keys for as long as it lives, and whatever lives in the
manager is inherited by every DAG file's process. So bundles are instantiated, initialized and refreshed here; the
manager learns paths and versions. Connections come from the gateway, through the agent, as they do for a DAG file. This
process does one thing at a time and may wait as long as a clone takes.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from airflow.dag_processing.bundles.base import BaseDagBundle, BundleUsageTrackingManager, unpack_bundle_version
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import GetConnection, GetVariable, MaskSecret
from airflow.sdk.execution_time.request_handlers import handle_get_connection, handle_get_variable
from airflow.sdk.execution_time.supervisor import block_orm_access
from pydantic import BaseModel

from . import isolation, protocol
from .answers import AnsweredClient, AnsweredWithError, error_response

log = logging.getLogger(__name__)

DESCRIBE_RETRY = 5.0
"""Seconds between attempts to describe the bundles while the gateway is away."""


class Connection:
    """Blocking frames over an inherited socket."""

    def __init__(self, descriptor: int, incoming: Any) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(True)
        os.set_inheritable(descriptor, False)
        self._decoder = msgspec.msgpack.Decoder(incoming)
        self._frames = protocol.FrameBuffer()
        self._received: list[Any] = []

    def send(self, message: protocol.Message) -> None:
        self._socket.sendall(protocol.encode(message))

    def receive(self) -> Any:
        """The next message.

        :raises EOFError: the peer has ended
        """
        while not self._received:
            if not (data := self._socket.recv(256 * 1024)):
                raise EOFError
            self._received = [self._decoder.decode(frame) for frame in self._frames.feed(data)]
        return self._received.pop(0)


class AgentComms:
    """Answers what Airflow's secrets backend asks in a client process (``task_runner.SUPERVISOR_COMMS``)."""

    def __init__(self, agent: Connection) -> None:
        self._agent = agent
        self._ids = itertools.count(1)
        self.bundle_name = ""
        """The bundle on whose behalf is asked."""
        self.unreachable = False
        """An answer was that the gateway is away. Airflow's backend hides that: to it the connection does not exist."""

    def send(self, msg: BaseModel) -> BaseModel | None:
        if isinstance(msg, MaskSecret):
            return None
        request = protocol.Read(
            id=next(self._ids),
            bundle_name=self.bundle_name,
            relative_fileloc=None,
            request=msg.model_dump(mode="json"),
        )
        self._agent.send(request)
        while (answer := self._agent.receive()).id != request.id:
            log.warning("An answer to request %s came, which nobody waits for", answer.id)
        if answer.unreachable:
            self.unreachable = True
        client: Any = AnsweredClient(answer)
        try:
            if isinstance(msg, GetConnection):
                return handle_get_connection(client, msg)[0]
            if isinstance(msg, GetVariable):
                return handle_get_variable(client, msg)[0]
        except AnsweredWithError as error:
            raise AirflowRuntimeError(error.response) from error
        if (refusal := error_response(answer)) is not None:
            raise AirflowRuntimeError(refusal)
        raise NotImplementedError(f"A bundle can read connections and variables only, not {type(msg).__name__}.")


class BundleHelper:
    """Does what the manager asks, one message at a time."""

    def __init__(self, comms: AgentComms) -> None:
        self._comms = comms
        self._config = DagBundlesManager()
        self._bundles: dict[str, BaseDagBundle] = {}

    def handle(self, message: protocol.ToBundleHelper) -> protocol.Message | None:
        match message:
            case protocol.DescribeBundles():
                return self.describe(message.bundle_names)
            case protocol.RefreshBundle():
                return self.refresh(message.bundle_name)
            case protocol.PrepareVersion():
                return self.prepare(message.bundle_name, message.version)
            case protocol.RemoveStaleVersions():
                self.remove_stale_versions()
                return None

    def describe(self, wanted: list[str] | None) -> protocol.BundlesDescribed:
        configured = list(self._config.get_all_bundle_names())
        names = configured if wanted is None else wanted
        if unknown := [name for name in names if name not in configured]:
            error = f"These bundles are not configured: {', '.join(unknown)}. Configured are: {', '.join(configured)}."
            return protocol.BundlesDescribed(bundles=[], error=error)
        if not names:
            return protocol.BundlesDescribed(
                bundles=[], error="No bundle is configured ([dag_processor] dag_bundle_config_list)."
            )
        definitions: list[protocol.BundleDefinition] = []
        for name in names:
            try:
                bundle = self._instance(name, patient=True)
                definitions.append(self._define(bundle))
            except Exception:  # A bundle's class is the deployment's code; one that fails is skipped, as Airflow does.
                log.exception("Bundle %s can't be created and is skipped", name)
        return protocol.BundlesDescribed(bundles=definitions)

    def _define(self, bundle: BaseDagBundle) -> protocol.BundleDefinition:
        return protocol.BundleDefinition(
            name=bundle.name,
            path=os.fspath(bundle.path),
            team_name=self._config._bundle_config[bundle.name].team_name,  # pyright: ignore[reportPrivateUsage]
            refresh_interval=bundle.refresh_interval,
            supports_versioning=bundle.supports_versioning,
            view_url_template=bundle.view_url_template(),
            template_params=self._config._extract_template_params(bundle),  # pyright: ignore[reportPrivateUsage]
        )

    def _instance(self, name: str, version: str | None = None, *, patient: bool = False) -> BaseDagBundle:
        """A bundle object; of the tracked version always the same one.

        :param patient: try again for as long as it fails because the gateway is away
        """
        if version is None and (known := self._bundles.get(name)):
            return known
        self._comms.bundle_name = name
        while True:
            self._comms.unreachable = False
            try:
                bundle = self._config.get_bundle(name, version)
            except Exception:
                if not (patient and self._comms.unreachable):
                    raise
            else:
                # A git bundle with a repo_url goes on without its credentials when its connection can't be read.
                if not (patient and self._comms.unreachable):
                    break
            log.warning("Bundle %s needs a connection, and the gateway can't be reached; trying again", name)
            time.sleep(DESCRIBE_RETRY)
        if version is None:
            self._bundles[name] = bundle
        return bundle

    def refresh(self, name: str) -> protocol.BundleReady:
        try:
            bundle = self._instance(name)
            self._comms.bundle_name = name
            if not bundle.is_initialized:
                bundle.initialize()
            bundle.refresh()
            version, version_data = unpack_bundle_version(bundle.get_current_version(), bundle)
        except Exception as error:  # As above; the manager says it, and asks again later.
            log.exception("Bundle %s can't be refreshed", name)
            # The next attempt reads the connection again, which may be what was wrong.
            self._bundles.pop(name, None)
            return self._failed(name, None, error)
        return protocol.BundleReady(
            bundle_name=name,
            requested_version=None,
            path=os.fspath(bundle.path),
            version=version if bundle.supports_versioning else None,
            version_data=version_data if bundle.supports_versioning else None,
        )

    def prepare(self, name: str, version: str) -> protocol.BundleReady:
        try:
            bundle = self._instance(name, version)
            bundle.initialize()
        except Exception as error:  # As above.
            log.exception("Version %s of bundle %s can't be prepared", version, name)
            return self._failed(name, version, error)
        return protocol.BundleReady(
            bundle_name=name, requested_version=version, path=os.fspath(bundle.path), version=version, version_data=None
        )

    @staticmethod
    def _failed(name: str, version: str | None, error: Exception) -> protocol.BundleReady:
        return protocol.BundleReady(
            bundle_name=name,
            requested_version=version,
            path=None,
            version=None,
            version_data=None,
            error=f"{type(error).__name__}: {error}",
        )

    def remove_stale_versions(self) -> None:
        """``BundleUsageTrackingManager.remove_stale_bundle_versions`` without making every bundle anew."""
        for bundle in self._bundles.values():
            if bundle.supports_versioning:
                try:
                    BundleUsageTrackingManager()._remove_stale_bundle_versions_for_bundle(bundle.name)  # pyright: ignore[reportPrivateUsage]
                except OSError:
                    log.exception("Stale versions of bundle %s can't be removed", bundle.name)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m parsegate.client.bundle_helper", description=__doc__)
    parser.add_argument("--manager-fd", type=int, required=True)
    parser.add_argument("--agent-fd", type=int, required=True)
    parser.add_argument("--shared", action="store_true", help="files are for another user to read")
    arguments = parser.parse_args(argv)

    isolation.make_undumpable()
    block_orm_access()
    if arguments.shared:
        os.umask(0o022)
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "client"
    manager = Connection(arguments.manager_fd, protocol.ToBundleHelper)
    comms = AgentComms(Connection(arguments.agent_fd, protocol.FromAgent))
    task_runner.SUPERVISOR_COMMS = comms  # pyright: ignore[reportAttributeAccessIssue]
    helper: BundleHelper | None = None
    try:
        while True:
            message = manager.receive()
            if helper is None:
                try:
                    helper = BundleHelper(comms)
                except Exception as error:  # A configuration that Airflow can't use: the manager says so and ends.
                    manager.send(protocol.BundlesDescribed(bundles=[], error=f"{type(error).__name__}: {error}"))
                    continue
            if (answer := helper.handle(message)) is not None:
                manager.send(answer)
    except (EOFError, ConnectionError):
        return 0


if __name__ == "__main__":
    sys.exit(main())
