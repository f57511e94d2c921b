"""What subscribers are told of a bundle: the sources of events, executed as the gateway does."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from found_versions import broken, find, parse
from gateway_app import Gateway, contract
from parse_state_rows import add_bundle, add_files, file_row
from parsed_files import ParsedFile
from registered_processor import RegisteredProcessor

PARSES = """subscription ($since: DateTime) { parseEvents(bundle: "dags", since: $since) { file {
    relativeFileloc status parseDuration importErrors { stacktrace } recentParses { status }
    dags(first: 5) { totalCount nodes { dagId tags file { status } } } processor { jobId alive } } } }"""
PROGRESS = """subscription ($version: String) { bundleVersionProgress(bundle: "dags", version: $version) {
    version state storedCount waitingFiles failing { relativeFileloc } } }"""
LONG_AGO = {"since": "2020-01-01T00:00:00Z"}


class Watching:
    """The gateway's execution with a quick look, on the event loop of a test.

    :param bundles: what the subscribers' token grants
    """

    def __init__(self, bundles: frozenset[str] = frozenset({"*"})) -> None:
        from anyio import CapacityLimiter

        from parsegate.gateway.execution import Execution
        from parsegate.resolvers.principal import Principal, TokenKind
        from parsegate.schema.feeds import Feeds

        def mint(*_: Any) -> Any:
            raise NotImplementedError

        self._principal = Principal(kind=TokenKind.OPERATOR, subject="operator:test", bundles=bundles)
        self._execution = Execution(contract(), mint_job_token=mint, threads=2)
        self.feeds = self._execution._feeds = Feeds(CapacityLimiter(2), interval=0.05)

    async def answers(self, document: str, **variables: Any) -> AsyncGenerator[dict[str, Any]]:
        from parsegate.gateway.graphql_request import GraphQLRequest

        request = GraphQLRequest(document, variables, None, None)
        async with aclosing(self._execution.answers(request, self._principal, "request-1", set())) as answers:
            async for answer in answers:
                yield json.loads(answer.body)

    async def events(self, document: str, **variables: Any) -> AsyncGenerator[dict[str, Any]]:
        """The value of the root field of each answer."""
        async with aclosing(self.answers(document, **variables)) as answers:
            async for answer in answers:
                assert "errors" not in answer, answer
                (value,) = answer["data"].values()
                yield value


async def within(seconds: float, waiting: Any) -> Any:
    async with asyncio.timeout(seconds):
        return await waiting


async def path_of_next(events: AsyncGenerator[dict[str, Any]]) -> str:
    return (await within(20, anext(events)))["file"]["relativeFileloc"]


async def in_thread(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    return await asyncio.to_thread(function, *arguments, **named)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


@contextmanager
def threads_of_statements() -> Generator[set[int]]:
    """Which threads send SQL statements while the block runs."""
    from airflow import settings
    from sqlalchemy import event

    threads: set[int] = set()

    def note(*_: Any) -> None:
        threads.add(threading.get_ident())

    engine = settings.get_engine()
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield threads
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_a_subscriber_is_told_of_each_file_that_is_parsed_and_of_all_that_is_selected_of_it(
    processor: RegisteredProcessor, daily: ParsedFile
) -> None:
    parse(processor, None, "old.py")

    async def watch() -> None:
        watching = Watching()
        async with aclosing(watching.events(PARSES, **LONG_AGO)) as events:
            assert await path_of_next(events) == "old.py"
            await in_thread(processor.record_files, daily)
            event = await within(20, anext(events))
            assert event["file"]["dags"] == {
                "totalCount": 1,
                "nodes": [{"dagId": "daily", "tags": ["daily", "e2e"], "file": {"status": "STORED"}}],
            }
            assert event["file"]["processor"] == {"jobId": processor.job_id, "alive": True}
            await in_thread(parse, processor, None, "new.py", **broken("new.py"))
            event = await within(20, anext(events))
            assert event["file"]["importErrors"] == [{"stacktrace": "Traceback: broken"}]
            # What was selected is read anew for each event.
            await in_thread(parse, processor, None, "new.py", sequence=2)
            event = await within(20, anext(events))
            assert (event["file"]["importErrors"], len(event["file"]["recentParses"])) == ([], 2)

            # A transaction that began before those ends only now.
            before = datetime.now(UTC) - timedelta(seconds=20)
            await in_thread(add_files, file_row("late.py", last_parsed_at=before, attempt_id="late"))
            assert await path_of_next(events) == "late.py"
            # Nothing else has happened, and nothing is told twice.
            with pytest.raises(TimeoutError):
                await within(0.5, anext(events))

    with threads_of_statements() as threads:
        run(watch)
    assert threads
    assert threading.get_ident() not in threads, "a statement was sent on the event loop"


def test_a_slow_subscriber_gets_the_newest_state_of_each_file_and_the_bundle_is_read_once_for_all(
    processor: RegisteredProcessor,
) -> None:
    for path in ("a.py", "b.py"):
        parse(processor, None, path)

    async def watch() -> None:
        watching = Watching()
        quick, slow = (watching.events(PARSES, **LONG_AGO) for _ in range(2))
        async with aclosing(quick), aclosing(slow):
            for events in (quick, slow):
                assert [await path_of_next(events) for _ in range(2)] == ["a.py", "b.py"]
            assert watching.feeds.watched == {"dags"}
            for sequence in (2, 3, 4):
                await in_thread(parse, processor, None, "a.py", sequence=sequence, parseDuration=float(sequence))
                event = await within(20, anext(quick))
                assert event["file"]["parseDuration"] == sequence
            await in_thread(parse, processor, None, "b.py", sequence=2)
            assert await path_of_next(quick) == "b.py"
            event = await within(20, anext(slow))
            assert (event["file"]["relativeFileloc"], event["file"]["parseDuration"]) == ("a.py", 4)
            assert await path_of_next(slow) == "b.py"
            await slow.aclose()
            assert watching.feeds.watched == {"dags"}
        assert watching.feeds.watched == frozenset()

    run(watch)


def test_the_progress_of_a_version_is_told_from_before_it_is_known_until_it_is_complete_or_overtaken(
    processor: RegisteredProcessor,
) -> None:
    async def watch() -> None:
        watching = Watching()
        states: list[tuple[str, int, list[str]]] = []

        async def follow(version: str) -> str:
            state = ""
            async for event in watching.events(PROGRESS, version=version):
                state = event["state"]
                states.append((state, event["storedCount"], event["waitingFiles"]))
            return state

        following = asyncio.create_task(follow("v1"))
        overtaken = asyncio.create_task(follow("v2"))
        await in_thread(find, processor, "v1", "a.py", "b.py")
        while not states:
            await asyncio.sleep(0.02)
        await in_thread(parse, processor, "v1", "a.py")
        while len(states) < 2:
            await asyncio.sleep(0.02)
        await in_thread(parse, processor, "v1", "b.py", **broken("b.py"))
        assert await within(20, following) == "COMPLETE"
        assert states == [
            ("IN_PROGRESS", 0, ["a.py", "b.py"]),
            ("IN_PROGRESS", 1, ["b.py"]),
            ("COMPLETE", 2, []),
        ]
        current = [event async for event in watching.events(PROGRESS)]
        assert [(event["version"], event["state"]) for event in current] == [("v1", "COMPLETE")]
        assert current[0]["failing"] == [{"relativeFileloc": "b.py"}]

        await in_thread(find, processor, "v2", "a.py")
        while len(states) < 4:
            await asyncio.sleep(0.02)
        await in_thread(find, processor, "v3", "a.py")
        assert await within(20, overtaken) == "OVERTAKEN"

    run(watch)


def test_only_a_bundle_that_the_token_grants_can_be_watched(processor: RegisteredProcessor) -> None:
    async def watch() -> None:
        watching = Watching(frozenset({"team_a"}))
        for document in (PARSES, PROGRESS):
            (answer,) = [answer async for answer in watching.answers(document)]
            (error,) = answer["errors"]
            assert (error["extensions"]["code"], error["message"]) == (
                "FORBIDDEN",
                "The token does not grant the bundle dags.",
            )
        assert watching.feeds.watched == frozenset()

    run(watch)


@pytest.mark.any_database
def test_watching_outlasts_a_database_that_is_away_and_tells_of_any_other_fault(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from sqlalchemy.exc import OperationalError

    from parsegate.resolvers import bundle_events

    add_bundle("dags")
    look = bundle_events.look
    faults: list[Exception] = []

    def faulty(*arguments: Any, **named: Any) -> Any:
        if faults:
            raise faults.pop()
        return look(*arguments, **named)

    monkeypatch.setattr(bundle_events, "look", faulty)

    async def watch() -> None:
        watching = Watching()
        add_files(file_row("a.py", last_parsed_at=datetime.now(UTC)))
        async with aclosing(watching.answers(PARSES, **LONG_AGO)) as answers:
            assert "errors" not in await within(20, anext(answers))
            faults.extend(OperationalError("SELECT", {}, Exception("gone")) for _ in range(3))
            await in_thread(add_files, file_row("b.py", last_parsed_at=datetime.now(UTC), attempt_id="b"))
            event = await within(20, anext(answers))
            assert event["data"]["parseEvents"]["file"]["relativeFileloc"] == "b.py"
            assert caplog.text.count("can't be read, and is tried again") == 1
            faults.append(ValueError("a secret"))
            answer = await within(20, anext(answers))
            assert [error["extensions"]["code"] for error in answer["errors"]] == ["INTERNAL"]
        async with aclosing(watching.answers(PARSES, **LONG_AGO)) as answers:
            assert "errors" not in await within(20, anext(answers))

    run(watch)
