"""The ``parsegate status`` command: bundles, failing files, processors and callbacks as the gateway knows them.

``parsegate status --local`` is the probe for a processor's own container (:mod:`parsegate.client.status`) and needs no
gateway.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import status

if TYPE_CHECKING:
    from .operator import DeploymentStatus


def parser() -> argparse.ArgumentParser:
    """The command's options, those of ``--local`` included."""
    from .operator_options import add_gateway_options

    parser = argparse.ArgumentParser(
        prog="parsegate status",
        description="Show bundles, failing files, processors and callbacks as the gateway knows them.",
        epilog="Exit codes: 0 done, 2 wrong arguments, 7 the gateway can't be reached, 8 it refuses. With --local: "
        "0 the processor is well, 1 it is not, 2 that can't be told.",
    )
    parser.add_argument("--bundle", help="only what concerns this bundle")
    parser.add_argument("--json", action="store_true", help="print JSON, with the names of the GraphQL contract")
    add_gateway_options(parser)
    status.add_probe_options(parser)
    return parser


def run(argv: Sequence[str]) -> int:
    """``parsegate status``."""
    if "--local" in argv:
        # Without the operator's libraries: a container's probe has to be quick.
        return status.run(argv)
    from rich.console import Console

    from .operator import Operator
    from .operator_options import ExitCode, run_as_operator
    from .operator_tables import print_status

    options = parser().parse_args(argv)

    def show(operator: Operator) -> int:
        found = operator.status(options.bundle)
        if options.json:
            print(json.dumps(as_json(found), indent=2))
        else:
            print_status(Console(), found)
        return ExitCode.DONE

    return run_as_operator(options, show)


def as_json(found: DeploymentStatus) -> dict[str, Any]:
    """What ``--json`` prints: lists of objects with the fields of the contract."""
    lists = {
        "bundles": found.bundles,
        "failingFiles": found.failing,
        "processors": found.processors,
        "callbacks": found.callbacks,
    }
    return {
        **{name: [item.model_dump(mode="json", by_alias=True) for item in items] for name, items in lists.items()},
        "failingFileCount": found.failing_count,
        "callbackCount": found.callback_count,
        "parkedCallbackCount": found.parked_callback_count,
    }
