"""Parse results counted by what became of them, once their transactions are committed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from . import metrics
from .receipts import Receipt, ReceiptStatus

if TYPE_CHECKING:
    from .parse_result import ParseResult, UnchangedResult


def count_results(results: Iterable[ParseResult], receipts: Iterable[Receipt]) -> None:
    """Count results that were sent in full."""
    counts = Counter(_labels(result, receipt) for result, receipt in zip(results, receipts, strict=True))
    for labels, count in counts.items():
        metrics.PARSE_RESULTS.add(*labels, count=count)


def count_unchanged(results: Collection[UnchangedResult], recorded: Collection[str]) -> None:
    """Count results that were named by their fingerprints; those that are wanted come again and are counted then.

    :param recorded: attempts that are recorded
    """
    bundles = Counter(result.bundle_name for result in results if result.attempt_id in recorded)
    for bundle_name, count in bundles.items():
        metrics.PARSE_RESULTS.add("unchanged", "", bundle_name, count=count)
    recognized = bundles.total()
    if recognized:
        metrics.FINGERPRINTS.add("recognized", count=recognized)
    if recognized < len(results):
        metrics.FINGERPRINTS.add("wanted", count=len(results) - recognized)


def _labels(result: ParseResult, receipt: Receipt) -> tuple[str, str, str]:
    # Of what left nothing in the ledger, nobody knows whether there is such a bundle: callers could name any.
    bundle_name = result.bundle_name if receipt.recorded_at is not None else ""
    if receipt.repeated:
        return "repeated", "", bundle_name
    if receipt.status is ReceiptStatus.REFUSED:
        return "refused", receipt.reason.value if receipt.reason else "", bundle_name
    if receipt.status is ReceiptStatus.FAILED:
        return "failed", "", ""
    return "timed_out" if result.timed_out else "stored", "", bundle_name
