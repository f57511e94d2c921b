"""Orders that the lists of files and DAGs can be read in."""

from __future__ import annotations

from enum import Enum

import strawberry


@strawberry.enum(description="In which order files are listed. Those that are equal come by bundle and path.")
class FileOrder(Enum):
    PATH = strawberry.enum_value("PATH", description="By bundle and path.")
    SLOWEST = strawberry.enum_value(
        "SLOWEST",
        description="The file whose last attempt took longest in front, those of unknown duration at the end.",
    )
    LAST_PARSED = strawberry.enum_value("LAST_PARSED", description="The file that was parsed last in front.")
    OLDEST_PARSE = strawberry.enum_value(
        "OLDEST_PARSE", description="The file that was not parsed for longest in front."
    )


@strawberry.enum(description="In which order DAGs are listed. Those that are equal come by id.")
class DagOrder(Enum):
    DAG_ID = strawberry.enum_value("DAG_ID", description="By id.")
    PATH = strawberry.enum_value(
        "PATH", description="By bundle and path of the file, those of unknown path at the end of their bundle."
    )
    SLOWEST = strawberry.enum_value(
        "SLOWEST",
        description="The DAG whose file took longest to parse when it was last stored in front, those of unknown "
        "duration at the end.",
    )
    LAST_PARSED = strawberry.enum_value(
        "LAST_PARSED", description="The DAG that was stored last in front, those that never were at the end."
    )
    OLDEST_PARSE = strawberry.enum_value(
        "OLDEST_PARSE",
        description="The DAG that was not stored for longest in front, those that never were at the end.",
    )
    NEXT_RUN = strawberry.enum_value(
        "NEXT_RUN",
        description="The DAG whose next run is created first in front, those of which none is due at the end.",
    )
