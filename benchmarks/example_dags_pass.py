"""How long one pass over Airflow's example DAGs takes: Airflow's own processor, and parsegate's through the gateway.

Both run as real processes in the same run, in turns, on databases of the same kind that start out equal. Each round
gives both a fresh database for a first pass, and a second pass on what the first left. What is timed is a processor
from its start to its end (`--num-runs 1`), and within it the span from the first result stored to the last; the
gateway, like the database server, runs already.

    .venv/bin/python benchmarks/example_dags_pass.py --database postgresql --rounds 5
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

# The processes are started as the end-to-end tests start them.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from airflow_database import AirflowDatabase, AirflowDatabases
from rich.console import Console
from rich.table import Table


@dataclass
class Pass:
    """Seconds; ``files`` and ``dags`` are what the pass stored."""

    seconds: float
    span: float
    dags: int


def timed(database: AirflowDatabase, run: Callable[[], object]) -> Pass:
    started = time.perf_counter()
    run()
    seconds = time.perf_counter() - started
    first, last, dags = stored(database)
    return Pass(seconds, (last - first).total_seconds(), dags)


def stored(database: AirflowDatabase):
    """When the first and the last DAG were stored, and how many there are."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    with database.in_use(), create_session() as session:
        return session.execute(
            select(func.min(DagModel.last_parsed_time), func.max(DagModel.last_parsed_time), func.count())
        ).one()


def measure(kind: str, rounds: int, processes: int, console: Console) -> dict[tuple[str, str], list[Pass]]:
    from airflow import example_dags
    from running_gateway import running_gateway
    from running_processor import local_bundle, processor_home, processor_of
    from stock_processor import run_stock_once

    bundles = [local_bundle("examples", Path(next(iter(example_dags.__path__))))]
    parallelism = {"dag_processor": {"parsing_processes": str(processes)}}
    results: dict[tuple[str, str], list[Pass]] = {}
    databases = AirflowDatabases(kind)
    try:
        for number in range(rounds):
            with ExitStack() as stack:
                directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parsegate-benchmark-")))
                stock, ours = databases.create(), databases.create()
                for database in (stock, ours):
                    stack.callback(databases.drop, database)
                gateway = stack.enter_context(running_gateway(ours, directory))
                home = stack.enter_context(processor_home())
                # The tests' audit hook would be part of what is measured.
                processor = stack.enter_context(
                    processor_of(gateway, home, bundles, settings=parallelism, environment={"PARSEGATE_TEST_AUDIT": ""})
                )

                def run_stock(stock: AirflowDatabase = stock, directory: Path = directory) -> None:
                    run_stock_once(
                        stock, directory / "stock", bundles, AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES=str(processes)
                    )

                contestants = [("stock", stock, run_stock), ("parsegate", ours, processor.run_once)]
                # Who goes first changes, so that a drift of the machine favours nobody.
                for phase in ("first", "second"):
                    for name, database, run in contestants if number % 2 == 0 else reversed(contestants):
                        result = timed(database, run)
                        results.setdefault((phase, name), []).append(result)
                        console.print(
                            f"round {number + 1}, {phase} pass, {name}: {result.seconds:.2f} s, "
                            f"{result.span:.2f} s between first and last result, {result.dags} DAGs"
                        )
    finally:
        databases.close()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parsing-processes", type=int, default=2, help="files parsed at once (default: %(default)s)")
    arguments = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    results = measure(arguments.database, arguments.rounds, arguments.parsing_processes, console)
    table = Table(title=f"Airflow's example DAGs on {arguments.database}, medians of {arguments.rounds} rounds")
    for heading in ("Pass", "What", "Stock", "parsegate", "Ratio"):
        table.add_column(heading, justify="left" if heading in ("Pass", "What") else "right")
    for phase in ("first", "second"):
        for what, of in (("whole process", lambda run: run.seconds), ("first to last result", lambda run: run.span)):
            stock, ours = (
                statistics.median(of(run) for run in results[phase, name]) for name in ("stock", "parsegate")
            )
            table.add_row(phase, what, f"{stock:.2f} s", f"{ours:.2f} s", f"{ours / stock:.2f}")
    console.print(table)
    console.print(f"A ratio below 1 is faster than stock. {os.cpu_count()} CPUs.")


if __name__ == "__main__":
    main()
