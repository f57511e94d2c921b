"""Everything on one machine: migrate, serve, and parse a folder of DAG files through the gateway, on SQLite.

The gateway and the processor are processes of their own, as in a deployment: the processor has a home and a
configuration without the gateway's keys and database (see :mod:`.standalone_home`). Both run as the same user here, so
hostile DAG code could still read what this user can; ``docs/security.md`` says what a deployment does about that.

This is the one module of the gateway's side that uses the client: it puts both sides together.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from getpass import getuser
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import NoReturn

import httpx
from rich.console import Console
from rich.markup import escape

from ..client.counts import Counts
from ..client.parse_summary import ParseSummary, SummaryUnavailable, read_summary
from ..client.progress_bar import ProgressBar
from .login_link import login_url
from .standalone_home import BUNDLE_NAME, StandaloneHome
from .standalone_report import print_files, totals

_START_TIMEOUT = 60.0
_STOP_TIMEOUT = 45.0
_LOG_TAIL = 30
"""Lines of a process' log that are shown when it ended unasked."""


class StandaloneError(Exception):
    """Something that cannot go on; the message is for the person at the terminal."""


def run(argv: Sequence[str]) -> int:
    arguments = parser().parse_args(argv)
    # With --json, standard output carries the summary alone.
    console = Console(stderr=arguments.json, highlight=False, soft_wrap=True)
    if not arguments.dags.is_dir():
        print(f"parsegate standalone: there is no folder {arguments.dags}.", file=sys.stderr)
        return 2
    home = StandaloneHome(
        path=Path(os.path.expandvars(os.environ.get("AIRFLOW_HOME", "~/airflow"))).expanduser().absolute(),
        dags=arguments.dags.resolve(),
        load_examples=arguments.dags == _example_dags(),
        inherited=dict(os.environ),
    )
    # A supervisor's SIGTERM ends it like Ctrl-C, which works in the background of a script too.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    try:
        return Standalone(home, arguments.port, console).run(once=arguments.once, as_json=arguments.json)
    except KeyboardInterrupt:
        console.print("Stopped." if not arguments.once else "Interrupted before the pass was over.")
        return 130 if arguments.once else 0
    except (StandaloneError, SummaryUnavailable) as error:
        print(f"parsegate standalone: {error}", file=sys.stderr)
        return 1


