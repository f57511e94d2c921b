"""What one operation may cost before it is executed, and the caches that make the second of a kind cheap.

The limits are far above what the generated client and GraphiQL need (its introspection query is the largest that people
send); they stop documents that are made to hurt.
"""

from __future__ import annotations

from collections.abc import Callable

from graphql import ASTValidationRule
from strawberry.extensions import (
    AddValidationRules,
    MaxTokensLimiter,
    ParserCache,
    SchemaExtension,
    ValidationCache,
    max_aliases,
    query_depth_limiter,
)

from .operation_metrics import OperationMetrics

MAX_DEPTH = 20
MAX_TOKENS = 5_000
MAX_ALIASES = 100
CACHED_DOCUMENTS = 256

# Built once: the limiters' own classes make new rules for every operation, and the validation cache would never hit.
_RULES: list[type[ASTValidationRule]] = [
    max_aliases.create_validator(MAX_ALIASES),
    query_depth_limiter.create_validator(MAX_DEPTH, should_ignore=None),
]

EXTENSIONS: tuple[Callable[[], SchemaExtension], ...] = (
    OperationMetrics,
    lambda: MaxTokensLimiter(max_token_count=MAX_TOKENS),
    lambda: AddValidationRules(_RULES),
    lambda: ParserCache(maxsize=CACHED_DOCUMENTS),
    lambda: ValidationCache(maxsize=CACHED_DOCUMENTS),
)
