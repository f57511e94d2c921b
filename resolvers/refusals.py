"""Refusals: a well-formed request that the gateway will not fulfil, told to the processor as data.

A refused item changes nothing, and sending it again unchanged is refused again. Faults are something else: they
surface as GraphQL errors, or as ``FAILED`` for one item of a list, and may be retried.
"""

from __future__ import annotations

from enum import Enum


class RefusalReason(Enum):
    """Why a request was refused. Reasons are added over time; clients treat one they don't know as final."""

    DAG_OWNED_BY_ANOTHER_BUNDLE = "DAG_OWNED_BY_ANOTHER_BUNDLE"
    SUPERSEDED = "SUPERSEDED"
    JOB_CLOSED = "JOB_CLOSED"
    UNKNOWN_BUNDLE = "UNKNOWN_BUNDLE"
    BUNDLE_INACTIVE = "BUNDLE_INACTIVE"
    BUNDLE_NOT_GRANTED = "BUNDLE_NOT_GRANTED"
    SOURCE_MISSING = "SOURCE_MISSING"
    INVALID_DOCUMENT = "INVALID_DOCUMENT"
    INVALID_PATH = "INVALID_PATH"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    VERSION_MISMATCH = "VERSION_MISMATCH"
    LEASE_LOST = "LEASE_LOST"
    NOT_FOUND = "NOT_FOUND"
    NOT_PERMITTED = "NOT_PERMITTED"
    NOT_PARKED = "NOT_PARKED"


class Refusal(Exception):
    """Raised by a resolver to refuse one request or one item of it; the transaction around it is rolled back.

    :param reason: the stable, machine-readable reason
    :param message: what happened and what to do about it, for a person
    """

    def __init__(self, reason: RefusalReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
