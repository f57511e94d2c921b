"""``parsegate status --local``: whether this processor is well.

It is the probe for the processor's own container: it reads the file that the agent writes after each poll, needs no
database, no gateway and no token, and exits 0 if the gateway acknowledged a heartbeat within ``[dag_processor]
health_check_threshold`` and the manager's loop turns, else 1 with the reason.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from . import isolation, settings


class AgentStatus(msgspec.Struct, kw_only=True, forbid_unknown_fields=False):
    """What the agent last knew. Times are UTC."""

    pid: int
    written_at: datetime
    health_check_threshold: float
    """Seconds."""
    job_id: int | None = None
    registered_at: datetime | None = None
    last_tick_at: datetime | None = None
    last_heartbeat_at: datetime | None = None
    """When the gateway last acknowledged a heartbeat, on this machine's clock."""
    waiting: int = 0
    """Entries that the gateway has not taken yet."""
    last_error: str | None = None
    """Why the gateway can't be used at present."""
    stopped: str | None = None
    """Why the processor was told to stop."""


def write_status(path: str, status: AgentStatus) -> None:
    """Replace the file in one step, so a reader sees the old or the new one; readable by any user.

    :raises OSError: it can't be written
    """
    target = Path(path)
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(msgspec.json.encode(status))
            os.fchmod(file.fileno(), 0o644)
        os.replace(name, target)
    except OSError:
        os.unlink(name)
        raise


def ailment(status: AgentStatus, now: datetime) -> str | None:
    """Why the processor is not well; None if it is."""
    threshold = status.health_check_threshold
    if status.stopped:
        return f"The processor was told to stop: {status.stopped}"
    reason = f" The gateway can't be used: {status.last_error}." if status.last_error else ""
    if status.registered_at is None:
        return f"The processor is not registered with the gateway yet.{reason}"
    if status.last_tick_at is None:
        return "The processor's loop has not turned yet."
    age = (now - status.last_tick_at).total_seconds()
    if age > threshold:
        return f"The processor's loop has not turned for {age:.0f} s (threshold {threshold:g} s)."
    if status.last_heartbeat_at is None:
        return f"No heartbeat has been acknowledged yet.{reason}"
    age = (now - status.last_heartbeat_at).total_seconds()
    if age > threshold:
        return f"No heartbeat has been acknowledged for {age:.0f} s (threshold {threshold:g} s).{reason}"
    return None


def check(path: str, now: datetime | None = None) -> tuple[bool, str]:
    """Whether the processor whose agent writes ``path`` is well, and a sentence for a person."""
    now = now or datetime.now(UTC)
    try:
        status = msgspec.json.decode(Path(path).read_bytes(), type=AgentStatus)
    except FileNotFoundError:
        return False, f"There is no status file {path}: no agent runs, or it writes another file."
    except OSError as error:
        return False, f"The status file {path} can't be read: {error.strerror}."
    except msgspec.DecodeError as error:
        return False, f"The status file {path} is not an agent's: {error}."
    if (reason := ailment(status, now)) is not None:
        return False, reason
    assert status.last_heartbeat_at is not None
    age = (now - status.last_heartbeat_at).total_seconds()
    return True, f"Job {status.job_id}: last heartbeat {age:.0f} s ago, {status.waiting} waiting to be delivered."


def default_status_path(environ: Mapping[str, str]) -> Path:
    """Where the agent keeps its status when ``[parsegate] status_path`` is not set."""
    return isolation.airflow_home(environ) / "parsegate-status.json"


def add_probe_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("probe of this container")
    group.add_argument(
        "--local",
        action="store_true",
        help="ask the processor of this container, through the file that its agent writes; no gateway is needed",
    )
    group.add_argument(
        "--file",
        metavar="FILE",
        help="that file, instead of [parsegate] status_path; spares the import of Airflow, which takes long",
    )


def run(argv: Sequence[str]) -> int:
    """``parsegate status --local``: exit code 0 if the processor is well, 1 if not, 2 if that can't be told."""
    parser = argparse.ArgumentParser(prog="parsegate status", description="Tell whether the DAG processor is well.")
    add_probe_options(parser)
    options = parser.parse_args(argv)
    try:
        well, sentence = check(options.file or str(_configured_path()))
    except settings.SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    print(sentence, file=sys.stdout if well else sys.stderr)
    return 0 if well else 1


def _configured_path() -> Path:
    isolation.prepare_environment(os.environ)
    from airflow.configuration import conf

    return settings.read_processor_settings(conf).status_path or default_status_path(os.environ)
