"""The ``parsegate`` command: it finds the installed commands, and says what is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from parsegate.client import cli

COMPLETION_OF_THE_CLIENT = """
from parsegate.client import cli, completion_command
cli.missing_distribution = lambda extras: "a server" if "gateway" in extras else None
completion_command.run(["bash"])
"""


def test_the_client_does_not_import_the_gateway_to_list_its_commands():
    program = (
        "import sys; from parsegate.client.cli import main; main(['--help']);"
        "loaded = [m for m in sys.modules if m.startswith(('parsegate.gateway', 'strawberry', 'airflow'))];"
        "sys.exit(str(loaded) if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in (
        "agent",
        "completion",
        "dag-processor",
        "migrate",
        "serve",
        "standalone",
        "status",
        "token",
        "wait",
    ):
        assert f"  {command}" in done.stdout


def test_an_unknown_command_is_a_mistake(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["nonesuch"]) == 2
    assert "no command 'nonesuch'" in capsys.readouterr().err


def test_no_command_prints_the_usage(capsys: pytest.CaptureFixture[str]):
    assert cli.main([]) == 2
    assert "dag-processor" in capsys.readouterr().out


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    real = cli.distribution

    def without_strawberry(name: str):
        if name == "strawberry-graphql":
            raise cli.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(cli, "distribution", without_strawberry)
    assert cli.main(["serve"]) == 2
    message = capsys.readouterr().err
    assert "strawberry-graphql is not installed" in message
    assert "pip install 'parsegate[gateway]'" in message


def test_the_rest_of_the_arguments_and_the_exit_code_are_the_commands(monkeypatch: pytest.MonkeyPatch):
    seen: list[list[str]] = []

    class Command:
        name = "token"
        module = "parsegate.client.token"

        def load(self):
            return lambda argv: seen.append(argv) or 7

    monkeypatch.setattr(cli, "entry_points", lambda group: [Command()])
    assert cli.main(["token", "processor", "--out", "x"]) == 7
    assert seen == [["processor", "--out", "x"]]


def test_bash_completes_commands_and_their_options(tmp_path: Path):
    def completed(line: str) -> set[str]:
        words = line.split(" ")
        script = (
            f"source {tmp_path}/completion; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; "
            """COMP_WORDS[COMP_CWORD]=${COMP_WORDS[COMP_CWORD]:-}; _shtab_parsegate; printf '%s\n' "${COMPREPLY[@]}" """
        )
        return set(subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.split())

    # The client's parsers alone: loading the gateway's commands takes seconds.
    script = subprocess.run(
        [sys.executable, "-P", "-c", COMPLETION_OF_THE_CLIENT], capture_output=True, text=True, check=True
    ).stdout
    (tmp_path / "completion").write_text(script)

    assert completed("parsegate st") == {"standalone", "status"}
    assert completed("parsegate wait --fail") == {"--fail-on-import-errors"}
    assert completed("parsegate completion ") == {"bash", "fish", "zsh"}
