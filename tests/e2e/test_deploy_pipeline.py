"""What a deploy pipeline does: commit to a git bundle that real processors parse, and ask the gateway about it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import dag_files
import pytest
from running_gateway import PARSEGATE, RunningGateway
from running_processor import QUICK, RunningProcessor, git_bundle, processor_of

pytestmark = pytest.mark.any_database

IDENTITY = {f"GIT_{who}_{what}": "t@t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


@dataclass
class Pipeline:
    """A repository, two processors that parse its branch ``main`` as bundle ``team``, and a shell beside them."""

    gateway: RunningGateway
    repository: Path
    token: Path
    processors: list[RunningProcessor]

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.repository), *arguments]
        environment = {**os.environ, **IDENTITY}
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()

    def commit(self, message: str, **files: str) -> str:
        """Write and commit; the commit's name."""
        dag_files.write(self.repository, **files)
        self.git("add", "--all")
        self.git("commit", "--quiet", f"--message={message}")
        return self.git("rev-parse", "HEAD")

    def start(self, command: str, *arguments: str) -> subprocess.Popen[str]:
        """``parsegate COMMAND``, with nothing in its environment but the way to the gateway."""
        environment = {
            "PATH": os.environ["PATH"],
            "AIRFLOW__PARSEGATE__URL": self.gateway.url,
            "AIRFLOW__PARSEGATE__OPERATOR_TOKEN_PATH": str(self.token),
        }
        return subprocess.Popen(
            [*PARSEGATE, command, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, command: str, *arguments: str) -> tuple[int, str, str]:
        """Its exit code, and what it printed to each of the two."""
        process = self.start(command, *arguments)
        try:
            output, errors = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            log = self.processors[0].log[-6000:]
            raise AssertionError(f"parsegate {command} did not end:\n{output}\n{errors}\n{log}") from None
        return process.returncode, output, errors


@pytest.fixture(scope="module")
def pipeline(gateway: RunningGateway, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session

    repository = home / "repository"
    with create_session() as session:
        session.add(Connection(conn_id="dag_repository", conn_type="git", host=str(repository)))
    token = tmp_path_factory.mktemp("token") / "operator"
    token.write_text(gateway.operator_token())
    pipeline = Pipeline(gateway, repository, token, [])
    dag_files.write(repository, daily=dag_files.DAILY.format(dag_id="daily"))
    pipeline.git("init", "--quiet", "--initial-branch=main")
    pipeline.commit("First", broken=dag_files.BROKEN)
    with ExitStack() as stack:
        for name in ("first", "second"):
            folder = home / name
            folder.mkdir()
            # The repository is another user's.
            (folder / ".gitconfig").write_text("[safe]\n\tdirectory = *\n")
            settings = {**QUICK, "dag_processor": {**QUICK["dag_processor"], "dag_bundle_storage_path": str(folder)}}
            bundles = [git_bundle("team", "dag_repository")]
            processor = stack.enter_context(
                processor_of(gateway, folder, bundles, settings=settings, hostname=f"{name}.test")
            )
            pipeline.processors.append(processor)
            processor.start()
        yield pipeline


def test_status_and_errors_show_what_fails(pipeline: Pipeline) -> None:
    def failing() -> list[str]:
        return [file["relativeFileloc"] for file in json.loads(pipeline.run("errors", "--json")[1])]

    pipeline.processors[0].until(lambda: failing() == ["broken.py"], "the broken file is known")

    code, output, errors = pipeline.run("status")
    assert (code, errors) == (0, "")
    assert "team/broken.py" in output
    assert "first.test" in output
    assert "second.test" in output
    code, output, _ = pipeline.run("errors", "--bundle", "team")
    assert code == 0
    assert "RuntimeError: the DAG file raises this" in output
    assert pipeline.run("errors", "--bundle", "nonesuch")[1] == "No file fails.\n"
    status = json.loads(pipeline.run("status", "--json")[1])
    assert [bundle["name"] for bundle in status["bundles"]] == ["team"]
    assert [file["importErrors"][0]["relativeFileloc"] for file in status["failingFiles"]] == ["broken.py"]


def test_what_keeps_a_command_from_its_answer_has_an_exit_code(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("not.a.token")

    refused, _, reason = pipeline.run("status", "--token-file", str(tmp_path / "token"))
    unreachable, _, _ = pipeline.run("errors", "--url", "http://127.0.0.1:9/graphql")
    unknown, _, advice = pipeline.run("status", "--url", "ftp://gateway/graphql")

    assert (refused, unreachable, unknown) == (8, 7, 2)
    assert "token" in reason
    assert "http://" in advice
