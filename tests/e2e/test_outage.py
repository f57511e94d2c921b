"""The gateway goes away and comes back: nothing is lost, and nothing is stored that only the outage caused."""

from __future__ import annotations

import time
from pathlib import Path

import dag_files
import pytest
from running_gateway import RunningGateway
from running_processor import QUICK, local_bundle, processor_of
from stored_rows import active_dags, import_errors, ledger, stale_dags

pytestmark = pytest.mark.any_database

OUTAGE = 60.0
"""Seconds; many times each interval and threshold of the processor, and longer than a read is tried."""


@pytest.mark.slow
def test_an_outage_of_a_minute_leaves_nothing_behind(gateway: RunningGateway, home: Path) -> None:
    from airflow.models.connection import Connection
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(Connection(conn_id="warehouse", conn_type="postgres", host="h", login="l", password="p", port=1))
        Variable.set("customer", "acme", session=session)
    dags = home / "dags"
    dag_files.write(
        dags,
        daily=dag_files.DAILY.format(dag_id="daily"),
        reads_secrets=dag_files.READS_SECRETS,
        broken=dag_files.BROKEN,
        removed=dag_files.DAILY.format(dag_id="removed"),
    )
    stored = {"daily", "for_acme", "removed"}
    with processor_of(gateway, home, [local_bundle("dags", dags)], settings=QUICK) as processor:
        processor.start()
        processor.until(
            lambda: active_dags().keys() == stored and "broken.py" in import_errors(), "all is stored", timeout=60
        )

        before = len(processor.log)
        gateway.stop()
        time.sleep(OUTAGE / 2)
        dag_files.write(
            dags, broken=dag_files.DAILY.format(dag_id="repaired"), added=dag_files.DAILY.format(dag_id="added")
        )
        (dags / "removed.py").unlink()
        time.sleep(OUTAGE / 2)
        assert processor.is_running
        while_away = ledger()
        gateway.start()

        # What happens first must not be staleness either, so the state is watched all along.
        seen: list[tuple[set[str], set[str]]] = []

        def settled() -> bool:
            seen.append((stale_dags(), set(import_errors())))
            files = ledger()
            return active_dags().keys() == {"daily", "for_acme", "repaired", "added"} and all(
                name in files
                and (name not in while_away or files[name].last_parsed_at > while_away[name].last_parsed_at)
                for name in ("dags/daily.py", "dags/reads_secrets.py", "dags/broken.py", "dags/added.py")
            )

        processor.until(settled, "the state is that of the files", timeout=60)
        time.sleep(3)
        settled()

        assert set().union(*(stale for stale, _ in seen)) <= {"removed"}
        assert set().union(*(errors for _, errors in seen)) <= {"broken.py"}
        assert stale_dags() == {"removed"}
        assert import_errors() == {}
        told = [line for line in processor.log[before:].splitlines() if gateway.url in line]
        assert len([line for line in told if "fails" in line]) == 1, told
        assert len([line for line in told if "works again" in line]) == 1, told
