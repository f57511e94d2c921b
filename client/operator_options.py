"""What the operators' commands have in common: how they reach the gateway, and their exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from enum import IntEnum

from .completion_command import complete_files
from .operator import (
    FilesNotStored,
    ImportErrorsFound,
    Operator,
    OperatorError,
    OperatorRefused,
    OperatorUnreachable,
    VersionOvertaken,
    VersionTimedOut,
)
from .operator_access import AccessUnknown


class ExitCode(IntEnum):
    """How an operator's command ends; stable, for pipelines."""

    DONE = 0
    USAGE = 2
    """Wrong arguments, or it was not told where the gateway is or with which token to ask."""
    TIMEOUT = 3
    """The version was not parsed completely in time, or no processor has ever seen it."""
    IMPORT_ERRORS = 4
    """Everything was parsed and stored, and there are import errors (with ``--fail-on-import-errors``)."""
    FAILED_FILES = 5
    """A file of the version was not stored: the gateway refused the result, or parsing took too long."""
    OVERTAKEN = 6
    """A newer version took the place of this one before it was parsed completely."""
    UNREACHABLE = 7
    """The gateway could not be reached."""
    REFUSED = 8
    """The gateway refused: the token is expired, of another kind, or lacks the bundle or the permission."""
    INTERRUPTED = 130


_EXIT_CODES: dict[type[Exception], ExitCode] = {
    AccessUnknown: ExitCode.USAGE,
    VersionTimedOut: ExitCode.TIMEOUT,
    ImportErrorsFound: ExitCode.IMPORT_ERRORS,
    FilesNotStored: ExitCode.FAILED_FILES,
    VersionOvertaken: ExitCode.OVERTAKEN,
    OperatorUnreachable: ExitCode.UNREACHABLE,
    OperatorRefused: ExitCode.REFUSED,
}


def add_gateway_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("gateway")
    group.add_argument(
        "--url", help="the gateway's GraphQL endpoint, ending in /graphql; default: $AIRFLOW__PARSEGATE__URL"
    )
    token_file = group.add_argument(
        "--token-file",
        metavar="FILE",
        help="file with an operator token; default: $AIRFLOW__PARSEGATE__OPERATOR_TOKEN_PATH, "
        "or the token in $AIRFLOW__PARSEGATE__OPERATOR_TOKEN",
    )
    ca_file = group.add_argument(
        "--ca-file", metavar="FILE", help="PEM file of the authorities to trust; default: $AIRFLOW__PARSEGATE__CA_PATH"
    )
    for option in (token_file, ca_file):
        complete_files(option)


def run_as_operator(options: argparse.Namespace, command: Callable[[Operator], int]) -> int:
    """Run ``command`` and turn what keeps it from its answer into a sentence and an exit code."""
    try:
        with Operator(options.url, token_path=options.token_file, ca_path=options.ca_file) as operator:
            return command(operator)
    except (AccessUnknown, OperatorError) as error:
        print(f"parsegate: {error}", file=sys.stderr)
        return _EXIT_CODES[type(error)]
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
