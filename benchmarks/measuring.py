"""Measures what the command line asks for, and writes it down."""

from __future__ import annotations

import argparse

from contest import Databases, Plan, run_round
from cpu_profile import Profile
from document import write_document
from environment import describe_environment
from measurement import PARSEGATE, Configuration, Results, Turn
from rich.console import Console
from rich.markup import escape
from sides import BenchmarkFailed
from terminal_table import comparison


def measure(arguments: argparse.Namespace, console: Console) -> int:
    """Measure every configuration; the exit code."""
    quick = arguments.quick
    writes = arguments.write if arguments.write is not None else not (quick or arguments.profile)
    results = Results(describe_environment())
    if arguments.add and arguments.results.exists():
        results.configurations = Results.read(arguments.results).configurations
    try:
        for kind in arguments.databases or (["sqlite"] if quick else ["sqlite", "postgresql"]):
            databases = Databases(kind)
            try:
                for files in arguments.files or ([20] if quick else [200, 2000]):
                    for processors in arguments.processors or ([1] if quick else [1, 4]):
                        configuration = _measure(arguments, databases, kind, files, processors, console)
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
    console: Console,
) -> Configuration:
    # Two CPUs have enough to do with two children, or with four processors of one child each.
    parsing_processes = arguments.parsing_processes or (2 if processors == 1 else 1)
    configuration = Configuration(kind, files, processors, parsing_processes)
    title = f"{kind}, {files} files, {processors} processor{'s' if processors > 1 else ''}"
    profile = Profile(arguments.profile, PARSEGATE, arguments.profile_case) if arguments.profile else None
    few = arguments.quick or files >= 1000
    rounds = arguments.rounds or (1 if few else 3)
    plan = Plan(
        tuple(arguments.cases),
        unchanged=arguments.unchanged or (1 if few else 3),
        changed=arguments.changed or (1 if few else 2),
        portions=arguments.portions,
    )

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
