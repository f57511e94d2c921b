"""Refused tokens counted by a stable reason; what callers are told says less."""

from __future__ import annotations

import jwt

from ..resolvers import metrics
from .tokens import KeysUnavailable

MISSING = "missing"
EXPIRED = "expired"
NOT_YET_VALID = "not_yet_valid"
WRONG_SIGNATURE = "wrong_signature"
MALFORMED = "malformed"
OTHER_KIND = "other_kind"
KEYS_UNAVAILABLE = "keys_unavailable"

_REASONS: dict[type[BaseException], str] = {
    jwt.ExpiredSignatureError: EXPIRED,
    jwt.ImmatureSignatureError: NOT_YET_VALID,
    jwt.InvalidSignatureError: WRONG_SIGNATURE,
    jwt.InvalidAudienceError: OTHER_KIND,
    KeysUnavailable: KEYS_UNAVAILABLE,
}


def count_missing_token() -> None:
    """Count a request that needs a token and has none."""
    metrics.TOKENS_REFUSED.add(MISSING)


def count_refused_token(error: BaseException) -> None:
    """Count a request whose token was refused.

    :param error: what it was refused with; the first of it and its causes that says something is its reason
    """
    reason, cause = MALFORMED, error.__cause__
    while cause is not None:
        reason = _REASONS.get(type(cause), reason)
        cause = cause.__cause__
    metrics.TOKENS_REFUSED.add(reason)
