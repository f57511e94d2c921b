"""When the manager looks at the files of its bundles."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.manager import DagFileInfo, DagFileStat

from parsegate.client import bundle_refresh, protocol
from parsegate.client.bundle_refresh import BundleRefreshingManager
from parsegate.client.manager_channel import ManagerChannel


@pytest.fixture
def manager() -> Iterator[BundleRefreshingManager]:
    """One whose agent and helper say nothing."""
    ends = [*socket.socketpair(), *socket.socketpair()]
    agent: ManagerChannel[protocol.FromAgent] = ManagerChannel(ends[0], "agent", protocol.FromAgent)
    helper: ManagerChannel[protocol.FromBundleHelper] = ManagerChannel(ends[2], "helper", protocol.FromBundleHelper)
    yield BundleRefreshingManager(max_runs=-1, agent=agent, helper=helper, definitions=[])
    for end in ends:
        end.close()


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files on the disk that were looked at, in order."""
    seen: list[str] = []
    getmtime = os.path.getmtime

    def noted(path: Any) -> float:
        seen.append(Path(path).name)
        return getmtime(path)

    monkeypatch.setattr(os.path, "getmtime", noted)
    return seen


def test_files_of_which_none_is_due_are_not_looked_at_whenever_the_loop_turns(
    manager: BundleRefreshingManager, looked_at: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.py").touch()
    file = DagFileInfo(rel_path=Path("a.py"), bundle_name="dags", bundle_path=tmp_path)
    known_files = {"dags": {file}}
    manager._file_stats[file] = DagFileStat(last_finish_time=datetime.now(UTC), run_count=1)

    for _ in range(3):
        manager.prepare_file_queue(known_files)
    assert looked_at == ["a.py"]

    now = datetime.now(UTC).timestamp()
    os.utime(tmp_path / "a.py", (now + 1, now + 1))
    monkeypatch.setattr(bundle_refresh, "LOOK_INTERVAL", 0.05)
    time.sleep(0.06)
    manager.prepare_file_queue(known_files)
    assert list(manager._file_queue) == [file]


def test_a_queue_that_runs_empty_is_filled_at_once(
    manager: BundleRefreshingManager, looked_at: list[str], tmp_path: Path
) -> None:
    (tmp_path / "a.py").touch()
    file = DagFileInfo(rel_path=Path("a.py"), bundle_name="dags", bundle_path=tmp_path)
    for _ in range(3):
        manager.prepare_file_queue({"dags": {file}})
        assert list(manager._file_queue) == [file]
        manager._file_queue.clear()
    assert len(looked_at) == 3
