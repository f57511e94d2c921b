"""One pass of a real processor over every kind of file: what is stored, and what the processor touched to get there.

The same files are then parsed by Airflow's own processor into a second database; the rows must be equal.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dag_files
import pytest
from airflow_database import AirflowDatabase, AirflowDatabases
from running_gateway import RunningGateway
from running_processor import RunningProcessor, git_bundle, local_bundle, processor_of
from stock_processor import run_stock_once
from stored_rows import active_dags, import_errors, ledger, serialized

APPLICATION_NAME = "the-gateway"
SAME_ORDER = {"PYTHONHASHSEED": "0"}
"""Some of what Airflow serializes has the order of a set."""
SECRETS = {"warehouse": "a password that nobody prints", "customer": "acme"}


@dataclass
class Pass:
    """What is left of the pass.

    :param processor: the processor, ended
    :param commit: the version of the git bundle
    :param connections: lines of PostgreSQL's log about connections to the database while the processor ran
    :param stock: the database that Airflow's own processor stored the same files in
    :param stock_connections: the same lines while that one ran
    """

    processor: RunningProcessor
    commit: str
    connections: list[str]
    stock: AirflowDatabase
    stock_connections: list[str]


@pytest.fixture(scope="module")
def gateway_settings() -> dict[str, str]:
    # libpq tells the server, which logs it: the gateway's connections can be told from all others.
    return {"PGAPPNAME": APPLICATION_NAME}


def connection_lines(database: AirflowDatabase) -> list[str]:
    if database.server is None:
        return []
    log = database.server.log_path.read_text(errors="replace")
    return re.findall(rf"connection authorized: .*database={database.name}\b.*", log)


def seed(repository: Path) -> None:
    """What the DAG files and the git bundle read."""
    from airflow.models.connection import Connection
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(
            Connection(
                conn_id="warehouse",
                conn_type="postgres",
                host="warehouse.example",
                login="reader",
                password=SECRETS["warehouse"],
                port=5433,
            )
        )
        session.add(Connection(conn_id="dag_repository", conn_type="git", host=str(repository)))
        Variable.set("customer", SECRETS["customer"], session=session)


def make_repository(path: Path) -> str:
    """A git repository with one DAG file on branch ``main``; its commit."""
    dag_files.write(path, versioned=dag_files.DAILY.format(dag_id="versioned"))
    identity = {
        "GIT_AUTHOR_NAME": "t",
        "GIT_AUTHOR_EMAIL": "t@t",
        "GIT_COMMITTER_NAME": "t",
        "GIT_COMMITTER_EMAIL": "t@t",
    }

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=path, check=True, capture_output=True, text=True, env={**os.environ, **identity}
        ).stdout.strip()

    git("init", "--quiet", "--initial-branch=main")
    git("add", ".")
    git("commit", "--quiet", "--message=DAGs")
    return git("rev-parse", "HEAD")


def write_dag_files(home: Path) -> None:
    dag_files.write(
        home / "files",
        daily=dag_files.DAILY.format(dag_id="daily"),
        assets=dag_files.ASSETS,
        broken=dag_files.BROKEN,
        warns=dag_files.WARNS,
        reads_secrets=dag_files.READS_SECRETS,
        empty=dag_files.EMPTY,
    )
    dag_files.write_zip(
        home / "files" / "packed.zip",
        zipped=dag_files.DAILY.format(dag_id="zipped"),
        zipped_too=dag_files.DAILY.format(dag_id="zipped_too"),
    )
    dag_files.write(home / "second" / "folder", other=dag_files.DAILY.format(dag_id="other"))


def example_dags() -> Path:
    from airflow import example_dags

    return Path(next(iter(example_dags.__path__)))


@pytest.fixture(scope="module")
def one_pass(
    gateway: RunningGateway,
    database: AirflowDatabase,
    airflow_databases: AirflowDatabases,
    home: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pass]:
    write_dag_files(home)
    repository = home / "repository"
    commit = make_repository(repository)
    seed(repository)
    bundles: list[dict[str, Any]] = [
        local_bundle("files", home / "files"),
        local_bundle("second", home / "second"),
        git_bundle("versioned", "dag_repository"),
        local_bundle("examples", example_dags()),
    ]
    storage = home / "bundles"
    settings = {"dag_processor": {"dag_bundle_storage_path": str(storage), "parsing_processes": "2"}}
    with ExitStack() as stack:
        processor = stack.enter_context(processor_of(gateway, home, bundles, settings=settings, environment=SAME_ORDER))
        before = connection_lines(database)
        processor.run_once()
        connections = connection_lines(database)[len(before) :]

        stock = airflow_databases.create()
        stack.callback(airflow_databases.drop, stock)
        with stock.in_use():
            seed(repository)
        before = connection_lines(stock)
        trusting = tmp_path_factory.mktemp("git") / "config"
        trusting.write_text("[safe]\n\tdirectory = *\n")
        run_stock_once(
            stock,
            tmp_path_factory.mktemp("stock"),
            bundles,
            AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH=str(storage),
            **SAME_ORDER,
            # It is part of each serialized DAG.
            AIRFLOW__CORE__DAGS_FOLDER=str(home),
            # The repository belongs to the processor's user.
            GIT_CONFIG_GLOBAL=str(trusting),
        )
        yield Pass(processor, commit, connections, stock, connection_lines(stock)[len(before) :])


def test_each_file_is_in_the_ledger(one_pass: Pass) -> None:
    files = ledger()

    assert {
        name: (row.dag_count, row.import_error_count) for name, row in files.items() if "examples/" not in name
    } == {
        "files/daily.py": (1, 0),
        "files/assets.py": (2, 0),
        "files/broken.py": (0, 1),
        "files/warns.py": (1, 0),
        "files/reads_secrets.py": (1, 0),
        "files/empty.py": (0, 0),
        "files/packed.zip": (2, 0),
        "second/folder/other.py": (1, 0),
        "versioned/versioned.py": (1, 0),
    }
    assert len([name for name in files if name.startswith("examples/")]) > 40
    assert {row.status for row in files.values()} == {"STORED"}


def test_dags_of_all_bundles_are_stored(one_pass: Pass) -> None:
    dags = active_dags()

    assert {dag_id: bundle for dag_id, bundle in dags.items() if bundle != "examples"} == {
        "daily": "files",
        "makes_orders": "files",
        "reads_orders": "files",
        "varies": "files",
        "for_acme": "files",
        "zipped": "files",
        "zipped_too": "files",
        "other": "second",
        "versioned": "versioned",
    }
    assert {"example_complex", "tutorial_taskflow_api", "example_dynamic_task_mapping"} <= dags.keys()


def test_a_broken_file_leaves_its_traceback(one_pass: Pass) -> None:
    assert "the DAG file raises this" in import_errors()["broken.py"]


def test_a_file_reads_a_connection_and_a_variable_while_it_is_parsed(one_pass: Pass) -> None:
    dag = serialized("for_acme")

    length = len(SECRETS["warehouse"])
    assert dag["description"] == f"postgres://reader:{length}@warehouse.example:5433"
    assert "absent" in dag["tags"]


def test_secrets_show_in_no_log(one_pass: Pass) -> None:
    logs = [one_pass.processor.log, one_pass.processor.gateway.log]
    logs += [path.read_text() for path in (one_pass.processor.home / "logs").rglob("*.log")]

    assert len(logs) > 40
    assert not [log for log in logs if SECRETS["warehouse"] in log]


def test_the_git_bundle_is_stored_with_its_version(one_pass: Pass) -> None:
    from airflow.models.dag_version import DagVersion
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        version = session.scalar(select(DagVersion).where(DagVersion.dag_id == "versioned"))
        bundle = session.get(DagBundleModel, "versioned")
        assert version is not None
        assert bundle is not None
        assert version.bundle_version == bundle.version == one_pass.commit


def test_source_code_is_stored(one_pass: Pass) -> None:
    from airflow.models.dagcode import DagCode
    from airflow.utils.session import create_session

    with create_session() as session:
        assert DagCode.code("daily", session=session) == dag_files.DAILY.format(dag_id="daily")
        assert DagCode.code("zipped", session=session) == dag_files.DAILY.format(dag_id="zipped")


def test_the_job_is_the_processors(one_pass: Pass) -> None:
    import getpass
    import pwd

    from airflow.jobs.job import Job
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        [job] = session.scalars(select(Job)).all()
    uid = one_pass.processor.uid
    assert job.job_type == "DagProcessorJob"
    assert job.state == "success"
    assert job.hostname == one_pass.processor.hostname
    assert job.unixname == (getpass.getuser() if uid is None else pwd.getpwuid(uid).pw_name)


# Equal to what Airflow's own processor stores ------------------------------------------------------------------------


def test_rows_equal_those_of_airflows_own_processor(one_pass: Pass, database: AirflowDatabase) -> None:
    from table_comparison import comparable_tables, table_differences

    # What was there before, what airflow's command line logs, and what was measured.
    ignoring = {"connection": ["*"], "variable": ["*"], "log": ["*"], "job": ["*"], "dag": ["last_parse_duration"]}
    stock, ours = (comparable_tables(url, ignoring=ignoring) for url in (one_pass.stock.url, database.url))
    for tables in (stock, ours):
        # Two examples give this address different names; the one that happens to be stored first is active.
        tables["asset_active"] = [row for row in tables["asset_active"] if row["uri"] != "s3://output/1.txt"]
        for dag in tables["dag"]:
            # Some schedules of the examples start from the moment of the parse.
            if dag["bundle_name"] == "examples":
                for column in [column for column in dag if column.startswith("next_dagrun")]:
                    del dag[column]

    assert len(ours["dag"]) == len(active_dags()) > 60
    found = [line for table in stock for line in table_differences(table, stock[table], ours[table])]
    assert not found, "\n".join(line[:400] for line in found[:20])


# No database, proven from outside ------------------------------------------------------------------------------------


def audited(processor: RunningProcessor, event: str) -> list[tuple[int, str]]:
    """Process and object of each such event in any process of the processor."""
    lines = [line.split("\t", 2) for line in processor.audit_path.read_text().splitlines()]
    return [(int(pid), what) for pid, name, what in lines if name == event]


def test_the_processor_opens_no_database_file(one_pass: Pass, database: AirflowDatabase) -> None:
    opened = audited(one_pass.processor, "open")

    # Manager, agent, bundle helper and a child per file were listening.
    assert len({pid for pid, _ in opened}) > 50
    assert [what for _, what in opened if "daily.py" in what]
    name = database.path.name if database.path else "airflow.db"
    assert not [what for _, what in opened if name in what or "airflow.db" in what]
    assert audited(one_pass.processor, "sqlite3.connect") == []


def test_the_agent_alone_connects_and_only_to_the_gateway(one_pass: Pass) -> None:
    connections = audited(one_pass.processor, "socket.connect")

    assert connections
    assert {what for _, what in connections} == {repr(("127.0.0.1", one_pass.processor.gateway.port))}
    assert len({pid for pid, _ in connections}) == 1
    token_readers = {pid for pid, what in audited(one_pass.processor, "open") if "processor.token" in what}
    assert {pid for pid, _ in connections} <= token_readers


def test_the_audit_covers_every_process_of_the_processor(one_pass: Pass) -> None:
    started = audited(one_pass.processor, "subprocess.Popen")

    for what in ("parsegate.client.agent", "parsegate.client.bundle_helper"):
        [launcher] = {pid for pid, arguments in started if what in arguments}
    helpers = {pid for pid, arguments in started if "'git', 'clone'" in arguments}
    assert len(helpers) == 1
    assert launcher not in helpers


def test_the_processors_user_cannot_read_the_database(one_pass: Pass, database: AirflowDatabase) -> None:
    if one_pass.processor.uid is None:
        pytest.skip(
            "The processor runs as the tests' own user: another one takes root and a checkout that it can read."
        )
    if database.path is None:
        pytest.skip("There is no database file: this run is on PostgreSQL.")
    read = subprocess.run(
        [sys.executable, "-c", f"open({str(database.path)!r}, 'rb')"],
        user=one_pass.processor.uid,
        group=one_pass.processor.uid,
        extra_groups=[],
        capture_output=True,
        text=True,
        cwd="/",
    )

    assert read.returncode != 0
    assert "PermissionError" in read.stderr


def test_the_gateway_alone_connects_to_postgresql(one_pass: Pass, database: AirflowDatabase) -> None:
    if database.server is None:
        pytest.skip("This run is on SQLite.")

    by_gateway = f"application_name={APPLICATION_NAME}"
    assert one_pass.connections
    assert [line for line in one_pass.connections if by_gateway not in line] == []
    # The log does tell of a processor that connects: Airflow's own.
    assert [line for line in one_pass.stock_connections if by_gateway not in line]


# Airflow goes on with what was stored --------------------------------------------------------------------------------


@pytest.mark.parametrize("dag_id", ["daily", "zipped", "versioned"])
def test_airflows_scheduler_creates_a_run(one_pass: Pass, gateway: RunningGateway, dag_id: str) -> None:
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select, update

    with create_session() as session:
        session.execute(update(DagModel).where(DagModel.dag_id == dag_id).values(is_paused=False))
    with create_session() as session:
        runner = SchedulerJobRunner(job=Job())
        model = session.scalars(select(DagModel).where(DagModel.dag_id == dag_id)).one()
        runner._create_dag_runs([model], session)

    with create_session() as session:
        [run] = session.scalars(select(DagRun).where(DagRun.dag_id == dag_id)).all()
        assert run.logical_date.isoformat() == "2024-01-01T00:00:00+00:00"
        assert {ti.task_id for ti in run.get_task_instances(session=session)} == {"first", "second"}
        assert run.created_dag_version is not None
