"""DAG files that tests write to disk: each constant is the text of one file."""

from __future__ import annotations

import zipfile
from pathlib import Path

DAILY = """
import pendulum
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG(
    "{dag_id}",
    schedule="@daily",
    start_date=pendulum.datetime(2024, 1, 1, tz="UTC"),
    catchup=True,
    tags=["e2e", "daily"],
    description="Every day",
    max_active_runs=3,
    default_args={{"owner": "e2e"}},
):
    EmptyOperator(task_id="first") >> EmptyOperator(task_id="second")
"""
"""Format with ``dag_id``. Its next run depends on no clock: it catches up from the start date."""

ASSETS = """
import pendulum
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset

orders = Asset("orders", uri="file://orders/", group="shop", extra={"kind": "table"})
start_date = pendulum.datetime(2024, 1, 1, tz="UTC")
with DAG("makes_orders", schedule=None, start_date=start_date):
    EmptyOperator(task_id="make", outlets=[orders])
with DAG("reads_orders", schedule=[orders], start_date=start_date):
    EmptyOperator(task_id="read", inlets=[orders])
"""

BROKEN = """
from airflow.sdk import DAG

raise RuntimeError("the DAG file raises this")
"""

READS_SECRETS = """
import pendulum
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, BaseHook, Variable

connection = BaseHook.get_connection("warehouse")
missing = Variable.get("no_such_variable", default="absent")

with DAG(
    f"for_{Variable.get('customer')}",
    schedule=None,
    start_date=pendulum.datetime(2024, 1, 1, tz="UTC"),
    description=f"{connection.conn_type}://{connection.login}:{len(connection.password)}@{connection.host}:{connection.port}",
    tags=[missing],
):
    EmptyOperator(task_id="only")
"""
"""Its DAG is named by the variable ``customer``; the connection ``warehouse`` shows in its description."""

WARNS = """
from datetime import datetime

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG("varies", schedule=None, start_date=datetime.now().replace(2024, 1, 1, 0, 0, 0, 0)):
    EmptyOperator(task_id="only")
"""
"""Warned about as varying with the time of the parse, though it does not."""

CALLBACKS = """
import json
import os
import pathlib
import signal

import pendulum
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

reports = pathlib.Path({reports!r})


def report(name):
    def callback(context):
        ti = context.get("ti")
        run = context.get("dag_run")
        seen = {{
            "pid": os.getpid(),
            "dag_id": context["dag"].dag_id,
            "reason": context.get("reason"),
            "run_id": context.get("run_id"),
            "run_type": getattr(run, "run_type", None),
            "conf": getattr(run, "conf", None),
            "task_id": getattr(ti, "task_id", None),
            "try_number": getattr(ti, "try_number", None),
        }}
        (reports / f"{{name}}.json").write_text(json.dumps(seen))

    return callback


def raises(context):
    (reports / "raises.json").write_text("{{}}")
    raise RuntimeError("the callback raises this")


def dies(context):
    with (reports / "dies").open("a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGKILL)


start_date = pendulum.datetime(2024, 1, 1, tz="UTC")
with DAG(
    "reporting",
    schedule=None,
    start_date=start_date,
    on_failure_callback=report("dag"),
    on_success_callback=report("dag_success"),
):
    EmptyOperator(task_id="work", retries=1, on_failure_callback=report("failure"), on_retry_callback=report("retry"))
with DAG("raising", schedule=None, start_date=start_date, on_failure_callback=raises):
    EmptyOperator(task_id="work")
with DAG("dying", schedule=None, start_date=start_date, on_failure_callback=dies):
    EmptyOperator(task_id="work")
"""
"""Format with ``reports``, a directory in which callbacks leave what they saw."""

EMPTY = "# A file of which the name alone says dag and airflow.\n"


def write(directory: Path, **texts: str) -> None:
    """Write each text to ``<name>.py`` in ``directory``, readable by every user.

    In one step, since a processor that happens to parse half a file would rightly store what that half says.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        path = directory / f".{name}.part"
        path.write_text(text)
        path.chmod(0o644)
        path.replace(directory / f"{name}.py")


def write_zip(path: Path, **texts: str) -> None:
    """Write a zip of DAG files, readable by every user."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in texts.items():
            archive.writestr(f"{name}.py", text)
    path.chmod(0o644)
