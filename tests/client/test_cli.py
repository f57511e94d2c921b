"""The ``parsegate`` command: it finds the installed commands, and says what is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from parsegate.client import cli


def test_the_client_does_not_import_the_gateway_to_list_its_commands():
    program = (
        "import sys; from parsegate.client.cli import main; main(['--help']);"
        "loaded = [m for m in sys.modules if m.startswith(('parsegate.gateway', 'strawberry', 'airflow'))];"
        "sys.exit(str(loaded) if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("agent", "dag-processor", "migrate", "schema", "serve", "standalone", "status", "token"):
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
