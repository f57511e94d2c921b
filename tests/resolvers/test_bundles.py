"""Bundles: synchronisation with signing and teams, state, and reconciliation with the files that are there."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import dag_files
import pytest
from airflow_database import AirflowDatabases
from gateway_app import Gateway
from parsed_files import ParsedFile, parse
from registered_processor import RegisteredProcessor, operation_documents
from table_comparison import differences


def _bundle(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "path": f"/bundles/{name}", **fields}


def _stored() -> dict[str, Any]:
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session
    from sqlalchemy import select
    from sqlalchemy.orm import selectinload

    with create_session() as session:
        rows = list(session.scalars(select(DagBundleModel).options(selectinload(DagBundleModel.teams))))
        session.expunge_all()
    return {row.name: row for row in rows}


def _sync(processor: RegisteredProcessor, *bundles: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return processor.send("SyncBundles", input={"bundles": list(bundles), **fields})


def _teams(*names: str) -> None:
    from airflow.models.team import Team
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add_all(Team(name=name) for name in names)


@pytest.fixture
def registered(gateway: Gateway) -> RegisteredProcessor:
    return RegisteredProcessor(gateway)


def test_templates_are_signed_on_the_gateway_and_render(registered: RegisteredProcessor) -> None:
    template = "https://git.example.com/{repo}/tree/{version}/{subdir}"
    _sync(
        registered,
        _bundle("git", viewUrlTemplate=template, templateParams={"subdir": "dags", "repo": "r", "unused": "x"}),
        _bundle("local"),
    )
    stored = _stored()
    assert template not in stored["git"].signed_url_template
    assert stored["git"].template_params == {"subdir": "dags", "repo": "r"}
    assert stored["git"].render_url(version="abc") == "https://git.example.com/r/tree/abc/dags"
    assert (stored["local"].signed_url_template, stored["local"].template_params) == (None, {})
    assert stored["local"].active is True


def test_a_template_that_is_no_web_address_is_left_out(registered: RegisteredProcessor) -> None:
    _sync(registered, _bundle("evil", viewUrlTemplate="javascript:alert(1)"))
    assert _stored()["evil"].signed_url_template is None


def test_placeholders_do_not_reach_into_objects(registered: RegisteredProcessor) -> None:
    template = "https://example.com/{__class__}/{declared}/{base_dir}"
    assert _sync(registered, _bundle("evil", viewUrlTemplate=template))["status"] == "ACCEPTED"
    assert _stored()["evil"].template_params == {}


def test_sync_leaves_the_rows_that_stock_leaves(
    airflow_databases: AirflowDatabases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same configuration, with a bundle class that has a template, through Airflow's manager and the gateway."""
    import json

    from airflow.dag_processing.bundles.manager import DagBundlesManager

    template = "https://example.com/{subdir}/{version}"
    configuration = [
        {
            "name": name,
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(tmp_path), "view_url_template": template if name == "linked" else None},
            "team_name": "blue" if name == "owned" else None,
        }
        for name in ("linked", "owned", "plain")
    ]
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "true")
    stock, ours = airflow_databases.create(), airflow_databases.create()
    with stock.in_use(), monkeypatch.context() as patched:
        patched.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(configuration))
        _teams("blue")
        DagBundlesManager().sync_bundles_to_db()
    with ours.in_use():
        _teams("blue")
        gateway = Gateway(ours)
        _sync(
            RegisteredProcessor(gateway),
            *(
                _bundle(
                    item["name"],
                    path=str(tmp_path),
                    teamName=item["team_name"],
                    viewUrlTemplate=item["kwargs"]["view_url_template"],
                )
                for item in configuration
            ),
            deactivateMissing=True,
        )
        gateway.close()
    assert differences(stock.url, ours.url, ignoring={"job": ["*"]}) == []
    for database in (stock, ours):
        airflow_databases.drop(database)


