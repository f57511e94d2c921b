"""Fingerprints of parse results: equal ones say the same, byte for byte.

The gateway keeps the fingerprint of what it stored last of a file. A result that has the same one need not be sent.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import blake2b

import msgspec

from .. import __version__
from . import protocol

_encoder = msgspec.msgpack.Encoder()


def fingerprint(result: protocol.PackedResult) -> str | None:
    """Of everything that the file yielded, in the order in which it came; None of an attempt that yielded nothing.

    It leaves out what differs between attempts at an unchanged file: when its DAGs were loaded, how long that took,
    and the bundle's version. Another release may send the same things otherwise, so its fingerprints are others.
    """
    if result.timed_out:
        return None
    content = _encoder.encode(
        (
            __version__,
            result.bundle_path,
            [dag.document for dag in result.dags],
            result.sources,
            result.import_errors,
            result.warnings,
        )
    )
    return urlsafe_b64encode(blake2b(content, digest_size=16).digest()).decode().rstrip("=")
