"""GraphiQL's page and its files, as the gateway serves them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from gateway_app import Gateway
from graphql import NonNullTypeNode, OperationDefinitionNode, parse
from starlette.requests import Request

from parsegate.gateway.graphiql_page import ASSETS, FOLDER, GraphiQLAssets, GraphiQLPage

pytestmark = pytest.mark.any_database

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
GRAPHIQL_JS = "/graphql/assets/graphiql@3.8.3/graphiql.min.js"


@pytest.fixture
def brought() -> None:
    if not ASSETS.is_dir():
        pytest.fail("GraphiQL's files are missing; scripts/bring-graphiql brings them, as far as npm can be reached.")


class References(HTMLParser):
    """What a page refers to, with the hash that it demands."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, str | None] = {}
        self.inline_scripts = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.inline_scripts += tag == "script" and "src" not in attributes
        for name in ("src", "href"):
            if (target := attributes.get(name)) is not None and not target.startswith("data:"):
                self.found[target] = attributes.get("integrity")


@pytest.mark.usefixtures("brought")
@pytest.mark.parametrize("path", ["/graphql", "/graphql/"])
def test_the_page_and_its_files_come_from_the_gateway_alone(small_gateway: Gateway, path: str) -> None:
    page = small_gateway.http.get(path, headers=BROWSER)

    assert page.status_code == 200
    assert re.findall(r"(?:https?:)?//[\w.-]+", page.text) == []
    references = References(page.text)
    assert references.inline_scripts == 0
    assert len(references.found) == 8
    for reference, integrity in references.found.items():
        asset = small_gateway.http.get(urljoin(path, reference))
        assert asset.status_code == 200, reference
        kind = "javascript" if reference.endswith(".js") else "css"
        assert asset.headers["content-type"] == f"text/{kind}; charset=utf-8"
        assert asset.headers["x-content-type-options"] == "nosniff"
        if integrity is not None:
            digest = base64.b64encode(hashlib.sha384(asset.content).digest()).decode()
            assert integrity == f"sha384-{digest}"
        if kind == "css":
            targets = re.findall(r"url\(\s*['\"]?([^)]{0,8})|@import\s+(.{0,20})", asset.text)
            assert {target for pair in targets for target in pair if target} <= {"data:fon", "data:ima"}


@pytest.mark.usefixtures("brought")
def test_the_policy_lets_the_page_load_and_ask_nothing_foreign(small_gateway: Gateway) -> None:
    page = small_gateway.http.get("/graphql", headers=BROWSER)

    policy = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    allowed = {source for sources in policy.values() for source in sources.split()}
    assert allowed == {"'none'", "'self'", "'unsafe-inline'", "data:"}


@pytest.mark.usefixtures("brought")
def test_a_browser_keeps_what_has_a_version_and_asks_again_for_the_rest(small_gateway: Gateway) -> None:
    versioned = small_gateway.http.get(GRAPHIQL_JS)
    own = small_gateway.http.get("/graphql/assets/page.js")

    assert versioned.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert own.headers["cache-control"] == "no-cache"
    for response in (versioned, own):
        again = small_gateway.http.get(response.url.path, headers={"If-None-Match": response.headers["etag"]})
        assert again.status_code == 304


def test_the_saved_queries_come_in_the_order_of_an_operator_s_day(small_gateway: Gateway) -> None:
    response = small_gateway.http.get("/graphql/assets/saved-queries.json")

    assert response.headers["cache-control"] == "no-cache"
    saved = response.json()
    assert [query["title"] for query in saved] == [
        "What fails now",
        "Slowest files",
        "Is my version in",
        "Who is alive",
        "What waits",
        "Watch parses",
    ]
    for query in saved:
        assert query["description"].endswith("."), query["name"]
        (operation,) = parse(query["query"]).definitions
        assert isinstance(operation, OperationDefinitionNode)
        # GraphiQL opens with it, so nobody should have to fill something in first.
        assert [
            variable.variable.name.value
            for variable in operation.variable_definitions or ()
            if isinstance(variable.type, NonNullTypeNode) and variable.default_value is None
        ] == []


@pytest.mark.parametrize(
    "path",
    [
        "/graphql/assets/",
        "/graphql/assets/../graphiql_page.py",
        "/graphql/assets/%2e%2e/index.html",
        "/graphql/assets/%2e%2e/%2e%2e/settings.py",
        "/graphql/assets/..%2f..%2fsettings.py",
        "/graphql/assets//etc/passwd",
        "/graphql/assets/%00",
        "/graphql/assets/what-fails-now.graphql",
        "/graphql/assets/graphiql@3.8.3",
        "/graphql/assets/nothing.js",
    ],
)
def test_nothing_else_is_served(small_gateway: Gateway, path: str) -> None:
    response = small_gateway.http.get(path)

    assert response.status_code == 404
    assert response.json()["errors"][0]["extensions"]["code"] == "NOT_FOUND"


def test_without_its_files_the_page_says_what_brings_them(tmp_path: Path) -> None:
    request = Request({"type": "http", "path": "/graphql", "headers": [], "server": ("gateway", 80)})

    response = GraphiQLPage(tmp_path / "none").response(request)

    assert response.status_code == 503
    assert b"scripts/bring-graphiql" in response.body
    assert b"react@18.2.0/umd/react.production.min.js" in response.body
    GraphiQLAssets(tmp_path / "none")


def test_the_page_names_the_versions_that_are_locked() -> None:
    pinned = json.loads((FOLDER / "package.json").read_text())["dependencies"]
    text = (FOLDER / "package-lock.json").read_text()
    locked = json.loads(text)["packages"]
    named = re.findall(r'"assets/(@?[^@"]+)@([^/]+)/', (FOLDER / "index.html").read_text())

    assert dict(named) == pinned == {name: locked[f"node_modules/{name}"]["version"] for name in pinned}
    assert all(package["integrity"] for name, package in locked.items() if name)
    assert not [name for name, package in locked.items() if "resolved" in package]
    assert not {urlsplit(url).netloc for url in re.findall(r'https?://[^"]+\.tgz', text)}
