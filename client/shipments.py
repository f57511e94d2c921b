"""Entries of the outbox as operations of the contract, each with the entries that it delivers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from . import agent_inputs, protocol
from .entries import Entry
from .generated.client import Client
from .generated.enums import OutcomeStatus, RefusalReason
from .generated.input_types import UnchangedResultsInput
from .generated.record_unchanged_results import RecordUnchangedResults
from .gql_base_client import Operation


class Outcome(Protocol):
    """What all outcomes of the contract have."""

    status: OutcomeStatus
    reason: RefusalReason | None
    message: str | None


@dataclass
class Shipment:
    """One operation and the entries that it delivers.

    :param outcomes: from the operation's result, one outcome for each entry; None for a parse result that is wanted in
        full
    """

    entries: list[Entry]
    operation: Operation[Any]
    outcomes: Callable[[Any], Sequence[Outcome | None]]

    @property
    def names_results(self) -> bool:
        """Whether it delivers parse results by their fingerprints."""
        return any(entry.unchanged for entry in self.entries)


def shipments(client: Client, batch: Sequence[Entry], *, fingerprints: bool) -> list[Shipment]:
    """Operations in the order of the entries, which matters between results and observations of files; consecutive
    results share two, and acknowledgements of a kind share one behind them.

    :param fingerprints: whether the gateway takes them
    """
    made: list[Shipment] = []
    unchanged: list[Entry] = []
    in_full: list[Entry] = []
    later: dict[str, list[Entry]] = {}

    def end_run() -> None:
        # Whatever order files of one run are stored in, their parses might have ended in it.
        if unchanged:
            made.append(_unchanged(client, list(unchanged)))
            unchanged.clear()
        if in_full:
            made.append(_in_full(client, list(in_full), fingerprints))
            in_full.clear()

    for entry in batch:
        if entry.is_result:
            (unchanged if entry.unchanged else in_full).append(entry)
            continue
        match message := entry.message:
            case protocol.SyncBundles():
                operation = client.sync_bundles(agent_inputs.sync_bundles(message))
                made.append(Shipment([entry], operation, lambda data: [data.sync_bundles]))
            case protocol.FilesObserved():
                end_run()
                operation = client.reconcile_bundle(agent_inputs.observed_files(message))
                made.append(Shipment([entry], operation, lambda data: [data.reconcile_bundle]))
            case protocol.ScanStale():
                end_run()
                operation = client.deactivate_stale_dags(agent_inputs.stale_scan(message))
                made.append(Shipment([entry], operation, lambda data: [data.deactivate_stale_dags]))
            case protocol.PurgeWarnings():
                operation = client.purge_inactive_dag_warnings()
                made.append(Shipment([entry], operation, lambda data: [data.purge_inactive_dag_warnings]))
            case protocol.BundleRefreshed():
                later.setdefault("refreshed", []).append(entry)
            case protocol.CallbackSettled():
                kind = "ran" if message.outcome in agent_inputs.RAN else "not_run"
                later.setdefault(kind, []).append(entry)
            case protocol.ParseRequestReleased():
                later.setdefault("unparsed", []).append(entry)
            case protocol.ParseResult():
                pass  # above
    end_run()
    made.extend(_shared(client, kind, entries) for kind, entries in later.items())
    return made


def _in_full(client: Client, entries: list[Entry], fingerprints: bool) -> Shipment:
    results = [
        agent_inputs.parse_result(message, entry.lease_ids, entry.fingerprint if fingerprints else None)
        for entry in entries
        if isinstance(message := entry.message, protocol.ParseResult)
    ]
    return Shipment(entries, client.record_parse_results(results), lambda data: data.record_parse_results)


def _unchanged(client: Client, entries: list[Entry]) -> Shipment:
    batches: dict[tuple[str, str, str | None, bytes], UnchangedResultsInput] = {}
    for entry in entries:
        header = entry.header
        version_data = msgspec.msgpack.encode(header.version_data)
        key = (header.bundle_name, header.bundle_path, header.bundle_version, version_data)
        if (batch := batches.get(key)) is None:
            batch = batches[key] = agent_inputs.unchanged_results(header)
        batch.results.append(agent_inputs.unchanged_result(header, entry.lease_ids, entry.fingerprint or ""))

    def outcomes(data: RecordUnchangedResults) -> list[Outcome | None]:
        outcome = data.record_unchanged_results
        refused = outcome.status is OutcomeStatus.REFUSED
        if refused and outcome.reason is not RefusalReason.JOB_CLOSED:
            # Which of them is to blame is said of those that are sent in full.
            return [None for _ in entries]
        wanted = frozenset(outcome.wanted)
        return [None if entry.attempt_id in wanted else outcome for entry in entries]

    return Shipment(entries, client.record_unchanged_results(list(batches.values())), outcomes)


def _shared(client: Client, kind: str, entries: list[Entry]) -> Shipment:
    messages: list[Any] = [entry.message for entry in entries]
    match kind:
        case "refreshed":
            states = client.update_bundle_states([agent_inputs.bundle_state(message) for message in messages])
            return Shipment(entries, states, lambda data: data.update_bundle_states)
        case "ran":
            ran = client.acknowledge_callbacks([agent_inputs.acknowledgement(message) for message in messages])
            return Shipment(entries, ran, lambda data: data.acknowledge_callbacks)
        case "not_run":
            not_run = client.release_callbacks([agent_inputs.release(message) for message in messages])
            return Shipment(entries, not_run, lambda data: data.release_callbacks)
        case _:
            unparsed = client.release_parse_requests([message.lease_id for message in messages])
            return Shipment(entries, unparsed, lambda data: data.release_parse_requests)
