"""The documentation says what the code has: every setting, every reason of a refusal, and no link leads nowhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "deploy").glob("*.md")]
)


def setting_rows() -> list[str]:
    """The row of each option in the table of docs/configuration.md."""
    from parsegate.gateway.provider import get_provider_info

    options = get_provider_info()["config"]["parsegate"]["options"]
    rows = []
    for name, option in options.items():
        default = f"`{option['default']}`" if option["default"] else ""
        rows.append(f"| `{name}` | {option['type']} | {default} | {option['description']} |")
    return rows


def test_each_setting_is_documented_as_it_is_declared() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()

    missing = [row for row in setting_rows() if row not in text]

    assert not missing, "docs/configuration.md lacks these rows:\n" + "\n".join(missing)
    documented = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert documented == {row.split("`")[1] for row in setting_rows()}


def test_each_reason_of_a_refusal_is_explained() -> None:
    from parsegate.resolvers.refusals import RefusalReason

    text = (ROOT / "docs" / "refusals.md").read_text()

    sections = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    assert sorted(section.split("\n")[0] for section in sections) == sorted(reason.value for reason in RefusalReason)
    for section in sections:
        assert "**What happened.**" in section
        assert "**What to do.**" in section


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_modules_exist(page: Path) -> None:
    text = page.read_text()

    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", text)
    modules = re.findall(r"`((?:client|gateway|resolvers|schema|tests|scripts|docs|benchmarks|deploy)/[\w./-]+)`", text)

    missing = [target for target in targets if not (page.parent / target).exists()]
    missing += [module for module in modules if not (ROOT / module).exists()]
    assert not missing


def test_each_command_is_told_in_the_readme() -> None:
    from importlib.metadata import entry_points

    text = (ROOT / "README.md").read_text()

    assert [entry.name for entry in entry_points(group="parsegate.commands") if f"`{entry.name}`" not in text] == []


def test_examples_use_settings_that_exist() -> None:
    options = {row.split("`")[1] for row in setting_rows()}
    examples = [*PAGES, *(path for path in (ROOT / "deploy").iterdir() if path.is_file())]

    used = {
        name.lower() for path in examples for name in re.findall(r"AIRFLOW__PARSEGATE__([A-Z_]+)", path.read_text())
    } | {name for path in examples for name in re.findall(r"`\[parsegate\] (\w+)", path.read_text())}

    assert used
    assert used <= options
