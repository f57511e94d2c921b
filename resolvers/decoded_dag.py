"""A DAG as Airflow's write path takes it, whose document is decoded and hashed once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.models.serialized_dag import SerializedDagModel
from airflow.serialization.enums import Encoding
from airflow.serialization.helpers import is_core_timetable_import_path
from airflow.serialization.serialized_objects import DagSerialization, LazyDeserializedDAG

if TYPE_CHECKING:
    from airflow.timetables.base import Timetable

    from .parse_result import DagDocument


_hash = SerializedDagModel.hash


class DecodedDag(LazyDeserializedDAG):
    """What a processor serialized, as Airflow 3.3.2 takes it."""

    @property
    def timetable(self) -> Timetable:
        """Airflow decodes it anew at each access, about 15 times for each DAG that it stores.

        Only its own timetables are known to keep no state. Of a deployment's own each access gets a new one, as ever.
        """
        if is_core_timetable_import_path(self.data["dag"]["timetable"][Encoding.TYPE]):
            return self._real_dag.timetable
        return super().timetable

    @property
    def hash(self) -> str:
        """The document's ``dag_hash``. With a deadline it has none that lasts: Airflow puts random ids in its place."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return _hash(self.data)


def decoded_dag(dag: DagDocument) -> DecodedDag:
    return DecodedDag(data=_own(dag.document), last_loaded=dag.last_loaded)


def is_of_this_version(document: Any) -> bool:
    """Whether Airflow need not convert the document, which it does in place and in the middle of writing."""
    return document["__version"] == DagSerialization.SERIALIZER_VERSION


def _own(document: Any) -> Any:
    """Airflow 3.3.0 replaces a deadline in place. A result is written again when the database interrupts."""
    return {**document, "dag": {**document["dag"]}} if has_deadline(document) else document


def has_deadline(document: Any) -> bool:
    return bool(document["dag"].get("deadline"))
