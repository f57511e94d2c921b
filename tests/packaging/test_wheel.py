"""The wheel: built from a copy of the checkout, and installed into an environment that has nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE_FOLDERS = ("client", "gateway", "resolvers", "schema")
DATA = {
    "py.typed",
    "schema.graphql",
    "gateway/graphiql/index.html",
    "gateway/graphiql/page/login.css",
    "gateway/graphiql/page/page.css",
    "gateway/graphiql/page/page.js",
    "gateway/graphiql/queries/is-my-version-in.graphql",
    "gateway/graphiql/queries/slowest-files.graphql",
    "gateway/graphiql/queries/watch-parses.graphql",
    "gateway/graphiql/queries/what-fails-now.graphql",
    "gateway/graphiql/queries/what-waits.graphql",
    "gateway/graphiql/queries/who-is-alive.graphql",
    "gateway/migrations/alembic.ini",
    "gateway/migrations/script.py.mako",
    "gateway/status/static/status.css",
    "gateway/status/static/status.js",
    "gateway/status/status.graphql",
    "gateway/status/templates/failure.html",
    "gateway/status/templates/login.html",
    "gateway/status/templates/page.html",
    "gateway/status/templates/parts.html",
    "gateway/status/templates/status.html",
}
NOT_SOURCE = (".*", "__pycache__", "node_modules", "*.egg-info")
BUILT = {"build", "dist"}
SERVER_FRAMEWORKS = {"strawberry-graphql", "starlette", "uvicorn", "fastapi", "alembic", "sqlalchemy"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def uv() -> Path:
    brought = ROOT / ".tools" / "bin" / "uv"
    assert brought.exists(), "scripts/test brings uv; run it once."
    return brought


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkout = tmp_path_factory.mktemp("source") / "checkout"
    not_source = shutil.ignore_patterns(*NOT_SOURCE)

    def ignored(folder: str, names: list[str]) -> set[str]:
        # Packages of npm have folders of these names, too.
        return not_source(folder, names) | (BUILT if Path(folder) == ROOT else set())

    shutil.copytree(ROOT, checkout, ignore=ignored)
    return checkout


@pytest.fixture(scope="module")
def wheel(uv: Path, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    run(*build(uv, checkout, target))
    [built] = target.glob("parsegate-*.whl")
    return built


@pytest.fixture(scope="module")
def processor_environment(uv: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(uv, wheel, "processor", tmp_path_factory.mktemp("environment") / "venv")


def install(uv: Path, wheel: Path, extra: str, environment: Path) -> Path:
    """The wheel with one of its extras, alone in an environment; the folder of its commands."""
    run(uv, "venv", "--python", sys.executable, environment)
    run(
        *(uv, "pip", "install", "--python", environment, "--constraint", ROOT / "requirements.lock"),
        f"parsegate[{extra}] @ {wheel.as_uri()}",
    )
    return environment / "bin"


def build(uv: Path, checkout: Path, target: Path) -> list[str | Path]:
    # setuptools is locked and installed here; an isolated build would bring another.
    return [uv, "build", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", target, checkout]


def run(*command: str | Path, cwd: Path | None = None) -> str:
    completed = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
    assert completed.returncode == 0, f"{completed.stdout}\n{completed.stderr}"
    return completed.stdout


def test_it_holds_every_module_and_the_data_and_nothing_else(wheel: Path) -> None:
    modules = {
        str(path.relative_to(ROOT))
        for folder in PACKAGE_FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if "__pycache__" not in path.parts
    }
    assets = {
        str(path.relative_to(ROOT)) for path in (ROOT / "gateway" / "graphiql" / "assets").rglob("*") if path.is_file()
    }
    expected = {f"parsegate/{name}" for name in modules | DATA | assets | {"__init__.py"}}

    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not re.match(r"parsegate-[^/]*\.dist-info/", name)}

    assert names == expected
    assert "parsegate/gateway/graphiql/assets/react@18.2.0/umd/react.production.min.js" in names


def test_none_is_built_without_graphiql_s_files(uv: Path, checkout: Path, tmp_path: Path) -> None:
    bare = tmp_path / "checkout"
    shutil.copytree(checkout, bare, ignore=shutil.ignore_patterns("assets", *BUILT))

    refused = subprocess.run(build(uv, bare, tmp_path / "dist"), capture_output=True, text=True)

    assert refused.returncode != 0
    assert "scripts/bring-graphiql" in refused.stderr
    assert "gateway/graphiql/assets/react@18.2.0/umd/react.production.min.js" in refused.stderr


def test_the_extra_for_processors_brings_no_server_framework() -> None:
    wanted = {
        match.group()
        for requirement in requires("parsegate") or []
        if "extra ==" not in requirement or 'extra == "processor"' in requirement
        if (match := re.match(r"[\w.-]+", requirement))
    }

    assert "gql" in wanted
    assert wanted.isdisjoint(SERVER_FRAMEWORKS)


def test_a_processor_installs_into_an_empty_environment(processor_environment: Path, tmp_path: Path) -> None:
    program = "import parsegate.client, parsegate.client.generated.client; print(parsegate.client.__file__)"

    location = run(processor_environment / "python", "-c", program, cwd=tmp_path)

    assert str(processor_environment.parent) in location


def test_a_processor_has_no_graphql_server(processor_environment: Path, uv: Path) -> None:
    installed = run(uv, "pip", "freeze", "--python", processor_environment.parent)

    assert "strawberry" not in installed
    assert "psycopg2" not in installed


@pytest.mark.parametrize("command", ["agent", "dag-processor", "status"])
def test_a_processors_commands_start_there(processor_environment: Path, tmp_path: Path, command: str) -> None:
    help_text = run(processor_environment / "parsegate", command, "--help", cwd=tmp_path)

    assert f"parsegate {command}" in help_text


@pytest.mark.parametrize(("command", "extras"), [("serve", "gateway"), ("standalone", "gateway,processor")])
def test_a_gateways_command_names_the_extra_that_is_missing(
    processor_environment: Path, tmp_path: Path, command: str, extras: str
) -> None:
    refused = subprocess.run(
        [processor_environment / "parsegate", command], capture_output=True, text=True, cwd=tmp_path
    )

    assert refused.returncode == 2
    assert f"parsegate[{extras}]" in refused.stderr


def test_an_operators_tools_work_where_neither_airflow_nor_a_gateway_is(uv: Path, wheel: Path, tmp_path: Path) -> None:
    environment = install(uv, wheel, "operator", tmp_path / "venv")
    (tmp_path / "token").write_text("token")

    def parsegate(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([environment / "parsegate", *arguments], capture_output=True, text=True, cwd=tmp_path)

    assert not re.search(
        "airflow|sqlalchemy|starlette|strawberry", run(uv, "pip", "freeze", "--python", environment.parent)
    )
    gateway = ("--url", "http://127.0.0.1:9/graphql", "--token-file", "token")
    for command in (
        ("status",),
        ("errors",),
        ("request-parse", "--bundle", "b"),
        ("wait", "--bundle", "b", "--timeout", "0"),
    ):
        asked = parsegate(*command, *gateway)
        assert asked.returncode == 7, asked.stderr
        assert "can't be reached" in asked.stderr
    assert "--fail-on-import-errors" in parsegate("completion", "bash").stdout
    refused = parsegate("dag-processor")
    assert refused.returncode == 2
    assert "apache-airflow-core is not installed" in refused.stderr
