"""Waiting until a version of a bundle has landed: until all of its files have been parsed and stored.

It asks again and again rather than subscribing: an answer every few seconds is enough for a pipeline, and needs nothing
of proxies, replicas or restarts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from .generated.enums import BundleVersionState
from .generated.fragments import VersionProgress
from .generated.operator_version import OperatorVersion
from .operator_errors import (
    FilesNotStored,
    ImportErrorsFound,
    OperatorError,
    OperatorUnreachable,
    VersionOvertaken,
    VersionTimedOut,
)

Ask = Callable[[str, str | None], Awaitable[OperatorVersion]]
"""Asks for a version of a bundle (None: the newest)."""

Listener = Callable[[VersionProgress | None, OperatorUnreachable | None], None]
"""Is told after each question how far the version is (None: not seen by a processor), and why there was no answer."""


class VersionWait:
    """One wait for one version.

    :param version: None for the one that was seen last, whichever that is at the time
    :param timeout: seconds; None waits for ever, 0 asks once
    :param or_newer: whether a version that takes the place of this one will do
    :param fail_on_import_errors: whether import errors are a failure
    :param interval: seconds between two questions
    :param listener: told after each
    """

    def __init__(
        self,
        ask: Ask,
        bundle: str,
        version: str | None,
        *,
        timeout: float | None,
        or_newer: bool,
        fail_on_import_errors: bool,
        interval: float,
        listener: Listener | None,
    ) -> None:
        self._ask = ask
        self._bundle = bundle
        self._version = version
        self._timeout = timeout
        self._or_newer = or_newer
        self._fail_on_import_errors = fail_on_import_errors
        self._interval = interval
        self._listener = listener
        self._progress: VersionProgress | None = None
        self._newest: str | None = None
        self._trouble: OperatorUnreachable | None = None
        # Versions that were the newest before ours was. A processor that lags behind may bring one of them back for a
        # moment, and that is not a newer one.
        self._older: set[str] = set()

    async def run(self) -> VersionProgress:
        """
        :raises OperatorError: the version has not landed; each reason has its class
        """
        start = time.monotonic()
        while (landed := await self._look()) is None:
            remaining = None if self._timeout is None else start + self._timeout - time.monotonic()
            if remaining is not None and remaining <= 0:
                raise self._out_of_time()
            await asyncio.sleep(self._interval if remaining is None else min(self._interval, remaining))
        return landed

    async def _look(self) -> VersionProgress | None:
        """Ask once; the progress of a version that has landed.

        :raises OperatorError: it won't land, or the gateway refuses
        """
        try:
            answer = await self._ask(self._bundle, self._version)
        except OperatorUnreachable as error:
            self._trouble = error
            self._tell()
            return None
        self._trouble = None
        self._progress = progress = answer.bundle_version
        self._newest = answer.newest.version if answer.newest else None
        self._tell()
        if progress is None:
            if self._newest is not None:
                self._older.add(self._newest)
            return None
        if progress.state is BundleVersionState.COMPLETE:
            if self._fail_on_import_errors and progress.import_error_count:
                raise ImportErrorsFound(_import_errors(progress), progress)
            return progress
        if progress.state is BundleVersionState.OVERTAKEN:
            self._overtaken(progress)
        elif progress.failed_count and progress.failed_count + progress.stored_count == progress.file_count:
            raise FilesNotStored(
                f"{_name(progress)}: all files were tried, and {progress.failed_count} of {progress.file_count} "
                "could not be stored.",
                progress,
            )
        return None

    def _overtaken(self, progress: VersionProgress) -> None:
        if self._newest is None or self._newest in (progress.version, *self._older):
            return
        if not self._or_newer:
            raise VersionOvertaken(
                f"{_name(progress)} was overtaken by {self._newest} with {progress.stored_count} of "
                f"{progress.file_count} files stored.",
                progress,
            )
        self._older.add(progress.version)
        self._version = self._newest

    def _tell(self) -> None:
        if self._listener is not None:
            self._listener(self._progress, self._trouble)

    def _out_of_time(self) -> OperatorError:
        within = f"within {self._timeout:g} s"
        if self._trouble is not None:
            return OperatorUnreachable(f"No answer {within}. {self._trouble}")
        progress = self._progress
        if progress is not None:
            waiting = progress.file_count - progress.stored_count - progress.failed_count
            return VersionTimedOut(
                f"{_name(progress)} was not parsed completely {within}: {progress.stored_count} of "
                f"{progress.file_count} files are stored, {progress.failed_count} failed, {waiting} wait.",
                progress,
            )
        if self._newest is None:
            return VersionTimedOut(
                f"No processor told of any version of bundle {self._bundle} {within}: does one parse it?", None
            )
        return VersionTimedOut(
            f"No processor told of version {self._version} of bundle {self._bundle} {within}. The newest that one has "
            f"seen is {self._newest}. (It must be the full name; one that is followed by another before any processor "
            "has fetched it is never seen.)",
            None,
        )


def _name(progress: VersionProgress) -> str:
    return f"Version {progress.version} of bundle {progress.bundle_name}" if progress.version else progress.bundle_name


def _import_errors(progress: VersionProgress) -> str:
    return (
        f"{_name(progress)}: all {progress.file_count} files are parsed and stored, with "
        f"{progress.import_error_count} import errors."
    )
