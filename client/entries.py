"""One thing to deliver to the gateway, and how much of it goes into one request."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import msgspec

from . import protocol

Deliverable = (
    protocol.SyncBundles
    | protocol.BundleRefreshed
    | protocol.FilesObserved
    | protocol.ParseResult
    | protocol.ScanStale
    | protocol.PurgeWarnings
    | protocol.CallbackSettled
    | protocol.ParseRequestReleased
)

Key = tuple[str, ...]

FileKey = tuple[str, str]
"""Bundle, and file relative to it."""

UNCHANGED_BYTES = 256
"""What a result comes to that is named by its fingerprint."""

_decoder: msgspec.msgpack.Decoder[Deliverable] = msgspec.msgpack.Decoder(Deliverable)
_header_decoder = msgspec.msgpack.Decoder(protocol.ResultHeader)


def _key(message: Deliverable | protocol.PackedResult) -> Key:
    match message:
        case protocol.ResultHeader():
            # A timeout says nothing about the file's DAGs, so it must not push out a result that does.
            kind = "timeout" if message.timed_out else "result"
            return (kind, message.bundle_name, message.relative_fileloc)
        case protocol.BundleRefreshed() | protocol.FilesObserved():
            return (type(message).__name__, message.bundle_name)
        case protocol.CallbackSettled() | protocol.ParseRequestReleased():
            return (type(message).__name__, message.lease_id)
        case protocol.SyncBundles() | protocol.ScanStale() | protocol.PurgeWarnings():
            return (type(message).__name__,)


@dataclass(eq=False)
class Entry:
    """One thing to deliver; times are on the clock that :meth:`.outbox.Outbox.take` is given.

    :param key: what it is about
    :param content: the message, encoded
    :param attempt_id: of a parse result, else None
    :param lease_ids: parse requests that a parse result answers, those of the results that it replaced included
    :param fingerprint: of a parse result that can be recognised again, else None
    :param unchanged: it is a parse result that the gateway may have: named by its fingerprint, not sent in full
    :param wanted: it was named by its fingerprint, and the gateway has asked for it in full
    :param waits_until: until then it waits for company; with others it goes at any time
    :param not_before: it goes no sooner, because the gateway failed to take it
    :param alone: it is sent in a batch of its own: a batch with it in was refused or failed
    :param failures: how often the gateway failed to take it
    :param traceparent: names the span of a parse, where traces are on
    """

    key: Key
    content: bytes
    attempt_id: str | None = None
    lease_ids: list[str] = field(default_factory=list[str])
    fingerprint: str | None = None
    unchanged: bool = False
    wanted: bool = False
    waits_until: float = 0.0
    not_before: float = 0.0
    alone: bool = False
    failures: int = 0
    traceparent: str | None = None

    @classmethod
    def of(cls, message: Deliverable | protocol.PackedResult, content: bytes | None = None) -> Entry:
        """
        :param content: the message's bytes, if they are at hand
        """
        entry = cls(key=_key(message), content=content or msgspec.msgpack.encode(message))
        if isinstance(message, protocol.ResultHeader):
            entry.attempt_id = message.attempt_id
            entry.lease_ids = list(message.lease_ids)
            entry.traceparent = message.traceparent
        return entry

    @property
    def message(self) -> Deliverable:
        return _decoder.decode(self.content)

    @property
    def header(self) -> protocol.ResultHeader:
        """Of a parse result, without unpacking what the file holds."""
        return _header_decoder.decode(self.content)

    @property
    def is_result(self) -> bool:
        return self.attempt_id is not None

    @property
    def file(self) -> FileKey:
        """Of a parse result."""
        return self.key[1], self.key[2]

    @property
    def is_barrier(self) -> bool:
        """Nothing behind it makes sense to the gateway before it: results of bundles that it does not know yet."""
        return self.key == ("SyncBundles",)

    @property
    def due(self) -> float:
        """When it goes of its own accord."""
        return max(self.waits_until, self.not_before)

    @property
    def size(self) -> int:
        """About the bytes that it comes to in a request."""
        return UNCHANGED_BYTES if self.unchanged else len(self.content)

    def must_follow(self, unchanged: Collection[FileKey]) -> bool:
        """Whether it comes after the results of these files, all of which may yet be wanted in full."""
        if self.key[0] == "timeout":
            return self.file in unchanged
        return bool(unchanged) and self.key[0] in ("FilesObserved", "ScanStale")

    def inherit(self, older: Entry) -> None:
        """Take the place of an older entry; what it alone knew must not be lost with it."""
        self.lease_ids.extend(lease_id for lease_id in older.lease_ids if lease_id not in self.lease_ids)
        self.waits_until = min(self.waits_until, older.waits_until)
        if self.key == older.key and not older.unchanged:
            self.unchanged = False
        if self.key[0] != "BundleRefreshed":
            return
        before, after = older.message, self.message
        assert isinstance(before, protocol.BundleRefreshed)
        assert isinstance(after, protocol.BundleRefreshed)
        if after.version is None and before.version is not None:
            self.content = msgspec.msgpack.encode(msgspec.structs.replace(after, version=before.version))


@dataclass(frozen=True)
class Limits:
    """What one batch may hold: results that are named by their fingerprints, other entries, and bytes."""

    unchanged: int
    others: int
    bytes: int


class Load:
    """How much a number of entries comes to."""

    def __init__(self) -> None:
        self._unchanged = 0
        self._others = 0
        self._bytes = 0

    def add(self, entry: Entry) -> None:
        self._count(entry, 1)

    def remove(self, entry: Entry) -> None:
        """An entry that has not changed since it was added."""
        self._count(entry, -1)

    def _count(self, entry: Entry, sign: int) -> None:
        if entry.unchanged:
            self._unchanged += sign
        else:
            self._others += sign
        self._bytes += sign * entry.size

    def has_room_for(self, entry: Entry, limits: Limits) -> bool:
        count, most = (self._unchanged, limits.unchanged) if entry.unchanged else (self._others, limits.others)
        return count < most and self._bytes + entry.size <= limits.bytes

    def is_full(self, limits: Limits) -> bool:
        return self._unchanged >= limits.unchanged or self._others >= limits.others or self._bytes >= limits.bytes
