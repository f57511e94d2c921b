"""Airflow's own DAG processor and parsegate side by side: what a parsed file costs each of them.

Both run as real processes, in turns, on the same DAG files and each on a fresh database of the same kind. Prints a
table and writes results.json, and from it docs/benchmarks.md and docs/benchmarks.svg.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from document import write_document
from measurement import CASES, Results
from rich.console import Console

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
    # The processes that stand still would stay if this one just ended.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit("Ended by SIGTERM."))
    from measuring import measure

    return measure(arguments, console)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/benchmark", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="20 files once, on SQLite, if nothing else is said; writes nothing"
    )
    parser.add_argument("--files", type=_numbers, help="default: 200,2000")
    parser.add_argument("--databases", type=_words, help="default: sqlite,postgresql")
    parser.add_argument("--processors", type=_numbers, help="default: 1,4; each has a bundle of its own")
    parser.add_argument("--cases", type=_words, default=list(CASES), help="default: cold,unchanged,changed")
    parser.add_argument("--rounds", type=int, help="each on fresh databases (default: 3; 1 from 1,000 files on)")
    parser.add_argument(
        "--unchanged", type=int, help="passes of a round that count (default: 3; 1 from 1,000 files on)"
    )
    parser.add_argument("--changed", type=int, help="passes of a round (default: 2; 1 from 1,000 files on)")
    parser.add_argument(
        "--portions",
        type=int,
        default=5,
        help="of 200 files each, that a pass over unchanged or changed files goes over, at most (default: %(default)s)",
    )
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
