"""The ``parsegate request-parse`` command: have files of a bundle parsed before all others."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .operator import Operator
from .operator_options import ExitCode, add_gateway_options, run_as_operator


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="parsegate request-parse",
        description="Have files parsed before all others. Needs a token with the permission request-parse.",
        epilog="Exit codes: 0 requested, 2 wrong arguments, 7 the gateway can't be reached, 8 it refuses.",
    )
    parser.add_argument("--bundle", required=True, help="the bundle's name")
    parser.add_argument(
        "--path",
        action="append",
        dest="paths",
        metavar="PATH",
        help="a file, relative to the bundle; may be given again; default: all files of the bundle",
    )
    add_gateway_options(parser)
    return parser


def run(argv: Sequence[str]) -> int:
    """``parsegate request-parse``."""
    options = parser().parse_args(argv)

    def request(operator: Operator) -> int:
        requested = operator.request_parse(options.bundle, options.paths)
        new = f"{requested.new_count} newly requested"
        print(f"{options.bundle}: {requested.file_count} files will be parsed next, {new}.")
        return ExitCode.DONE

    return run_as_operator(options, request)
