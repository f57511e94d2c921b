"""What a client may send wrong: each is answered by a clear, typed error, and nothing is stored or lost."""

from __future__ import annotations

import copy
import json
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from running_gateway import RunningGateway
from stored_rows import active_dags, ledger

REGISTER = """
mutation ($input: RegisterProcessorInput!) {
  registerProcessor(input: $input) { status reason message job { jobId token } }
}
"""
SYNC = "mutation ($input: SyncBundlesInput!) { syncBundles(input: $input) { status message } }"
RECORD = """
mutation ($results: [ParseResultInput!]!) {
  recordParseResults(results: $results) { status reason message relativeFileloc dagCount }
}
"""
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def gateway_settings() -> dict[str, str]:
    # So that a token which has just expired is refused at once.
    return {"AIRFLOW__API_AUTH__JWT_LEEWAY": "0"}


@pytest.fixture(scope="module")
def token(gateway: RunningGateway, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a registered processor with one bundle, ``dags``."""
    from airflow import __version__ as airflow_version

    from parsegate.resolvers.versions import CONTRACT_VERSION

    processor_token = gateway.mint(
        "processor", tmp_path_factory.mktemp("tokens") / "token", "--bundles", "dags,undeclared"
    )
    registration = {
        "registrationId": str(uuid.uuid4()),
        "hostname": "h",
        "unixname": "u",
        "pid": 1,
        "parsegateVersion": "0.1.0",
        "airflowVersion": airflow_version,
        "contractVersion": CONTRACT_VERSION,
    }
    registered = gateway.ask(REGISTER, {"input": registration}, processor_token)["registerProcessor"]
    assert registered["status"] == "ACCEPTED", registered
    token = registered["job"]["token"]
    synced = gateway.ask(SYNC, {"input": {"bundles": [{"name": "dags", "path": "/dags"}]}}, token)["syncBundles"]
    assert synced["status"] == "ACCEPTED", synced
    return token


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """A DAG as Airflow serializes it."""
    import pendulum
    from airflow.sdk import DAG
    from airflow.serialization.serialized_objects import DagSerialization

    dag = DAG("good", schedule=None, start_date=pendulum.datetime(2024, 1, 1, tz="UTC"))
    dag.fileloc = "/dags/good.py"
    dag.relative_fileloc = "good.py"
    return DagSerialization.to_dict(dag)


def result(document: dict[str, Any] | None, file: str = "good.py", **fields: Any) -> dict[str, Any]:
    return {
        "attemptId": str(uuid.uuid4()),
        "sequence": 1,
        "bundleName": "dags",
        "bundlePath": "/dags",
        "relativeFileloc": file,
        "parseDuration": 0.1,
        "dags": [] if document is None else [{"document": document}],
        "importErrors": [],
        "warnings": [],
        "sources": [{"fileloc": f"/dags/{file}", "text": "# source"}],
        **fields,
    }


def changed(document: dict[str, Any], **fields: Any) -> dict[str, Any]:
    document = copy.deepcopy(document)
    document["dag"].update(fields)
    return document


def for_file(document: dict[str, Any], dag_id: str) -> dict[str, Any]:
    return changed(document, dag_id=dag_id, fileloc=f"/dags/{dag_id}.py", relative_fileloc=f"{dag_id}.py")


def post(gateway: RunningGateway, token: str | None, content: bytes, **headers: str) -> httpx.Response:
    if token:
        headers["Authorization"] = f"Bearer {token}"
    answer = httpx.post(
        gateway.url,
        content=content,
        headers={"Content-Type": "application/json", **headers},
        timeout=60,
        trust_env=False,
    )
    assert "Traceback" not in answer.text
    assert not re.search(r'File "/', answer.text)
    return answer


def code(answer: httpx.Response) -> str:
    """The stable code of the first error; it must be there."""
    body = answer.json()
    body = body[0] if isinstance(body, list) else body
    return body["errors"][0]["extensions"]["code"]


@pytest.fixture(autouse=True)
def nothing_stored(gateway: RunningGateway) -> Iterator[None]:
    before = set(active_dags())
    yield
    assert {dag_id for dag_id in active_dags() if not dag_id.startswith("good")} == {
        dag_id for dag_id in before if not dag_id.startswith("good")
    }


@pytest.mark.parametrize(
    "content",
    [
        b'{"query": ',
        b"[",
        b"",
        b"null",
        b"3",
        b'"text"',
        b"[]",
        b"\xff\xfe",
        b'{"query": 3}',
        b'{"query": "{ __typename }", "variables": []}',
    ],
    ids=repr,
)
def test_a_body_that_is_no_graphql_request(gateway: RunningGateway, token: str, content: bytes) -> None:
    answer = post(gateway, token, content)

    assert answer.status_code == 400
    assert code(answer) == "BAD_REQUEST"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer x.y.z", "Basic YTpi"], ids=repr)
def test_without_a_valid_token(gateway: RunningGateway, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}

    answer = post(gateway, None, b'{"query": "{ __typename }"}', **headers)

    assert answer.status_code == 401
    assert code(answer) == "UNAUTHENTICATED"
    assert "Bearer" in answer.headers["WWW-Authenticate"]


def test_with_an_expired_token(gateway: RunningGateway, tmp_path: Path) -> None:
    token = gateway.mint("operator", tmp_path / "token", "--lifetime", "1")
    time.sleep(2)

    answer = post(gateway, token, b'{"query": "{ __typename }"}')

    assert answer.status_code == 401
    assert code(answer) == "UNAUTHENTICATED"


def test_an_operator_cannot_do_what_a_processor_does(gateway: RunningGateway, document: dict[str, Any]) -> None:
    body = json.dumps({"query": RECORD, "variables": {"results": [result(document)]}}).encode()

    answer = post(gateway, gateway.operator_token(), body)

    assert code(answer) == "FORBIDDEN"


@pytest.mark.parametrize(
    "query",
    ["{ nothingOfThatName }", "{", "mutation { heartbeat { status } } query { x }", "{ connection }"],
)
def test_a_document_that_the_contract_does_not_know(gateway: RunningGateway, token: str, query: str) -> None:
    answer = post(gateway, token, json.dumps({"query": query}).encode())

    assert answer.status_code in (200, 400)
    assert code(answer) in ("GRAPHQL_VALIDATION_FAILED", "GRAPHQL_PARSE_FAILED", "BAD_REQUEST")


@pytest.mark.parametrize(
    "field",
    [
        {"sequence": "one"},
        {"sequence": 2**63},
        {"sequence": 1.5},
        {"parseDuration": "quick"},
        {"dags": 3},
        {"bundleName": None},
        {"surprise": 1},
    ],
    ids=repr,
)
def test_a_value_of_the_wrong_type(
    gateway: RunningGateway, token: str, document: dict[str, Any], field: dict[str, Any]
) -> None:
    body = json.dumps({"query": RECORD, "variables": {"results": [result(document, **field)]}}).encode()

    answer = post(gateway, token, body)

    assert answer.status_code in (200, 400)
    assert code(answer) in ("BAD_REQUEST", "GRAPHQL_VALIDATION_FAILED", "BAD_USER_INPUT")
    assert "good" not in active_dags()


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e400", str(2**63), "1" + "0" * 5000], ids=lambda text: text[:10]
)
def test_a_number_that_json_or_64_bits_do_not_hold(
    gateway: RunningGateway, token: str, document: dict[str, Any], number: str
) -> None:
    """Within a document it is that item's; the others of the request are stored."""
    bad = changed(for_file(document, "bad_number"), max_active_runs="NUMBER")
    good = for_file(document, f"good_beside_{abs(hash(number))}")
    results = [result(bad, "bad_number.py"), result(good, f"{good['dag']['dag_id']}.py")]
    body = json.dumps({"query": RECORD, "variables": {"results": results}}).replace('"NUMBER"', number).encode()

    answer = post(gateway, token, body)

    if answer.status_code == 400:
        assert code(answer) == "BAD_REQUEST"
    else:
        [refused, accepted] = answer.json()["data"]["recordParseResults"]
        assert (refused["status"], refused["reason"]) == ("REFUSED", "INVALID_DOCUMENT")
        assert accepted["status"] == "ACCEPTED"
    assert "bad_number" not in active_dags()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"bundleName": "unknown"}, "BUNDLE_NOT_GRANTED"),
        ({"bundleName": "undeclared"}, "UNKNOWN_BUNDLE"),
        ({"relativeFileloc": "../bad.py"}, "INVALID_PATH"),
        ({"relativeFileloc": "folder/../../bad.py"}, "INVALID_PATH"),
        ({"relativeFileloc": "/etc/passwd"}, "INVALID_PATH"),
        ({"relativeFileloc": "nul\0.py"}, "INVALID_PATH"),
        ({"sources": []}, "SOURCE_MISSING"),
    ],
    ids=lambda value: repr(value) if isinstance(value, dict) else value,
)
def test_a_refused_result_harms_no_other(
    gateway: RunningGateway, token: str, document: dict[str, Any], fields: dict[str, Any], reason: str
) -> None:
    good = for_file(document, f"good_{uuid.uuid4().hex}")
    file = f"{good['dag']['dag_id']}.py"
    results = [result(for_file(document, "bad"), "bad.py", **fields), result(good, file)]

    outcomes = gateway.ask(RECORD, {"results": results}, token)["recordParseResults"]

    assert [(outcome["status"], outcome["reason"]) for outcome in outcomes] == [("REFUSED", reason), ("ACCEPTED", None)]
    assert outcomes[0]["message"]
    assert good["dag"]["dag_id"] in active_dags()
    assert f"dags/{file}" in ledger()


