"""``parsegate COMMAND``: finds the command among the installed ones and runs it.

Commands are entry points of the group ``parsegate.commands``, so the processor's side names nothing of the gateway, and
a processor's machine needs nothing of it installed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points, requires

from packaging.requirements import Requirement

GROUP = "parsegate.commands"

SUMMARIES = {
    "agent": "run the agent on its own, as a sidecar of the processor",
    "completion": "print the completion script for a shell",
    "dag-processor": "run a DAG processor that stores and reads through the gateway",
    "errors": "list the failing files with their error text",
    "migrate": "create or upgrade parsegate's tables in Airflow's database",
    "request-parse": "have files parsed before all others",
    "schema": "print the GraphQL schema",
    "serve": "run the gateway",
    "standalone": "run everything on this machine, on SQLite",
    "status": "show bundles, failing files and processors; --local: whether this processor is well",
    "token": "mint a token",
    "wait": "wait until a version of a bundle has been parsed and stored",
}

_OPERATORS_COMMANDS = frozenset({"errors", "request-parse", "status", "wait"})


def _usage(commands: Sequence[str]) -> str:
    lines = ["usage: parsegate COMMAND [options]", "", "commands (each has --help):"]
    lines += [f"  {name:<15} {SUMMARIES.get(name, '')}".rstrip() for name in commands]
    return "\n".join(lines)


def extras_of(command: EntryPoint, arguments: Sequence[str]) -> tuple[str, ...]:
    """The extras of which one brings what the command needs when it is given these arguments."""
    if command.name == "standalone":
        return ("gateway", "processor")
    if command.name == "completion":
        return ()
    if command.name in _OPERATORS_COMMANDS and "--local" not in arguments:
        return ("operator",)
    return ("processor",) if ".client." in f".{command.module}." else ("gateway",)


def missing_distribution(extras: Sequence[str]) -> str | None:
    """The first distribution that one of the extras asks for and this environment lacks."""
    for requirement in map(Requirement, requires("parsegate") or ()):
        marker = requirement.marker
        if marker is None or not any(marker.evaluate({"extra": extra}) for extra in extras):
            continue
        try:
            distribution(requirement.name)
        except PackageNotFoundError:
            return requirement.name
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; 2 if there is no such command or it is not installed completely."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    commands = {command.name: command for command in entry_points(group=GROUP)}
    names = sorted(commands)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage(names))
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        from .. import __version__

        print(f"parsegate {__version__}")
        return 0
    if (command := commands.get(arguments[0])) is None:
        print(f"parsegate: there is no command {arguments[0]!r}\n\n{_usage(names)}", file=sys.stderr)
        return 2
    extras = extras_of(command, arguments)
    if missing := missing_distribution(extras):
        wanted = f"parsegate[{','.join(extras)}]"
        print(
            f"parsegate {command.name}: {missing} is not installed. "
            f"This command needs {wanted}: pip install '{wanted}'",
            file=sys.stderr,
        )
        return 2
    run = command.load()
    return run(arguments[1:])


if __name__ == "__main__":
    sys.exit(main())
