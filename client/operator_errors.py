"""Why an operator's client has no answer, or not the one that was hoped for."""

from __future__ import annotations

from .generated.fragments import VersionProgress


class OperatorError(Exception):
    """Base of them all; the message says what happened, for a person."""


class OperatorUnreachable(OperatorError):
    """The gateway can't be reached, or failed: the same request may do later."""


class OperatorRefused(OperatorError):
    """The gateway refuses: the token is expired or may not do this, the request is wrong, or versions don't fit."""


class VersionNotLanded(OperatorError):
    """The version that was waited for is not parsed and stored as was asked.

    :param progress: how far it was in the end, with the failing files; None when no processor ever told of it
    """

    def __init__(self, message: str, progress: VersionProgress | None) -> None:
        super().__init__(message)
        self.progress = progress


class VersionTimedOut(VersionNotLanded):
    """It has not come so far within the timeout, or no processor has seen it."""


class ImportErrorsFound(VersionNotLanded):
    """All files are parsed and stored, and there are import errors."""

    progress: VersionProgress


class FilesNotStored(VersionNotLanded):
    """All files were tried, and some were not stored: refused, or parsing took too long. Processors try them again."""

    progress: VersionProgress


class VersionOvertaken(VersionNotLanded):
    """Another version took its place before all files were stored."""

    progress: VersionProgress
