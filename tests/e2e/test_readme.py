"""The program that the README shows does what the README says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import dag_files
import pytest
from running_gateway import RunningGateway
from running_processor import local_bundle, processor_of

pytestmark = pytest.mark.any_database

README = Path(__file__).parent.parent.parent / "README.md"


def test_the_readmes_program_reports_broken_files(gateway: RunningGateway, home: Path, tmp_path: Path) -> None:
    dag_files.write(home / "dags", daily=dag_files.DAILY.format(dag_id="daily"), broken=dag_files.BROKEN)
    with processor_of(gateway, home, [local_bundle("team", home / "dags")]) as processor:
        processor.run_once()
    [program] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (tmp_path / "report.py").write_text(program)
    (tmp_path / "token").write_text(gateway.operator_token())

    run = subprocess.run(
        [sys.executable, str(tmp_path / "report.py"), gateway.url, str(tmp_path / "token")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )

    assert run.stdout == "team/broken.py: 1 import errors\n1 DAGs\n", run.stderr
