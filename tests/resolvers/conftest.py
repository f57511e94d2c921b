"""What the tests of resolvers share."""

from __future__ import annotations

from pathlib import Path

import dag_files
import pytest
from gateway_app import Gateway
from parsed_files import ParsedFile, parse
from registered_processor import RegisteredProcessor


@pytest.fixture
def processor(gateway: Gateway) -> RegisteredProcessor:
    """A processor for all bundles, with the bundle ``dags`` synchronised."""
    processor = RegisteredProcessor(gateway)
    assert processor.sync("dags")["status"] == "ACCEPTED"
    return processor


@pytest.fixture(scope="session")
def daily(tmp_path_factory: pytest.TempPathFactory) -> ParsedFile:
    """``daily.py`` with the DAG ``daily``."""
    folder = tmp_path_factory.mktemp("daily")
    dag_files.write(folder, daily=dag_files.DAILY.format(dag_id="daily"))
    (file,) = parse("dags", folder)
    return file


@pytest.fixture(scope="session")
def broken(tmp_path_factory: pytest.TempPathFactory) -> ParsedFile:
    """``broken.py``, which raises when it is imported."""
    folder: Path = tmp_path_factory.mktemp("broken")
    dag_files.write(folder, broken=dag_files.BROKEN)
    (file,) = parse("dags", folder)
    return file
