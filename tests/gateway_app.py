"""The gateway in this process, on the database under test, with tokens of every kind: the fixture ``gateway``.

def test_something(gateway):
    token = gateway.job_token(job_id=1, bundles=["dags"])
    data = gateway.data("query { ... }", {"name": "x"}, token=token)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from airflow_database import AirflowDatabase

if TYPE_CHECKING:
    import httpx
    from strawberry.schema import BaseSchema

Operation = str | tuple[str, Mapping[str, Any]]
"""A document, or a document with its variables."""


class Gateway:
    """The application of ``parsegate serve`` behind an HTTP client without a network.

    :param database: what it serves
    :param schema: what ``/graphql`` executes; None for the contract
    """

    def __init__(self, database: AirflowDatabase, schema: BaseSchema | None = None) -> None:
        from starlette.testclient import TestClient

        from parsegate.gateway.app import create_app
        from parsegate.gateway.tokens import TokenMinter

        self.database = database
        self.app = create_app(schema or contract())
        self.http = TestClient(self.app, base_url="http://gateway", follow_redirects=False)
        self._minter = TokenMinter()

    def processor_token(
        self, bundles: Sequence[str] = ("*",), subject: str = "dag-processor:test", lifetime: float = 600
    ) -> str:
        return self._mint("PROCESSOR", subject, bundles, None, lifetime)

    def job_token(
        self, job_id: int, bundles: Sequence[str] = ("*",), subject: str = "dag-processor:test", lifetime: float = 600
    ) -> str:
        return self._mint("JOB", subject, bundles, job_id, lifetime)

    def operator_token(
        self,
        bundles: Sequence[str] = ("*",),
        subject: str = "operator:test",
        lifetime: float = 600,
        allow: Sequence[str] = (),
    ) -> str:
        """:param allow: names of permissions"""
        return self._mint("OPERATOR", subject, bundles, None, lifetime, allow)

    def post(self, body: object, token: str | None = None, **headers: str) -> httpx.Response:
        """POST ``body`` as JSON to ``/graphql``. Underscores in the names of ``headers`` become hyphens.

        NaN goes out as Python writes it: an HTTP client's own encoder would refuse to send it.
        """
        sent = {"content-type": "application/json"}
        sent |= {name.replace("_", "-").lower(): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        return self.http.post("/graphql", content=json.dumps(body), headers=sent)

    def execute(self, document: str, variables: Mapping[str, Any] | None = None, *, token: str) -> dict[str, Any]:
        """The GraphQL response of one operation: ``data`` and perhaps ``errors``."""
        return self.post(_payload((document, variables or {})), token).json()

    def execute_batch(self, *operations: Operation, token: str) -> list[dict[str, Any]]:
        """The GraphQL responses of several operations sent as one array, in order."""
        return self.post([_payload(operation) for operation in operations], token).json()

    def data(self, document: str, variables: Mapping[str, Any] | None = None, *, token: str) -> dict[str, Any]:
        """The data of one operation that must have no errors."""
        response = self.execute(document, variables, token=token)
        assert "errors" not in response, response["errors"]
        return response["data"]

    def close(self) -> None:
        self.http.close()

    def _mint(
        self,
        kind: str,
        subject: str,
        bundles: Sequence[str],
        job_id: int | None,
        lifetime: float,
        allow: Sequence[str] = (),
    ) -> str:
        from parsegate.resolvers.principal import Permission, Principal, TokenKind

        principal = Principal(
            kind=TokenKind[kind],
            subject=subject,
            bundles=frozenset(bundles),
            job_id=job_id,
            permissions=frozenset(Permission(name) for name in allow),
        )
        return self._minter.mint(principal, lifetime)[0]


@cache
def contract() -> BaseSchema:
    """Building it takes longer than most tests; a gateway builds it once, too."""
    from parsegate.gateway.limits import EXTENSIONS
    from parsegate.schema.root import build_schema

    return build_schema(EXTENSIONS)


def _payload(operation: Operation) -> dict[str, Any]:
    document, variables = (operation, {}) if isinstance(operation, str) else operation
    return {"query": document, "variables": dict(variables)}


@pytest.fixture
def gateway(airflow_database: AirflowDatabase) -> Iterator[Gateway]:
    """The gateway with the whole contract, on a fresh database."""
    gateway = Gateway(airflow_database)
    yield gateway
    gateway.close()
