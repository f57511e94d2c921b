"""Mint a token for a processor or an operator, or a link to log in by, with Airflow's signing key.

Run it where that key is: an init container, a trusted job, an administrator's shell. A token file is replaced in one
step, so that the agent never reads half of one, and only its owner can read it.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from getpass import getuser
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from airflow.exceptions import AirflowConfigException

from ..resolvers.principal import ALL_BUNDLES, Permission, Principal, TokenKind
from . import settings
from .login_link import login_url
from .tokens import KeysMisconfigured, TokenMinter


def write_privately(path: Path, text: str) -> None:
    """Replace the file in one step by one that only its owner can read and write, whatever the umask.

    :raises OSError: the folder is missing or cannot be written
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def run(argv: Sequence[str]) -> int:
    arguments = parser().parse_args(argv)
    kind = TokenKind(arguments.kind)
    bundles = frozenset(name for part in arguments.bundles or [ALL_BUNDLES] for name in part.split(",") if name)
    if not bundles:
        print("parsegate token: --bundles names no bundle.", file=sys.stderr)
        return 2
    permissions: frozenset[Permission] = frozenset(arguments.allow or ())
    lifetimes = {
        TokenKind.PROCESSOR: settings.PROCESSOR_TOKEN_LIFETIME,
        TokenKind.OPERATOR: settings.OPERATOR_TOKEN_LIFETIME,
    }
    try:
        lifetime = arguments.lifetime or lifetimes[kind].read()
        principal = Principal(kind=kind, subject=arguments.subject, bundles=bundles, permissions=permissions)
        if arguments.login_url is None:
            minted, expires_at = TokenMinter().mint(principal, lifetime)
            what = f"A {kind.value} token"
        else:
            https = arguments.login_url.startswith("https:")
            code, expires_at = TokenMinter().mint_login_code(principal, lifetime, https=https)
            minted = login_url(arguments.login_url, code)
            what = "A link to log in by, once,"
        if arguments.out is None:
            print(minted)
        else:
            write_privately(arguments.out, minted + "\n")
    except (KeysMisconfigured, AirflowConfigException, OSError) as error:
        print(f"parsegate token: {error}", file=sys.stderr)
        return 1
    granted = "all bundles" if ALL_BUNDLES in bundles else f"bundles {', '.join(sorted(bundles))}"
    if kind is TokenKind.OPERATOR:
        allowed = ", ".join(sorted(permission.value for permission in permissions))
        granted += f", may {allowed}" if allowed else ", may only read"
    print(
        f"{what} for {arguments.subject}: {granted}, until {expires_at:%Y-%m-%d %H:%M:%S} UTC.",
        file=sys.stderr,
    )
    return 0


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="parsegate token", description=(__doc__ or "").partition("\n\n")[0])
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    processor = kinds.add_parser("processor", help="a token to register a DAG processor with")
    processor.add_argument(
        "--bundles",
        action="append",
        required=True,
        metavar="NAMES",
        help="the bundles that it may read and write, separated by commas; * for all, which also allows to deactivate "
        "bundles that are no longer configured",
    )
    processor.add_argument(
        "--subject",
        type=_subject,
        default=f"dag-processor:{socket.gethostname()}",
        help="who it is for (default: %(default)s)",
    )
    operator = kinds.add_parser("operator", help="a token to read parse state with, and to do what it allows")
    operator.add_argument(
        "--bundles",
        action="append",
        metavar="NAMES",
        help="the bundles that it may see, separated by commas (default: all)",
    )
    operator.add_argument(
        "--subject", type=_subject, default=f"operator:{getuser()}", help="who it is for (default: %(default)s)"
    )
    operator.add_argument(
        "--allow",
        action="extend",
        type=_permissions,
        metavar="PERMISSIONS",
        help="what it may do beyond reading, separated by commas, of "
        f"{', '.join(permission.value for permission in Permission)} (default: nothing)",
    )
    processor.set_defaults(allow=None, login_url=None)
    operator.add_argument(
        "--login-url",
        type=_address,
        metavar="URL",
        help="instead of a token, print a link that logs a browser in at the gateway with this URL, once, within ten "
        "minutes; --lifetime is the session's",
    )
    for kind in (processor, operator):
        kind.add_argument(
            "--lifetime",
            type=_lifetime,
            metavar="SECONDS",
            help="seconds until it expires (default: [parsegate] settings)",
        )
        kind.add_argument(
            "--out", type=Path, metavar="FILE", help="replace this file, mode 0600, instead of printing the token"
        )
    return parser


def _permissions(text: str) -> list[Permission]:
    try:
        return [Permission(name) for name in text.split(",") if name]
    except ValueError:
        known = ", ".join(permission.value for permission in Permission)
        raise argparse.ArgumentTypeError(f"{text} is not of {known}") from None


def _lifetime(text: str) -> float:
    lifetime = float(text)
    if not 1 <= lifetime <= 366 * 86400:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 second and a year")
    return lifetime


def _address(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment or "@" in url.netloc:
        raise argparse.ArgumentTypeError(f"{text} is no URL of a gateway, such as https://parsegate.example.com")
    return text


def _subject(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("a subject must be a name")
    return text
