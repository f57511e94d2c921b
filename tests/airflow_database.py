"""Real metadata databases of Airflow for tests: migrated once, then copied for each test that wants one.

Importing this module gives the process an ``AIRFLOW_HOME`` of its own, so it must be imported before Airflow is (the
conftest does). Until a database is in use Airflow's URL names a file that cannot be opened: a test that touches the
database without asking for one fails.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from postgres_server import PostgresServer

DatabaseKind = Literal["sqlite", "postgresql"]

AIRFLOW, OLDEST_AIRFLOW = version("apache-airflow-core"), "3.3.0"

URL_VARIABLE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
ASYNC_URL_VARIABLE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"


def _set_up_airflow_home() -> Path:
    home = Path(tempfile.mkdtemp(prefix="parsegate-airflow-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
        del os.environ[name]
    os.environ.update(
        {
            "AIRFLOW_HOME": str(home),
            URL_VARIABLE: f"sqlite:///{home}/no-database-in-use/airflow.db",
            # Airflow would derive an asyncpg URL, which cannot name a Unix socket the way psycopg2 does.
            ASYNC_URL_VARIABLE: "",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__FERNET_KEY": "qxkTC8dNSqQ9zSnLkT9fGnLXkMmlnIZZFy4c9m3nUr0=",
            "AIRFLOW__API_AUTH__JWT_SECRET": "a secret for tests, as long as SHA-512 wants its keys to be: 64.",
        }
    )
    return home


AIRFLOW_HOME = _set_up_airflow_home()


def configured_kind() -> DatabaseKind:
    """The kind of database that this run tests, from ``PARSEGATE_TEST_DATABASE``."""
    kind = os.environ.get("PARSEGATE_TEST_DATABASE", "sqlite")
    if kind not in ("sqlite", "postgresql"):
        raise ValueError(f"PARSEGATE_TEST_DATABASE is {kind!r}; it must be sqlite or postgresql.")
    return cast("DatabaseKind", kind)


@dataclass(frozen=True)
class AirflowDatabase:
    """A migrated database.

    :param kind: its kind, SQLAlchemy's dialect name
    :param name: names it on the server, or its file without the suffix
    :param url: as ``[database] sql_alchemy_conn`` takes it
    :param path: the database file; None on PostgreSQL
    :param server: the PostgreSQL server; None on SQLite
    """

    kind: DatabaseKind
    name: str
    url: str
    path: Path | None = None
    server: PostgresServer | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Variables that make another process use this database."""
        return {URL_VARIABLE: self.url, ASYNC_URL_VARIABLE: ""}

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Airflow's engine and sessions of this process, and the environment of its children, use this database."""
        from airflow import settings

        previous = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        settings.dispose_orm()
        settings.configure_vars()
        settings.configure_orm()
        settings.configure_adapters()
        if self.kind == "sqlite":
            _never_wait_for_the_disk()
        _reuse_compiled_statements(self.kind)
        try:
            yield
        finally:
            settings.dispose_orm()
            for name, value in previous.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
            settings.configure_vars()
            settings.configure_orm()


def _never_wait_for_the_disk() -> None:
    """No test survives a power cut. PostgreSQL is told the same where it is started."""
    from airflow import settings
    from sqlalchemy import event

    @event.listens_for(settings.engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")


_COMPILED: dict[DatabaseKind, tuple[Any, Any]] = {}
"""By kind, a dialect and the statements that were compiled for it."""


def _reuse_compiled_statements(kind: DatabaseKind) -> None:
    """Let Airflow's new engine use what its predecessors compiled, for databases that differ in nothing but content.

    Compiling takes longer than executing, and each test has an engine of its own. A compiled statement belongs to one
    dialect object, so that goes along.
    """
    from airflow import settings
    from sqlalchemy.util import LRUCache

    engine: Any = settings.engine
    if kind not in _COMPILED:
        with engine.connect():
            """The first connection tells the dialect what it speaks to."""
        _COMPILED[kind] = engine.dialect, LRUCache(5000)
    engine.dialect, engine._compiled_cache = _COMPILED[kind]


class AirflowDatabases:
    """Makes databases by copying a template that Airflow migrated."""

    def __init__(self, kind: DatabaseKind) -> None:
        self.kind: DatabaseKind = kind
        self._numbers = count()
        self._template: AirflowDatabase | None = None
        self._directory = AIRFLOW_HOME / "databases"
        self._directory.mkdir(exist_ok=True)
        self.server: PostgresServer | None = None
        if kind == "postgresql":
            from postgres_server import PostgresServer

            self.server = PostgresServer()

    def create(self) -> AirflowDatabase:
        """A fresh, migrated database."""
        if self._template is None:
            self._template = self._migrated_template()
        name = f"airflow_{next(self._numbers)}"
        if self.server is not None:
            self.server.execute(f"CREATE DATABASE {name} TEMPLATE template_airflow STRATEGY FILE_COPY")
            return AirflowDatabase("postgresql", name, self.server.url(name), server=self.server)
        path = self._directory / f"{name}.db"
        assert self._template.path is not None
        shutil.copyfile(self._template.path, path)
        return AirflowDatabase("sqlite", name, f"sqlite:///{path}", path=path)

    def create_empty(self) -> AirflowDatabase:
        """A database without a single table."""
        return self._empty(f"empty_{next(self._numbers)}")

    def drop(self, database: AirflowDatabase) -> None:
        """Remove a database that is no longer wanted; connections that are still open are ended."""
        if database.path is not None:
            for file in database.path.parent.glob(f"{database.path.name}*"):
                file.unlink()
        elif self.server is not None:
            self.server.execute(f"DROP DATABASE {database.name} WITH (FORCE)")

    def close(self) -> None:
        if self.server is not None:
            self.server.stop()

    def _empty(self, name: str) -> AirflowDatabase:
        if self.server is not None:
            self.server.execute(f"CREATE DATABASE {name}")
            return AirflowDatabase("postgresql", name, self.server.url(name), server=self.server)
        path = self._directory / f"{name}.db"
        return AirflowDatabase("sqlite", name, f"sqlite:///{path}", path=path)

    def _migrated_template(self) -> AirflowDatabase:
        from airflow.utils.db import upgradedb

        template = self._empty("template_airflow")
        with template.in_use():
            upgradedb()
        return template
