"""What every parse child would import and set up for itself, done once before the manager forks."""

from __future__ import annotations

import datetime
import logging

from airflow.configuration import conf
from airflow.sdk import DAG, BaseOperator
from airflow.serialization.serialized_objects import DagSerialization

log = logging.getLogger(__name__)


def preload() -> None:
    """Serialize a DAG as the children do, unless ``[dag_processor] parsing_pre_import_modules`` is off.

    On its way Airflow imports modules of the standard provider, which takes a third of the time of parsing a small
    file, and reads its schema. Airflow's own import of what a file names (``_pre_import_airflow_modules`` in
    ``airflow/dag_processing/processor.py``) doesn't get to these. No plugin is loaded, and no DAG file.
    """
    if not conf.getboolean("dag_processor", "parsing_pre_import_modules", fallback=True):
        return
    try:
        with DAG("preload", schedule="@daily", start_date=datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)) as dag:
            BaseOperator(task_id="preload")
        DagSerialization.to_dict(dag)
    except Exception:  # a provider's module may raise anything; each file that needs it then says so
        log.warning("What the processes of DAG files need could not be loaded before", exc_info=True)
