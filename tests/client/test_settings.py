"""Section ``[parsegate]`` as the processor reads it, through Airflow's own configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.configuration import conf

from parsegate.client.settings import SettingsError, read_processor_settings

REQUIRED = {"URL": "https://gateway.example/graphql", "TOKEN_PATH": "/run/parsegate/token"}


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch):
    def set_all(**settings: str) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(f"AIRFLOW__PARSEGATE__{name}", value)

    return set_all


def test_two_settings_are_enough(configure):
    configure(**REQUIRED)
    settings = read_processor_settings(conf)
    assert settings.url == REQUIRED["URL"]
    assert settings.token_path == Path(REQUIRED["TOKEN_PATH"])
    assert (settings.startup_timeout, settings.poll_interval) == (300.0, 2.0)
    assert settings.compress_above == 1024
    assert settings.run_as_user is settings.agent_socket is settings.proxy is settings.ca_path is None


def test_every_setting_is_read_with_its_type(configure):
    configure(
        **REQUIRED,
        CA_PATH="/etc/ca.pem",
        CLIENT_CERTIFICATE_PATH="/etc/client.pem",
        CLIENT_KEY_PATH="/etc/client.key",
        PROXY="http://proxy.example:3128",
        STARTUP_TIMEOUT="12.5",
        POLL_INTERVAL="0.5",
        COMPRESS_ABOVE="-1",
        STATUS_PATH="/run/status.json",
        RUN_AS_USER="root",
    )
    settings = read_processor_settings(conf)
    assert settings.ca_path == Path("/etc/ca.pem")
    assert settings.client_certificate_path == Path("/etc/client.pem")
    assert settings.client_key_path == Path("/etc/client.key")
    assert settings.proxy == "http://proxy.example:3128"
    assert (settings.startup_timeout, settings.poll_interval) == (12.5, 0.5)
    assert settings.compress_above is None
    assert settings.status_path == Path("/run/status.json")
    assert settings.run_as_user == "root"


def test_a_sidecar_agent_needs_neither_url_nor_token(configure):
    configure(AGENT_SOCKET="/run/parsegate/agent.sock")
    assert read_processor_settings(conf).agent_socket == Path("/run/parsegate/agent.sock")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"TOKEN_PATH": "/token"}, "url"),
        ({"URL": "https://gateway.example/graphql"}, "token_path"),
        ({**REQUIRED, "URL": "gateway.example"}, "url"),
        ({**REQUIRED, "STARTUP_TIMEOUT": "soon"}, "startup_timeout"),
        ({**REQUIRED, "POLL_INTERVAL": "0"}, "poll_interval"),
        ({**REQUIRED, "COMPRESS_ABOVE": "large"}, "compress_above"),
        ({**REQUIRED, "COMPRESS_ABOVE": "-2"}, "compress_above"),
        ({**REQUIRED, "CLIENT_KEY_PATH": "/key"}, "client_key_path"),
        ({**REQUIRED, "RUN_AS_USER": "no-such-user"}, "run_as_user"),
    ],
)
def test_a_mistake_names_its_setting(configure, settings: dict[str, str], named: str):
    configure(**settings)
    with pytest.raises(SettingsError, match=rf"\[parsegate\] {named}|{named} is set"):
        read_processor_settings(conf)
