"""What the agent needs to know, handed over as one JSON document on a descriptor.

Whoever starts the agent (the launcher, or ``parsegate agent``) has read Airflow's settings; the agent has no Airflow
imported and reads none. A descriptor, unlike arguments and environment, shows up in no process listing.
"""

from __future__ import annotations

import os
from typing import BinaryIO

import msgspec

MAX_DOCUMENT_BYTES = 1024 * 1024


class AgentConfig(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The agent's configuration. Durations are seconds.

    Exactly one of ``manager_fd`` and ``listen_path`` is set: a connected stream socket that the agent inherits, or the
    path of a unix socket on which it waits for its one manager. Inherited descriptors are named by number and must be
    inheritable (``pass_fds``).

    :raises ValueError: from decoding, if the document contradicts itself
    """

    url: str
    """The gateway's GraphQL endpoint, ending in ``/graphql``."""
    token_path: str
    """File that holds the processor token; read again whenever it changed."""

    manager_fd: int | None = None
    helper_fd: int | None = None
    """A connected stream socket on which the bundle helper sends Reads and nothing else."""
    listen_path: str | None = None

    ca_path: str | None = None
    """PEM file of the certificate authorities to trust instead of the system's."""
    client_certificate_path: str | None = None
    client_key_path: str | None = None
    """Key of the client certificate; None if the certificate's file holds it."""
    proxy: str | None = None
    """URL of the proxy to the gateway; None connects directly."""

    startup_timeout: float = 300.0
    """How long the first registration may take before the processor is told to stop."""
    poll_interval: float = 2.0
    """The least time between two polls."""
    gather_time: float = 1.0
    """How long a parse result may wait for others to share a request."""
    unchanged_gather_time: float = 3.0
    """How long one may wait that says what the gateway has: all that comes of it is a later time of the last parse."""
    compress_above: int | None = 1024
    """Bytes above which a request's body is compressed; None compresses none."""
    request_timeout: float = 30.0
    """How long one HTTP request may take, except reads."""
    read_timeout: float = 10.0
    """How long a parse child's read is tried before it is answered ``unreachable``; well below the import timeout."""
    farewell_timeout: float = 10.0
    """How long delivery is tried when the manager has gone without a word, or a sidecar agent is terminated."""
    status_path: str | None = None
    """File that ``parsegate status --local`` reads; None writes none."""
    health_check_threshold: float = 30.0
    """How old a healthy processor's last heartbeat may be, ``[dag_processor] health_check_threshold``."""
    log_level: str = "INFO"
    traced: bool = False
    """Whether spans are exported, ``[traces] otel_on``; where to, ``OTEL_*`` of the environment says."""

    def __post_init__(self) -> None:
        if (self.manager_fd is None) == (self.listen_path is None):
            raise ValueError("Exactly one of manager_fd and listen_path must be set.")
        if self.client_key_path and not self.client_certificate_path:
            raise ValueError("client_key_path is set without client_certificate_path.")
        if not self.url.startswith(("http://", "https://")):
            raise ValueError("url must begin with http:// or https://.")

    def document(self) -> bytes:
        """The JSON document that :func:`read_config` reads."""
        return msgspec.json.encode(self)


def read_config(stream: BinaryIO) -> AgentConfig:
    """Read the document up to its end.

    :raises ValueError: it is no valid configuration (``msgspec.ValidationError`` is one)
    """
    document = stream.read(MAX_DOCUMENT_BYTES + 1)
    if len(document) > MAX_DOCUMENT_BYTES:
        raise ValueError(f"The agent's configuration exceeds {MAX_DOCUMENT_BYTES} bytes.")
    return msgspec.json.decode(document, type=AgentConfig)


def config_descriptor(config: AgentConfig) -> int:
    """An inheritable descriptor from which ``config`` can be read once; the caller passes it on and closes it.

    The agent takes it as ``python -m parsegate.client.agent --config-fd N``, or as its standard input.
    """
    reader, writer = os.pipe()
    document = config.document()
    # A pipe holds 64 KiB before a write blocks; the document is a fraction of that, so no reader is needed yet.
    if len(document) > 32 * 1024:
        raise ValueError("The agent's configuration is too long for a pipe.")
    os.write(writer, document)
    os.close(writer)
    os.set_inheritable(reader, True)
    return reader
