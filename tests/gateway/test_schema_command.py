"""``parsegate schema``: the contract as a client's tooling reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from graphql import build_schema

from parsegate.gateway.schema_command import run


def test_it_prints_or_writes_the_same_contract(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    printed = capsys.readouterr().out
    assert run(["--out", str(tmp_path / "schema.graphql")]) == 0
    assert (tmp_path / "schema.graphql").read_text() == printed
    assert capsys.readouterr().out == ""
    assert build_schema(printed).query_type is not None
