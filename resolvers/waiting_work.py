"""What a processor asks for every other second: is there work for it, and what are the states of its bundles?"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow.models.dagbundle import DagBundleModel

from . import callbacks, jobs, parse_requests
from .bundles import BundleState

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from .principal import Principal


@dataclass(frozen=True)
class WaitingWork:
    """
    :param callbacks: whether a claim of callbacks would find any
    :param parse_requests: whether a claim of priority parse requests would find any
    :param bundle_states: of the bundles that were asked about, are granted and known, by name
    """

    callbacks: bool
    parse_requests: bool
    bundle_states: list[BundleState]


def look(session: Session, principal: Principal, bundle_names: Collection[str]) -> WaitingWork:
    """What waits for the caller, in one query that takes no lock.

    :raises Refusal: JOB_CLOSED
    """
    granted = sorted({name for name in bundle_names if principal.grants_bundle(name)})
    rows = jobs.read_while_running(
        session,
        principal,
        callbacks.wait(principal).label("callbacks"),
        parse_requests.wait(principal).label("parse_requests"),
        DagBundleModel.name,
        DagBundleModel.last_refreshed,
        DagBundleModel.version,
        beside=(DagBundleModel, DagBundleModel.name.in_(granted)),
    )
    return WaitingWork(
        callbacks=bool(rows[0].callbacks),
        parse_requests=bool(rows[0].parse_requests),
        bundle_states=sorted(
            (BundleState(row.name, row.last_refreshed, row.version) for row in rows if row.name is not None),
            key=lambda state: state.name,
        ),
    )