class Standalone:
    """One run of the command."""

    def __init__(self, home: StandaloneHome, port: int, console: Console) -> None:
        self.home = home
        self.origin = f"http://127.0.0.1:{port}"
        self.url = f"{self.origin}/graphql"
        self.port = port
        self.console = console

    def run(self, *, once: bool, as_json: bool) -> int:
        """The exit code: 0 if the result of every file was stored, or the person ended it."""
        home = self.home
        self._require_free_port()
        home.make_directories()
        self._say(f"AIRFLOW_HOME is {home.path}; the DAG files are in {home.dags}.")
        # Airflow's own command writes airflow.cfg, with keys, where there is none, and finds parsegate's tables too.
        self._command("Migrating the database", sys.executable, "-m", "airflow", "db", "migrate")
        self._command(
            "Minting a token for the processor",
            *(
                *_PARSEGATE,
                "token",
                "processor",
                "--bundles",
                BUNDLE_NAME,
                *_LIFETIME,
                "--out",
                str(home.processor_token),
            ),
        )
        self._command(
            "Minting a token for you",
            *(*_PARSEGATE, "token", "operator", "--allow", _EVERYTHING, *_LIFETIME, "--out", str(home.operator_token)),
        )
        home.write_processor_configuration(self.url)
        # This process is about to import Airflow, too, which must not meet a database that the caller's variables name.
        environment = home.trusted_environment()
        os.environ.clear()
        os.environ.update(environment)
        self._say(f"Starting the gateway at {self.url}")
        with self._process("serve", ["--port", str(self.port)], environment) as gateway:
            self._await_ready(gateway)
            self._say(
                f"Parsing in processes that know no database and no key; here they run as the same user, {getuser()}, "
                "which is no boundary against hostile code (docs/security.md)."
            )
            since, started = datetime.now(UTC), time.monotonic()
            options = ["--bundle-name", BUNDLE_NAME, *(["--num-runs", "1"] if once else [])]
            with self._process("dag-processor", options, home.processor_environment()) as processor:
                files = home.dag_files()
                summary = self._follow(processor, gateway, files, since, once=once)
                seconds = time.monotonic() - started
                unstored = files - {file.path for file in summary.files if file.is_stored}
                if not once:
                    print_files(self.console, summary, sorted(unstored), seconds)
                    self._stay_up(processor, gateway)
        print_files(self.console, summary, sorted(unstored), seconds)
        if processor.returncode != 0:
            raise StandaloneError(self._ended(processor, "dag-processor"))
        if as_json:
            print(json.dumps(totals([BUNDLE_NAME], files, summary, seconds)), flush=True)
        return 1 if unstored else 0

    def _require_free_port(self) -> None:
        """Another gateway that answers at the port would be taken for ours, and be given the tokens."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError as error:
                raise StandaloneError(
                    f"Port {self.port} can't be used ({error.strerror}); choose another with --port."
                ) from error

    def _follow(
        self,
        processor: subprocess.Popen[bytes],
        gateway: subprocess.Popen[bytes],
        files: set[str],
        since: datetime,
        *,
        once: bool,
    ) -> ParseSummary:
        """Show progress until the pass is over: the processor has ended or, if it is to go on, no file is missing."""
        with ProgressBar(Console(stderr=True)) as bar:
            while True:
                ended = processor.poll() is not None
                if gateway.poll() is not None:
                    raise StandaloneError(self._ended(gateway, "serve"))
                summary = read_summary(self.url, self.home.operator_token, BUNDLE_NAME, since=since)
                bar.show(_counts(files, summary))
                if ended and not once:
                    raise StandaloneError(self._ended(processor, "dag-processor"))
                if ended or (not once and files <= {file.path for file in summary.files}):
                    return summary
                time.sleep(0.3)

    def _stay_up(self, processor: subprocess.Popen[bytes], gateway: subprocess.Popen[bytes]) -> NoReturn:
        """Until one of the processes ends, or the person interrupts."""
        home = escape(str(self.home.path))
        self.console.print(
            f"\nLog in:    {self._login_link()}\n"
            "           once, within ten minutes; for another link:\n"
            f"           AIRFLOW_HOME={home} parsegate token operator --login-url {self.origin}\n"
            f"Status:    {self.origin}/\n"
            f"GraphiQL:  {self.url}\n"
            f"Token:     {escape(str(self.home.operator_token))} (for programs)\n"
            f"Logs:      {escape(str(self.home.logs))}\n"
            "The files are parsed again as they change. Press Ctrl-C to stop."
        )
        while True:
            for process, command in ((processor, "dag-processor"), (gateway, "serve")):
                if process.poll() is not None:
                    raise StandaloneError(self._ended(process, command))
            time.sleep(0.5)

    def _login_link(self) -> str:
        # Not before the migration: importing Airflow writes airflow.cfg where there is none.
        from ..resolvers.principal import ALL_BUNDLES, Permission, Principal, TokenKind
        from .tokens import TokenMinter

        operator = Principal(
            kind=TokenKind.OPERATOR,
            subject=f"operator:{getuser()}",
            bundles=frozenset({ALL_BUNDLES}),
            permissions=frozenset(Permission),
        )
        return login_url(self.origin, TokenMinter().mint_login_code(operator, _LIFETIME_SECONDS)[0])

    def _command(self, doing: str, *arguments: str) -> None:
        """Run a command of the trusted side to its end."""
        self._say(doing)
        done = subprocess.run(
            arguments,
            env=self.home.trusted_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            umask=_UMASK,
        )
        if done.returncode != 0:
            raise StandaloneError(f"{doing} failed:\n{done.stdout}")

    @contextmanager
    def _process(
        self, command: str, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> Generator[subprocess.Popen[bytes]]:
        """A command that runs beside this one, its output in a log; stopped in the end if it still runs."""
        with self._log_path(command).open("wb") as log:
            process = subprocess.Popen(
                [*_PARSEGATE, command, *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for this process alone: it stops the processor first, then the gateway it reports to.
                start_new_session=True,
                umask=_UMASK,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                self._say(f"Stopping {command}")
                process.terminate()
                try:
                    process.wait(_STOP_TIMEOUT)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _await_ready(self, gateway: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while True:
            if gateway.poll() is not None or time.monotonic() > deadline:
                raise StandaloneError(self._ended(gateway, "serve"))
            try:
                if httpx.get(f"{self.origin}/ready", trust_env=False).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)

    def _ended(self, process: subprocess.Popen[bytes], command: str) -> str:
        code = process.poll()
        what = "did not become ready" if code is None else f"ended with exit code {code}"
        path = self._log_path(command)
        tail = "\n".join(path.read_text(errors="replace").splitlines()[-_LOG_TAIL:])
        return f"`parsegate {command}` {what}. The end of {path}:\n{tail}"

    def _log_path(self, command: str) -> Path:
        return self.home.logs / f"{command}.log"

    def _say(self, text: str) -> None:
        self.console.print(escape(text))


# The database is for its owner alone.
_UMASK = 0o077
# Long enough for somebody to leave it running; nothing here would renew the tokens.
_LIFETIME_SECONDS = 30 * 86400
_LIFETIME = ("--lifetime", str(_LIFETIME_SECONDS))
_EVERYTHING = "request-parse,manage-callbacks,stop-processors"
_PARSEGATE = (sys.executable, "-m", "parsegate.client.cli")


def _counts(files: set[str], summary: ParseSummary) -> Counts:
    parsed = sum(file.path in files for file in summary.files)
    return Counts(
        parsed=parsed,
        total=len(files),
        parses=parsed,
        errors=sum(file.import_error_count > 0 or not file.is_stored for file in summary.files),
    )


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _example_dags() -> Path:
    """Airflow's bundled example DAGs, found without importing Airflow: that would write its configuration file."""
    spec = find_spec("airflow")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(next(iter(spec.submodule_search_locations)), "example_dags")


def _port(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{port} is not between 1 and 65535")
    return port


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="parsegate standalone",
        description="Migrate, serve and parse a folder of DAG files through the gateway, on the SQLite database "
        "$AIRFLOW_HOME/airflow.db.",
    )
    parser.add_argument(
        "--dags",
        type=Path,
        default=_example_dags(),
        metavar="DIR",
        help="folder of DAG files (default: Airflow's example DAGs)",
    )
    parser.add_argument("--port", type=_port, default=8765, help="port of the gateway (default: %(default)s)")
    parser.add_argument(
        "--once", action="store_true", help="end after one pass; exit code 0 if the result of each file was stored"
    )
    parser.add_argument(
        "--json", action="store_true", help="print the totals as one JSON object on the last line of standard output"
    )
    return parser
