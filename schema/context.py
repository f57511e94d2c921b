"""What an operation runs with: who asks, and how it opens its transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import strawberry
from graphql import GraphQLError

if TYPE_CHECKING:
    from ..resolvers.principal import Principal, TokenKind


@dataclass
class OperationContext:
    """The context of one GraphQL operation; never shared between the operations of a batch.

    :param principal: the verified caller
    :param request_id: names this HTTP request in the logs of both sides
    """

    principal: Principal
    request_id: str

    def require(self, *kinds: TokenKind) -> Principal:
        """The principal, when its token is one of ``kinds``; otherwise a ``FORBIDDEN`` error."""
        if self.principal.kind not in kinds:
            expected = " or ".join(kind.value for kind in kinds)
            raise GraphQLError(
                f"This field needs a token of kind {expected}; the request carries a {self.principal.kind.value} token.",
                extensions={"code": "FORBIDDEN"},
            )
        return self.principal


Info = strawberry.Info[OperationContext, Any]
