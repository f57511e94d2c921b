"""When a wait for a version ends, for answers that real processors give only by chance."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from parsegate.client.generated.enums import BundleVersionState
from parsegate.client.generated.fragments import VersionProgress
from parsegate.client.generated.operator_version import OperatorVersion, OperatorVersionNewest
from parsegate.client.operator import OperatorUnreachable, VersionOvertaken, VersionTimedOut
from parsegate.client.version_wait import VersionWait

IN_PROGRESS, COMPLETE, OVERTAKEN = (
    BundleVersionState.IN_PROGRESS,
    BundleVersionState.COMPLETE,
    BundleVersionState.OVERTAKEN,
)
AWAY = OperatorUnreachable("connection refused")
Scene = tuple[str | None, dict[str, BundleVersionState]] | OperatorUnreachable
"""At one moment: the newest version, and the state of those that were seen; or that there is no gateway."""


def progress(version: str, state: BundleVersionState) -> VersionProgress:
    return VersionProgress(
        bundle_name="team",
        version=version,
        state=state,
        is_current=state is not OVERTAKEN,
        first_seen_at=datetime(2026, 1, 1, tzinfo=UTC),
        completed_at=None,
        file_count=2,
        stored_count=2 if state is COMPLETE else 1,
        failed_count=0,
        import_error_count=0,
        waiting_files=[],
        failing=[],
    )


def wait(scenes: list[Scene], **options: Any) -> str:
    """The version with which a wait for ``new`` ends; the last scene stays."""
    left = iter(scenes)
    now = scenes[0]

    async def ask(bundle: str, version: str | None) -> OperatorVersion:
        nonlocal now
        now = next(left, now)
        if isinstance(now, OperatorUnreachable):
            raise now
        newest, states = now
        wanted = newest if version is None else version
        return OperatorVersion(
            bundle_version=progress(wanted, states[wanted]) if wanted in states else None,
            newest=OperatorVersionNewest(version=newest) if newest else None,
        )

    version = options.pop("version", "new")
    options = {
        "timeout": 0.05,
        "or_newer": False,
        "fail_on_import_errors": False,
        "interval": 0,
        "listener": None,
    } | options
    return asyncio.run(VersionWait(ask, "team", version, **options).run()).version


def test_an_older_version_that_a_late_processor_brings_back_overtakes_nothing():
    scenes: list[Scene] = [
        ("old", {"old": COMPLETE}),
        ("new", {"new": IN_PROGRESS}),
        ("old", {"new": OVERTAKEN, "old": COMPLETE}),
        ("new", {"new": COMPLETE}),
    ]

    assert wait(scenes) == "new"
    assert wait(scenes, or_newer=True) == "new"


def test_a_version_that_is_overtaken_by_a_newer_one_is_given_up_or_followed_to_the_newest():
    scenes: list[Scene] = [
        ("new", {"new": IN_PROGRESS}),
        ("newer", {"new": OVERTAKEN, "newer": IN_PROGRESS}),
        ("newest", {"new": OVERTAKEN, "newer": OVERTAKEN, "newest": IN_PROGRESS}),
        ("newest", {"new": OVERTAKEN, "newer": OVERTAKEN, "newest": COMPLETE}),
    ]

    with pytest.raises(VersionOvertaken, match="overtaken by newer with 1 of 2 files"):
        wait(scenes)
    assert wait(scenes, or_newer=True) == "newest"


def test_a_version_that_was_complete_before_it_was_overtaken_has_landed():
    assert wait([("newer", {"new": COMPLETE, "newer": IN_PROGRESS})]) == "new"


def test_no_version_means_the_newest_whichever_that_is():
    scenes: list[Scene] = [("old", {"old": IN_PROGRESS}), ("new", {"old": OVERTAKEN, "new": COMPLETE})]

    assert wait(scenes, version=None) == "new"


def test_when_the_time_is_over_it_says_what_was_missing():
    with pytest.raises(VersionTimedOut, match="1 of 2 files are stored, 0 failed, 1 wait"):
        wait([("new", {"new": IN_PROGRESS})])
    with pytest.raises(VersionTimedOut, match=r"version new .* The newest that one has seen is old"):
        wait([("old", {"old": COMPLETE})])
    with pytest.raises(VersionTimedOut, match="does one parse it"):
        wait([(None, {})])
    with pytest.raises(OperatorUnreachable, match="connection refused"):
        wait([("new", {"new": IN_PROGRESS}), AWAY])


def test_without_time_it_asks_once():
    seen: list[VersionProgress | None] = []

    with pytest.raises(VersionTimedOut):
        wait([("new", {"new": IN_PROGRESS})], timeout=0, listener=lambda progress, trouble: seen.append(progress))

    assert len(seen) == 1


def test_a_gateway_that_is_away_for_a_while_is_waited_for_and_told_of():
    told: list[object] = []

    assert wait([AWAY, ("new", {"new": COMPLETE})], listener=lambda _, trouble: told.append(trouble)) == "new"
    assert told == [AWAY, None]
