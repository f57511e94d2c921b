"""What a processor must not see, and what another user of its machine, or its own children, can't take from it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_peer import UNPRIVILEGED, ProcessorUnderTest, ScriptedAgent, open_directory

from parsegate.client import protocol
from parsegate.client.exit_codes import EXIT_ENDED, EXIT_MISCONFIGURED, EXIT_SECRET_VISIBLE
from parsegate.client.isolation import PLACEHOLDER_DATABASE, prepare_environment, visible_secrets

KEY = "x" * 43 + "="


@pytest.fixture
def home() -> Iterator[Path]:
    with open_directory() as directory:
        (directory / "home").mkdir()
        yield directory / "home"


def environment(home: Path, **variables: str) -> dict[str, str]:
    prepared = {"AIRFLOW_HOME": str(home), **variables}
    prepare_environment(prepared)
    return prepared


def test_a_home_of_its_own_shows_nothing(home: Path):
    assert visible_secrets(environment(home)) == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AIRFLOW__CORE__FERNET_KEY", KEY),
        ("AIRFLOW__CORE__FERNET_KEY_CMD", "cat /key"),
        ("AIRFLOW__CORE__FERNET_KEY_SECRET", "fernet"),
        ("AIRFLOW__TEAM_A___CORE__FERNET_KEY", KEY),
        ("AIRFLOW__API_AUTH__JWT_SECRET", "s3cr3t"),
        ("AIRFLOW__API_AUTH__JWT_SECRET_CMD", "cat /jwt"),
        ("AIRFLOW__API_AUTH__JWT_SECRET_SECRET", "jwt"),
        ("AIRFLOW__API__SECRET_KEY", "s3cr3t"),
        ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql+psycopg2://airflow:pw@db/airflow"),
        ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD", "cat /url"),
        ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC", "postgresql+asyncpg://airflow:pw@db/airflow"),
        ("AIRFLOW__CORE__SQL_ALCHEMY_CONN", "mysql://airflow:pw@db/airflow"),
        ("AIRFLOW__CELERY__RESULT_BACKEND", "db+postgresql://airflow:pw@db/airflow"),
    ],
)
def test_a_secret_in_the_environment_is_seen(home: Path, variable: str, value: str):
    (finding,) = visible_secrets(environment(home, **{variable: value}))
    assert variable in finding
    # The sentence names the place, never the secret.
    assert value not in finding


@pytest.mark.parametrize(
    "text",
    [
        f"[core]\nfernet_key = {KEY}\n",
        "[core]\nfernet_key_cmd = cat /key\n",
        "[api_auth]\njwt_secret = s3cret\n",
        "[api_auth]\njwt_secret_secret = vault/jwt\n",
        "[database]\nsql_alchemy_conn = postgresql://db/airflow\n",
        f"[team_a=core]\nfernet_key = {KEY}\n",
    ],
)
def test_a_secret_in_the_configuration_file_is_seen(home: Path, text: str):
    (home / "airflow.cfg").write_text(text)
    assert len(visible_secrets(environment(home))) == 1


@pytest.mark.parametrize(
    "variables",
    [
        {"AIRFLOW__CORE__FERNET_KEY": ""},
        {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////nonexistent/airflow.db"},
        {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": PLACEHOLDER_DATABASE},
        {"AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH": "/nonexistent/key.pem"},
        {"AIRFLOW__CELERY__RESULT_BACKEND": "redis://broker/0"},
        {"AIRFLOW__API_AUTH__JWT_EXPIRATION_TIME": "60"},
    ],
)
def test_what_leads_nowhere_is_no_secret(home: Path, variables: dict[str, str]):
    assert visible_secrets(environment(home, **variables)) == []


def test_airflows_default_database_counts_when_it_can_be_read(home: Path):
    (home / "airflow.db").write_bytes(b"SQLite format 3\0")
    assert "airflow.db" in visible_secrets(environment(home))[0]


def test_a_private_key_counts_when_it_can_be_read(home: Path):
    key = home / "key.pem"
    key.write_text("-----BEGIN PRIVATE KEY-----")
    variables = environment(home, AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH=str(key))
    assert "JWT private key" in visible_secrets(variables)[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed")
def test_files_are_judged_as_the_user_that_the_processor_is(home: Path):
    database = home / "metadata.db"
    database.write_bytes(b"SQLite format 3\0")
    database.chmod(0o600)
    program = (
        "import os; from parsegate.client.isolation import visible_secrets; print(len(visible_secrets(os.environ)))"
    )

    def findings(user: int) -> str:
        variables = {
            "PATH": os.environ["PATH"],
            "AIRFLOW_HOME": str(home),
            "AIRFLOW_CONFIG": os.devnull,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}",
        }
        command = [sys.executable, "-P", "-c", program]
        return subprocess.check_output(command, env=variables, user=user, cwd="/", text=True).strip()

    assert findings(UNPRIVILEGED) == "0"
    assert findings(0) == "1"


def run_processor(home: Path, **settings: str) -> ProcessorUnderTest:
    (home.parent / "socket").mkdir()
    agent = ScriptedAgent(home.parent / "socket")
    (home.parent / "dags").mkdir()
    try:
        processor = ProcessorUnderTest(home, agent.path, {"dags": home.parent / "dags"}, "--num-runs", "1", **settings)
        processor.wait()
    finally:
        agent.close()
    assert not [message for message in agent.received if isinstance(message, protocol.SyncBundles)] or (
        processor.process.returncode == EXIT_ENDED
    )
    return processor


def test_the_command_refuses_to_start_with_a_secret_before_airflow_runs_its_commands(home: Path):
    mark = home / "ran"
    processor = run_processor(home, AIRFLOW__CORE__FERNET_KEY_CMD=f"touch {mark}")
    assert processor.process.returncode == EXIT_SECRET_VISIBLE
    assert "A Fernet key can be had through AIRFLOW__CORE__FERNET_KEY_CMD" in processor.log
    assert not mark.exists()


def test_the_command_starts_in_an_empty_home_and_leaves_no_keys_there(home: Path):
    processor = run_processor(home)
    assert processor.process.returncode == EXIT_ENDED, processor.log
    assert not (home / "airflow.cfg").exists()


def test_the_command_says_which_setting_is_missing(home: Path):
    processor = run_processor(
        home, AIRFLOW__PARSEGATE__AGENT_SOCKET="", AIRFLOW__PARSEGATE__URL="http://gateway/graphql"
    )
    assert processor.process.returncode == EXIT_MISCONFIGURED
    assert "[parsegate] token_path is not set" in processor.log


def test_the_command_needs_root_to_become_another_user(home: Path):
    processor = run_processor(home, AIRFLOW__PARSEGATE__RUN_AS_USER="0")
    assert processor.process.returncode == EXIT_MISCONFIGURED
    assert "needs a start as root" in processor.log


DAG_THAT_LOOKS_AROUND = """
import json, os
from airflow.sdk import DAG
def attempt(path):
    try:
        with open(path, "rb") as file:
            file.read(1)
    except OSError as error:
        return error.errno
    return 0
