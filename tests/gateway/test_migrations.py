"""parsegate's tables and their migrations: the same schema whichever way they came to be, and safe to run again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from airflow_database import AirflowDatabase, AirflowDatabases
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect
from sqlalchemy.orm import Session

from parsegate.gateway.db_manager import VERSION_TABLE, ParsegateDBManager
from parsegate.gateway.migrate import migrate, run
from parsegate.resolvers.database import airflow_engine
from parsegate.resolvers.tables import ParsegateBase

TABLES = {*ParsegateBase.metadata.tables, VERSION_TABLE}


@pytest.fixture
def empty_database(airflow_databases: AirflowDatabases) -> Iterator[AirflowDatabase]:
    database = airflow_databases.create_empty()
    with database.in_use():
        yield database
    airflow_databases.drop(database)


def our_tables() -> set[str]:
    return {name for name in inspect(airflow_engine()).get_table_names() if name.startswith("parsegate")}


def differences() -> list[object]:
    """What the tables have otherwise than resolvers/tables.py says."""
    with airflow_engine().connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "compare_server_default": True,
                "version_table": VERSION_TABLE,
                "include_object": lambda _, name, kind, *__: kind != "table" or name in ParsegateBase.metadata.tables,
            },
        )
        return compare_metadata(context, ParsegateBase.metadata)


@pytest.mark.usefixtures("empty_database")
@pytest.mark.parametrize("use_migration_files", [False, True])
def test_created_from_the_models_or_by_the_migrations_the_tables_are_those_of_the_models(
    use_migration_files: bool,
) -> None:
    with Session(airflow_engine()) as session:
        manager = ParsegateDBManager(session)
        assert not manager.check_migration()
        manager.initdb(use_migration_files=use_migration_files)
        assert manager.check_migration()
    assert our_tables() == TABLES
    assert differences() == []


@pytest.mark.usefixtures("empty_database")
def test_a_column_that_no_migration_adds_is_noticed() -> None:
    """Keeps the test above honest."""
    migrate()
    with airflow_engine().begin() as connection:
        connection.exec_driver_sql("ALTER TABLE parsegate_claim DROP COLUMN message")
    assert len(differences()) == 1


@pytest.mark.usefixtures("empty_database")
def test_the_last_revision_can_be_taken_back() -> None:
    from alembic import command

    with Session(airflow_engine()) as session:
        manager = ParsegateDBManager(session)
        manager.initdb(use_migration_files=True)
        command.downgrade(manager.get_alembic_config(), "base")
    assert our_tables() == {VERSION_TABLE}


def test_the_version_that_airflow_is_told_names_the_last_revision() -> None:
    import parsegate

    with Session() as session:
        heads = ParsegateDBManager(session).get_script_object().get_heads()
    assert [ParsegateDBManager.revision_heads_map[parsegate.__version__]] == heads


@pytest.mark.usefixtures("empty_database")
def test_migrate_is_safe_to_run_again() -> None:
    migrate()
    migrate()
    assert our_tables() == TABLES


@pytest.mark.slow
def test_several_migrations_at_once_take_turns_on_postgresql(empty_database: AirflowDatabase) -> None:
    if empty_database.kind == "sqlite":
        pytest.skip("SQLite has no lock for it; one machine has one administrator.")
    command = [sys.executable, "-m", "parsegate.client.cli", "migrate"]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    assert our_tables() == TABLES


@pytest.mark.usefixtures("empty_database")
def test_the_command_tells_what_is_and_is_not_migrated(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--check"]) == 1
    assert our_tables() == set()
    assert run([]) == 0
    told = capsys.readouterr()
    assert "parsegate migrations: ready" in told.out
    assert "airflow db migrate" in told.err
    assert run(["--check"]) == 1
    assert run(["--with-airflow"]) == 0
    assert run(["--check"]) == 0
    assert run([]) == 0


@pytest.mark.slow
def test_airflow_s_own_commands_migrate_check_and_reset_our_tables(empty_database: AirflowDatabase) -> None:
    """The real ``airflow`` in processes of its own finds the manager through the installed provider."""

    def airflow(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "airflow", "db", *arguments], capture_output=True, text=True)

    assert airflow("check-migrations", "--migration-wait-timeout", "1").returncode != 0
    migrated = airflow("migrate")
    assert migrated.returncode == 0, migrated.stderr
    assert our_tables() == TABLES
    assert airflow("check-migrations", "--migration-wait-timeout", "1").returncode == 0

    with airflow_engine().begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM {VERSION_TABLE}")
    assert airflow("check-migrations", "--migration-wait-timeout", "1").returncode != 0

    dropped = airflow("reset", "--yes", "--skip-init")
    assert dropped.returncode == 0, dropped.stderr
    assert our_tables() == set()
    reset = airflow("reset", "--yes")
    assert reset.returncode == 0, reset.stderr
    assert our_tables() == TABLES
    assert run(["--check"]) == 0
