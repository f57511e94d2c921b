"""One attempt to parse a file, as operators see it."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Any

import strawberry

from .context import Info
from .processor import Processor


@strawberry.enum(description="What became of an attempt to parse a file.")
class FileStatus(Enum):
    STORED = strawberry.enum_value(
        "STORED", description="The result was stored; the file may have import errors all the same."
    )
    REFUSED = strawberry.enum_value(
        "REFUSED",
        description="The gateway refused the result; what an earlier one stored is still in place, and becomes stale "
        "when results go on being refused.",
    )
    TIMED_OUT = strawberry.enum_value(
        "TIMED_OUT",
        description="Parsing took too long or crashed and was ended; what an earlier result stored is still in place, "
        "and becomes stale when no parse succeeds.",
    )


@strawberry.type(description="One attempt to parse a file.")
class Parse:
    parsed_at: datetime = strawberry.field(
        description="When the attempt reached the gateway (UTC), whatever became of it."
    )
    duration: float = strawberry.field(description="Seconds that it took in the processor.")
    status: FileStatus = strawberry.field(description="What became of it.")
    bundle_version: str | None = strawberry.field(
        description="Version of the bundle that was parsed; null for a bundle without versions."
    )
    job_id: strawberry.Private[int]

    @staticmethod
    def of(noted: list[Any]) -> Parse:
        """:param noted: time, seconds, status, version and Job, as the file ledger has them"""
        at, duration, status, bundle_version, job_id = noted
        return Parse(
            parsed_at=datetime.fromisoformat(at),
            duration=duration,
            status=FileStatus(status),
            bundle_version=bundle_version,
            job_id=job_id,
        )

    @strawberry.field(description="The processor that made it; null when its registration is gone.")
    async def processor(self, info: Info) -> Processor | None:
        row = await info.context.loaders.processors.load(self.job_id)
        return None if row is None else Processor.of(row)
