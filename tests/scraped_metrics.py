"""What ``/metrics`` shows, as Prometheus reads it."""

from __future__ import annotations

from typing import Any

from gateway_app import Gateway
from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""Values by a sample's name and labels."""


def families(text: str) -> list[Any]:
    """The metric families of a scrape."""
    return list(text_string_to_metric_families(text))


def samples(text: str) -> Samples:
    """Every sample of a scrape."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families(text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    """One sample's value; 0 when it is not there, as a counter that never counted is."""
    return found.get((name, frozenset(labels.items())), 0.0)


def scrape(gateway: Gateway) -> Samples:
    """Every sample that an operator's scrape gets."""
    response = gateway.http.get("/metrics", headers={"Authorization": f"Bearer {gateway.operator_token()}"})
    assert response.status_code == 200, response.text
    return samples(response.text)
