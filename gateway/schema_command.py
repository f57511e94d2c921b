"""Print the contract in the schema definition language, as ``schema.graphql`` holds it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..schema.root import contract


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="parsegate schema", description=__doc__)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it to this file instead of standard output")
    return parser


def run(argv: Sequence[str]) -> int:
    arguments = parser().parse_args(argv)
    if arguments.out is None:
        sys.stdout.write(contract())
    else:
        arguments.out.write_text(contract(), encoding="utf-8")
    return 0
