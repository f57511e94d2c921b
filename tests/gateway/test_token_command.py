"""``parsegate token``: tokens for people and processors, in files that nobody else can read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import jwt
import pytest
from gateway_app import Gateway

from parsegate.gateway import token_command
from parsegate.gateway.token_command import run, write_privately


def claims_of(token: str) -> dict[str, object]:
    return jwt.decode(token, options={"verify_signature": False})


def test_a_processor_token_is_accepted_by_the_gateway(
    small_gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "token"
    arguments = ["processor", "--bundles", "one,two", "--bundles", "three", "--subject", "dag-processor:host-1"]
    assert run([*arguments, "--lifetime", "60", "--out", str(path)]) == 0
    token = path.read_text()
    assert token.endswith("\n")
    assert small_gateway.data("{ who }", token=token.strip()) == {
        "who": "processor dag-processor:host-1 ['one', 'three', 'two'] None"
    }
    claims = claims_of(token.strip())
    assert claims["exp"] - claims["iat"] == 60  # type: ignore[operator]
    assert token.strip() not in "".join(capsys.readouterr())


def test_an_operator_token_is_printed_alone_and_grants_all_bundles_unless_told(
    small_gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["operator", "--subject", "jane"]) == 0
    (token,) = capsys.readouterr().out.split()
    assert small_gateway.data("{ who }", token=token) == {"who": "operator jane ['*'] None"}
    assert run(["operator", "--subject", "jane", "--bundles", "dags"]) == 0
    (token,) = capsys.readouterr().out.split()
    assert small_gateway.data("{ who }", token=token) == {"who": "operator jane ['dags'] None"}


def test_an_operator_token_allows_what_it_is_told_to_and_nothing_else(
    gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    def reason(*arguments: str) -> str | None:
        assert run(["operator", *arguments]) == 0
        (token,) = capsys.readouterr().out.split()
        return gateway.data('mutation { requestParse(bundle: "x") { reason } }', token=token)["requestParse"]["reason"]

    assert reason() == "NOT_PERMITTED"
    assert reason("--allow", "manage-callbacks,stop-processors") == "NOT_PERMITTED"
    assert reason("--allow", "manage-callbacks", "--allow", "request-parse,stop-processors") == "NOT_FOUND"
    assert run(["operator", "--allow", "request-parse"]) == 0
    assert "may request-parse" in capsys.readouterr().err


def test_without_a_lifetime_the_settings_say_how_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__PARSEGATE__PROCESSOR_TOKEN_LIFETIME", "1234")
    assert run(["processor", "--bundles", "*"]) == 0
    claims = claims_of(capsys.readouterr().out.strip())
    assert claims["exp"] - claims["iat"] == 1234  # type: ignore[operator]
    assert claims["bundles"] == ["*"]
    assert str(claims["sub"]).startswith("dag-processor:")


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_only_the_owner_can_read_the_file_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "token"
    previous = os.umask(umask)
    try:
        write_privately(path, "text")
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "text"


def test_the_file_is_replaced_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    path.chmod(0o644)
    reader = path.open()
    seen: list[str] = []
    fsync = os.fsync

    def notice(descriptor: int) -> None:
        seen.append(path.read_text())
        fsync(descriptor)

    monkeypatch.setattr(token_command.os, "fsync", notice)
    write_privately(path, "new")
    assert seen == ["old"]
    assert reader.read() == "old"
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    reader.close()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    path.write_text("old")

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(token_command.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_privately(path, "new")
    assert [file.name for file in tmp_path.iterdir()] == ["token"]
    assert path.read_text() == "old"


def test_a_folder_that_is_not_there_is_told_plainly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["operator", "--out", str(tmp_path / "nowhere" / "token")]) == 1
    assert "No such file or directory" in capsys.readouterr().err


def test_a_missing_key_is_told_plainly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "")
    assert run(["operator"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "jwt_secret" in told.err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["job"],
        ["processor"],
        ["processor", "--bundles", ","],
        ["processor", "--bundles", "a", "--lifetime", "0"],
        ["processor", "--bundles", "a", "--lifetime", "nan"],
        ["processor", "--bundles", "a", "--lifetime", "long"],
        ["processor", "--bundles", "a", "--subject", " "],
        ["processor", "--bundles", "a", "--login-url", "http://gateway"],
        ["operator", "--login-url", "gateway:8765"],
        ["operator", "--login-url", "http://"],
        ["operator", "--login-url", "http://user@gateway"],
        ["processor", "--bundles", "a", "--allow", "request-parse"],
        ["operator", "--allow", "everything"],
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: list[str]) -> None:
    try:
        status = run(arguments)
    except SystemExit as exit:
        status = exit.code  # type: ignore[assignment]
    assert status == 2
