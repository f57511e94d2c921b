"""What Airflow learns about parsegate through the entry point ``apache_airflow_provider``: settings and tables.

Airflow imports this wherever parsegate is installed, the processor included, so it imports no server framework.
"""

from __future__ import annotations

from typing import Any

from .settings import declarations


def get_provider_info() -> dict[str, Any]:
    """The provider's description, as ``airflow/provider_info.schema.json`` has it."""
    return {
        "package-name": "parsegate",
        "name": "parsegate",
        "description": "A GraphQL gateway for the metadata of Airflow's DAG processor.",
        "config": declarations(),
        "db-managers": ["parsegate.gateway.db_manager.ParsegateDBManager"],
    }
