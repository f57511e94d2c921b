"""Parse results made ready for being stored: judged and decoded as far as that needs no database.

Transactions are the shorter for it: on SQLite each of them shuts out every other writer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from airflow.dag_processing.collection import AssetModelOperation

from . import documents
from .decoded_dag import DecodedDag, decoded_dag
from .refusals import Refusal, RefusalReason

if TYPE_CHECKING:
    from .ledger import FileKey
    from .parse_result import ParseResult
    from .principal import Principal


@dataclass(frozen=True, eq=False)
class Attempt:
    """
    :param dismissal: why nothing is recorded of it: its file is not the caller's to speak of, or can't be named
    :param objection: why it can't be stored, whatever is stored already
    :param dags: what Airflow's tables get of it; none of a result that can't be stored
    """

    result: ParseResult
    dismissal: Refusal | None = None
    objection: Refusal | None = None
    dags: Sequence[DecodedDag] = ()

    @property
    def file(self) -> FileKey:
        return self.result.bundle_name, self.result.relative_fileloc

    @property
    def is_storable(self) -> bool:
        """Whether Airflow's tables are written, if nothing that is stored already stands against it."""
        return not (self.dismissal or self.objection or self.result.timed_out)

    @cached_property
    def assets(self) -> AssetModelOperation:
        """What its DAGs say of assets.

        :raises Exception: what Airflow's decoders raise when they meet what they don't know
        """
        return AssetModelOperation.collect({dag.dag_id: dag for dag in self.dags})


def made_ready(principal: Principal, result: ParseResult) -> Attempt:
    try:
        if not principal.grants_bundle(result.bundle_name):
            raise Refusal(RefusalReason.BUNDLE_NOT_GRANTED, f"The token does not grant bundle {result.bundle_name}.")
        documents.check_identity(result)
    except Refusal as refusal:
        return Attempt(result, dismissal=refusal)
    try:
        documents.check_contents(result)
    except Refusal as refusal:
        return Attempt(result, objection=refusal)
    if result.timed_out:
        return Attempt(result)
    return Attempt(result, dags=[decoded_dag(dag) for dag in result.documents])
