"""``parsegate standalone`` as a person runs it: one command, nothing configured."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import time
from pathlib import Path

import dag_files
import httpx
import psutil
import pytest
from airflow_database import configured_kind
from pseudo_terminal import PseudoTerminal
from running_gateway import PARSEGATE, free_port

pytestmark = pytest.mark.skipif(configured_kind() != "sqlite", reason="It always makes a SQLite database of its own.")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``AIRFLOW_HOME`` of all runs in this module."""
    return tmp_path_factory.mktemp("standalone") / "airflow"


@pytest.fixture(scope="module")
def dags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dags = tmp_path_factory.mktemp("dags")
    dag_files.write(
        dags,
        daily=dag_files.DAILY.format(dag_id="daily"),
        assets=dag_files.ASSETS,
        broken=dag_files.BROKEN,
        warns=dag_files.WARNS,
    )
    return dags


def environment(home: Path) -> dict[str, str]:
    """A shell's, without a word of Airflow."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(("AIRFLOW", "_AIRFLOW"))}
    return {**kept, "AIRFLOW_HOME": str(home), "HOME": str(home.parent)}


def standalone(
    home: Path, *arguments: str, port: int | None = None, stderr: int = subprocess.PIPE, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PARSEGATE, "standalone", "--port", str(port or free_port()), *arguments],
        env=environment(home) | variables,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        timeout=180,
    )


def leftovers(home: Path) -> list[str]:
    """Processes that still have this home in their environment or among their arguments."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()]
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if process.pid != os.getpid() and any(str(home) in word for word in words):
            found.append(" ".join(process.cmdline()))
    return found


def test_once_with_json_ends_with_the_summary_and_shows_progress_on_a_terminal(home: Path, dags: Path) -> None:
    terminal = PseudoTerminal()
    run = standalone(home, "--once", "--json", "--dags", str(dags), stderr=terminal.descriptor, TERM="xterm")
    terminal.close()

    assert run.returncode == 0, terminal.lines[-40:]
    summary = json.loads(run.stdout.splitlines()[-1])
    seconds = summary.pop("seconds")
    assert summary == {"bundles": ["dags"], "files": 4, "dags": 4, "import_errors": 1, "warnings": 1}
    assert seconds > 0
    assert leftovers(home) == []
    bars = [line for line in terminal.lines if "files," in line and "/s, " in line]
    assert "Parsing" in bars[0]
    assert "4/4 files" in bars[-1]
    assert "1 with errors" in bars[-1]


def test_the_rows_are_in_the_database_of_that_home(home: Path) -> None:
    # All of it in one file: the gateway has closed its connections.
    assert not (home / "airflow.db-wal").exists()
    with sqlite3.connect(home / "airflow.db") as connection:
        dags = connection.execute("SELECT dag_id, bundle_name FROM dag ORDER BY dag_id").fetchall()
    connection.close()

    assert dags == [(name, "dags") for name in ("daily", "makes_orders", "reads_orders", "varies")]


def test_the_processors_home_holds_no_secret_of_the_gateway(home: Path) -> None:
    configuration = (home / "processor" / "airflow.cfg").read_text()

    assert "fernet_key" not in configuration
    assert "jwt_secret" not in configuration
    assert "airflow.db" not in configuration.replace("sqlite:////nonexistent/airflow.db", "")
    assert (home / "processor" / "processor.token").stat().st_mode & 0o777 == 0o600
    assert (home / "airflow.db").stat().st_mode & 0o777 == 0o600


def test_once_again_in_the_same_home_shows_a_table(home: Path, dags: Path) -> None:
    # A database that the shell names is another's.
    elsewhere = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://nobody@127.0.0.1:1/another"}
    run = standalone(home, "--once", "--dags", str(dags), **elsewhere)

    assert run.returncode == 0, run.stderr[-4000:]
    # No terminal, no progress bar.
    assert run.stderr == ""
    assert run.stdout.splitlines()[-1].startswith("4 files")
    row = next(line for line in run.stdout.splitlines() if "assets.py" in line)
    assert re.search(r"\b2\b", row)
    assert "broken.py" in run.stdout
    assert "4 files, 4 DAGs, 1 import errors, 1 warnings" in run.stdout


def test_a_folder_that_does_not_exist_is_said_before_anything_starts(home: Path, tmp_path: Path) -> None:
    run = standalone(home, "--once", "--dags", str(tmp_path / "nowhere"))

    assert run.returncode == 2
    assert "nowhere" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_port_that_another_process_has_is_said_before_anything_starts(home: Path, dags: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        run = standalone(home, "--once", "--dags", str(dags), port=taken.getsockname()[1])

    assert run.returncode == 1
    assert "--port" in run.stderr
    assert run.stdout == ""


def test_a_port_that_cannot_be_one_is_refused(home: Path) -> None:
    run = standalone(home, "--once", port=99999)

    assert run.returncode == 2
    assert "65535" in run.stderr


def test_a_file_that_cannot_be_stored_fails_the_pass(home: Path, tmp_path: Path) -> None:
    # One DAG id in two files of a bundle is Airflow's last-one-wins; a file that never ends is not parsed at all.
    dag_files.write(
        tmp_path / "dags",
        daily=dag_files.DAILY.format(dag_id="daily"),
        endless="import time  # a dag for airflow\ntime.sleep(600)\n",
    )
    timeout = {"AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "3"}

    run = standalone(home, "--once", "--json", "--dags", str(tmp_path / "dags"), **timeout)

    assert run.returncode == 1
    assert "endless.py" in run.stderr
    assert json.loads(run.stdout.splitlines()[-1])["files"] == 2


def test_it_stays_up_until_it_is_interrupted(home: Path, dags: Path, tmp_path: Path) -> None:
    port = free_port()
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(
            [*PARSEGATE, "standalone", "--port", str(port), "--dags", str(dags)],
            env=environment(home),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 60
        while "Ctrl-C" not in (text := (tmp_path / "output").read_text()):
            assert process.poll() is None, text
            assert time.monotonic() < deadline, text
            time.sleep(0.2)
        assert f"http://127.0.0.1:{port}/graphql" in text
        page = httpx.get(f"http://127.0.0.1:{port}/graphql", headers={"Accept": "text/html"}, trust_env=False)
        assert "graphiql" in page.text.lower()
        [link] = re.findall(rf"^Log in: +(http://127.0.0.1:{port}/login\?code=\S+)$", text, re.MULTILINE)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as browser:
            code = httpx.URL(link).params["code"]
            assert browser.post("/login", data={"code": code}).status_code == 303
            assert browser.get("/session").json()["subject"].startswith("operator:")
        assert code not in "".join(path.read_text() for path in (home / "logs").rglob("*.log"))

        # As a terminal does: to every process of the group at once.
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert "Traceback" not in (tmp_path / "output").read_text()
    assert leftovers(home) == []
