"""What the plugin adds to Airflow; tests/e2e/test_airflow_ui.py uses it in a real API server."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from types import ModuleType

import pytest

from parsegate.gateway import airflow_plugin


@pytest.fixture
def reloaded(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The plugin as a process finds it that starts with this configuration."""
    monkeypatch.setenv("AIRFLOW__PARSEGATE__MOUNT_IN_API_SERVER", "True")
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/team")
    return importlib.reload(airflow_plugin)


def test_airflow_finds_it_and_nothing_is_mounted_unless_it_is_asked_for() -> None:
    [entry_point] = [found for found in entry_points(group="airflow.plugins") if found.name == "parsegate"]

    plugin = entry_point.load()

    assert plugin.fastapi_apps == []
    assert plugin.external_views == []


def test_the_view_is_below_the_path_at_which_airflow_is_served(reloaded: ModuleType) -> None:
    [app] = reloaded.ParsegatePlugin.fastapi_apps
    [view] = reloaded.ParsegatePlugin.external_views

    assert app["url_prefix"] == "/parsegate"
    assert view["href"] == "/team/parsegate/"
