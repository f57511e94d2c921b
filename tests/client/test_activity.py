"""The manager tells what it does when that has changed, and not too often."""

from __future__ import annotations

from pathlib import Path

from airflow.dag_processing.manager import DagFileInfo

from parsegate.client.activity import INTERVAL, MOST_FILES, ActivityReport


def files(*names: str) -> list[DagFileInfo]:
    return [DagFileInfo(rel_path=Path(name), bundle_name="dags", bundle_path=Path("/dags")) for name in names]


def test_only_news_are_told_and_not_too_often() -> None:
    report = ActivityReport()

    first = report.news(files("b.py", "a.py"), 3, 0.0)
    assert first is not None
    assert [file.relative_fileloc for file in first.parsing] == ["a.py", "b.py"]
    assert first.queued_files == 3
    assert report.news(files("c.py"), 2, INTERVAL / 2) is None
    assert report.news(files("a.py", "b.py"), 3, INTERVAL) is None
    later = report.news(files("c.py"), 2, 2 * INTERVAL)
    assert later is not None
    assert [file.relative_fileloc for file in later.parsing] == ["c.py"]


def test_no_more_files_are_told_than_the_gateway_takes() -> None:
    news = ActivityReport().news(files(*(f"{n:02}.py" for n in range(50))), 0, 0.0)

    assert news is not None
    assert len(news.parsing) == MOST_FILES
