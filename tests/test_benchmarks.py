"""The benchmark counts what the database really gets, and makes its page from what was measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"

WRITES = """
import json
import sys
from sqlalchemy import create_engine, text, insert, MetaData, Table, Column, Integer, select, update, bindparam

engine = create_engine(sys.argv[1])
seen = []
with engine.connect() as connection:
    connection.connection.dbapi_connection.set_trace_callback(seen.append)
    metadata = MetaData()
    table = Table("numbers", metadata, Column("id", Integer, primary_key=True), Column("value", Integer))
    metadata.create_all(connection)
    connection.execute(insert(table).returning(table.c.id), [{"value": value} for value in range(5)])
    connection.commit()
    reset = update(table).where(table.c.id == bindparam("key"))
    connection.execute(reset, [{"key": key, "value": 0} for key in (1, 2, 3)])
    connection.rollback()
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    connection.execute(select(table)).all()
    connection.commit()
print(json.dumps(seen))
"""


def test_statements_and_commits_are_counted_as_sqlite_runs_them(tmp_path: Path) -> None:
    counts = tmp_path / "counts"
    counts.mkdir()
    run = subprocess.run(
        [sys.executable, "-c", WRITES, f"sqlite:///{tmp_path}/database"],
        env={
            **os.environ,
            "PYTHONPATH": str(BENCHMARKS / "instruments"),
            "PARSEGATE_BENCHMARK_COUNTS": str(counts),
        },
        check=True,
        capture_output=True,
        text=True,
    )

    seen = json.loads(run.stdout)
    transactions = [text for text in seen if text.split()[0] in ("BEGIN", "COMMIT", "ROLLBACK")]
    script = "import sys, statement_counts as s; print(*s.StatementCounts(s.Path(sys.argv[1])).read())"
    read = subprocess.run(
        [sys.executable, "-c", script, counts], cwd=BENCHMARKS, check=True, capture_output=True, text=True
    )
    assert read.stdout.split() == [str(len(seen) - len(transactions)), str(seen.count("COMMIT"))]
    assert sum(text.startswith("UPDATE") for text in seen) == 3


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """Results of two steps, round numbers."""

    def turn(side: str, step: int, statements: int, **cpu: float) -> dict[str, object]:
        return {
            "case": "unchanged",
            "side": side,
            "round": 0,
            "step": step,
            "counted": True,
            "files": 100,
            "parses": 100,
            "cpu": cpu,
            "seconds": 10.0,
            "stored_seconds": 11.0,
            "statements": statements,
            "sent": 5000 if side == "parsegate" else 0,
            "delay": 1.0 if side in ("stock", "parsegate") else None,
        }

    turns = [
        one
        for step in (1, 2)
        for one in (
            turn("stock, parsing alone", step, 0, manager=1.0, children=2.0 + step),
            turn("parsegate, parsing alone", step, 0, manager=0.9, children=2.0 + step),
            turn("stock", step, 2000, manager=3.0, children=2.0 + step),
            turn("parsegate", step, 10, manager=1.0, children=2.0 + step, agent=0.05, gateway=0.15),
        )
    ]
    configuration = {"database": "sqlite", "files": 100, "processors": 1, "parsing_processes": 2, "turns": turns}
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"environment": {"Machine": "a loom"}, "configurations": [configuration]}))
    return path


def test_the_page_says_what_was_measured_beyond_parsing_alone(measured: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    subprocess.run(
        [sys.executable, BENCHMARKS / "benchmark.py", "--document", "--results", measured, "--page", page], check=True
    )

    text = page.read_text()
    # Of 3 and 0.2 seconds for 100 files, one went into the managers that parse.
    assert "| CPU to store, ms | 20.0 | 2.00 | 0.100 |" in text
    assert "| CPU beyond its own parsing, ms | 20.0 | 3.00 | 0.150 |" in text
    assert "| SQL statements | 20.0 | 0.100 | 0.005 |" in text
    assert "| bytes on the wire | – | 50.0 | – |" in text
    assert "| unchanged files: CPU to store, ms | parsegate / stock | 0.100 | ≤ 0.12 | ≤ 0.05 | required |" in text
    assert "a loom" in text
    assert "$" not in text
    drawn = ElementTree.parse(tmp_path / "page.svg")
    assert "× 0.100" in " ".join(drawn.getroot().itertext())
