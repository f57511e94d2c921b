"""What a deploy pipeline does: commit to a git bundle that real processors parse, and ask the gateway about it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import dag_files
import pytest
from running_gateway import PARSEGATE, RunningGateway
from running_processor import QUICK, RunningProcessor, git_bundle, local_bundle, processor_of

pytestmark = pytest.mark.any_database

DOCUMENT = Path(__file__).parents[2] / "docs" / "tooling.md"

DAILY = dag_files.DAILY.format(dag_id="daily")
HOURLY = dag_files.DAILY.format(dag_id="hourly")
TAKEN = dag_files.DAILY.format(dag_id="taken")
SLOW = f"import time\n\ntime.sleep(28)\n{dag_files.DAILY.format(dag_id='slow')}"
"""Takes nearly as long as a DAG file may. When it is removed, its parse is ended."""

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

    @property
    def environment(self) -> dict[str, str]:
        """Nothing but the way to the gateway."""
        return {
            "PATH": os.environ["PATH"],
            "AIRFLOW__PARSEGATE__URL": self.gateway.url,
            "AIRFLOW__PARSEGATE__OPERATOR_TOKEN_PATH": str(self.token),
        }

    def start(self, command: str, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*PARSEGATE, command, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, command: str, *arguments: str) -> tuple[int, str, str]:
        """Its exit code, and what it printed to each of the two."""
        return self.end(self.start(command, *arguments))

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str, str]:
        try:
            output, errors = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            log = self.processors[0].log[-6000:]
            raise AssertionError(f"{process.args} did not end:\n{output}\n{errors}\n{log}") from None
        return process.returncode, output, errors

    def wait(self, version: str, *arguments: str) -> tuple[int, str, str]:
        return self.run("wait", "--bundle", "team", "--version", version, *arguments)

    def files(self) -> dict[str, str | None]:
        """The version of each file's last stored result."""
        answer = self.gateway.ask('{ files(first: 100, bundle: "team") { nodes { relativeFileloc bundleVersion } } }')
        return {file["relativeFileloc"]: file["bundleVersion"] for file in answer["files"]["nodes"]}

    def until(self, holds: Callable[[], object], what: str) -> None:
        """A processor that has not refreshed yet may bring something older back for a moment."""
        self.processors[0].until(holds, what)

    def failing(self) -> list[str]:
        return [file["relativeFileloc"] for file in json.loads(self.run("errors", "--json")[1])]


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
    dag_files.write(repository, daily=DAILY)
    pipeline.git("init", "--quiet", "--initial-branch=main")
    pipeline.commit("First", hourly=HOURLY)
    dag_files.write(home / "others", taken=TAKEN)
    with ExitStack() as stack:
        for name in ("first", "second"):
            folder = home / name
            folder.mkdir()
            # The repository is another user's.
            (folder / ".gitconfig").write_text("[safe]\n\tdirectory = *\n")
            settings = {**QUICK, "dag_processor": {**QUICK["dag_processor"], "dag_bundle_storage_path": str(folder)}}
            bundles = [git_bundle("team", "dag_repository"), local_bundle("others", home / "others")]
            processor = stack.enter_context(
                processor_of(gateway, folder, bundles, settings=settings, hostname=f"{name}.test")
            )
            pipeline.processors.append(processor)
            processor.start()
        yield pipeline


def test_a_commit_has_landed_when_all_of_its_files_are_stored(pipeline: Pipeline) -> None:
    commit = pipeline.commit("Another", weekly=dag_files.DAILY.format(dag_id="weekly"))

    code, output, progress = pipeline.wait(commit, "--fail-on-import-errors")

    assert code == 0, progress
    assert output == f"team: all 3 files are parsed and stored at version {commit}, 0 import errors.\n"
    assert "\x1b" not in progress
    expected = dict.fromkeys(("daily.py", "hourly.py", "weekly.py"), commit)
    pipeline.until(lambda: pipeline.files() == expected, "both processors parse this commit")


def test_a_broken_commit_fails_with_the_error_text_and_the_fixed_one_lands(pipeline: Pipeline) -> None:
    broken = pipeline.commit("Broken", broken=dag_files.BROKEN)

    code, output, errors = pipeline.wait(broken, "--fail-on-import-errors")

    assert (code, output) == (4, "")
    assert "team/broken.py" in errors
    assert "RuntimeError: the DAG file raises this" in errors
    code, output, _ = pipeline.wait(broken)
    assert code == 0
    assert "1 import errors" in output

    pipeline.until(lambda: "4 of 4 files" in pipeline.run("status", "--bundle", "team")[1], "both have parsed it")
    code, output, errors = pipeline.run("status")
    assert (code, errors) == (0, "")
    for shown in ("team/broken.py", "first.test", "second.test", broken[:12]):
        assert shown in output
    code, output, _ = pipeline.run("errors", "--bundle", "team")
    assert code == 0
    assert "RuntimeError: the DAG file raises this" in output
    assert pipeline.run("errors", "--bundle", "others")[1] == "No file fails.\n"
    status = json.loads(pipeline.run("status", "--json")[1])
    assert [bundle["name"] for bundle in status["bundles"]] == ["others", "team"]
    assert [file["importErrors"][0]["relativeFileloc"] for file in status["failingFiles"]] == ["broken.py"]
    assert status["failingFileCount"] == 1

    fixed = pipeline.commit("Fixed", broken=dag_files.EMPTY)
    code, output, errors = pipeline.wait(fixed, "--fail-on-import-errors")
    assert code == 0, errors
    pipeline.until(lambda: pipeline.failing() == [], "no file fails any more")


