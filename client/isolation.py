"""What keeps secrets out of the processes that run DAG files.

The manager forks children that run user code, so whatever it holds is theirs. Three things follow: it must start
without the secrets of an Airflow deployment (:func:`visible_secrets` finds those that it could see), memory and
descriptors of manager and agent must be closed to other processes of the same user (:func:`make_undumpable`), and the
token needs another user than the children's (:func:`drop_to`). No Airflow is imported here: the first check must come
before Airflow's own import, which runs ``_CMD`` settings and builds a database engine.
"""

from __future__ import annotations

import configparser
import ctypes
import os
import re
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

PLACEHOLDER_DATABASE = "sqlite:////nonexistent/parsegate"
"""A URL with which Airflow can be imported and that leads nowhere: it builds an engine and never connects."""

BLOCKED_DATABASE = "airflow-db-not-allowed:///"
"""What Airflow itself puts in place when it blocks the ORM in a process."""

_PR_SET_DUMPABLE = 4

_SECRETS = (
    ("core", "fernet_key", "Fernet key"),
    ("api_auth", "jwt_secret", "JWT secret"),
    ("api_auth", "jwt_private_key_path", "JWT private key"),
    ("api", "secret_key", "secret key of the API server"),
    ("webserver", "secret_key", "secret key of the API server"),
    ("database", "sql_alchemy_conn", "database URL"),
    ("database", "sql_alchemy_conn_async", "database URL"),
    ("core", "sql_alchemy_conn", "database URL"),
    ("celery", "result_backend", "database URL"),
)


def prepare_environment(environ: MutableMapping[str, str]) -> None:
    """Let Airflow be imported without a database and without keys of its own making.

    Airflow crashes on an empty database URL, derives one in its home when there is none, and writes an ``airflow.cfg``
    with a fresh Fernet key and JWT secret when its home has none (``airflow/configuration.py:
    write_default_airflow_configuration_if_needed``). A missing file is therefore read as an empty one.
    """
    if not config_path(environ).exists():
        environ["AIRFLOW_CONFIG"] = os.devnull
    if not any(setting.is_database_url for setting in _configured(environ)):
        environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = PLACEHOLDER_DATABASE


def config_path(environ: Mapping[str, str]) -> Path:
    """Where Airflow reads its configuration file."""
    configured = environ.get("AIRFLOW_CONFIG")
    return Path(os.path.expandvars(configured)).expanduser() if configured else airflow_home(environ) / "airflow.cfg"


def airflow_home(environ: Mapping[str, str]) -> Path:
    return Path(os.path.expandvars(environ.get("AIRFLOW_HOME", "~/airflow"))).expanduser()


def visible_secrets(environ: Mapping[str, str], *, judge_files: bool = True) -> list[str]:
    """A sentence for each secret of the deployment that this process could see; it must not start when there is one.

    :param judge_files: whether files count that this process can read (a private key, an SQLite database); not before
        :func:`drop_to`, since root reads everything
    """
    settings = list(_configured(environ))
    found = [finding for setting in settings if (finding := setting.finding(judge_files))]
    default = airflow_home(environ) / "airflow.db"
    undecided = all(setting.value == PLACEHOLDER_DATABASE for setting in settings if setting.is_database_url)
    if judge_files and undecided and os.access(default, os.R_OK):
        found.append(f"The database {default} can be read: Airflow uses it when no database URL is set.")
    return found


class _Setting(NamedTuple):
    section: str
    key: str
    what: str
    value: str
    where: str
    indirect: bool
    """It is a ``_CMD`` or ``_SECRET`` setting: a way to the value, which is not tried."""

    @property
    def is_database_url(self) -> bool:
        return self.key.startswith("sql_alchemy_conn")

    def finding(self, judge_files: bool) -> str | None:
        if self.indirect:
            return f"A {self.what} can be had through {self.where}."
        if self.key == "jwt_private_key_path":
            readable = not judge_files or os.access(os.path.expandvars(self.value), os.R_OK)
            return f"The {self.what} that {self.where} names can be read." if readable else None
        if self.what == "database URL" and not _usable_database(self.value, judge_files):
            return None
        return f"A {self.what} is in {self.where}."


def _usable_database(url: str, judge_files: bool) -> bool:
    if url in (PLACEHOLDER_DATABASE, BLOCKED_DATABASE):
        return False
    parts = urlsplit(url.removeprefix("db+"))
    if not re.match(r"[a-z0-9+]+$", parts.scheme):
        return False
    if parts.scheme.startswith("sqlite"):
        path = unquote(parts.path).removeprefix("/")
        return judge_files and bool(path) and os.access(path, os.R_OK)
    # A Celery result backend may be Redis, which is no metadata database.
    return not parts.scheme.startswith(("redis", "rpc", "amqp", "cache"))


def _configured(environ: Mapping[str, str]) -> Iterator[_Setting]:
    """Every secret that is set to something, in the environment or the configuration file, team overrides included."""
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    path = config_path(environ)
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError):
        # Airflow fails on the same file with a message of its own.
        parser = configparser.RawConfigParser()
    for section, key, what in _SECRETS:
        name = f"{section}__{key}".upper()
        pattern = re.compile(rf"AIRFLOW__(?:.+___)?{name}(_CMD|_SECRET)?$")
        for variable, value in environ.items():
            if value and (match := pattern.match(variable.upper())):
                yield _Setting(section, key, what, value, variable, bool(match[1]))
        for candidate in parser.sections():
            # A team's section is named "<team>=<section>".
            if candidate.lower().rpartition("=")[2] != section:
                continue
            for option in (key, f"{key}_cmd", f"{key}_secret"):
                if value := parser.get(candidate, option, fallback=None):
                    yield _Setting(section, key, what, value, f"{path} [{candidate}] {option}", option != key)


def make_undumpable() -> None:
    """Close this process' memory, environment and descriptors to other processes of its user; children inherit it.

    :raises OSError: the kernel refused
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(PR_SET_DUMPABLE): {os.strerror(number)}")


def drop_to(user_name: str, uid: int, gid: int) -> None:
    """Become another user for good, with that user's groups.

    :raises PermissionError: this process may not (it was not started as root)
    """
    os.initgroups(user_name, gid)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
