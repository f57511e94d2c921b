"""What manager, agent and bundle helper say to each other over their sockets.

Each message is one msgpack frame behind a 4-byte big-endian length, a tagged union of the structs below. The manager
never waits for an answer: what it sends is handed over, and what comes back arrives through its selector. Durations
are seconds, times UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

MAX_FRAME_BYTES = 64 * 1024 * 1024
"""The largest frame either side accepts. A parse result beyond the gateway's request limit is refused there."""


class Message(msgspec.Struct, kw_only=True, tag=True, frozen=True):
    """Base of all frames; the tag is the class name."""


# Manager to agent ----------------------------------------------------------------------------------------------------


class Register(Message, frozen=True):
    """First frame: register this processor and keep it registered. Answered by Registered or Stopped."""

    hostname: str
    unixname: str
    pid: int
    airflow_version: str
    bundle_names: list[str] | None
    max_callbacks: int
    heartbeat_interval: float
    """Seconds between heartbeats, ``[scheduler] job_heartbeat_sec``."""


class BundleDefinition(msgspec.Struct, kw_only=True, frozen=True):
    """One configured bundle, as the bundle helper describes it."""

    name: str
    path: str
    team_name: str | None
    refresh_interval: float
    supports_versioning: bool
    view_url_template: str | None
    template_params: dict[str, Any]


class SyncBundles(Message, frozen=True):
    """Make the gateway's bundle rows match these; repeated by the agent after a new registration."""

    bundles: list[BundleDefinition]
    deactivate_missing: bool


class Tick(Message, frozen=True):
    """The manager's loop has turned. Heartbeats, claims and renewals go out only while these arrive."""


class FileAtWork(msgspec.Struct, kw_only=True, frozen=True):
    bundle_name: str
    relative_fileloc: str


class Activity(Message, frozen=True):
    """What the manager does now, for operators; goes with the next heartbeat. Comes only when it has changed."""

    parsing: list[FileAtWork]
    """At most 32, by bundle and path."""
    queued_files: int


class BundleRefreshed(Message, frozen=True):
    """A bundle was refreshed; a None version leaves the stored one as it is."""

    bundle_name: str
    last_refreshed: datetime
    version: str | None


class FilesObserved(Message, frozen=True):
    """All files of a bundle as just scanned, and the version that they are of; None for a bundle without versions.

    ``observed_filelocs`` names the DAG files inside zips besides.
    """

    bundle_name: str
    files: list[str]
    observed_filelocs: list[str]
    bundle_version: str | None = None


class SerializedDagDocument(msgspec.Struct, kw_only=True, frozen=True):
    document: dict[str, Any]
    last_loaded: datetime | None


class ResultHeader(Message, kw_only=True, frozen=True, tag="ParseResult"):
    """What a ParseResult says besides what the file holds; by itself, one that is read without looking at the rest."""

    attempt_id: str
    sequence: int
    bundle_name: str
    bundle_path: str
    relative_fileloc: str
    bundle_version: str | None
    version_data: dict[str, Any] | None
    parse_duration: float
    timed_out: bool
    lease_ids: list[str]
    """Priority parse requests that this parse answers; acknowledged when the result is stored."""
    traceparent: str | None = None
    """Names the span of this parse, where traces are on."""


class ParseResult(ResultHeader, frozen=True):
    """One finished attempt at one file. ``timed_out`` results carry no DAGs and leave Airflow's rows alone."""

    dags: list[SerializedDagDocument]
    import_errors: dict[str, str]
    warnings: list[dict[str, Any]]
    sources: dict[str, str]
    """Source text by ``fileloc`` of the DAGs above."""


class PackedDag(msgspec.Struct, kw_only=True, frozen=True):
    document: msgspec.Raw
    last_loaded: msgspec.Raw


class PackedResult(ResultHeader, frozen=True, tag="ParseResult"):
    """A ParseResult as the agent receives it: what the file holds stays the bytes that came.

    Most results say what the one before said, and are never unpacked.
    """

    dags: list[PackedDag]
    import_errors: msgspec.Raw
    warnings: msgspec.Raw
    sources: msgspec.Raw


class ScanStale(Message, frozen=True):
    """Ask the gateway to deactivate DAGs that their files no longer yield. Dropped while the gateway is away."""

    stale_dag_threshold: float


class PurgeWarnings(Message, frozen=True):
    """Ask the gateway to delete warnings of inactive DAGs. Dropped while the gateway is away."""


class Read(Message, frozen=True):
    """A request of a parse child (or of the bundle helper), forwarded. Answered by ReadAnswer with the same id.

    ``request`` is the Airflow comms message as its ``model_dump(mode="json")``, ``type`` included.
    """

    id: int
    bundle_name: str
    relative_fileloc: str | None
    request: dict[str, Any]


class CallbackSettled(Message, frozen=True):
    """What became of a claimed callback: ``RAN``, ``RAISED``, ``NOT_FOUND`` or ``NOT_STARTED``."""

    lease_id: str
    outcome: str


class ParseRequestReleased(Message, frozen=True):
    """A claimed priority parse request will not be answered by a parse (its file is gone, or the manager stops)."""

    lease_id: str


class Flush(Message, frozen=True):
    """No more results come for now: deliver what is waiting for company."""


