"""How long the queries of an operator's day take (gateway/graphiql/queries), and how many SQL statements each sends.

Fills a database with 5,000 files of one bundle and their 10,000 DAGs, some of which fail, serves it with a real
gateway, and asks it over HTTP. Prints a table, and with --write puts it into docs/graphql.md. Ends with 1 when a
median is more than 200 ms.

    scripts/benchmark-reads --databases sqlite,postgresql
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The database and the gateway are made as tests make them.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import httpx
from airflow_database import AirflowDatabase, AirflowDatabases, DatabaseKind
from environment import describe_environment
from many_parses import BUNDLE, VERSION, fill_parse_state
from numerals import written
from rich.console import Console
from rich.table import Table
from running_gateway import RunningGateway, running_gateway
from statement_counts import StatementCounts

ROOT = Path(__file__).resolve().parent.parent
QUERIES = ROOT / "gateway" / "graphiql" / "queries"
INSTRUMENTS = ROOT / "benchmarks" / "instruments"
PAGE = ROOT / "docs" / "graphql.md"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
BOUND = 200.0
WARM_UP = 3
SUBSCRIPTION = "watch-parses"


@dataclass(frozen=True)
class Measured:
    """What one query took.

    :param milliseconds: of each request, until its answer was read
    :param statements: SQL statements that one request sends
    :param size: bytes of the answer
    """

    query: str
    database: DatabaseKind
    milliseconds: list[float]
    statements: int
    size: int

    @property
    def median(self) -> float:
        return statistics.median(self.milliseconds)

    @property
    def slow(self) -> float:
        """19 of 20 requests take less."""
        return statistics.quantiles(self.milliseconds, n=20)[-1]

    @property
    def cells(self) -> list[str]:
        name = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[self.database]
        kilobytes = written(self.size / 1000)
        return [f"`{self.query}`", name, written(self.median), written(self.slow), str(self.statements), kilobytes]


HEADINGS = ["Query", "Database", "Median, ms", "95 of 100 within, ms", "SQL statements", "Answer, kB"]


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    measured: list[Measured] = []
    for kind in arguments.databases.split(","):
        measured += measure_on(kind, arguments.files, arguments.requests)
    measured.sort(key=lambda one: one.query)
    console = Console(highlight=False)
    console.print(_table(measured, f"{arguments.files:,} files, {2 * arguments.files:,} DAGs"))
    if arguments.write:
        write_page(arguments.page, measured, arguments.files, arguments.requests)
        console.print(f"Wrote the table into {arguments.page}.")
    too_slow = [one for one in measured if one.median > BOUND]
    for one in too_slow:
        console.print(
            f"[bold red]{one.query} takes {one.median:.0f} ms on {one.database}: at most {BOUND:g} is wanted."
        )
    return 1 if too_slow else 0


def measure_on(kind: DatabaseKind, files: int, requests: int) -> list[Measured]:
    """Each query on a filled database of this kind."""
    with closing(AirflowDatabases(kind)) as databases, tempfile.TemporaryDirectory() as folder:
        database = databases.create()
        with database.in_use():
            fill_parse_state(files)
            _analyze(database)
        counts = Path(folder) / "counts"
        counts.mkdir()
        settings = {"PARSEGATE_BENCHMARK_COUNTS": str(counts), "PYTHONPATH": str(INSTRUMENTS)}
        with running_gateway(database, Path(folder), **settings) as gateway:
            queries = sorted(path for path in QUERIES.glob("*.graphql") if path.stem != SUBSCRIPTION)
            return [measure_query(path, gateway, StatementCounts(counts), requests) for path in queries]


def measure_query(path: Path, gateway: RunningGateway, counts: StatementCounts, requests: int) -> Measured:
    variables = {"bundle": BUNDLE, "version": VERSION} if path.stem == "is-my-version-in" else {}
    body = json.dumps({"query": path.read_text(), "variables": variables})
    headers = {"Authorization": f"Bearer {gateway.operator_token()}", "Content-Type": "application/json"}
    with httpx.Client(headers=headers, timeout=60, trust_env=False) as client:
        for _ in range(WARM_UP):
            _ask(client, gateway.url, body)
        before = counts.read().statements
        answer = _ask(client, gateway.url, body)
        statements = counts.read().statements - before
        milliseconds: list[float] = []
        for _ in range(requests):
            began = time.perf_counter()
            client.post(gateway.url, content=body)
            milliseconds.append(1000 * (time.perf_counter() - began))
    return Measured(path.stem, gateway.database.kind, milliseconds, statements, len(answer.content))


def _ask(client: httpx.Client, url: str, body: str) -> httpx.Response:
    answer = client.post(url, content=body)
    document: Any = answer.json()
    if answer.status_code != 200 or "errors" in document:
        raise SystemExit(f"The gateway answered with an error: {answer.text[:1000]}")
    return answer


def _analyze(database: AirflowDatabase) -> None:
    """What PostgreSQL does by itself after a while. SQLite is left as Airflow leaves it: without statistics."""
    if database.server is not None:
        from airflow import settings

        with settings.get_engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")


def _table(measured: Sequence[Measured], title: str) -> Table:
    table = Table(title=title)
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in HEADINGS[:2] else "right", no_wrap=heading == "Query")
    for one in measured:
        table.add_row(*one.cells, style="bold red" if one.median > BOUND else "")
    return table


def write_page(page: Path, measured: Sequence[Measured], files: int, requests: int) -> None:
    """Put the table between the marks in ``page``."""
    environment = "; ".join(f"{name} {value}" for name, value in describe_environment().items())
    lines = [
        f"{files:,} files in one bundle, {2 * files:,} DAGs; {requests} requests one after the other, over HTTP, to "
        f"one gateway. {environment}.",
        "",
        f"| {' | '.join(HEADINGS)} |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        *(f"| {' | '.join(one.cells)} |" for one in measured),
        "",
    ]
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + after)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/benchmark-reads", description=__doc__)
    parser.add_argument("--databases", default="sqlite,postgresql", help="default: %(default)s")
    parser.add_argument("--files", type=int, default=5000, help="each has two DAGs (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=41, help="of each query (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    parser.add_argument("--page", type=Path, default=PAGE, help="default: docs/graphql.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
