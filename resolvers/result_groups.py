"""Which parse results may be stored together, in one transaction and with one call of Airflow's write path.

That call must leave in Airflow's tables what a call for each result, in their order, would have left. Most results have
nothing to do with each other. Those that have are told by the facts that they state: results that state the same fact
differently are kept apart, as is a result whose writing looks at more than its own DAGs and assets.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .decoded_dag import is_of_this_version

if TYPE_CHECKING:
    from .attempts import Attempt

log = logging.getLogger(__name__)

MOST_FILES = 50
MOST_DAGS = 200
"""A transaction keeps the rows of its DAGs from the scheduler."""

Facts = Mapping[Hashable, Any]


def grouped(attempts: Iterable[Attempt]) -> Generator[list[Attempt]]:
    """Runs of ``attempts`` that may be stored together, in order; each attempt is looked at when its turn comes."""
    group: list[Attempt] = []
    agreed: dict[Hashable, Any] = {}
    for attempt in attempts:
        facts = _facts(attempt)
        if group and not (agreed and facts and _has_room(group, attempt) and _agree(agreed, facts)):
            yield group
            group, agreed = [], {}
        group.append(attempt)
        agreed.update(facts or {})
    if group:
        yield group


def _has_room(group: list[Attempt], attempt: Attempt) -> bool:
    dag_count = sum(len(other.dags) for other in group)
    return len(group) < MOST_FILES and dag_count + len(attempt.dags) <= MOST_DAGS


def _agree(agreed: Facts, facts: Facts) -> bool:
    return all(agreed.get(name, value) == value for name, value in facts.items())


def _facts(attempt: Attempt) -> Facts | None:
    """What the attempt says that another might say differently; None if it is to be stored by itself."""
    result = attempt.result
    if attempt.dismissal is not None:
        return None
    facts: dict[Hashable, Any] = {
        "bundle": result.bundle_name,
        ("row of the ledger", result.relative_fileloc): result.attempt_id,
    }
    if not attempt.is_storable:
        return facts
    if not _keeps_to_itself(attempt):
        return None
    # One value for all files of a call. As text, because 1 and True are equal and not the same.
    facts["version"] = (result.bundle_path, result.bundle_version, repr(result.version_data))
    facts |= {("source", fileloc): text for fileloc, text in result.sources.items()}
    facts |= {("DAG", dag.dag_id): result.relative_fileloc for dag in attempt.dags}
    facts |= {("alias", name): repr(alias) for name, alias in attempt.assets.asset_aliases.items()}
    for (name, uri), asset in attempt.assets.assets.items():
        # Airflow takes the last description, and of assets with one name or one URI it activates the first.
        said: dict[Hashable, Any] = {
            ("asset", name, uri): repr(asset),
            ("asset name", name): uri,
            ("asset URI", uri): name,
        }
        if not _agree(facts, said):
            return None
        facts |= said
    return facts


def _keeps_to_itself(attempt: Attempt) -> bool:
    """Whether what is written for the attempt depends on its own DAGs and assets alone."""
    result = attempt.result
    if result.import_errors:
        # Airflow marks whatever DAGs have the path of an error, and tells listeners, who must not hear it twice.
        return False
    own = {dag.dag_id for dag in attempt.dags}
    if any(warning.dag_id not in own for warning in result.warnings):
        # Whoever is stored later takes a warning about its DAGs away.
        return False
    if not all(is_of_this_version(dag.data) for dag in attempt.dags):
        return False
    try:
        for dag in attempt.dags:
            _ = dag._real_dag  # pyright: ignore[reportPrivateUsage]
        assets = attempt.assets.assets.values()
    except Exception:  # a decoder raises anything; stored by itself, the result is refused for it
        log.debug("%s of bundle %s can't be decoded", result.relative_fileloc, result.bundle_name, exc_info=True)
        return False
    # An asset gets its triggers, and loses them when nobody is scheduled by it, in each call anew.
    return not any(asset.watchers for asset in assets)
