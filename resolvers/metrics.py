"""What the gateway counts, times and watches: each metric once, for Prometheus and for Airflow's own stats alike.

Prometheus asks for them at ``/metrics``. Airflow's stats (statsd, Datadog or OpenTelemetry, ``[metrics]``) are told as
things happen, under ``parsegate.NAME`` with the labels as tags; with ``[metrics] legacy_names_on`` also under
``parsegate.NAME.LABEL.LABEL``, because plain statsd drops tags. Labels have few values: names of bundles, of operations
and of reasons, never those of files and DAGs. docs/telemetry.md lists all of them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from airflow._shared.observability.metrics import stats
from airflow._shared.observability.metrics.base_stats_logger import NoStatsLogger
from airflow.configuration import conf
from airflow.observability.metrics import stats_utils
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily

REGISTRY = CollectorRegistry()
"""What this process has counted and timed; apart from Prometheus' default one, which others may use."""

PREFIX = "parsegate"

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LONGEST_LABEL = 100

_told: bool = False
_told_with_values_in_names: bool = False


def tell_airflow() -> None:
    """Tell Airflow's stats from now on, if ``[metrics]`` configures any.

    Every component of Airflow does so when it starts (``airflow/dag_processing/manager.py:prepare_process_context``).
    """
    global _told, _told_with_values_in_names
    factory = stats_utils.get_stats_factory()
    _told = factory is not NoStatsLogger
    _told_with_values_in_names = conf.getboolean("metrics", "legacy_names_on", fallback=True)
    if _told:
        stats.initialize(factory=factory, export_legacy_names=_told_with_values_in_names)


def airflow_is_told() -> bool:
    """Whether anybody hears what Airflow's stats are told."""
    return _told


class Metric:
    """
    :param name: without the prefix; ends with its unit unless it is a number of things
    :param labels: names of the labels
    """

    kind: ClassVar[str]
    declared: ClassVar[list[Metric]] = []

    def __init__(self, name: str, description: str, labels: tuple[str, ...] = ()) -> None:
        self.name = name
        self.description = description
        self.labels = labels
        self.stat = f"{PREFIX}.{name}"
        self.declared.append(self)

    @property
    def exposed_name(self) -> str:
        """Its name in Prometheus."""
        return f"{PREFIX}_{self.name}"

    def _tags(self, values: tuple[str, ...]) -> dict[str, str]:
        return {label: value for label, value in zip(self.labels, values, strict=True) if value}

    def _name_with(self, values: tuple[str, ...]) -> str | None:
        """The name for a backend without tags; None when there is no use for it."""
        given = [value for value in values if value]
        if not given or not _told_with_values_in_names:
            return None
        return ".".join([self.stat, *(_part(value) for value in given)])


class EventCount(Metric):
    """A number of things that have happened; it only grows."""

    kind = "counter"

    def __init__(self, name: str, description: str, labels: tuple[str, ...] = ()) -> None:
        super().__init__(name, description, labels)
        self._counter = Counter(self.exposed_name, description, labels, registry=REGISTRY)

    @property
    def exposed_name(self) -> str:
        return f"{super().exposed_name}_total"

    def add(self, *values: str, count: int = 1) -> None:
        """:param values: one for each label, in their order; empty for one that does not apply"""
        (self._counter.labels(*values) if values else self._counter).inc(count)
        if not _told:
            return
        stats.incr(self.stat, count, tags=self._tags(values))
        if (name := self._name_with(values)) is not None:
            stats.incr(name, count)


