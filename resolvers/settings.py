"""Settings of section ``[parsegate]`` of Airflow's configuration: how one is declared, and those that resolvers read.

An option's default lives beside its description and nowhere else on the gateway's side:
:mod:`parsegate.gateway.provider` hands the declarations to Airflow, which shows them in ``airflow config list``. They
are read when they are needed, so ``AIRFLOW__PARSEGATE__*`` of the running process counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

SECTION = "parsegate"

Value = TypeVar("Value", bool, int, float, str)


@dataclass(frozen=True)
class Option(Generic[Value]):
    """One option of section ``[parsegate]``.

    :param name: its key
    :param default: what it is when nobody sets it; its Python type is the option's type
    :param description: what it is for, and its unit
    :param minimum: the least value that makes sense, for numbers
    :param example: a value for the documentation
    :param sensitive: whether Airflow masks it, and reads it from ``..._CMD`` and ``..._SECRET`` too
    """

    name: str
    default: Value
    description: str
    minimum: float | None = None
    example: str | None = None
    sensitive: bool = False

    def read(self) -> Value:
        """The configured value.

        :raises AirflowConfigException: it is not of the option's type, or below its minimum
        """
        # Airflow imports this module, for the declarations, in the middle of importing its configuration.
        from airflow.configuration import conf
        from airflow.exceptions import AirflowConfigException

        readers: dict[type, Callable[..., Any]] = {
            bool: conf.getboolean,
            int: conf.getint,
            float: conf.getfloat,
            str: conf.get,
        }
        value = readers[type(self.default)](SECTION, self.name, fallback=self.default)
        # Written so that NaN is refused too.
        if self.minimum is not None and not value >= self.minimum:
            raise AirflowConfigException(f"[{SECTION}] {self.name} is {value}; it must be at least {self.minimum}.")
        return value


LEASE_DURATION = Option(
    "lease_duration",
    60.0,
    "Seconds for which a processor may keep a claimed callback or priority parse request without renewing it. When "
    "they have passed, another processor may claim it.",
    minimum=5.0,
)
MAX_ATTEMPTS = Option(
    "max_attempts",
    3,
    "How many times a callback or priority parse request is handed out before it is parked: kept, but given to nobody "
    "any more.",
    minimum=1,
)
ALLOW_BUNDLE_TAKEOVER = Option(
    "allow_bundle_takeover",
    False,
    "Whether a parse result may take a DAG over from another active bundle that has a DAG of the same id. Stock "
    "Airflow lets the last one parsed win; parsegate refuses the result unless this is true.",
)

RESOLVER_OPTIONS = (LEASE_DURATION, MAX_ATTEMPTS, ALLOW_BUNDLE_TAKEOVER)
