"""The status page as the gateway serves it; tests/e2e/test_status_page.py looks at it in a browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest
from gateway_app import Gateway
from parse_state_rows import (
    add_bundle,
    add_claims,
    add_files,
    add_import_errors,
    add_processor,
    counted_statements,
    dag_callback,
    file_row,
    fill,
)

pytestmark = pytest.mark.any_database

VOID = {"input", "link", "meta", "rect", "line"}
TEAM_A = ("team_a",)


class Page(HTMLParser):
    """A page as its elements: links, headings, and the text of each element with an id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: dict[str, str] = {}
        self.headings: list[str] = []
        self.inline: list[str] = []
        self.ids: dict[str, str] = {}
        self._open: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(text)
        self.close()
        assert self._open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.inline += [name for name in attributes if name == "style" or name.startswith("on")]
        self.inline += [tag] if tag == "style" or (tag == "script" and "src" not in attributes) else []
        if tag not in VOID:
            self._open.append((tag, attributes, []))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        for _, _, texts in self._open:
            texts.append(data)

    def handle_endtag(self, tag: str) -> None:
        opened, attributes, texts = self._open.pop()
        assert opened == tag, (opened, tag)
        text = " ".join("".join(texts).split())
        if tag == "a":
            self.links[text] = attributes["href"] or ""
        if tag in ("h1", "h2"):
            self.headings.append(text)
        if (id_ := attributes.get("id")) is not None:
            assert id_ not in self.ids, id_
            self.ids[id_] = text


def show(gateway: Gateway, path: str = "/", bundles: tuple[str, ...] = ("*",)) -> Page:
    answer = gateway.http.get(path, headers={"Authorization": f"Bearer {gateway.operator_token(bundles)}"})
    assert answer.status_code == 200, answer.text
    return Page(answer.text)


def test_an_operator_sees_what_fails_and_why_before_everything_else(gateway: Gateway) -> None:
    add_bundle("dags", version="abc123")
    add_files(
        file_row("broken.py", import_error_count=1),
        file_row("fine.py"),
        file_row("slow.py", status="TIMED_OUT", message="It took more than 50 s."),
    )
    add_import_errors("broken.py")
    add_processor(1, ["dags"])
    add_claims(dag_callback("orders"), state="PARKED", message="Its DAG was not found.")

    page = show(gateway)

    assert page.headings == ["Parse state", "Bundles", "Failing files", "Files", "Processors", "Callbacks"]
    failing = page.ids["failing"]
    assert failing.index("broken.py") < failing.index("slow.py")
    assert "Import error" in failing
    assert "It took more than 50 s." in failing
    assert "fine.py" not in failing
    assert "fine.py" in page.ids["files"]
    assert "abc123" in page.ids["bundles"]
    assert "host-1" in page.ids["processors"]
    assert "Alive" in page.ids["processors"]
    assert "orders" in page.ids["callbacks"]
    assert "Its DAG was not found." in page.ids["callbacks"]
    assert page.inline == []


def test_what_dag_code_chose_is_shown_as_text(gateway: Gateway) -> None:
    path = "<script>alert('path')</script>.py"
    add_bundle("dags")
    add_files(file_row(path, import_error_count=1, message="<img src=x onerror=alert(1)>"))
    add_import_errors(path)

    page = show(gateway)

    assert page.inline == []
    assert path in page.ids["failing"]
    assert "<img src=x" in page.ids["failing"]


def test_files_are_narrowed_by_a_plain_form_and_paged_by_links(gateway: Gateway) -> None:
    add_bundle("dags")
    add_bundle("others")
    add_files(*(file_row(f"a/{number:03}.py") for number in range(60)), file_row("b.py"), file_row("c.py", "others"))

    first = show(gateway, "/?bundle=dags&path=a/")
    second = show(gateway, urljoin("/", first.links["Next page"].partition("#")[0]))

    assert "60 files" in first.ids["files-caption"]
    assert "a/049.py" in first.ids["files"]
    assert "a/050.py" not in first.ids["files"]
    assert "a/050.py" in second.ids["files"]
    assert "Next page" not in second.links
    assert "First page" in second.links
    assert "c.py" in show(gateway, "/?bundle=others").ids["file-list"]
    assert "b.py" not in show(gateway, "/?show=timed-out").ids["file-list"]


def test_a_visitor_sees_the_bundles_of_their_token_alone(gateway: Gateway) -> None:
    for bundle in ("team_a", "team_b"):
        add_bundle(bundle)
        add_files(file_row(f"of_{bundle}.py", bundle, import_error_count=1))
        add_import_errors(f"of_{bundle}.py", bundle=bundle)

    page = show(gateway, bundles=TEAM_A)

    assert "of_team_a.py" in page.ids["main"]
    assert "team_b" not in page.ids["main"]


def test_a_visitor_without_a_login_is_told_how_to_get_one(gateway: Gateway) -> None:
    answer = gateway.http.get("/")

    assert answer.status_code == 401
    assert "parsegate token operator --login-url" in answer.text
    assert "Parse state" not in answer.text


@pytest.mark.parametrize(
    ("path", "kind", "status", "told"),
    [("/?after=nonsense", "operator", 400, "not a cursor of this list"), ("/", "processor", 403, "operator")],
)
def test_what_the_page_cannot_show_is_said_on_a_page(
    gateway: Gateway, path: str, kind: str, status: int, told: str
) -> None:
    token = gateway.operator_token() if kind == "operator" else gateway.processor_token()

    answer = gateway.http.get(path, headers={"Authorization": f"Bearer {token}"})

    assert answer.status_code == status
    assert told in Page(answer.text).ids["main"]
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_the_policy_allows_what_the_gateway_serves_and_nothing_inline(gateway: Gateway) -> None:
    answer = gateway.http.get("/", headers={"Authorization": f"Bearer {gateway.operator_token()}"})

    policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert answer.headers["cache-control"] == "no-store"
    for reference in re.findall(r'(?:src|href)="(assets/[^"]+)"', answer.text):
        asset = gateway.http.get(f"/{reference}")
        assert asset.status_code == 200
        assert asset.headers["x-content-type-options"] == "nosniff"


def test_a_page_costs_as_many_statements_with_many_rows_as_with_few(gateway: Gateway) -> None:
    fill(10)
    show(gateway)
    with counted_statements() as few:
        show(gateway)
    add_files(*(file_row(f"more/{number}.py", "bundle_0000", import_error_count=1) for number in range(200)))
    add_import_errors(*(f"more/{number}.py" for number in range(200)), bundle="bundle_0000")
    with counted_statements() as many:
        page = show(gateway)

    assert any(text.startswith("All 20") for text in page.links), page.links
    assert len(many) == len(few)


def test_only_reading_is_possible(gateway: Gateway) -> None:
    assert gateway.http.post("/").status_code == 405
