"""Operators request parses: Airflow's own rows, with a permission, told by Airflow's audit log."""

from __future__ import annotations

import json
from typing import Any

import pytest
from gateway_app import Gateway
from parse_state_rows import add_bundle, add_files, file_row
from registered_processor import RegisteredProcessor
from scheduler_work import leave_parse_requests, left_parse_requests
from stored_rows import audit_log

from parsegate.client.generated.operations import REQUEST_PARSE_GQL

REFUSED = {"fileCount": 0, "newCount": 0, "requestedAt": None}


def request(
    gateway: Gateway,
    bundle: str = "dags",
    paths: list[str] | None = None,
    *,
    bundles: tuple[str, ...] = ("*",),
    allow: tuple[str, ...] = ("request-parse",),
) -> dict[str, Any]:
    token = gateway.operator_token(bundles, "operator:jane", allow=allow)
    return gateway.data(REQUEST_PARSE_GQL, {"bundle": bundle, "relativeFilelocs": paths}, token=token)["requestParse"]


@pytest.fixture
def files(gateway: Gateway) -> None:
    add_bundle("dags")
    add_bundle("gone", active=False)
    add_files(*(file_row(path) for path in ("a.py", "b.py", "sub/c.zip")), file_row("a.py", "gone"))


@pytest.mark.usefixtures("files")
def test_a_requested_file_is_what_airflow_s_own_route_leaves_and_is_not_requested_twice(gateway: Gateway) -> None:
    leave_parse_requests("a.py")

    first = request(gateway, paths=["b.py", "a.py", "b.py"])
    again = request(gateway, paths=["a.py", "b.py"])

    assert (first["status"], first["fileCount"], first["newCount"]) == ("ACCEPTED", 2, 1)
    assert (again["status"], again["fileCount"], again["newCount"]) == ("ACCEPTED", 2, 0)
    assert first["requestedAt"] < again["requestedAt"]
    assert left_parse_requests() == ["a.py", "b.py"]
    processor = RegisteredProcessor(gateway)
    leases = processor.send("ClaimParseRequests", input={"claimId": "one", "limit": 9})["leases"]
    assert sorted(lease["relativeFileloc"] for lease in leases) == ["a.py", "b.py"]
    # Somebody who asks while a parse may be running wants another one.
    assert request(gateway, paths=["a.py"])["newCount"] == 1


@pytest.mark.usefixtures("files")
def test_a_whole_bundle_is_requested_and_the_audit_log_says_by_whom(gateway: Gateway) -> None:
    assert request(gateway)["newCount"] == 3
    assert request(gateway, paths=["a.py"])["newCount"] == 0

    assert left_parse_requests() == ["a.py", "b.py", "sub/c.zip"]
    (entry,) = audit_log()
    assert (entry.event, entry.owner, entry.owner_display_name) == (
        "parsegate.request_parse",
        "operator:jane",
        "operator:jane",
    )
    assert json.loads(entry.extra) == {
        "bundle": "dags",
        "relative_filelocs": None,
        "file_count": 3,
        "new_count": 3,
    }


@pytest.mark.usefixtures("files")
def test_what_is_refused_changes_nothing(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    from parsegate.resolvers import requested_parses

    refused = {
        "NOT_PERMITTED": request(gateway, allow=("manage-callbacks", "stop-processors")),
        "BUNDLE_NOT_GRANTED": request(gateway, bundles=("other",)),
        "NOT_FOUND": request(gateway, paths=["a.py", "../a.py"]),
        "BUNDLE_INACTIVE": request(gateway, "gone"),
        "INVALID_ARGUMENT": request(gateway, paths=[]),
    }

    assert {payload["reason"] for payload in refused.values()} == set(refused)
    for reason, payload in refused.items():
        assert payload == {"status": "REFUSED", "reason": reason, "message": payload["message"], **REFUSED}
    assert "--allow request-parse" in refused["NOT_PERMITTED"]["message"]
    assert "../a.py" in refused["NOT_FOUND"]["message"]
    assert request(gateway, "nowhere")["reason"] == "NOT_FOUND"
    assert request(gateway, paths=[f"{n}.py" for n in range(1001)])["reason"] == "INVALID_ARGUMENT"
    monkeypatch.setattr(requested_parses, "MAX_FILES", 2)
    assert request(gateway)["reason"] == "INVALID_ARGUMENT"
    errors = gateway.execute(
        REQUEST_PARSE_GQL, {"bundle": "dags", "relativeFilelocs": ["a\0.py"]}, token=gateway.operator_token()
    )["errors"]
    assert errors[0]["extensions"]["code"] == "BAD_USER_INPUT"
    errors = gateway.execute(REQUEST_PARSE_GQL, {"bundle": "dags"}, token=RegisteredProcessor(gateway).token)["errors"]
    assert errors[0]["extensions"]["code"] == "FORBIDDEN"
    assert left_parse_requests() == []
    assert audit_log() == []
