"""What the manager has handed over and the gateway has not yet taken, in order, one entry for each thing it is about.

It is bounded by construction: a newer entry about the same thing takes the place of an older one that still waits, so
there are never more results than files, nor more observations than bundles, however long the gateway is away. Entries
are kept as the bytes they came in; unpacked DAGs would take several times the memory.
"""

from __future__ import annotations

from collections.abc import Iterable

from .entries import Entry, FileKey, Key, Limits, Load

_FAILURES_AS_UNCHANGED = 2
"""How often the gateway may fail to take a result by its fingerprint, before it is sent in full."""


class Outbox:
    """First in, first out; see the module. Not for threads."""

    def __init__(self) -> None:
        self._waiting: dict[Key, Entry] = {}
        self._taken: dict[Key, Entry] = {}
        self._load = Load()

    def __len__(self) -> int:
        """Entries not yet settled, those taken included."""
        return len(self._waiting) + len(self._taken)

    @property
    def undelivered_results(self) -> int:
        return sum(entry.is_result for entries in (self._waiting, self._taken) for entry in entries.values())

    def fills(self, limits: Limits) -> bool:
        """Whether what waits makes a whole batch."""
        return self._load.is_full(limits)

    def put(self, entry: Entry) -> list[Entry]:
        """Append an entry, and return the parse results that it replaced."""
        replaced = [self._remove(key) for key in _replaces(entry.key) if key in self._waiting]
        for old in replaced:
            entry.inherit(old)
        self._append(entry)
        return [old for old in replaced if old.is_result]

    def take(self, now: float, limits: Limits) -> list[Entry]:
        """The next batch, in order; empty if nothing goes yet. Every entry taken is then settled, deferred or restored.

        A batch goes when it is full, or when one of its entries waits for no more company. It holds at least one entry,
        however large it is. What is wanted in full goes at once and takes nothing along that still waits: of what came
        meanwhile much would be wanted, too, and would never be gathered.
        """
        batch: list[Entry] = []
        load = Load()
        unchanged: set[FileKey] = set()
        goes = False
        due = [entry for entry in self._waiting.values() if entry.due <= now]
        only_wanted = bool(due) and all(entry.wanted for entry in due)
        for entry in self._waiting.values():
            if entry.not_before > now:
                if entry.is_barrier:
                    break
                continue
            if batch and only_wanted and not entry.wanted:
                break
            if batch and entry.alone and not entry.is_barrier:
                goes = True
                continue
            if batch and (entry.is_barrier or entry.must_follow(unchanged) or not load.has_room_for(entry, limits)):
                goes = True
                break
            batch.append(entry)
            load.add(entry)
            if entry.unchanged:
                unchanged.add(entry.file)
            goes = goes or entry.due <= now
            if entry.alone or entry.is_barrier or load.is_full(limits):
                goes = True
                break
        if not goes:
            return []
        for entry in batch:
            entry.waits_until = 0.0
            self._taken[entry.key] = self._remove(entry.key)
        return batch

    def next_due(self) -> float | None:
        """The earliest time at which :meth:`take` has something; None if nothing waits."""
        due: float | None = None
        for entry in self._waiting.values():
            due = entry.due if due is None else min(due, entry.due)
            if entry.is_barrier:
                break
        return due

    def flush(self) -> None:
        """Nothing that waits now waits for company any more."""
        for entry in self._waiting.values():
            entry.waits_until = 0.0

    def send_in_full(self) -> None:
        """Name none of the results that wait by its fingerprint."""
        self._load = Load()
        for entry in self._waiting.values():
            entry.unchanged = False
            self._load.add(entry)

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
                self._load.add(entry)
                continue
            self._load.remove(newer)
            newer.inherit(entry)
            self._load.add(newer)
            if entry.is_result:
                replaced.append(entry)
        self._waiting = {**returning, **self._waiting}
        return replaced

    def want(self, entries: Iterable[Entry]) -> list[Entry]:
        """Put results back in front that have to be sent in full. Returns as :meth:`restore` does."""
        wanted = list(entries)
        for entry in wanted:
            entry.unchanged = False
            entry.wanted = True
        return self.restore(wanted)

    def defer(self, entry: Entry, until: float) -> list[Entry]:
        """Try it again later, behind all others: by its fingerprint once more, otherwise alone. Returns as
        :meth:`restore` does."""
        entry.failures += 1
        entry.not_before = until
        if entry.unchanged:
            entry.unchanged = entry.failures < _FAILURES_AS_UNCHANGED
        else:
            entry.alone = True
        replaced = self.restore([entry])
        if self._waiting.get(entry.key) is entry and not entry.is_barrier:
            self._waiting[entry.key] = self._waiting.pop(entry.key)
        return replaced

    def _append(self, entry: Entry) -> None:
        self._waiting[entry.key] = entry
        self._load.add(entry)

    def _remove(self, key: Key) -> Entry:
        entry = self._waiting.pop(key)
        self._load.remove(entry)
        return entry

    def _newer(self, key: Key) -> Entry | None:
        """What waits and would have replaced an entry about ``key``."""
        if key in self._waiting:
            return self._waiting[key]
        return self._waiting.get(("result", *key[1:])) if key[0] == "timeout" else None


def _replaces(key: Key) -> tuple[Key, ...]:
    """The keys that an entry takes the place of. A result makes an earlier timeout of its file pointless."""
    return (key, ("timeout", *key[1:])) if key[0] == "result" else (key,)
