"""Which processors this gateway can serve: the versions exchanged at registration."""

from __future__ import annotations

import re

from airflow import __version__ as AIRFLOW_VERSION

from .. import __version__ as PARSEGATE_VERSION
from .refusals import Refusal, RefusalReason

__all__ = ["AIRFLOW_VERSION", "CONTRACT_VERSION", "PARSEGATE_VERSION", "require_compatible"]

CONTRACT_VERSION = "1.0"
"""Version of ``schema.graphql``: the first number changes when an older client can no longer work with it."""


def require_compatible(*, airflow_version: str, contract_version: str) -> None:
    """Refuse a processor whose documents or requests this gateway could misread.

    A serialized DAG is only sure to mean the same within one minor version of Airflow.
    """
    if _leading_numbers(airflow_version, 2) != _leading_numbers(AIRFLOW_VERSION, 2):
        raise Refusal(
            RefusalReason.VERSION_MISMATCH,
            f"The processor runs Airflow {airflow_version}, the gateway {AIRFLOW_VERSION}: "
            "major and minor must be equal. Upgrade the gateway first, then the processors.",
        )
    if _leading_numbers(contract_version, 1) != _leading_numbers(CONTRACT_VERSION, 1):
        raise Refusal(
            RefusalReason.VERSION_MISMATCH,
            f"The processor was built for contract {contract_version}, the gateway serves {CONTRACT_VERSION}: "
            "the first number must be equal. Run the same release of parsegate on both sides.",
        )


def _leading_numbers(version: str, count: int) -> list[str] | None:
    match = re.match(r"\d+(\.\d+)*", version)
    numbers = match.group().split(".") if match else []
    return numbers[:count] if len(numbers) >= count else None
