"""The ``parsegate completion`` command: a script that lets a shell complete commands and options.

The script is made once, from the parsers of the commands that are installed completely here; nothing of parsegate runs
when somebody presses the key.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

import shtab

from . import cli

_SHELLS = ("bash", "zsh", "fish")


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="parsegate completion",
        description="Print the script with which a shell completes parsegate's commands and options, of those that are "
        "installed here.",
        epilog='bash: eval "$(parsegate completion bash)" in ~/.bashrc. zsh: parsegate completion zsh > '
        '"${fpath[1]}/_parsegate". fish: parsegate completion fish > ~/.config/fish/completions/parsegate.fish.',
    )
    parser.add_argument("shell", choices=_SHELLS)
    return parser


def run(argv: Sequence[str]) -> int:
    """``parsegate completion``."""
    shell = parser().parse_args(argv).shell
    # Airflow may print something when a command's module imports it, and this script is for a shell to run.
    with redirect_stdout(sys.stderr):
        script = shtab.complete(_whole_parser(), shell)
    print(script)
    return 0


def complete_files(option: argparse.Action) -> None:
    """Complete the option's value with the names of files."""
    option.complete = shtab.FILE  # pyright: ignore[reportAttributeAccessIssue]


def _whole_parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="parsegate")
    whole.add_argument("-V", "--version", action="store_true", help="print the version")
    commands = whole.add_subparsers(dest="command")
    for command in sorted(entry_points(group=cli.GROUP), key=lambda command: command.name):
        options = _parser_of(command)
        commands.add_parser(
            command.name,
            help=cli.SUMMARIES.get(command.name, ""),
            parents=[options] if options else [],
            add_help=options is None,
        )
    return whole


def _parser_of(command: EntryPoint) -> argparse.ArgumentParser | None:
    """None for a command that is not installed completely: its name is completed, its options are not."""
    if cli.missing_distribution(cli.extras_of(command, ())):
        return None
    make: Callable[[], argparse.ArgumentParser] | None = getattr(import_module(command.module), "parser", None)
    return make() if make else None
