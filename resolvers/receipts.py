"""What the processor is told became of a parse result."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from .ledger import FileStatus
from .refusals import Refusal, RefusalReason

if TYPE_CHECKING:
    from datetime import datetime

    from .tables import ParsedFile


class ReceiptStatus(Enum):
    """What became of a result."""

    ACCEPTED = "ACCEPTED"
    REFUSED = "REFUSED"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Receipt:
    """What became of one result; the counts are of what was stored, ``recorded_at`` is the ledger's time.

    :param recognizable: whether the same result will be recognised by its fingerprint
    :param repeated: whether this was said before, when the same attempt came for the first time
    """

    status: ReceiptStatus
    reason: RefusalReason | None = None
    message: str | None = None
    dag_count: int | None = None
    import_error_count: int | None = None
    recorded_at: datetime | None = None
    recognizable: bool = False
    repeated: bool = False


def refused(refusal: Refusal, recorded_at: datetime | None = None) -> Receipt:
    return Receipt(ReceiptStatus.REFUSED, reason=refusal.reason, message=refusal.message, recorded_at=recorded_at)


def first_answer(entry: ParsedFile) -> Receipt:
    """What was said when the attempt came that the ledger's row is of."""
    if entry.status == FileStatus.REFUSED.value:
        return Receipt(
            ReceiptStatus.REFUSED,
            reason=RefusalReason(entry.reason),
            message=entry.message,
            recorded_at=entry.last_parsed_at,
            repeated=True,
        )
    stored = entry.status == FileStatus.STORED.value
    return Receipt(
        ReceiptStatus.ACCEPTED,
        dag_count=entry.dag_count if stored else 0,
        import_error_count=entry.import_error_count if stored else 0,
        recorded_at=entry.last_parsed_at,
        recognizable=stored and entry.imprint is not None,
        repeated=True,
    )
