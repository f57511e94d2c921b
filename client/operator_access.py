"""How an operator's tool reaches the gateway: arguments first, then the environment.

The names are those of Airflow settings (``AIRFLOW__PARSEGATE__URL`` is ``[parsegate] url``), but only the environment
is read: a tool runs where neither Airflow nor its configuration file is.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .credentials import read_token
from .transport import tls_context

_PREFIX = "AIRFLOW__PARSEGATE__"


class AccessUnknown(ValueError):
    """It was not told where the gateway is, or with which token to ask it; the message says what to set."""


@dataclass(frozen=True)
class GatewayAccess:
    """Where the gateway is and what to show it."""

    url: str
    """The GraphQL endpoint, ending in ``/graphql``."""
    token: Callable[[], str]
    """The operator token; asked for each request, so that a file's token can be replaced while it is in use."""
    verify: ssl.SSLContext | bool = True
    proxy: str | None = None


def find_access(
    url: str | None = None,
    token: str | None = None,
    *,
    token_path: str | os.PathLike[str] | None = None,
    ca_path: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> GatewayAccess:
    """What the arguments leave out is read from the environment.

    :param url: else ``AIRFLOW__PARSEGATE__URL``
    :param token: the operator token; with ``token_path`` the file that holds it. Else the file that
        ``AIRFLOW__PARSEGATE__OPERATOR_TOKEN_PATH`` names, else the token in ``AIRFLOW__PARSEGATE__OPERATOR_TOKEN``
    :param ca_path: PEM file of the authorities to trust; else ``AIRFLOW__PARSEGATE__CA_PATH``, else the system's
    :raises AccessUnknown: something is missing or makes no sense
    """

    def setting(name: str) -> str | None:
        return environ.get(_PREFIX + name, "").strip() or None

    url = url or setting("URL")
    if url is None:
        raise AccessUnknown(f"Where is the gateway? Set {_PREFIX}URL, or pass the URL; it ends in /graphql.")
    if not url.startswith(("http://", "https://")):
        raise AccessUnknown(f"The gateway's URL must begin with http:// or https://, not {url!r}.")
    ca = str(ca_path) if ca_path else setting("CA_PATH")
    certificate, key = setting("CLIENT_CERTIFICATE_PATH"), setting("CLIENT_KEY_PATH")
    verify: ssl.SSLContext | bool = True
    if ca or certificate:
        try:
            verify = tls_context(ca, certificate, key)
        except OSError as error:
            raise AccessUnknown(f"The certificates ({ca or certificate}) can't be used: {error}") from error
    return GatewayAccess(url, _token_source(token, token_path, setting), verify, setting("PROXY"))


def _token_source(
    token: str | None, token_path: str | os.PathLike[str] | None, setting: Callable[[str], str | None]
) -> Callable[[], str]:
    if token is None and token_path is None:
        token_path = setting("OPERATOR_TOKEN_PATH")
        token = None if token_path else setting("OPERATOR_TOKEN")
    if token is not None:
        text = token.strip()
        if not text or not text.isascii() or len(text.split()) != 1:
            raise AccessUnknown("The operator token is not a token.")
        return lambda: text
    if token_path is None:
        raise AccessUnknown(
            f"Which token? Set {_PREFIX}OPERATOR_TOKEN_PATH to a file with an operator token, or "
            f"{_PREFIX}OPERATOR_TOKEN to the token. `parsegate token operator` on the gateway mints one."
        )
    path = str(Path(token_path).expanduser())
    return lambda: read_token(path)
