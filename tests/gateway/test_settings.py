"""Section ``[parsegate]``: declared to Airflow as a provider's, typed, with one default each."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from airflow.configuration import conf
from airflow.exceptions import AirflowConfigException

from parsegate.client.settings import ProcessorSettings, read_processor_settings
from parsegate.gateway import settings
from parsegate.gateway.provider import get_provider_info
from parsegate.resolvers.settings import LEASE_DURATION, Option

OPTIONS = get_provider_info()["config"]["parsegate"]["options"]


def test_the_provider_s_description_is_valid_for_airflow() -> None:
    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_airflow_knows_the_options_and_their_defaults() -> None:
    for name, option in OPTIONS.items():
        assert conf.get("parsegate", name) == option["default"], name
        assert option["description"].endswith("."), name


@pytest.mark.parametrize("option", settings.GATEWAY_OPTIONS, ids=lambda option: option.name)
def test_an_option_that_nobody_sets_is_its_default(option: Option[Any]) -> None:
    assert option.read() == option.default
    assert type(option.read()) is type(option.default)


def test_an_option_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__PARSEGATE__LEASE_DURATION", "90.5")
    monkeypatch.setenv("AIRFLOW__PARSEGATE__ALLOW_BUNDLE_TAKEOVER", "True")
    assert LEASE_DURATION.read() == 90.5
    assert next(option for option in settings.GATEWAY_OPTIONS if option.name == "allow_bundle_takeover").read() is True


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", ""])
def test_a_value_that_makes_no_sense_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("AIRFLOW__PARSEGATE__LEASE_DURATION", value)
    with pytest.raises(AirflowConfigException, match="lease_duration"):
        LEASE_DURATION.read()


def test_a_secret_option_may_come_from_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__PARSEGATE__PROXY_CMD", "echo http://proxy.example.com")
    assert (conf.get("parsegate", "proxy") or "").strip() == "http://proxy.example.com"


def test_the_processor_reads_the_options_that_are_declared_for_it_with_their_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    declared = {option.name: option.default for option in settings.PROCESSOR_OPTIONS}
    monkeypatch.setenv("AIRFLOW__PARSEGATE__URL", "https://gateway.example.com/graphql")
    monkeypatch.setenv("AIRFLOW__PARSEGATE__TOKEN_PATH", "/token")
    read = read_processor_settings(conf)
    assert set(ProcessorSettings.__dataclass_fields__) == set(declared)
    for name in declared.keys() - {"url", "token_path"}:
        assert getattr(read, name) == (declared[name] or None), name