def test_missing_bundles_are_deactivated_and_lose_their_import_errors(
    registered: RegisteredProcessor, broken: ParsedFile
) -> None:
    from airflow.models.errors import ParseImportError
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    _sync(registered, _bundle("dags"), _bundle("kept"))
    registered.record(broken.as_input())
    _sync(registered, _bundle("kept"))
    assert _stored()["dags"].active is True, "only when asked"
    _sync(registered, _bundle("kept"), deactivateMissing=True)
    assert {name: row.active for name, row in _stored().items()} == {"dags": False, "kept": True}
    with create_session() as session:
        assert session.scalar(select(func.count()).select_from(ParseImportError)) == 0


def test_only_a_token_for_all_bundles_deactivates(gateway: Gateway, registered: RegisteredProcessor) -> None:
    _sync(registered, _bundle("mine"), _bundle("others"))
    limited = _sync(RegisteredProcessor(gateway, ["mine"]), _bundle("mine"), deactivateMissing=True)
    assert (limited["status"], limited["deactivatedBundleNames"]) == ("ACCEPTED", [])
    assert _stored()["others"].active is True

    for expected in (["others"], []):
        payload = _sync(registered, _bundle("mine"), deactivateMissing=True)
        assert (payload["status"], payload["deactivatedBundleNames"]) == ("ACCEPTED", expected)
    assert _stored()["others"].active is False


REFUSED_BUNDLES: dict[str, tuple[list[dict[str, Any]], str]] = {
    "not granted": ([_bundle("mine"), _bundle("others")], "BUNDLE_NOT_GRANTED"),
    "team without multi-team": ([_bundle("mine", teamName="blue")], "NOT_PERMITTED"),
    "twice": ([_bundle("mine"), _bundle("mine")], "INVALID_ARGUMENT"),
    "params are a list": ([_bundle("mine", templateParams=["x"])], "INVALID_ARGUMENT"),
    "path with NUL": ([_bundle("mine", path="/a\0b")], "INVALID_ARGUMENT"),
}


@pytest.mark.parametrize(("bundles", "reason"), REFUSED_BUNDLES.values(), ids=REFUSED_BUNDLES.keys())
def test_a_configuration_that_cannot_be_is_refused_as_a_whole(
    gateway: Gateway, bundles: list[dict[str, Any]], reason: str
) -> None:
    payload = _sync(RegisteredProcessor(gateway, ["mine"]), *bundles)
    assert (payload["status"], payload["reason"]) == ("REFUSED", reason)
    assert not _stored()


def test_teams(registered: RegisteredProcessor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "true")
    _teams("blue", "red")

    def team() -> list[str]:
        return [team.name for team in _stored()["dags"].teams]

    assert _sync(registered, _bundle("dags", teamName="green"))["reason"] == "NOT_FOUND"
    assert not _stored()
    for name in ("blue", "red", None):
        assert _sync(registered, _bundle("dags", teamName=name))["status"] == "ACCEPTED"
        assert team() == ([name] if name else [])


