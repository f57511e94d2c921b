"""The ``parsegate errors`` command: every failing file with its error text."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from rich.console import Console

from .operator import Operator
from .operator_options import ExitCode, add_gateway_options, run_as_operator
from .operator_tables import print_failing_files


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="parsegate errors",
        description="List the files that fail to import, and those whose last result was refused or timed out.",
        epilog="Exit codes: 0 whether or not a file fails, 2 wrong arguments, 7 the gateway can't be reached, "
        "8 it refuses.",
    )
    parser.add_argument("--bundle", help="only files of this bundle")
    parser.add_argument("--json", action="store_true", help="print a JSON array, with the names of the contract")
    add_gateway_options(parser)
    return parser


def run(argv: Sequence[str]) -> int:
    """``parsegate errors``."""
    options = parser().parse_args(argv)

    def show(operator: Operator) -> int:
        files = operator.errors(options.bundle)
        if options.json:
            print(json.dumps([file.model_dump(mode="json", by_alias=True) for file in files], indent=2))
        elif files:
            print_failing_files(Console(), files)
        else:
            print("No file fails.")
        return ExitCode.DONE

    return run_as_operator(options, show)
