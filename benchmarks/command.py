"""Airflow's own DAG processor and parsegate side by side: what a parsed file costs each of them.

Both run as real processes, in turns, on the same DAG files and each on a fresh database of the same kind. Prints a
table and writes results.json, and from it docs/benchmarks.md and docs/benchmarks.svg.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from contest import Databases, Plan, run_round
from cpu_profile import Profile
from document import write_document
from environment import describe_environment
from measurement import CASES, PARSEGATE, Configuration, Results, Turn
from rich.console import Console
from rich.markup import escape
from sides import BenchmarkFailed
from terminal_table import comparison

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "benchmarks.md"


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 160
    if arguments.document:
        write_document(Results.read(arguments.results), arguments.page)
        return 0
    if arguments.quick:
        arguments.files, arguments.rounds, arguments.unchanged, arguments.changed = [20], 1, 1, 1
        arguments.databases, arguments.processors = arguments.databases[:1], arguments.processors[:1]
    writes = arguments.write if arguments.write is not None else not (arguments.quick or arguments.profile)
    results = Results(describe_environment())
    if arguments.add and arguments.results.exists():
        results.configurations = Results.read(arguments.results).configurations
    plan = Plan(tuple(arguments.cases), arguments.unchanged, arguments.changed)
    try:
        for kind in arguments.databases:
            databases = Databases(kind)
            try:
                for files in arguments.files:
                    for processors in arguments.processors:
                        configuration = _measure(arguments, databases, kind, files, processors, plan, console)
                        results.put(configuration)
                        if writes:
                            results.write(arguments.results)
            finally:
                databases.close()
    except BenchmarkFailed as failure:
        console.print(f"[bold red]Nothing that counts:[/] {escape(str(failure))}")
        return 1
    if writes:
        write_document(results, arguments.page)
        console.print(f"Wrote {arguments.results}, {arguments.page} and the plot beside it.")
    return 0


def _measure(
    arguments: argparse.Namespace,
    databases: Databases,
    kind: str,
    files: int,
    processors: int,
    plan: Plan,
    console: Console,
) -> Configuration:
    # Two CPUs have enough to do with two children, or with four processors of one child each.
    parsing_processes = arguments.parsing_processes or (2 if processors == 1 else 1)
    configuration = Configuration(kind, files, processors, parsing_processes)
    title = f"{kind}, {files} files, {processors} processor{'s' if processors > 1 else ''}"
    profile = Profile(arguments.profile, PARSEGATE, arguments.profile_case) if arguments.profile else None
    rounds = arguments.rounds or (3 if files < 1000 else 1)

    def took(turn: Turn) -> None:
        console.print(
            f"{title}, round {turn.round + 1} of {rounds}, step {turn.step}, {turn.case}, {turn.side}: "
            f"{turn.cpu_seconds / turn.files * 1000:.2f} ms CPU a file, {turn.statements / turn.files:.2f} statements, "
            f"{turn.seconds:.1f} s{'' if turn.counted else ' (not counted)'}",
            style="dim",
        )

    with console.status(title) as status:
        for number in range(rounds):

            def tell(text: str, number: int = number) -> None:
                status.update(f"{title}, round {number + 1} of {rounds}: {text}")

            run_round(databases, configuration, plan, number, tell=tell, took=took, profile=profile)
    console.print(comparison(configuration))
    if profile is not None:
        console.print(escape(profile.summary()))
        console.print(f"The samples are in {profile.folder}.")
    return configuration


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/benchmark", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 files once, on one database; writes nothing")
    parser.add_argument("--files", type=_numbers, default=[200, 2000], help="default: 200,2000")
    parser.add_argument("--databases", type=_words, default=["sqlite", "postgresql"], help="default: sqlite,postgresql")
    parser.add_argument(
        "--processors", type=_numbers, default=[1, 4], help="default: 1,4; each has a bundle of its own"
    )
    parser.add_argument("--cases", type=_words, default=list(CASES), help="default: cold,unchanged,changed")
    parser.add_argument("--rounds", type=int, help="each on fresh databases (default: 3; 1 from 1,000 files on)")
    parser.add_argument("--unchanged", type=int, default=3, help="passes of a round that count (default: %(default)s)")
    parser.add_argument("--changed", type=int, default=2, help="passes of a round (default: %(default)s)")
    parser.add_argument("--parsing-processes", type=int, help="of each processor (default: 2; 1 with several of them)")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="file to write (default: benchmarks/results.json)"
    )
    parser.add_argument("--page", type=Path, default=PAGE, help="page to write (default: docs/benchmarks.md)")
    parser.add_argument("--add", action="store_true", help="keep what the file has of other configurations")
    parser.add_argument("--document", action="store_true", help="make the document again, without measuring")
    parser.add_argument("--write", action=argparse.BooleanOptionalAction, help="write results and document or not")
    parser.add_argument(
        "--profile", type=Path, metavar="FOLDER", help="sample where parsegate's CPU time goes, into this folder"
    )
    parser.add_argument("--profile-case", choices=CASES, default="unchanged", help="default: %(default)s")
    return parser


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def _words(text: str) -> list[str]:
    return text.split(",")