def test_a_commit_that_removes_a_file_lands_without_it(pipeline: Pipeline) -> None:
    pipeline.git("rm", "--quiet", "hourly.py")

    code, _, errors = pipeline.wait(pipeline.commit("Without hourly"))

    assert code == 0, errors
    pipeline.until(lambda: "hourly.py" not in pipeline.files(), "the file is forgotten")
    answer = pipeline.gateway.ask('{ dags(first: 1, dagId: "hourly") { nodes { isStale } } }')
    assert answer["dags"]["nodes"] == [{"isStale": True}]


def test_a_commit_with_a_file_that_is_refused_does_not_land(pipeline: Pipeline) -> None:
    commit = pipeline.commit("Takes a DAG id", taken=TAKEN)

    code, _, errors = pipeline.wait(commit)

    assert code == 5, errors
    assert "team/taken.py" in errors
    assert "DAG_OWNED_BY_ANOTHER_BUNDLE" in errors
    pipeline.git("rm", "--quiet", "taken.py")
    assert pipeline.wait(pipeline.commit("Leaves it"))[0] == 0


def test_a_commit_that_is_overtaken_fails_unless_a_newer_one_will_do_and_a_restart_of_the_gateway_is_survived(
    pipeline: Pipeline,
) -> None:
    slow = pipeline.commit("Slow", slow=SLOW)
    common = ("wait", "--bundle", "team", "--version", slow)
    strict, content = pipeline.start(*common), pipeline.start(*common, "--or-newer")

    def is_under_way() -> bool:
        progress = pipeline.gateway.ask(
            'query($version: String) { bundleVersion(bundle: "team", version: $version) { state storedCount } }',
            {"version": slow},
        )["bundleVersion"]
        return progress is not None and progress["storedCount"] > 0

    pipeline.until(is_under_way, "a file of the slow version is stored")
    pipeline.gateway.stop()
    pipeline.git("rm", "--quiet", "slow.py")
    newer = pipeline.commit("Quick")
    pipeline.gateway.start()

    code, _, errors = pipeline.end(strict)
    assert code == 6, errors
    assert f"overtaken by {newer}" in errors
    assert "trying again" in errors
    code, output, errors = pipeline.end(content)
    assert code == 0, errors
    assert newer in output


def test_a_version_that_no_processor_knows_is_waited_for_until_the_time_is_over(pipeline: Pipeline) -> None:
    code, output, errors = pipeline.wait("0" * 40, "--timeout", "0")

    assert (code, output) == (3, "")
    assert pipeline.git("rev-parse", "HEAD") in errors


def test_a_parse_is_requested_with_the_permission_alone(pipeline: Pipeline, tmp_path: Path) -> None:
    from parsegate.gateway.tokens import TokenMinter
    from parsegate.resolvers.principal import Permission, Principal, TokenKind

    principal = Principal(
        kind=TokenKind.OPERATOR,
        subject="operator:pipeline",
        bundles=frozenset({"team"}),
        permissions=frozenset({Permission.REQUEST_PARSE}),
    )
    (tmp_path / "token").write_text(TokenMinter().mint(principal, 3600)[0])
    request = ("request-parse", "--bundle", "team")
    allowed = ("--token-file", str(tmp_path / "token"))

    code, output, _ = pipeline.run(*request, "--path", "daily.py", *allowed)
    assert (code, output) == (0, "team: 1 files will be parsed next, 1 newly requested.\n")
    code, _, errors = pipeline.run(*request)
    assert code == 8
    assert "NOT_PERMITTED" in errors
    code, _, errors = pipeline.run(*request, "--path", "nonesuch.py", *allowed)
    assert code == 8
    assert "NOT_FOUND" in errors


def test_the_documented_programs_do_what_they_say(pipeline: Pipeline, tmp_path: Path) -> None:
    version = pipeline.commit("Broken again", broken=dag_files.BROKEN)
    programs = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert len(programs) == 3

    def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "program.py"
        path.write_text(program)
        command = [sys.executable, str(path), *arguments]
        return subprocess.run(command, env=pipeline.environment, capture_output=True, text=True, timeout=120)

    gate, report, several = programs
    gated = run(gate, "team", version)
    assert gated.returncode == 1, gated.stderr
    assert "broken.py: RuntimeError: the DAG file raises this" in gated.stdout
    pipeline.until(lambda: run(report).stdout == "team/broken.py: 1 import errors\n", "the report names it")
    assert sorted(run(several, "team", "others").stdout.splitlines()) == ["others: 1 files", "team: 3 files"]


def test_what_keeps_a_command_from_its_answer_has_an_exit_code(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("not.a.token")

    refused, _, reason = pipeline.run("status", "--token-file", str(tmp_path / "token"))
    unreachable, _, _ = pipeline.run("errors", "--url", "http://127.0.0.1:9/graphql")
    unknown, _, advice = pipeline.run("status", "--url", "ftp://gateway/graphql")

    assert (refused, unreachable, unknown) == (8, 7, 2)
    assert "token" in reason
    assert "http://" in advice
