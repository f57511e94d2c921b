"""Who gets which directory, configuration and environment in ``parsegate standalone``.

``AIRFLOW_HOME`` is the trusted side's: ``airflow.cfg`` with the keys, ``airflow.db``. The processor gets
``AIRFLOW_HOME/processor`` with a configuration that names the gateway and holds no secret, and an environment without a
single variable of Airflow's, so that it starts as it would on a host of its own.
"""

from __future__ import annotations

import configparser
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BUNDLE_NAME = "dags"

_NO_DATABASE = "sqlite:////nonexistent/airflow.db"
_PASSED_ON = "AIRFLOW__DAG_PROCESSOR__"


@dataclass(frozen=True)
class StandaloneHome:
    """The files and environments of one ``AIRFLOW_HOME``.

    :param path: ``AIRFLOW_HOME``
    :param dags: the folder of DAG files, bundle ``dags``
    :param load_examples: whether Airflow's example plugins are loaded on both sides; its example DAGs need them
    :param inherited: the environment that ``standalone`` itself was started with
    """

    path: Path
    dags: Path
    load_examples: bool
    inherited: Mapping[str, str]

    @property
    def database(self) -> Path:
        return self.path / "airflow.db"

    @property
    def processor(self) -> Path:
        return self.path / "processor"

    @property
    def logs(self) -> Path:
        return self.path / "logs" / "parsegate"

    @property
    def processor_token(self) -> Path:
        return self.processor / "processor.token"

    @property
    def operator_token(self) -> Path:
        return self.path / "parsegate" / "operator.token"

    def dag_files(self) -> set[str]:
        """Paths in the bundle of what a processor takes for DAG files."""
        # Not before the migration: importing Airflow writes airflow.cfg where there is none.
        from airflow.utils.file import list_py_file_paths

        return {str(Path(path).relative_to(self.dags)) for path in list_py_file_paths(self.dags, safe_mode=True)}

    def make_directories(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        for directory in (self.processor, self.operator_token.parent):
            directory.mkdir(mode=0o700, exist_ok=True)

    def trusted_environment(self) -> dict[str, str]:
        """For the migrations, ``parsegate token`` and the gateway: all that was inherited, and this home's database."""
        database_url = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
        environment = {
            name: value for name, value in self.inherited.items() if not name.upper().startswith(database_url)
        }
        environment |= {
            "AIRFLOW_HOME": str(self.path),
            database_url: f"sqlite:///{self.database}",
            "AIRFLOW__CORE__LOAD_EXAMPLES": str(self.load_examples),
        }
        if not self._has_token_keys():
            environment["AIRFLOW__API_AUTH__JWT_SECRET"] = self._own_jwt_secret()
        return environment

    def processor_environment(self) -> dict[str, str]:
        """For the processor: what was inherited without Airflow's variables, but for ``[dag_processor]``."""
        environment = {
            name: value
            for name, value in self.inherited.items()
            if not name.upper().startswith(("AIRFLOW", "_AIRFLOW"))
            or (name.startswith(_PASSED_ON) and "BUNDLE" not in name)
        }
        return environment | {"AIRFLOW_HOME": str(self.processor)}

    def write_processor_configuration(self, url: str) -> None:
        """Write the processor's own ``airflow.cfg``; ``url`` is the gateway's."""
        bundle = {
            "name": BUNDLE_NAME,
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(self.dags)},
        }
        configuration = configparser.RawConfigParser()
        configuration.read_dict(
            {
                "core": {"load_examples": str(self.load_examples), "dags_folder": str(self.dags)},
                "database": {"sql_alchemy_conn": _NO_DATABASE},
                "dag_processor": {"dag_bundle_config_list": json.dumps([bundle])},
                "logging": {"base_log_folder": str(self.processor / "logs")},
                "parsegate": {"url": url, "token_path": str(self.processor_token)},
            }
        )
        with (self.processor / "airflow.cfg").open("w") as file:
            configuration.write(file)

    def _has_token_keys(self) -> bool:
        """Whether Airflow's configuration names keys for tokens, or will: the ``airflow.cfg`` that it writes does."""
        if any(name.upper().startswith("AIRFLOW__API_AUTH__JWT_") for name in self.inherited):
            return True
        configuration = configparser.RawConfigParser(strict=False, allow_no_value=True)
        if not configuration.read(self.path / "airflow.cfg"):
            return True
        return any(
            configuration.get("api_auth", f"{option}{suffix}", fallback=None)
            for option in ("jwt_secret", "jwt_private_key_path")
            for suffix in ("", "_cmd", "_secret")
        )

    def _own_jwt_secret(self) -> str:
        """A key made once and kept beside the operator token: Airflow would make one up anew in each process."""
        path = self.operator_token.parent / "jwt_secret"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return path.read_text()
        with open(descriptor, "w") as file:
            file.write(secrets.token_hex(64))
        return path.read_text()
