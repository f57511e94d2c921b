"""What the manager hands over, as inputs of the contract."""

from __future__ import annotations

from . import protocol
from .generated.enums import AcknowledgedCallback, ReleasedCallback
from .generated.input_types import (
    BundleInput,
    BundleStateInput,
    CallbackAcknowledgementInput,
    CallbackReleaseInput,
    DagWarningInput,
    DeactivateStaleDagsInput,
    ImportErrorInput,
    ParseResultInput,
    ReconcileBundleInput,
    SerializedDagInput,
    SourceInput,
    SyncBundlesInput,
    UnchangedResultInput,
    UnchangedResultsInput,
)

RAN = frozenset(outcome.value for outcome in AcknowledgedCallback)
"""Outcomes of a callback that acknowledge it; any other releases it."""


def parse_result(
    message: protocol.ParseResult, lease_ids: list[str], fingerprint: str | None = None
) -> ParseResultInput:
    result = ParseResultInput(
        attempt_id=message.attempt_id,
        sequence=message.sequence,
        bundle_name=message.bundle_name,
        bundle_path=message.bundle_path,
        relative_fileloc=message.relative_fileloc,
        bundle_version=message.bundle_version,
        version_data=message.version_data,
        parse_duration=message.parse_duration,
        timed_out=message.timed_out,
        dags=[SerializedDagInput(document=dag.document, last_loaded=dag.last_loaded) for dag in message.dags],
        import_errors=[
            ImportErrorInput(relative_fileloc=fileloc, stacktrace=stacktrace)
            for fileloc, stacktrace in message.import_errors.items()
        ],
        warnings=[
            DagWarningInput(
                dag_id=str(warning.get("dag_id", "")),
                warning_type=str(warning.get("warning_type", "")),
                message=str(warning.get("message", "")),
            )
            for warning in message.warnings
        ],
        sources=[SourceInput(fileloc=fileloc, text=text) for fileloc, text in message.sources.items()],
        lease_ids=lease_ids,
    )
    if fingerprint is not None:
        # Not even a null otherwise: a gateway that is older than fingerprints would refuse it.
        result.fingerprint = fingerprint
    return result


def unchanged_results(header: protocol.ResultHeader) -> UnchangedResultsInput:
    """The bundle and version of ``header``, with no results yet."""
    return UnchangedResultsInput(
        bundle_name=header.bundle_name,
        bundle_path=header.bundle_path,
        bundle_version=header.bundle_version,
        version_data=header.version_data,
        results=[],
    )


def unchanged_result(header: protocol.ResultHeader, lease_ids: list[str], fingerprint: str) -> UnchangedResultInput:
    result = UnchangedResultInput(
        attempt_id=header.attempt_id,
        sequence=header.sequence,
        relative_fileloc=header.relative_fileloc,
        fingerprint=fingerprint,
        parse_duration=header.parse_duration,
    )
    if lease_ids:
        result.lease_ids = lease_ids
    return result


def sync_bundles(message: protocol.SyncBundles) -> SyncBundlesInput:
    return SyncBundlesInput(
        bundles=[
            BundleInput(
                name=bundle.name,
                path=bundle.path,
                team_name=bundle.team_name,
                view_url_template=bundle.view_url_template,
                template_params=bundle.template_params,
            )
            for bundle in message.bundles
        ],
        deactivate_missing=message.deactivate_missing,
    )


def bundle_state(message: protocol.BundleRefreshed) -> BundleStateInput:
    return BundleStateInput(name=message.bundle_name, last_refreshed=message.last_refreshed, version=message.version)


def observed_files(message: protocol.FilesObserved) -> ReconcileBundleInput:
    return ReconcileBundleInput(
        bundle_name=message.bundle_name,
        files=message.files,
        observed_filelocs=message.observed_filelocs,
        bundle_version=message.bundle_version,
    )


def stale_scan(message: protocol.ScanStale) -> DeactivateStaleDagsInput:
    return DeactivateStaleDagsInput(stale_dag_threshold=message.stale_dag_threshold)


def acknowledgement(message: protocol.CallbackSettled) -> CallbackAcknowledgementInput:
    return CallbackAcknowledgementInput(lease_id=message.lease_id, outcome=AcknowledgedCallback(message.outcome))


def release(message: protocol.CallbackSettled) -> CallbackReleaseInput:
    """An outcome that is none of the contract's counts as not started: the callback is to be tried again."""
    known = {outcome.value for outcome in ReleasedCallback}
    outcome = message.outcome if message.outcome in known else ReleasedCallback.NOT_STARTED.value
    return CallbackReleaseInput(lease_id=message.lease_id, outcome=ReleasedCallback(outcome))
