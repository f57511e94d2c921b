"""The ``parsegate wait`` command: for pipelines that deploy DAG files and want to know when they have landed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.console import Console

from .operator import Operator, VersionNotLanded
from .operator_options import ExitCode, add_gateway_options, run_as_operator
from .operator_tables import print_failing_files
from .wait_progress import WaitProgress

_DEFAULT_TIMEOUT = 900.0


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="parsegate wait",
        description="Wait until every file of a version of a bundle has been parsed and stored.",
        epilog="Exit codes: 0 all are parsed and stored, 2 wrong arguments, 3 timeout, 4 import errors, 5 files that "
        "could not be stored, 6 overtaken by a newer version, 7 the gateway can't be reached, 8 it refuses.",
    )
    parser.add_argument("--bundle", required=True, help="the bundle's name")
    parser.add_argument(
        "--version",
        help="the version in full, such as the name of a Git commit; default: the one that was seen last, and the only "
        "choice for a bundle without versions",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=_DEFAULT_TIMEOUT,
        metavar="S",
        help="seconds to wait at most; 0 asks once (default: %(default)g)",
    )
    parser.add_argument(
        "--fail-on-import-errors", action="store_true", help="exit with 4 when a file fails to import, and print why"
    )
    parser.add_argument(
        "--or-newer", action="store_true", help="be content with a version that takes the place of this one"
    )
    add_gateway_options(parser)
    return parser


def run(argv: Sequence[str]) -> int:
    """``parsegate wait``."""
    options = parser().parse_args(argv)

    def wait(operator: Operator) -> int:
        try:
            with WaitProgress(options.bundle, options.version) as shown:
                landed = operator.wait_for_version(
                    options.bundle,
                    options.version,
                    timeout=options.timeout,
                    or_newer=options.or_newer,
                    fail_on_import_errors=options.fail_on_import_errors,
                    on_progress=shown,
                )
        except VersionNotLanded as error:
            if error.progress is not None:
                print_failing_files(Console(stderr=True), error.progress.failing)
            raise
        version = f" at version {landed.version}" if landed.version else ""
        print(
            f"{landed.bundle_name}: all {landed.file_count} files are parsed and stored{version}, "
            f"{landed.import_error_count} import errors."
        )
        return ExitCode.DONE

    return run_as_operator(options, wait)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds >= 0:
        raise ValueError
    return seconds