class Complete(Message, frozen=True):
    """The manager is done: deliver what is waiting, complete the Job, answer Completed."""

    succeeded: bool
    timeout: float
    """Seconds that the delivery may take."""


# Agent to manager ----------------------------------------------------------------------------------------------------


class Registered(Message, frozen=True):
    job_id: int
    gateway_version: str


class Stopped(Message, frozen=True):
    """The processor must end: registration was refused, the gateway did not come in time, or the Job was closed."""

    reason: str
    message: str


class BundleStateRow(msgspec.Struct, kw_only=True, frozen=True):
    name: str
    last_refreshed: datetime | None
    version: str | None


class BundleStates(Message, frozen=True):
    states: list[BundleStateRow]


class CallbackLease(msgspec.Struct, kw_only=True, frozen=True):
    lease_id: str
    attempt: int
    callback: dict[str, Any]


class CallbacksLeased(Message, frozen=True):
    leases: list[CallbackLease]


class ParseRequestLease(msgspec.Struct, kw_only=True, frozen=True):
    lease_id: str
    bundle_name: str
    relative_fileloc: str


class ParseRequestsLeased(Message, frozen=True):
    leases: list[ParseRequestLease]


class LeaseLost(Message, frozen=True):
    """Another processor may have this claim now; what is still queued for it must not run."""

    lease_id: str


class ReadAnswer(Message, frozen=True):
    """The answer to a Read.

    Exactly one of ``body`` (fields of the Airflow comms result), ``error`` (an ``ErrorResponse``: ``error`` and
    ``detail``) and ``unreachable`` is set. ``unreachable`` says that the gateway was away: the attempt that asked must
    be discarded.
    """

    id: int
    body: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    unreachable: bool = False


class ResultSettled(Message, frozen=True):
    """The gateway's word on one ParseResult: ``ACCEPTED`` (committed) or ``REFUSED``; other outcomes are retried."""

    attempt_id: str
    bundle_name: str
    relative_fileloc: str
    status: str
    reason: str | None
    message: str | None
    request_id: str | None = None
    """Names the request in the gateway's log, for what was refused."""


class Completed(Message, frozen=True):
    undelivered: int
    """Results that could not be delivered in time."""


_NotResults = (
    Register
    | SyncBundles
    | Tick
    | Activity
    | BundleRefreshed
    | FilesObserved
    | ScanStale
    | PurgeWarnings
    | Read
    | CallbackSettled
    | ParseRequestReleased
    | Flush
    | Complete
)
ToAgent = _NotResults | ParseResult
Received = _NotResults | PackedResult
"""ToAgent, as the agent reads it."""
FromAgent = (
    Registered
    | Stopped
    | BundleStates
    | CallbacksLeased
    | ParseRequestsLeased
    | LeaseLost
    | ReadAnswer
    | ResultSettled
    | Completed
)


# Manager to bundle helper, and back ----------------------------------------------------------------------------------


class DescribeBundles(Message, frozen=True):
    """Instantiate the configured bundles (connection reads go to the agent). Answered by BundlesDescribed."""

    bundle_names: list[str] | None


class BundlesDescribed(Message, frozen=True):
    bundles: list[BundleDefinition]
    error: str | None = None


class RefreshBundle(Message, frozen=True):
    """Initialize a bundle if need be, and refresh it. Answered by BundleReady."""

    bundle_name: str


class PrepareVersion(Message, frozen=True):
    """Initialize one version of a bundle, for a callback. Answered by BundleReady with that version requested."""

    bundle_name: str
    version: str


class BundleReady(Message, frozen=True):
    bundle_name: str
    requested_version: str | None
    path: str | None
    version: str | None
    version_data: dict[str, Any] | None
    error: str | None = None


class RemoveStaleVersions(Message, frozen=True):
    """Run Airflow's clean-up of bundle versions on disk; no answer."""


ToBundleHelper = DescribeBundles | RefreshBundle | PrepareVersion | RemoveStaleVersions
FromBundleHelper = BundlesDescribed | BundleReady


def encode(message: Message) -> bytes:
    """One frame, length included."""
    body = msgspec.msgpack.encode(message)
    if len(body) > MAX_FRAME_BYTES:
        kind = type(message).__name__
        raise ValueError(f"A {kind} of {len(body)} bytes exceeds the frame limit of {MAX_FRAME_BYTES}.")
    return len(body).to_bytes(4, "big") + body


class FrameBuffer:
    """Cuts a byte stream into frames; holds at most one incomplete frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> list[bytes]:
        """The frames completed by ``data``, without their length.

        :raises ValueError: the peer announced a frame beyond MAX_FRAME_BYTES
        """
        self._buffer += data
        frames: list[bytes] = []
        begin = 0
        while len(self._buffer) - begin >= 4:
            length = int.from_bytes(self._buffer[begin : begin + 4], "big")
            if length > MAX_FRAME_BYTES:
                raise ValueError(f"A frame of {length} bytes exceeds the limit of {MAX_FRAME_BYTES}.")
            end = begin + 4 + length
            if len(self._buffer) < end:
                break
            with memoryview(self._buffer) as view:
                frames.append(bytes(view[begin + 4 : end]))
            begin = end
        del self._buffer[:begin]
        return frames