class Duration(Metric):
    """How long things take."""

    kind = "histogram"

    def __init__(self, name: str, description: str, labels: tuple[str, ...] = ()) -> None:
        super().__init__(name, description, labels)
        self.stat = f"{PREFIX}.{name.removesuffix('_seconds')}"
        self._histogram = Histogram(self.exposed_name, description, labels, buckets=_BUCKETS, registry=REGISTRY)

    def observe(self, seconds: float, *values: str) -> None:
        """:param values: one for each label, in their order"""
        (self._histogram.labels(*values) if values else self._histogram).observe(seconds)
        if not _told:
            return
        taken = timedelta(seconds=seconds)
        stats.timing(self.stat, taken, tags=self._tags(values))
        if (name := self._name_with(values)) is not None:
            stats.timing(name, taken)


class Level(Metric):
    """How much there is of something, as the database says when it is asked."""

    kind = "gauge"

    def family(self, samples: dict[tuple[str, ...], float]) -> GaugeMetricFamily:
        """What Prometheus is shown."""
        family = GaugeMetricFamily(self.exposed_name, self.description, labels=self.labels)
        for values, value in samples.items():
            family.add_metric([value[:_LONGEST_LABEL] for value in values], value)
        return family

    def tell(self, samples: dict[tuple[str, ...], float]) -> None:
        """Tell Airflow's stats."""
        if not _told:
            return
        for values, value in samples.items():
            stats.gauge(self.stat, value, tags=self._tags(values))
            if (name := self._name_with(values)) is not None:
                stats.gauge(name, value)


def _part(value: str) -> str:
    """A label's value as a part of a name, as Airflow puts them there: a dot would begin another part."""
    return stats.normalize_name_for_stats(value.replace(".", "__"), log_warning=False)[:_LONGEST_LABEL]


PARSE_RESULTS = EventCount(
    "parse_results",
    "Parse results by what became of them: stored in full, unchanged, timed_out, refused (with the reason), failed, or "
    "repeated (an answer that was given again).",
    ("outcome", "reason", "bundle"),
)
FINGERPRINTS = EventCount(
    "fingerprints",
    "Parse results that were named by their fingerprints: recognized as unchanged by the file ledger, or wanted in "
    "full.",
    ("answer",),
)
OPERATIONS = Duration(
    "operation_duration_seconds",
    "Time that GraphQL operations ran, by their root field and by whether they had errors.",
    ("operation", "result"),
)
REQUESTS = EventCount("http_requests", "HTTP requests that were answered, by path and status.", ("path", "status"))
TOKENS_REFUSED = EventCount("tokens_refused", "Requests whose token was missing or refused, by reason.", ("reason",))

CLAIMS = Level(
    "claims",
    "Callbacks and priority parse requests that are not done, by kind and state; UNCLAIMED ones have never been handed "
    "out.",
    ("kind", "state"),
)
OLDEST_CLAIM = Level(
    "oldest_claim_age_seconds", "Age of the oldest of these callbacks and parse requests.", ("kind", "state")
)
PROCESSORS = Level(
    "processors", "Registered DAG processors whose Job runs, by whether they are alive or silent.", ("state",)
)
UNDELIVERED = Level(
    "processor_undelivered_results",
    "Parse results that wait in a living processor's agent for the gateway, as its last heartbeat said.",
    ("job_id", "hostname"),
)
QUEUED_FILES = Level(
    "processor_queued_files",
    "Files that a living processor is about to parse, as its last heartbeat said.",
    ("job_id", "hostname"),
)
PARSING_FILES = Level(
    "processor_parsing_files",
    "Files that a living processor was parsing at its last heartbeat.",
    ("job_id", "hostname"),
)
FILES = Level("files", "Files in the ledger, by bundle and by what became of their last parse.", ("bundle", "status"))
IMPORT_ERRORS = Level("import_errors", "Import errors that Airflow shows, by bundle.", ("bundle",))
OLDEST_PARSE = Level(
    "oldest_parse_age_seconds", "Time since the last parse of the file that waits longest for its next.", ("bundle",)
)
SLOWEST_FILE = Level("slowest_file_seconds", "Time that the last parse of the slowest file took.", ("bundle",))
DATABASE_UP = Level("database_up", "Whether the database answered when these numbers were read: 1 or 0.")
