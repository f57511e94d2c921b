"""Logging in by a one-time link, and what its cookie is good for."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from airflow_database import AirflowDatabase
from gateway_app import Gateway
from small_schema import small_schema
from starlette.requests import HTTPConnection

from parsegate.gateway import login as login_module
from parsegate.gateway.session_cookie import has_own_origin
from parsegate.gateway.token_command import run as token_command
from parsegate.gateway.tokens import TokenMinter
from parsegate.resolvers.principal import Principal, TokenKind

pytestmark = pytest.mark.any_database

OPERATOR = Principal(kind=TokenKind.OPERATOR, subject="operator:jane", bundles=frozenset({"one", "two"}))
CSRF = {"X-Parsegate-CSRF": "1"}
WHO = {"who": "operator operator:jane ['one', 'two'] None"}


@pytest.fixture
def gateway(airflow_database: AirflowDatabase) -> Iterator[Gateway]:
    gateway = Gateway(airflow_database, small_schema())
    yield gateway
    gateway.close()


@pytest.fixture
def code() -> str:
    return TokenMinter().mint_login_code(OPERATOR, 3600)[0]


def redeem(gateway: Gateway, code: str, headers: dict[str, str] | None = None, **fields: str) -> httpx.Response:
    form = {"content-type": "application/x-www-form-urlencoded", **(headers or {})}
    return gateway.http.post("/login", content=urlencode({"code": code, **fields}), headers=form)


def ask(gateway: Gateway, **headers: str) -> httpx.Response:
    return gateway.post({"query": "{ who }"}, **headers)


def test_the_link_logs_a_browser_in_once_and_only_by_its_button(
    gateway: Gateway, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ["--subject", "operator:jane", "--bundles", "one,two", "--lifetime", "300", "--allow", "request-parse"]
    assert token_command(["operator", "--login-url", "http://gateway/graphql", *arguments]) == 0
    link = urlsplit(capsys.readouterr().out.strip())
    assert (link.scheme, link.netloc, link.path) == ("http", "gateway", "/login")
    [code] = parse_qs(link.query)["code"]

    # A preview of the link, twice.
    for method in ("HEAD", "GET"):
        page = gateway.http.request(method, f"{link.path}?{link.query}&next=/graphql")
        assert page.status_code == 200
        assert "set-cookie" not in page.headers
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert "script" not in page.headers["content-security-policy"]
    assert "<script" not in page.text
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.text))
    assert {name: html.unescape(value) for name, value in fields.items()} == {"code": code, "next": "/graphql"}

    welcome = redeem(gateway, **fields)
    assert (welcome.status_code, welcome.headers["location"]) == (303, "./graphql")
    cookie = welcome.headers["set-cookie"]
    assert re.search(r"; HttpOnly; Max-Age=(299|300); Path=/; SameSite=strict$", cookie)
    assert ask(gateway, **CSRF).json() == {"data": WHO}
    session = {
        "subject": "operator:jane",
        "bundles": ["one", "two"],
        "permissions": ["request-parse"],
        "canLogOut": True,
    }
    assert gateway.http.get("/session").json() == session

    again = redeem(gateway, **fields)
    assert again.status_code == 403
    assert "set-cookie" not in again.headers
    assert "--login-url http://gateway" in again.text
    assert code not in caplog.text
    assert code.partition(".")[2] not in caplog.text


def test_the_cookie_alone_reads_and_a_post_needs_the_header(gateway: Gateway, code: str) -> None:
    redeem(gateway, code)

    for headers in ({}, {"X-Parsegate-CSRF": "0"}):
        refused = ask(gateway, **headers)
        assert refused.status_code == 403
        assert refused.json()["errors"][0]["extensions"]["code"] == "CSRF_HEADER_REQUIRED"
    assert gateway.http.get("/graphql", params={"query": "{ who }"}).json() == {"data": WHO}
    mutation = gateway.http.get("/graphql", params={"query": 'mutation { storeVariable(key: "a") }'}, headers=CSRF)
    assert mutation.status_code == 405


def test_a_bearer_token_wins_over_the_cookie(gateway: Gateway, code: str) -> None:
    redeem(gateway, code)

    answer = gateway.post({"query": "{ who }"}, gateway.job_token(7, ["*"], "dag-processor:b"))

    assert answer.json() == {"data": {"who": "job dag-processor:b ['*'] 7"}}
    assert ask(gateway, Authorization="Bearer garbage", **CSRF).status_code == 401


def test_a_logout_has_the_browser_forget(gateway: Gateway, code: str) -> None:
    redeem(gateway, code)

    assert gateway.http.get("/logout").status_code == 405
    assert gateway.http.post("/logout", headers={"Origin": "http://elsewhere"}).status_code == 403
    assert gateway.http.get("/session").json()["subject"] == "operator:jane"
    assert gateway.http.post("/logout").status_code == 200

    assert gateway.http.get("/session").json() == {"subject": None}
    assert ask(gateway, **CSRF).status_code == 401


def test_a_code_is_no_token_and_no_token_is_a_code(gateway: Gateway, code: str) -> None:
    tokens = [gateway.operator_token(), gateway.processor_token(), gateway.job_token(7)]

    assert ask(gateway, Authorization=f"Bearer {code}").status_code == 401
    assert ask(gateway, Cookie=f"parsegate_session={code}", **CSRF).status_code == 401
    assert [redeem(gateway, token).status_code for token in tokens] == [403] * 3
    # A processor's token in the cookie would let DAG code's credentials pass for a person's.
    for token in tokens[1:]:
        assert ask(gateway, Cookie=f"parsegate_session={token}", **CSRF).status_code == 401


@pytest.mark.parametrize("code", ["", "garbage", "a.b.c", "é", "x" * 9000])
def test_what_is_no_code_is_refused(gateway: Gateway, code: str) -> None:
    assert redeem(gateway, code).status_code == 403


def test_a_code_expires(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    code, expires_at = TokenMinter().mint_login_code(OPERATOR, 3600)
    assert 590 < expires_at.timestamp() - now <= 600
    monkeypatch.setattr("parsegate.gateway.tokens.LOGIN_CODE_LIFETIME", -60.0)
    expired, _ = TokenMinter().mint_login_code(OPERATOR, 3600)

    assert redeem(gateway, expired).status_code == 403
    # One that lived longer than the record of its use.
    assert redeem(gateway, code).status_code == 403


def test_a_form_of_another_site_logs_nobody_in(gateway: Gateway, code: str) -> None:
    for headers in ({"Origin": "http://elsewhere"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
        refused = redeem(gateway, code, headers)
        assert refused.status_code == 403
        assert refused.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"

    assert redeem(gateway, code, {"Origin": "null", "Sec-Fetch-Site": "same-origin"}).status_code == 303


@pytest.mark.parametrize(
    "path", ["//elsewhere", "/\\elsewhere", "http://elsewhere", "elsewhere", "", "/\t/elsewhere", "/ü", "/a\nb"]
)
def test_a_login_leads_to_the_gateway_s_own_pages_alone(gateway: Gateway, code: str, path: str) -> None:
    assert redeem(gateway, code, next=path).headers["location"] == "./"


def test_the_cookie_is_for_tls_alone_where_the_link_is(gateway: Gateway) -> None:
    code, _ = TokenMinter().mint_login_code(OPERATOR, 3600, https=True)

    assert "; Secure" in redeem(gateway, code).headers["set-cookie"]


def test_a_form_is_read_within_bounds(gateway: Gateway, code: str) -> None:
    large = redeem(gateway, code, more="x" * login_module.MAX_BODY_BYTES)
    many = redeem(gateway, code, **{f"field{number}": "x" for number in range(20)})
    other = redeem(gateway, code, {"content-type": "application/json"})

    assert [large.status_code, many.status_code, other.status_code] == [413, 400, 415]
    assert gateway.http.put("/login").status_code == 405


def test_a_crowd_that_logs_in_is_told_to_come_again(
    gateway: Gateway, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as crowded:
        crowded.setattr(login_module, "MAX_WAITING", 0)
        refused = redeem(gateway, code)

    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "2"
    assert refused.json()["errors"][0]["extensions"]["code"] == "TOO_MANY_REQUESTS"
    # The code is still good.
    assert redeem(gateway, code).status_code == 303


@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [
        ("http://gateway", "gateway", True),
        ("https://gateway", "gateway", True),
        ("https://gateway:443", "gateway", True),
        ("http://gateway:8765", "gateway:8765", True),
        ("http://[::1]:8765", "[::1]:8765", True),
        ("http://gateway:8765", "gateway:8766", False),
        ("http://gateway.elsewhere", "gateway", False),
        ("null", "gateway", False),
        ("file://gateway", "gateway", False),
        ("http://gateway:port", "gateway", False),
        (None, "gateway", False),
    ],
)
def test_a_web_socket_by_cookie_comes_from_the_gateway_s_own_pages(origin: str | None, host: str, own: bool) -> None:
    headers = {"host": host, **({"origin": origin} if origin is not None else {})}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]

    assert has_own_origin(HTTPConnection({"type": "websocket", "headers": raw})) is own
