"""What the manager has handed over and the gateway has not yet taken, in order, one entry for each thing it is about.

It is bounded by construction: a newer entry about the same thing takes the place of an older one that still waits, so
there are never more results than files, nor more observations than bundles, however long the gateway is away. Entries
are kept as the bytes they came in; unpacked DAGs would take several times the memory.
"""

from __future__ import annotations

from collections.abc import Iterable
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

_decoder: msgspec.msgpack.Decoder[Deliverable] = msgspec.msgpack.Decoder(Deliverable)


def _key(message: Deliverable) -> Key:
    match message:
        case protocol.ParseResult():
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
    """One thing to deliver.

    :param key: what it is about
    :param content: the message, encoded
    :param attempt_id: of a parse result, else None
    :param lease_ids: parse requests that a parse result answers, those of the results that it replaced included
    :param alone: it is sent in a batch of its own: a batch with it in was refused or failed
    :param not_before: on the clock that :meth:`Outbox.take` is given
    :param failures: how often the gateway failed to take it
    """

    key: Key
    content: bytes
    attempt_id: str | None = None
    lease_ids: list[str] = field(default_factory=list[str])
    alone: bool = False
    not_before: float = 0.0
    failures: int = 0

    @property
    def message(self) -> Deliverable:
        return _decoder.decode(self.content)

    @property
    def is_result(self) -> bool:
        return self.attempt_id is not None

    @property
    def is_barrier(self) -> bool:
        """Nothing behind it makes sense to the gateway before it: results of bundles that it does not know yet."""
        return self.key == ("SyncBundles",)


class Outbox:
    """First in, first out; see the module. Not for threads."""

    def __init__(self) -> None:
        self._waiting: dict[Key, Entry] = {}
        self._taken: dict[Key, Entry] = {}

    def __len__(self) -> int:
        """Entries not yet settled, those taken included."""
        return len(self._waiting) + len(self._taken)

    @property
    def undelivered_results(self) -> int:
        return sum(entry.is_result for entries in (self._waiting, self._taken) for entry in entries.values())

    @property
    def waiting_bytes(self) -> int:
        return sum(len(entry.content) for entry in self._waiting.values())

    def put(self, message: Deliverable, content: bytes | None = None) -> list[Entry]:
        """Append a message, and return the parse results that it replaced.

        :param content: the message's bytes, if they are at hand
        """
        entry = Entry(key=_key(message), content=content or msgspec.msgpack.encode(message))
        if isinstance(message, protocol.ParseResult):
            entry.attempt_id = message.attempt_id
            entry.lease_ids = list(message.lease_ids)
        replaced = [old for key in _replaces(entry.key) if (old := self._waiting.pop(key, None)) is not None]
        for old in replaced:
            _inherit(entry, old)
        self._waiting[entry.key] = entry
        return [old for old in replaced if old.is_result]

    def take(self, now: float, max_count: int, max_bytes: int) -> list[Entry]:
        """The next batch, in order; empty if nothing is due. Every entry taken is then settled, deferred or restored.

        A batch holds at least one due entry, however large it is.
        """
        batch: list[Entry] = []
        size = 0
        for entry in self._waiting.values():
            stands_alone = entry.alone or entry.is_barrier
            if entry.not_before > now:
                if entry.is_barrier:
                    break
                continue
            if batch and (stands_alone or len(batch) >= max_count or size + len(entry.content) > max_bytes):
                if stands_alone and not entry.is_barrier:
                    continue
                break
            batch.append(entry)
            size += len(entry.content)
            if stands_alone:
                break
        for entry in batch:
            del self._waiting[entry.key]
            self._taken[entry.key] = entry
        return batch

    def next_due(self) -> float | None:
        """The earliest time at which :meth:`take` has something; None if nothing waits."""
        due: float | None = None
        for entry in self._waiting.values():
            due = entry.not_before if due is None else min(due, entry.not_before)
            if entry.is_barrier:
                break
        return due

    def settle(self, entry: Entry) -> None:
        """Done with it, one way or the other."""
        del self._taken[entry.key]

    def restore(self, entries: Iterable[Entry]) -> list[Entry]:
        """Put entries back in front, in their order: they were not delivered, or nobody knows.

        Returns the parse results among them that a newer one has replaced meanwhile.
        """
        returning: dict[Key, Entry] = {}
        replaced: list[Entry] = []
        for entry in entries:
            del self._taken[entry.key]
            newer = self._newer(entry.key)
            if newer is None:
                returning[entry.key] = entry
                continue
            _inherit(newer, entry)
            if entry.is_result:
                replaced.append(entry)
        self._waiting = {**returning, **self._waiting}
        return replaced

    def defer(self, entry: Entry, until: float) -> list[Entry]:
        """Try it again later and alone, behind all others. Returns as :meth:`restore` does."""
        entry.failures += 1
        entry.alone = True
        entry.not_before = until
        replaced = self.restore([entry])
        if self._waiting.get(entry.key) is entry and not entry.is_barrier:
            self._waiting[entry.key] = self._waiting.pop(entry.key)
        return replaced

    def _newer(self, key: Key) -> Entry | None:
        """What waits and would have replaced an entry about ``key``."""
        if key in self._waiting:
            return self._waiting[key]
        return self._waiting.get(("result", *key[1:])) if key[0] == "timeout" else None


def _replaces(key: Key) -> tuple[Key, ...]:
    """The keys that an entry takes the place of. A result makes an earlier timeout of its file pointless."""
    return (key, ("timeout", *key[1:])) if key[0] == "result" else (key,)


def _inherit(newer: Entry, older: Entry) -> None:
    """What the older entry alone knew must not be lost with it."""
    newer.lease_ids.extend(lease_id for lease_id in older.lease_ids if lease_id not in newer.lease_ids)
    before, after = older.message, newer.message
    if (
        isinstance(before, protocol.BundleRefreshed)
        and isinstance(after, protocol.BundleRefreshed)
        and after.version is None
        and before.version is not None
    ):
        newer.content = msgspec.msgpack.encode(msgspec.structs.replace(after, version=before.version))