def test_a_bundle_that_could_not_be_signed_is_a_fault_and_nothing_is_stored(
    registered: RegisteredProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.dag_processing.bundles import manager

    def fail(*_: Any) -> None:
        raise ValueError("no Fernet key")

    monkeypatch.setattr(manager, "_sign_bundle_url", fail)
    response = registered.gateway.execute(
        operation_documents()["SyncBundles"],
        {"input": {"bundles": [_bundle("local"), _bundle("git", viewUrlTemplate="https://example.com")]}},
        token=registered.token,
    )
    assert response["errors"][0]["extensions"]["code"] == "INTERNAL"
    assert not _stored()


def _legacy_dag(dag_id: str, fileloc: str) -> None:
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    with create_session() as session:
        if session.get(DagBundleModel, "dags-folder") is None:
            session.add(DagBundleModel(name="dags-folder"))
            session.flush()
        session.add(DagModel(dag_id=dag_id, bundle_name="dags-folder", fileloc=fileloc, relative_fileloc=None))


def _bundle_of(dag_id: str) -> tuple[str | None, str | None]:
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    with create_session() as session:
        dag = session.get(DagModel, dag_id)
        assert dag is not None
        return dag.bundle_name, dag.relative_fileloc


def test_dags_of_an_upgrade_get_the_bundle_that_has_their_file(
    gateway: Gateway, registered: RegisteredProcessor
) -> None:
    _legacy_dag("legacy", "/bundles/new/team/a.py")
    _legacy_dag("elsewhere", "/nowhere/b.py")

    limited = _sync(RegisteredProcessor(gateway, ["new"]), _bundle("new"))
    assert (limited["reassignedDagCount"], _bundle_of("legacy")) == (0, ("dags-folder", None))

    payload = _sync(registered, _bundle("new"))
    assert payload["reassignedDagCount"] == 1
    assert _bundle_of("legacy") == ("new", "team/a.py")
    assert _bundle_of("elsewhere") == ("dags-folder", None)


def test_states_are_kept_between_refreshes(gateway: Gateway, registered: RegisteredProcessor) -> None:
    registered.sync("a", "b", "c")
    limited = RegisteredProcessor(gateway, ["a", "b", "nowhere"])

    outcomes = limited.send(
        "UpdateBundleStates",
        states=[
            {"name": "a", "lastRefreshed": "2026-01-02T03:04:05+00:00", "version": "v1"},
            {"name": "c", "lastRefreshed": "2026-01-02T03:04:05+00:00", "version": "v1"},
            {"name": "nowhere", "lastRefreshed": "2026-01-02T03:04:05+00:00"},
            {"name": "b", "lastRefreshed": "2026-01-02T05:04:05+02:00", "version": None},
        ],
    )
    assert [(outcome["name"], outcome["reason"]) for outcome in outcomes] == [
        ("a", None),
        ("c", "BUNDLE_NOT_GRANTED"),
        ("nowhere", "UNKNOWN_BUNDLE"),
        ("b", None),
    ]
    limited.send("UpdateBundleStates", states=[{"name": "a", "lastRefreshed": "2026-01-03T00:00:00Z", "version": None}])

    states = limited.send("BundleStates", names=["b", "a", "c", "nowhere"])
    assert states == [
        {"name": "a", "lastRefreshed": "2026-01-03T00:00:00+00:00", "version": "v1"},
        {"name": "b", "lastRefreshed": "2026-01-02T03:04:05+00:00", "version": None},
    ]
    assert [state["version"] for state in registered.send("BundleStates", names=["c"])] == [None]


def _reconcile(processor: RegisteredProcessor, files: list[str], observed: list[str] | None = None) -> dict[str, Any]:
    return processor.send(
        "ReconcileBundle",
        input={"bundleName": "dags", "files": files, "observedFilelocs": files if observed is None else observed},
    )


def _reconcile_with(gateway: Gateway, token: str, files: list[str]) -> None:
    variables = {"input": {"bundleName": "dags", "files": files, "observedFilelocs": files}}
    payload = gateway.data(operation_documents()["ReconcileBundle"], variables, token=token)["reconcileBundle"]
    assert payload["status"] == "ACCEPTED"


def _ledger_files() -> set[str]:
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from parsegate.resolvers.tables import ParsedFile as LedgerRow

    with create_session() as session:
        return set(session.scalars(select(LedgerRow.relative_fileloc)))


def test_deleted_files_lose_dags_import_errors_and_ledger_rows(
    processor: RegisteredProcessor, daily: ParsedFile, broken: ParsedFile
) -> None:
    processor.record_files(daily, broken)
    unchanged = _reconcile(processor, ["daily.py", "broken.py"])
    assert (unchanged["deactivatedDagIds"], unchanged["removedImportErrorCount"], unchanged["forgottenFileCount"]) == (
        [],
        0,
        0,
    )

    payload = _reconcile(processor, [])
    assert payload["status"] == "ACCEPTED"
    assert (payload["deactivatedDagIds"], payload["removedImportErrorCount"], payload["forgottenFileCount"]) == (
        ["daily"],
        1,
        2,
    )
    assert not _ledger_files()
    assert _reconcile(processor, [])["deactivatedDagIds"] == [], "it was stale already"


def test_a_file_that_left_a_zip_loses_its_dags_though_the_zip_stays(
    processor: RegisteredProcessor, tmp_path: Path
) -> None:
    dag_files.write_zip(
        tmp_path / "packed.zip",
        kept=dag_files.DAILY.format(dag_id="kept"),
        gone=dag_files.DAILY.format(dag_id="gone"),
    )
    processor.record_files(*parse("dags", tmp_path))
    payload = _reconcile(processor, ["packed.zip"], ["packed.zip/kept.py"])
    assert payload["deactivatedDagIds"] == ["gone"]
    assert _ledger_files() == {"packed.zip"}


def test_reconciling_touches_no_other_bundle(gateway: Gateway, daily: ParsedFile, broken: ParsedFile) -> None:
    processor = RegisteredProcessor(gateway)
    processor.sync("dags", "others")
    processor.record(daily.as_input(bundleName="others"), broken.as_input(bundleName="others"))
    payload = _reconcile(processor, [])
    assert (payload["deactivatedDagIds"], payload["removedImportErrorCount"], payload["forgottenFileCount"]) == (
        [],
        0,
        0,
    )
    assert _ledger_files() == {"daily.py", "broken.py"}

    limited = RegisteredProcessor(gateway, ["others"])
    assert _reconcile(limited, [])["reason"] == "BUNDLE_NOT_GRANTED"


def test_reconciling_leaves_the_rows_that_stock_leaves(airflow_databases: AirflowDatabases, tmp_path: Path) -> None:
    from airflow.dag_processing.manager import DagFileProcessorManager
    from airflow.utils.session import create_session

    dag_files.write(
        tmp_path,
        assets=dag_files.ASSETS,
        kept=dag_files.DAILY.format(dag_id="kept"),
        broken=dag_files.BROKEN,
        also_broken=dag_files.BROKEN,
    )
    files = parse("dags", tmp_path)
    stock, ours = airflow_databases.create(), airflow_databases.create()
    observed = {"kept.py", "broken.py"}
    for database in (stock, ours):
        with database.in_use():
            gateway = Gateway(database)
            processor = RegisteredProcessor(gateway, registrationId=str(uuid.uuid4()))
            processor.sync("dags")
            processor.record_files(*files)
            gateway.close()

    class Manager:
        _get_observed_filelocs = staticmethod(lambda present: present)

        class log:
            debug = exception = staticmethod(lambda *_: None)

    for _ in range(2):  # the first time Airflow leaves references of what it has just deactivated
        with stock.in_use():
            DagFileProcessorManager.deactivate_deleted_dags(Manager, "dags", observed)  # type: ignore[arg-type]
            with create_session() as session:
                DagFileProcessorManager.clear_orphaned_import_errors.__wrapped__(  # type: ignore[attr-defined]
                    Manager, "dags", observed, session=session
                )
        with ours.in_use():
            gateway = Gateway(ours)
            _reconcile_with(gateway, gateway.job_token(processor.job_id), sorted(observed))
            gateway.close()
        assert differences(stock.url, ours.url) == []
    for database in (stock, ours):
        airflow_databases.drop(database)


def test_a_large_bundle_is_reconciled(processor: RegisteredProcessor) -> None:
    from airflow._shared.timezones.timezone import utcnow
    from airflow.utils.session import create_session

    from parsegate.resolvers.tables import ParsedFile as LedgerRow

    with create_session() as session:
        session.add_all(
            LedgerRow(
                bundle_name="dags",
                relative_fileloc=f"{number}.py",
                status="STORED",
                last_parsed_at=utcnow(),
                job_id=1,
                attempt_id=str(number),
                sequence=1,
            )
            for number in range(2500)
        )
    payload = _reconcile(processor, [f"{number}.py" for number in range(2400, 40_000)])
    assert payload["forgottenFileCount"] == 2400
    assert len(_ledger_files()) == 100