found = {"uid": os.getuid(), "groups": os.getgroups(), "token": attempt("TOKEN"), "home": os.environ["HOME"]}
for name in os.listdir("/proc"):
    if name.isdigit() and int(name) != os.getpid():
        try:
            command = open(f"/proc/{name}/cmdline").read()
            parent = open(f"/proc/{name}/stat").read().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if int(parent) != os.getppid():  # another test's
            continue
        for module in ("parsegate.client.agent", "parsegate.client.bundle_helper"):
            if module in command.split("\\0"):
                found[module] = [attempt(f"/proc/{name}/environ"), attempt(f"/proc/{name}/mem")]
d = DAG("looking", description=json.dumps(found))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="dropping privileges needs root")
def test_dag_code_cannot_reach_the_token_or_the_helper_when_it_runs_as_another_user(home: Path):
    token = home / "token"
    token.write_text("secret")
    token.chmod(0o600)
    dags = home.parent / "dags"
    dags.mkdir()
    (dags / "looking.py").write_text(DAG_THAT_LOOKS_AROUND.replace("TOKEN", str(token)))
    (home.parent / "socket").mkdir()
    agent = ScriptedAgent(home.parent / "socket")
    settings = {"AIRFLOW__PARSEGATE__RUN_AS_USER": str(UNPRIVILEGED)}
    try:
        processor = ProcessorUnderTest(home, agent.path, {"dags": dags}, "--num-runs", "1", drops=True, **settings)
        assert processor.wait() == EXIT_ENDED, processor.log
    finally:
        agent.close()
    result = agent.result_of("looking.py")
    assert result is not None
    found = json.loads(result.dags[0].document["dag"]["description"])
    assert found["uid"] == UNPRIVILEGED
    assert 0 not in found["groups"]
    assert found["token"] == errno.EACCES
    assert found["parsegate.client.bundle_helper"] == [errno.EACCES, errno.EACCES]
