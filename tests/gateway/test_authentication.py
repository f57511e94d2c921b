"""Who may talk to ``/graphql``: the token decides, and each kind is good for its own fields alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from airflow.api_fastapi.auth.tokens import generate_private_key, key_to_jwk_dict, key_to_pem
from airflow_database import AirflowDatabase
from cryptography.hazmat.primitives.asymmetric import ec
from gateway_app import Gateway
from small_schema import small_schema

from parsegate.gateway.tokens import KeysMisconfigured, TokenMinter, TokenVerifier

pytestmark = pytest.mark.any_database

SECRET = "another secret for tests, as long as SHA-512 wants its keys to be: at least 64 bytes."
CLAIMS = {"sub": "dag-processor:x", "bundles": ["*"], "aud": "parsegate:processor", "jti": "1"}


@pytest.fixture
def signing_secret(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", SECRET)
    return SECRET


@pytest.fixture
def gateway(airflow_database: AirflowDatabase, signing_secret: str) -> Iterator[Gateway]:
    gateway = Gateway(airflow_database, small_schema())
    yield gateway
    gateway.close()


def signed(
    changes: dict[str, Any] | None = None, *, secret: str = SECRET, typ: str = "parsegate-processor+jwt", **options: Any
) -> str:
    now = int(time.time())
    claims = {**CLAIMS, "iat": now, "nbf": now, "exp": now + 60, **(changes or {})}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, secret, algorithm=options.pop("algorithm", "HS512"), headers={"typ": typ})


def refused_code(gateway: Gateway, **headers: str) -> str:
    response = gateway.post({"query": "{ who }"}, **headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith('Bearer realm="parsegate"')
    (error,) = response.json()["errors"]
    assert error["extensions"]["requestId"] == response.headers["x-request-id"]
    return error["extensions"]["code"]


def test_a_token_tells_kind_subject_bundles_and_job(gateway: Gateway) -> None:
    tokens = {
        "processor dag-processor:a ['one', 'two'] None": gateway.processor_token(["two", "one"], "dag-processor:a"),
        "job dag-processor:b ['*'] 7": gateway.job_token(7, ["*"], "dag-processor:b"),
        "operator jane ['*'] None": gateway.operator_token(["*"], "jane"),
    }
    assert {who: gateway.data("{ who }", token=token)["who"] for who, token in tokens.items()} == {
        who: who for who in tokens
    }


def test_a_request_without_a_token_is_refused(gateway: Gateway) -> None:
    assert refused_code(gateway) == "UNAUTHENTICATED"


def test_introspection_needs_a_token_too(gateway: Gateway) -> None:
    response = gateway.post({"query": "{ __schema { queryType { name } } }"})
    assert response.status_code == 401


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "garbage", "Bearer garbage", "Bearer a.b.c", "bearer é"]
)
def test_a_header_that_is_no_bearer_token_is_refused(gateway: Gateway, header: str) -> None:
    response = gateway.http.post(
        "/graphql", json={"query": "{ who }"}, headers={"Authorization": header.encode("latin-1")}
    )
    assert response.status_code == 401
    assert response.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


def test_two_authorization_headers_are_refused(gateway: Gateway) -> None:
    token = f"Bearer {gateway.operator_token()}"
    response = gateway.http.post(
        "/graphql", json={"query": "{ who }"}, headers=[("Authorization", token), ("Authorization", token)]
    )
    assert response.status_code == 401


REFUSED_TOKENS = {
    "expired": lambda: signed({"exp": int(time.time()) - 3600}),
    "not valid yet": lambda: signed({"nbf": int(time.time()) + 3600}),
    "signed with another key": lambda: signed(secret=SECRET.replace("another", "not the")),
    "signed with another algorithm": lambda: signed(algorithm="HS384"),
    "not signed": lambda: signed(algorithm="none", secret=""),
    "audience of another kind": lambda: signed({"aud": "parsegate:operator"}),
    "audience of Airflow": lambda: signed({"aud": "apache-airflow"}),
    "no audience": lambda: signed({"aud": None}),
    "typ of another kind": lambda: signed(typ="parsegate-operator+jwt"),
    "typ of Airflow": lambda: signed(typ="JWT"),
    "no expiry": lambda: signed({"exp": None}),
    "no issue time": lambda: signed({"iat": None}),
    "no subject": lambda: signed({"sub": None}),
    "empty subject": lambda: signed({"sub": ""}),
    "no id": lambda: signed({"jti": None}),
    "no bundles": lambda: signed({"bundles": None}),
    "bundles as a string": lambda: signed({"bundles": "dags"}),
    "bundles that are no names": lambda: signed({"bundles": [1]}),
    "a Job in a processor token": lambda: signed({"job_id": 1}),
    "no Job in a job token": lambda: signed({"aud": "parsegate:job"}, typ="parsegate-job+jwt"),
    "permissions in a job token": lambda: signed(
        {"aud": "parsegate:job", "job_id": 1, "permissions": ["request-parse"]}, typ="parsegate-job+jwt"
    ),
    "permissions that are no list": lambda: signed(
        {"aud": "parsegate:operator", "permissions": "request-parse"}, typ="parsegate-operator+jwt"
    ),
    "a Job that is no number": lambda: signed({"aud": "parsegate:job", "job_id": "1"}, typ="parsegate-job+jwt"),
}


@pytest.mark.parametrize("reason", REFUSED_TOKENS)
def test_a_token_is_refused_that_is(gateway: Gateway, reason: str) -> None:
    assert gateway.post({"query": "{ who }"}, signed()).status_code == 200
    assert refused_code(gateway, Authorization=f"Bearer {REFUSED_TOKENS[reason]()}") == "UNAUTHENTICATED"


def test_an_expired_token_is_told_apart_from_a_forged_one(gateway: Gateway) -> None:
    expired = gateway.post({"query": "{ who }"}, REFUSED_TOKENS["expired"]())
    forged = gateway.post({"query": "{ who }"}, REFUSED_TOKENS["signed with another key"]())
    assert "expired" in expired.json()["errors"][0]["message"]
    assert "expired" not in forged.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    ("kind", "allowed"), [("processor", "forProcessors"), ("job", "forJobs"), ("operator", "forOperators")]
)
def test_one_kind_of_token_cannot_do_another_s_things(gateway: Gateway, kind: str, allowed: str) -> None:
    token = {
        "processor": gateway.processor_token(),
        "job": gateway.job_token(1),
        "operator": gateway.operator_token(),
    }[kind]
    for field in ("forProcessors", "forJobs", "forOperators"):
        response = gateway.execute(f"{{ {field} }}", token=token)
        if field == allowed:
            assert "errors" not in response
        else:
            (error,) = response["errors"]
            assert error["extensions"]["code"] == "FORBIDDEN"
            assert kind in error["message"]


def test_the_leeway_and_the_issuer_are_airflow_s(
    airflow_database: AirflowDatabase, signing_secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_LEEWAY", "120")
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_ISSUER", "us")
    gateway = Gateway(airflow_database, small_schema())
    late = {"exp": int(time.time()) - 60, "iss": "us"}
    assert gateway.post({"query": "{ who }"}, signed(late)).status_code == 200
    assert gateway.post({"query": "{ who }"}, signed({**late, "iss": "them"})).status_code == 401
    assert gateway.post({"query": "{ who }"}, signed(late | {"iss": None})).status_code == 401
    assert gateway.post({"query": "{ who }"}, gateway.operator_token()).status_code == 200


@pytest.fixture
def no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "")


def written_key(path: Path, key: Any) -> str:
    path.write_bytes(key_to_pem(key))
    return str(path)


@pytest.mark.usefixtures("no_secret")
@pytest.mark.parametrize(("key_type", "algorithm"), [("RSA", "RS256"), ("Ed25519", "EdDSA")])
@pytest.mark.parametrize("kid", [None, "our-key"])
def test_a_private_key_signs_and_its_public_half_verifies(
    airflow_database: AirflowDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    key_type: str,
    algorithm: str,
    kid: str | None,
) -> None:
    monkeypatch.setenv(
        "AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH", written_key(tmp_path / "key.pem", generate_private_key(key_type))
    )
    if kid is not None:
        monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_KID", kid)
    gateway = Gateway(airflow_database, small_schema())
    token = gateway.operator_token()
    assert jwt.get_unverified_header(token)["alg"] == algorithm
    assert gateway.data("{ forOperators }", token=token) == {"forOperators": "operator:test"}
    assert gateway.post({"query": "{ who }"}, signed()).status_code == 401

    other = written_key(tmp_path / "other.pem", generate_private_key(key_type))
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH", other)
    assert (
        gateway.post({"query": "{ who }"}, Gateway(airflow_database, small_schema()).operator_token()).status_code
        == 401
    )


@pytest.mark.usefixtures("no_secret")
def test_a_key_set_verifies_what_any_of_its_keys_signed(
    airflow_database: AirflowDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs, strange = generate_private_key("RSA"), generate_private_key("Ed25519"), generate_private_key("RSA")
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps({"keys": [key_to_jwk_dict(ours), key_to_jwk_dict(theirs)]}))
    monkeypatch.setenv("AIRFLOW__API_AUTH__TRUSTED_JWKS_URL", str(keys))
    statuses: list[int] = []
    for number, key in enumerate((ours, theirs, strange)):
        path = written_key(tmp_path / f"{number}.pem", key)
        monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH", path)
        gateway = Gateway(airflow_database, small_schema())
        statuses.append(gateway.post({"query": "{ who }"}, gateway.operator_token()).status_code)
    assert statuses == [200, 200, 401]


@pytest.mark.usefixtures("no_secret")
def test_an_elliptic_curve_key_works_with_a_key_set_that_names_it(
    airflow_database: AirflowDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": "curve", "alg": "ES256"}
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps({"keys": [public]}))
    monkeypatch.setenv("AIRFLOW__API_AUTH__TRUSTED_JWKS_URL", str(keys))
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH", written_key(tmp_path / "key.pem", key))
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_KID", "curve")
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_ALGORITHM", "ES256")
    gateway = Gateway(airflow_database, small_schema())
    assert gateway.post({"query": "{ who }"}, gateway.operator_token()).status_code == 200


@pytest.mark.usefixtures("no_secret")
def test_a_key_set_that_cannot_be_fetched_is_the_gateway_s_trouble_not_the_caller_s(
    airflow_database: AirflowDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Port 9 of this machine: nobody answers there.
    monkeypatch.setenv("AIRFLOW__API_AUTH__TRUSTED_JWKS_URL", "http://127.0.0.1:9/jwks.json")
    key = written_key(tmp_path / "key.pem", generate_private_key("RSA"))
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH", key)
    gateway = Gateway(airflow_database, small_schema())
    response = gateway.post({"query": "{ who }"}, gateway.operator_token())
    assert response.status_code == 503
    assert response.json()["errors"][0]["extensions"]["code"] == "UNAVAILABLE"


@pytest.mark.usefixtures("no_secret")
def test_without_a_key_that_all_processes_share_nothing_is_minted() -> None:
    with pytest.raises(KeysMisconfigured, match="jwt_secret"):
        TokenMinter()


def test_a_key_set_without_a_private_key_is_refused_at_the_start(
    signing_secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API_AUTH__TRUSTED_JWKS_URL", "https://issuer.example.com/jwks.json")
    with pytest.raises(KeysMisconfigured, match="jwt_private_key_path"):
        TokenVerifier(TokenMinter())


def test_a_job_token_is_bound_to_its_job_and_says_when_it_ends(gateway: Gateway, signing_secret: str) -> None:
    token, expires_at = TokenMinter().mint_job_token(600, 12, "dag-processor:x", frozenset({"dags"}))
    assert gateway.data("{ who }", token=token) == {"who": "job dag-processor:x ['dags'] 12"}
    assert jwt.decode(token, options={"verify_signature": False})["exp"] == expires_at.timestamp()
    assert 590 < expires_at.timestamp() - time.time() <= 600
