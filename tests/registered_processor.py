"""A processor as the gateway sees it: registered, with a job token, sending the client's own operation documents."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from gateway_app import Gateway
from parsed_files import ParsedFile

OPERATIONS = Path(__file__).parents[1] / "client" / "operations"


@cache
def operation_documents() -> dict[str, str]:
    """The text of each operation of the client, by name."""
    from graphql import OperationDefinitionNode, parse, print_ast

    return {
        definition.name.value: print_ast(definition)
        for path in sorted(OPERATIONS.glob("*.graphql"))
        for definition in parse(path.read_text()).definitions
        if isinstance(definition, OperationDefinitionNode) and definition.name
    }


def registration(**fields: Any) -> dict[str, Any]:
    """A ``RegisterProcessorInput`` of a processor that fits this gateway; ``fields`` replace what it has."""
    from airflow import __version__ as airflow_version

    from parsegate import __version__ as parsegate_version

    return {
        "registrationId": str(uuid.uuid4()),
        "hostname": "processor-1.example.com",
        "unixname": "dags",
        "pid": 4711,
        "parsegateVersion": parsegate_version,
        "airflowVersion": airflow_version,
        "contractVersion": "1.0",
        **fields,
    }


class RegisteredProcessor:
    """:param bundles: what its processor token grants"""

    def __init__(self, gateway: Gateway, bundles: Sequence[str] = ("*",), **fields: Any) -> None:
        self.gateway = gateway
        payload = gateway.data(
            operation_documents()["RegisterProcessor"],
            {"input": registration(**fields)},
            token=gateway.processor_token(bundles),
        )["registerProcessor"]
        assert payload["status"] == "ACCEPTED", payload
        self.job: dict[str, Any] = payload["job"]
        self.job_id: int = self.job["jobId"]
        self.token: str = self.job["token"]

    def send(self, operation: str, **variables: Any) -> Any:
        """The value of the operation's only field; it must have no errors."""
        data = self.gateway.data(operation_documents()[operation], variables, token=self.token)
        (value,) = data.values()
        return value

    def sync(self, *names: str, **input: Any) -> dict[str, Any]:
        """Synchronise bundles of these names, as Airflow would one on the local disk."""
        return self.send(
            "SyncBundles", input={"bundles": [{"name": name, "path": f"/bundles/{name}"} for name in names], **input}
        )

    def record(self, *results: dict[str, Any]) -> list[dict[str, Any]]:
        return self.send("RecordParseResults", results=list(results))

    def record_files(self, *files: ParsedFile, sequence: int = 1) -> list[dict[str, Any]]:
        return self.record(*(file.as_input(sequence=sequence) for file in files))
