"""What the agent remembers of the results that the gateway has taken: which ones may say the same again.

Only a hint about what to send first, the fingerprint or the result: the gateway alone says what is unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable

from .entries import FileKey

_NONE = ""


class KnownResults:
    """The fingerprint of the last result of each file that the gateway accepted in this agent's life, if the gateway
    can recognise it."""

    def __init__(self) -> None:
        self._fingerprints: dict[str, dict[str, str]] = {}

    def is_unknown(self, file: FileKey) -> bool:
        """Whether nothing is known: a processor that starts anew meets files that others have parsed before."""
        bundle_name, relative_fileloc = file
        return relative_fileloc not in self._fingerprints.get(bundle_name, {})

    def is_same(self, file: FileKey, fingerprint: str) -> bool:
        """Whether the file's last result said the same."""
        bundle_name, relative_fileloc = file
        return self._fingerprints.get(bundle_name, {}).get(relative_fileloc) == fingerprint

    def accepted(self, file: FileKey, fingerprint: str) -> None:
        bundle_name, relative_fileloc = file
        self._fingerprints.setdefault(bundle_name, {})[relative_fileloc] = fingerprint

    def unrecognizable(self, file: FileKey) -> None:
        """The gateway has not this result, or would not know it again: it will want the next one in full."""
        self.accepted(file, _NONE)

    def keep_only(self, bundle_name: str, files: Iterable[str]) -> None:
        """Forget what is not among the bundle's files any more."""
        known = self._fingerprints.get(bundle_name)
        if not known:
            return
        for gone in known.keys() - set(files):
            del known[gone]
