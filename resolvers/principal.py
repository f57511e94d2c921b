"""Who asks: the identity that the gateway read from a verified token.

Resolvers authorize against it and take identity from nothing else; an argument never says who the caller is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

ALL_BUNDLES = "*"


class TokenKind(Enum):
    """The kinds of token; each has its own audience and ``typ`` and is refused where another is expected."""

    PROCESSOR = "processor"
    JOB = "job"
    OPERATOR = "operator"


class Permission(Enum):
    """What an operator may do beyond reading; the value is what tokens carry and commands take."""

    REQUEST_PARSE = "request-parse"
    MANAGE_CALLBACKS = "manage-callbacks"
    STOP_PROCESSORS = "stop-processors"


@dataclass(frozen=True)
class Principal:
    """A verified caller.

    :param kind: the kind of token that was presented
    :param subject: the token's ``sub``, a real name such as ``dag-processor:host-1``
    :param bundles: names of the bundles that the token grants; ``{"*"}`` grants all of them
    :param job_id: the Airflow Job that a job token is bound to; None for the other kinds
    :param permissions: what an operator may do beyond reading; other kinds have none
    :param expires_at: when the token ceases to be valid; None when nobody verified one
    """

    kind: TokenKind
    subject: str
    bundles: frozenset[str] = frozenset()
    job_id: int | None = None
    permissions: frozenset[Permission] = frozenset()
    expires_at: datetime | None = field(default=None, compare=False)

    @property
    def grants_all_bundles(self) -> bool:
        return ALL_BUNDLES in self.bundles

    def grants_bundle(self, bundle_name: str) -> bool:
        return self.grants_all_bundles or bundle_name in self.bundles
