"""parsegate's own tables, in Airflow's metadata database, so that a change and its receipt commit together.

They have their own MetaData and Alembic history and no foreign keys into Airflow's tables: Airflow's migrations never
see them, and ``airflow db clean`` can delete a Job without asking us. Times are UTC, durations seconds.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.utils.sqlalchemy import UtcDateTime
from sqlalchemy import JSON, BigInteger, Float, Index, Integer, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

BUNDLE_NAME = String(250)
RELATIVE_FILELOC = String(2000)


class ParsegateBase(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class ParsedFile(ParsegateBase):
    """The file ledger: what the last parse of each file of a bundle left behind. Airflow keeps no such row.

    ``last_parsed_at`` moves with every attempt that counts (stored, refused or timed out); ``last_stored_at`` only when
    the result was written to Airflow's tables, in the same transaction.

    ``fingerprint`` is the processor's digest of the result that was stored last, ``imprint`` our digest of the rows
    that it left in Airflow's tables, and ``written`` names them (:mod:`.imprints`). The three are there together, or
    not at all: then the next result is needed in full.

    ``recent_parses`` has the last attempts, newest first, each as time, seconds, status, version of the bundle and Job.
    """

    __tablename__ = "parsegate_file"

    bundle_name: Mapped[str] = mapped_column(BUNDLE_NAME, primary_key=True)
    relative_fileloc: Mapped[str] = mapped_column(RELATIVE_FILELOC, primary_key=True)
    status: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str | None] = mapped_column(String(50))
    message: Mapped[str | None] = mapped_column(Text)
    last_parsed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_stored_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    parse_duration: Mapped[float | None] = mapped_column(Float)
    bundle_version: Mapped[str | None] = mapped_column(String(200))
    dag_count: Mapped[int] = mapped_column(Integer, default=0)
    import_error_count: Mapped[int] = mapped_column(Integer, default=0)
    warning_count: Mapped[int] = mapped_column(Integer, default=0)
    job_id: Mapped[int] = mapped_column(Integer)
    attempt_id: Mapped[str] = mapped_column(String(36))
    sequence: Mapped[int] = mapped_column(BigInteger)
    fingerprint: Mapped[str | None] = mapped_column(String(64))
    imprint: Mapped[str | None] = mapped_column(String(64))
    written: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    recent_parses: Mapped[list[list[Any]] | None] = mapped_column(JSON(none_as_null=True))

    __table_args__ = (
        Index("ix_parsegate_file_last_parsed_at", "last_parsed_at"),
        Index("ix_parsegate_file_bundle_name_last_parsed_at", "bundle_name", "last_parsed_at"),
    )


class Claim(ParsegateBase):
    """A callback or priority parse request that left Airflow's table in the transaction that created this row.

    ``state`` is ``WAITING`` (not handed out yet, or released and not to be handed out again before ``expires_at``),
    ``LEASED`` (``job_id`` has it until ``expires_at``) or ``PARKED`` (failed ``attempts`` times, or unreadable:
    ``message`` says which; nobody is given it again). ``job_id`` stays after a release, so that the release can be sent
    twice. An acknowledged claim's row is gone.
    """

    __tablename__ = "parsegate_claim"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(10))
    bundle_name: Mapped[str] = mapped_column(BUNDLE_NAME)
    priority_weight: Mapped[int] = mapped_column(Integer, default=0)
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    last_outcome: Mapped[str | None] = mapped_column(String(20))
    message: Mapped[str | None] = mapped_column(Text)
    claim_id: Mapped[str | None] = mapped_column(String(36))
    job_id: Mapped[int | None] = mapped_column(Integer)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        Index("ix_parsegate_claim_kind_state", "kind", "state", "expires_at"),
        Index("ix_parsegate_claim_claim_id", "claim_id"),
    )


class Processor(ParsegateBase):
    """One registered DAG processor, beside its row in Airflow's ``job`` table."""

    __tablename__ = "parsegate_processor"

    job_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    registration_id: Mapped[str] = mapped_column(String(36), unique=True)
    subject: Mapped[str] = mapped_column(String(500))
    hostname: Mapped[str] = mapped_column(String(500))
    pid: Mapped[int] = mapped_column(Integer)
    bundle_names: Mapped[list[str]] = mapped_column(JSON)
    parsegate_version: Mapped[str] = mapped_column(String(50))
    airflow_version: Mapped[str] = mapped_column(String(50))
    registered_at: Mapped[datetime] = mapped_column(UtcDateTime)
    activity: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    activity_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class BundleVersion(ParsegateBase):
    """A version of a bundle that a processor found, and the files that it holds; ``version`` is empty for a bundle
    without versions. ``completed_at`` is when all of them were first seen to be stored at this version, and
    ``import_error_count`` what they had then.
    """

    __tablename__ = "parsegate_bundle_version"

    bundle_name: Mapped[str] = mapped_column(BUNDLE_NAME, primary_key=True)
    version: Mapped[str] = mapped_column(String(200), primary_key=True)
    files: Mapped[list[str]] = mapped_column(JSON)
    file_count: Mapped[int] = mapped_column(Integer)
    first_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    completed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    import_error_count: Mapped[int | None] = mapped_column(Integer)


class Login(ParsegateBase):
    """A one-time login code that was used, by its ``jti``; kept until the code would have expired."""

    __tablename__ = "parsegate_login"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    redeemed_at: Mapped[datetime] = mapped_column(UtcDateTime)
