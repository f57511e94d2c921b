"""What happens in bundles that somebody watches: read once a second for each bundle, whoever watches it.

Each gateway reads for its own subscribers, so that it does not matter through which of them a result was stored. A
subscriber who is slow misses intermediate states, never the last one: what waits for it is the newest state of each
file, or of the version, hence no more than the bundle has files.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any, Generic, TypeVar

from anyio import CapacityLimiter, to_thread

from ..resolvers import bundle_events, database
from ..resolvers.bundle_events import PASSING_FAULTS, Sight
from ..resolvers.bundle_versions import Progress
from ..resolvers.pages import Row

POLL_INTERVAL = 1.0
"""Seconds between two looks at a bundle."""

MOST_CAUGHT_UP = 5_000
"""Files that a subscriber is told of, of those that were parsed before it came."""

log = logging.getLogger(__name__)

ItemT = TypeVar("ItemT")


class _Subscriber(Generic[ItemT]):
    """:param items: what a sight has for it, each with what it is about: a newer item takes the place of an older
    :param wants_files: whether it needs the rows of files that were parsed
    :param versions: whose progress it needs; None stands for the current one
    """

    def __init__(
        self,
        items: Callable[[Sight], Iterable[tuple[str, ItemT]]],
        *,
        wants_files: bool = False,
        versions: tuple[str | None, ...] = (),
    ) -> None:
        self._items = items
        self.wants_files = wants_files
        self.versions = versions
        self.began = asyncio.Event()
        self._waiting: dict[str, ItemT] = {}
        self._changed = asyncio.Event()
        self._error: Exception | None = None

    def take(self, sight: Sight) -> None:
        self.began.set()
        for about, item in self._items(sight):
            # Behind the others, since it has just changed.
            self._waiting.pop(about, None)
            self._waiting[about] = item
            self._changed.set()

    def put_before(self, items: Iterable[tuple[str, ItemT]]) -> None:
        """Older items, where there is none yet about the same."""
        self._waiting = {**dict(items), **self._waiting}
        if self._waiting:
            self._changed.set()

    def fail(self, error: Exception) -> None:
        self._error = error
        self.began.set()
        self._changed.set()

    async def next(self) -> ItemT:
        """The item that has waited for longest; raises what :meth:`fail` was given, when none waits."""
        while not self._waiting:
            if self._error is not None:
                raise self._error
            self._changed.clear()
            await self._changed.wait()
        return self._waiting.pop(next(iter(self._waiting)))


class _Watch:
    """Looks at one bundle for as long as somebody watches it."""

    def __init__(self, bundle_name: str, turns: CapacityLimiter, interval: float) -> None:
        self.subscribers: list[_Subscriber[Any]] = []
        self._bundle_name = bundle_name
        self._turns = turns
        self._interval = interval
        self._task: asyncio.Task[None] | None = None

    @property
    def has_ended(self) -> bool:
        """Because of a fault, or with the event loop that it was started on."""
        return self._task is not None and self._task.done()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    @property
    def _wants_files(self) -> bool:
        return any(subscriber.wants_files for subscriber in self.subscribers)

    async def _run(self) -> None:
        sight: Sight | None = None
        is_away = False
        while True:
            with_files = self._wants_files
            versions = {version for subscriber in self.subscribers for version in subscriber.versions}
            look = partial(_look, self._bundle_name, sight, with_files, frozenset(versions))
            try:
                seen = await to_thread.run_sync(look, limiter=self._turns)
            except PASSING_FAULTS as error:
                if not is_away:
                    log.warning(
                        "What happens in bundle %s can't be read, and is tried again: %s", self._bundle_name, error
                    )
                is_away = True
            except Exception as error:  # whatever it is, those who watch must not wait for ever
                for subscriber in self.subscribers:
                    subscriber.fail(error)
                return
            else:
                is_away = False
                if self._wants_files and not with_files:
                    # Who wants them came while it was read: once more, so that none is lost to them.
                    continue
                sight = seen
                for subscriber in self.subscribers:
                    subscriber.take(sight)
            await asyncio.sleep(self._interval)


class Feeds:
    """Of one gateway process, used on its event loop alone.

    :param turns: bounds the threads that read, together with others that use the database
    :param interval: seconds between two looks at a bundle
    """

    def __init__(self, turns: CapacityLimiter, interval: float = POLL_INTERVAL) -> None:
        self._turns = turns
        self._interval = interval
        self._watches: dict[str, _Watch] = {}

    @property
    def watched(self) -> frozenset[str]:
        """Names of the bundles that somebody watches."""
        return frozenset(self._watches)

    async def parsed_files(self, bundle_name: str, since: datetime | None = None) -> AsyncGenerator[Row]:
        """The row of each file of a bundle whenever it was parsed, until closed.

        :param since: also files that were parsed at that moment or later, at once; at most ``MOST_CAUGHT_UP``
        """
        subscriber = _Subscriber(_parsed_files, wants_files=True)
        with self._subscribed(bundle_name, subscriber):
            if since is not None:
                await subscriber.began.wait()
                read = partial(_files_parsed_since, bundle_name, since)
                rows = await to_thread.run_sync(read, limiter=self._turns)
                subscriber.put_before((row["relative_fileloc"], row) for row in rows)
            while True:
                yield await subscriber.next()

    async def version_progress(self, bundle_name: str, version: str | None) -> AsyncGenerator[tuple[Row, Progress]]:
        """A version's row and progress, at once if it is known, and whenever they have changed, until closed.

        :param version: None for the one that is current when the first is
        """
        last: tuple[Row, Progress] | None = None

        def items(sight: Sight) -> list[tuple[str, tuple[Row, Progress]]]:
            nonlocal last
            (name,) = subscriber.versions
            name = sight.current_version if name is None else name
            if name is None or name not in sight.versions:
                return []
            subscriber.versions = (name,)
            if sight.versions[name] == last:
                return []
            last = sight.versions[name]
            return [(name, last)]

        subscriber = _Subscriber(items, versions=(version,))
        with self._subscribed(bundle_name, subscriber):
            while True:
                yield await subscriber.next()

    @contextmanager
    def _subscribed(self, bundle_name: str, subscriber: _Subscriber[Any]) -> Generator[None]:
        watch = self._watches.get(bundle_name)
        if watch is None or watch.has_ended:
            watch = self._watches[bundle_name] = _Watch(bundle_name, self._turns, self._interval)
            watch.start()
        watch.subscribers.append(subscriber)
        try:
            yield
        finally:
            watch.subscribers.remove(subscriber)
            if not watch.subscribers:
                watch.stop()
                if self._watches.get(bundle_name) is watch:
                    del self._watches[bundle_name]


def _parsed_files(sight: Sight) -> list[tuple[str, Row]]:
    return [(row["relative_fileloc"], row) for row in sight.files]


def _look(bundle_name: str, before: Sight | None, with_files: bool, versions: frozenset[str | None]) -> Sight:
    """Runs in a worker thread."""
    with database.reading() as session:
        return bundle_events.look(
            session, database.transaction, bundle_name, before, with_files=with_files, versions=versions
        )


def _files_parsed_since(bundle_name: str, since: datetime) -> list[Row]:
    """Runs in a worker thread."""
    with database.reading() as session:
        return bundle_events.files_parsed_since(session, bundle_name, since, MOST_CAUGHT_UP)
