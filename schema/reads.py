"""What all reads of DAG code share: the file that asks, and how the gateway answers it."""

from __future__ import annotations

from enum import Enum
from typing import Any, TypeVar

import strawberry

from ..resolvers.reads import AnsweredNotFound, FileReference
from ..resolvers.refusals import Refusal
from .outcomes import RefusalReason


@strawberry.input(description="The DAG file whose code asks; what it is shown depends on its bundle's grants and team.")
class FileReferenceInput:
    bundle_name: str = strawberry.field(description="Name of the bundle that holds the file; the token must grant it.")
    relative_fileloc: str | None = strawberry.field(
        default=None,
        description="Path of the file inside the bundle; null when the bundle itself asks, to initialise or refresh.",
    )

    def reference(self) -> FileReference:
        """This file as the resolvers know it."""
        return FileReference(bundle_name=self.bundle_name, relative_fileloc=self.relative_fileloc)


@strawberry.enum(description="How a read ended.")
class ReadStatus(Enum):
    FOUND = strawberry.enum_value(
        "FOUND",
        description="Answered. Some reads that match nothing are answered too: with nulls, zero or an empty list.",
    )
    NOT_FOUND = strawberry.enum_value(
        "NOT_FOUND",
        description="There is no such thing, or none that this file may see; `message` names what was looked for.",
    )
    REFUSED = strawberry.enum_value(
        "REFUSED", description="Not answered, and not to be asked again unchanged; `reason` and `message` say why."
    )


@strawberry.interface(
    description="The answer to one read of DAG code. What a type adds to these is null unless `status` is `FOUND`."
)
class Read:
    status: ReadStatus = strawberry.field(description="How the read ended.")
    reason: RefusalReason | None = strawberry.field(  # pyright: ignore[reportInvalidTypeForm]
        default=None, description="Why the read was refused; null unless `status` is `REFUSED`."
    )
    message: str | None = strawberry.field(
        default=None, description="What was not found, or why the read was refused, for a person; null when found."
    )


ReadT = TypeVar("ReadT", bound=Read)


def found(read: type[ReadT], **fields: Any) -> ReadT:
    """A read that was answered with ``fields``."""
    return read(status=ReadStatus.FOUND, **fields)


def unanswered(read: type[ReadT], error: AnsweredNotFound | Refusal) -> ReadT:
    """A read that ended in ``error``, as data of the contract."""
    if isinstance(error, Refusal):
        return read(status=ReadStatus.REFUSED, reason=error.reason, message=error.message)
    return read(status=ReadStatus.NOT_FOUND, message=error.message)
