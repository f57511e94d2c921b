"""What an operation runs with: who asks, and how it opens its transaction."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import strawberry
from graphql import GraphQLError

from ..resolvers import database, metrics
from .feeds import Feeds
from .loaders import ParseStateLoaders

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from ..resolvers.principal import Principal, TokenKind

MintJobToken = Callable[[int, str, frozenset[str]], tuple[str, datetime]]
"""``(job_id, subject, bundles)`` to ``(token, expires_at)``."""


@dataclass
class OperationContext:
    """The context of one GraphQL operation; never shared between the operations of a batch.

    :param principal: the verified caller
    :param request_id: names this HTTP request in the logs of both sides
    :param mint_job_token: signs the token of a Job that was just registered: ``(job_id, subject, bundles)`` to
        ``(token, expires_at)``
    :param feeds: where subscriptions get their events; None when the operation came by a transport that has none
    """

    principal: Principal
    request_id: str
    mint_job_token: MintJobToken
    feeds: Feeds | None = None

    def require(self, *kinds: TokenKind) -> Principal:
        """The principal, when its token is one of ``kinds``; otherwise a ``FORBIDDEN`` error."""
        if self.principal.kind not in kinds:
            metrics.TOKENS_REFUSED.add("other_kind")
            expected = " or ".join(kind.value for kind in kinds)
            raise GraphQLError(
                f"This field needs a token of kind {expected}; "
                f"the request carries a {self.principal.kind.value} token.",
                extensions={"code": "FORBIDDEN"},
            )
        return self.principal

    def require_bundle(self, bundle_name: str) -> None:
        """A ``FORBIDDEN`` error unless the token grants the bundle, known or not."""
        if not self.principal.grants_bundle(bundle_name):
            raise GraphQLError(f"The token does not grant the bundle {bundle_name}.", extensions={"code": "FORBIDDEN"})

    def require_feeds(self) -> Feeds:
        """Where a subscription gets its events; it runs on the server's event loop, as they do."""
        if self.feeds is None:
            raise RuntimeError("A subscription was executed without feeds of events.")
        return self.feeds

    def transaction(self) -> AbstractContextManager[Session]:
        """A writing session that commits at the end of the block.

        One for each root mutation field, or for each item of a list whose items stand alone; it is this operation's
        alone. See :func:`parsegate.resolvers.database.transaction`.
        """
        return database.transaction()

    def reading(self) -> AbstractContextManager[Session]:
        """A session for queries only, this operation's alone; nothing it does is committed."""
        return database.reading()

    @cached_property
    def loaders(self) -> ParseStateLoaders:
        """Batches what nested fields read, for this operation alone; each batch has a reading session of its own."""
        return ParseStateLoaders(self)


Info = strawberry.Info[OperationContext, Any]
