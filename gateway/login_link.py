"""The link that a person logs in by."""

from __future__ import annotations


def login_url(address: str, code: str) -> str:
    """The link that holds a one-time code.

    :param address: where browsers reach the gateway, with or without ``/graphql``
    :param code: of :meth:`parsegate.gateway.tokens.TokenMinter.mint_login_code`
    """
    return f"{address.rstrip('/').removesuffix('/graphql')}/login?code={code}"