@pytest.mark.parametrize("missing", ["dag_id", "fileloc", "relative_fileloc"])
def test_a_document_that_lacks_what_names_it(
    gateway: RunningGateway, token: str, document: dict[str, Any], missing: str
) -> None:
    bad = for_file(document, "bad")
    del bad["dag"][missing]

    [outcome] = gateway.ask(RECORD, {"results": [result(bad, "bad.py")]}, token)["recordParseResults"]

    assert (outcome["status"], outcome["reason"]) == ("REFUSED", "INVALID_DOCUMENT")
    assert missing in outcome["message"]


def test_a_body_beyond_16_mib(gateway: RunningGateway, token: str, document: dict[str, Any]) -> None:
    big = result(for_file(document, "big"), "big.py", sources=[{"fileloc": "/dags/big.py", "text": "#" * 16 * MIB}])

    answer = post(gateway, token, json.dumps({"query": RECORD, "variables": {"results": [big]}}).encode())

    assert answer.status_code == 413
    assert code(answer)
    assert "big" not in active_dags()


def test_a_body_just_below_16_mib_is_taken(gateway: RunningGateway, token: str, document: dict[str, Any]) -> None:
    good = for_file(document, "good_and_big")
    file = "good_and_big.py"
    big = result(good, file, sources=[{"fileloc": f"/dags/{file}", "text": "#" * (15 * MIB)}])

    [outcome] = gateway.ask(RECORD, {"results": [big]}, token)["recordParseResults"]

    assert outcome["status"] == "ACCEPTED"


def test_the_gateway_goes_on_afterwards(gateway: RunningGateway, token: str) -> None:
    heartbeat = gateway.ask("mutation { heartbeat { status } }", token=token)["heartbeat"]

    assert heartbeat["status"] == "ACCEPTED"
