from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from parsegate.client import protocol
from parsegate.client.entries import Entry, Limits
from parsegate.client.outbox import Outbox

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MANY = 1_000_000_000
UNLIMITED = Limits(unchanged=MANY, others=MANY, bytes=MANY)


def at_most(others: int = MANY, *, unchanged: int = MANY, bytes: int = MANY) -> Limits:
    return Limits(unchanged=unchanged, others=others, bytes=bytes)


def result(
    attempt: str, file: str = "a.py", *, timed_out: bool = False, lease_ids: tuple[str, ...] = (), padding: int = 0
) -> protocol.ParseResult:
    return protocol.ParseResult(
        attempt_id=attempt,
        sequence=1,
        bundle_name="dags",
        bundle_path="/dags",
        relative_fileloc=file,
        bundle_version=None,
        version_data=None,
        parse_duration=0.1,
        timed_out=timed_out,
        dags=[],
        import_errors={},
        warnings=[],
        sources={"x": "y" * padding},
        lease_ids=list(lease_ids),
    )


def attempts(entries: list[Entry]) -> list[str | None]:
    return [entry.attempt_id for entry in entries]


def take_all(outbox: Outbox, now: float = 0.0) -> list[Entry]:
    return outbox.take(now, UNLIMITED)


def test_comes_out_in_the_order_it_went_in():
    outbox = Outbox()
    for name in ("a", "b", "c"):
        outbox.put(Entry.of(result(name, f"{name}.py")))
    assert attempts(take_all(outbox)) == ["a", "b", "c"]


def test_a_newer_result_of_a_file_replaces_the_waiting_one_and_goes_to_the_end():
    outbox = Outbox()
    outbox.put(Entry.of(result("old", "a.py")))
    outbox.put(Entry.of(result("other", "b.py")))
    assert attempts(outbox.put(Entry.of(result("new", "a.py")))) == ["old"]
    assert attempts(take_all(outbox)) == ["other", "new"]


def test_a_replaced_result_leaves_its_leases_to_its_successor():
    outbox = Outbox()
    outbox.put(Entry.of(result("old", lease_ids=("l1",))))
    outbox.put(Entry.of(result("new", lease_ids=("l2",))))
    (entry,) = take_all(outbox)
    assert sorted(entry.lease_ids) == ["l1", "l2"]


def test_a_timeout_does_not_push_out_the_result_before_it():
    outbox = Outbox()
    outbox.put(Entry.of(result("parsed")))
    assert outbox.put(Entry.of(result("timeout", timed_out=True))) == []
    assert attempts(take_all(outbox)) == ["parsed", "timeout"]


def test_a_result_replaces_an_earlier_timeout_too():
    outbox = Outbox()
    outbox.put(Entry.of(result("timeout", timed_out=True, lease_ids=("l",))))
    assert attempts(outbox.put(Entry.of(result("parsed")))) == ["timeout"]
    (entry,) = take_all(outbox)
    assert (entry.attempt_id, entry.lease_ids) == ("parsed", ["l"])


def test_what_was_not_delivered_goes_back_in_front():
    outbox = Outbox()
    outbox.put(Entry.of(result("a", "a.py")))
    outbox.put(Entry.of(result("b", "b.py")))
    batch = outbox.take(0, at_most(1))
    assert outbox.restore(batch) == []
    assert attempts(take_all(outbox)) == ["a", "b"]


def test_what_was_not_delivered_is_dropped_for_a_newer_result_that_came_meanwhile():
    outbox = Outbox()
    outbox.put(Entry.of(result("old", lease_ids=("l1",))))
    batch = take_all(outbox)
    assert outbox.put(Entry.of(result("new"))) == []
    assert attempts(outbox.restore(batch)) == ["old"]
    (entry,) = take_all(outbox)
    assert (entry.attempt_id, entry.lease_ids) == ("new", ["l1"])


def test_a_deferred_entry_waits_alone_and_holds_nobody_up():
    outbox = Outbox()
    for name in ("a", "b", "c"):
        outbox.put(Entry.of(result(name, f"{name}.py")))
    first, second, third = take_all(outbox)
    outbox.defer(first, until=5.0)
    outbox.restore([second, third])
    assert attempts(outbox.take(1.0, UNLIMITED)) == ["b", "c"]
    assert outbox.take(4.9, UNLIMITED) == []
    assert outbox.next_due() == 5.0
    outbox.put(Entry.of(result("d", "d.py")))
    assert attempts(outbox.take(5.0, UNLIMITED)) == ["a"]


def test_nothing_overtakes_the_bundles():
    outbox = Outbox()
    outbox.put(Entry.of(protocol.SyncBundles(bundles=[], deactivate_missing=False)))
    outbox.put(Entry.of(result("a")))
    (sync,) = take_all(outbox)
    assert sync.is_barrier
    outbox.defer(sync, until=5.0)
    assert take_all(outbox, now=1.0) == []
    assert outbox.next_due() == 5.0
    (sync,) = take_all(outbox, now=5.0)
    outbox.settle(sync)
    assert attempts(take_all(outbox)) == ["a"]


def test_a_refresh_without_a_version_keeps_the_version_that_still_waits():
    outbox = Outbox()
    outbox.put(Entry.of(protocol.BundleRefreshed(bundle_name="dags", last_refreshed=NOW, version="v1")))
    outbox.put(Entry.of(protocol.BundleRefreshed(bundle_name="dags", last_refreshed=NOW + timedelta(1), version=None)))
    (entry,) = take_all(outbox)
    assert entry.message == protocol.BundleRefreshed(
        bundle_name="dags", last_refreshed=NOW + timedelta(1), version="v1"
    )


def test_only_the_newest_files_of_a_bundle_wait():
    outbox = Outbox()
    for files in (["a"], ["a", "b"]):
        outbox.put(Entry.of(protocol.FilesObserved(bundle_name="dags", files=files, observed_filelocs=files)))
    (entry,) = take_all(outbox)
    assert isinstance(entry.message, protocol.FilesObserved)
    assert entry.message.files == ["a", "b"]


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=30), st.integers(1, 10), st.integers(1, 20_000))
def test_batches_keep_to_their_limits_unless_one_entry_alone_exceeds_them(
    paddings: list[int], max_count: int, max_bytes: int
):
    outbox = Outbox()
    for number, padding in enumerate(paddings):
        outbox.put(Entry.of(result(str(number), f"{number}.py", padding=padding)))
    seen: list[str | None] = []
    while batch := outbox.take(0, at_most(max_count, bytes=max_bytes)):
        assert len(batch) <= max_count
        assert len(batch) == 1 or sum(len(entry.content) for entry in batch) <= max_bytes
        seen += attempts(batch)
        for entry in batch:
            outbox.settle(entry)
    assert seen == [str(number) for number in range(len(paddings))]


def unchanged(attempt: str, file: str, **fields: Any) -> Entry:
    """A result that the gateway may have already."""
    entry = Entry.of(result(attempt, file, padding=5000))
    entry.unchanged = True
    for name, value in fields.items():
        setattr(entry, name, value)
    return entry


def gathering(entry: Entry, until: float) -> Entry:
    entry.waits_until = until
    return entry


def test_results_wait_for_company_but_not_for_long():
    outbox = Outbox()
    outbox.put(gathering(Entry.of(result("a", "a.py")), until=1.5))
    outbox.put(gathering(Entry.of(result("b", "b.py")), until=2.0))
    assert take_all(outbox, now=1.4) == []
    assert outbox.next_due() == 1.5
    assert attempts(take_all(outbox, now=1.5)) == ["a", "b"]


def test_a_file_that_is_parsed_again_and_again_does_not_wait_longer_for_it():
    outbox = Outbox()
    for number in range(5):
        outbox.put(gathering(Entry.of(result(str(number))), until=number + 1.5))
    assert outbox.next_due() == 1.5
    assert attempts(take_all(outbox, now=1.5)) == ["4"]


def test_what_waits_goes_along_with_whatever_can_not_wait_and_in_front_of_it():
    outbox = Outbox()
    outbox.put(gathering(Entry.of(result("a", "a.py")), until=1.5))
    outbox.put(Entry.of(protocol.CallbackSettled(lease_id="l", outcome="RAN")))
    assert [entry.key[0] for entry in take_all(outbox)] == ["result", "CallbackSettled"]


def test_what_waits_does_not_hold_up_what_is_to_be_tried_again_alone():
    outbox = Outbox()
    outbox.put(Entry.of(result("bad", "bad.py")))
    (bad,) = take_all(outbox)
    outbox.put(gathering(Entry.of(result("a", "a.py")), until=9.0))
    outbox.defer(bad, until=5.0)
    assert take_all(outbox, now=4.0) == []
    assert outbox.next_due() == 5.0
    assert attempts(take_all(outbox, now=5.0)) == ["a"]
    assert attempts(take_all(outbox, now=5.0)) == ["bad"]


def test_a_result_that_takes_over_a_parse_request_waits_no_longer():
    outbox = Outbox()
    outbox.put(Entry.of(result("old", lease_ids=("l",))))
    outbox.put(gathering(Entry.of(result("new")), until=1.5))
    assert attempts(take_all(outbox)) == ["new"]


def test_what_waits_goes_at_once_when_nothing_more_comes():
    outbox = Outbox()
    outbox.put(gathering(Entry.of(result("a")), until=1.5))
    outbox.flush()
    assert attempts(take_all(outbox)) == ["a"]


@pytest.mark.parametrize("limits", [at_most(3), at_most(bytes=1000)])
def test_a_full_batch_waits_for_no_more(limits: Limits):
    outbox = Outbox()
    names = iter("abcd")
    while not outbox.fills(limits):
        assert outbox.take(0, limits) == []
        name = next(names)
        outbox.put(gathering(Entry.of(result(name, f"{name}.py", padding=150)), until=1.5))
    batch = outbox.take(0, limits)
    assert 2 <= len(batch) <= 3
    assert outbox.take(0, limits) == []


def test_results_named_by_their_fingerprints_count_apart_and_weigh_little():
    outbox = Outbox()
    for number in range(9):
        outbox.put(unchanged(str(number), f"{number}.py"))
        outbox.put(Entry.of(result(f"full {number}", f"full-{number}.py")))
    limits = at_most(5, unchanged=20, bytes=9000)
    batch = outbox.take(0, limits)
    assert sum(entry.unchanged for entry in batch) == 5
    assert len(batch) == 10


@pytest.mark.parametrize("kind", ["files", "scan", "timeout"])
def test_what_must_follow_results_is_not_sent_with_those_that_may_yet_be_wanted(kind: str):
    follower = {
        "files": protocol.FilesObserved(bundle_name="dags", files=[], observed_filelocs=[]),
        "scan": protocol.ScanStale(stale_dag_threshold=50.0),
        "timeout": result("timeout", timed_out=True),
    }[kind]
    outbox = Outbox()
    outbox.put(Entry.of(result("full", "full.py")))
    outbox.put(gathering(unchanged("parsed", "a.py"), until=1.5))
    outbox.put(Entry.of(follower))
    outbox.put(unchanged("behind", "b.py"))
    first = take_all(outbox)
    assert attempts(first) == ["full", "parsed"]
    outbox.settle(first[0])
    assert outbox.want(first[1:]) == []
    (wanted, following, _) = take_all(outbox)
    assert (wanted.attempt_id, wanted.unchanged) == ("parsed", False)
    assert following.key == Entry.of(follower).key


def test_a_result_that_is_wanted_goes_at_once_in_front_and_in_full_while_others_go_on_gathering():
    outbox = Outbox()
    outbox.put(unchanged("a", "a.py"))
    outbox.put(unchanged("b", "b.py"))
    first, second = take_all(outbox)
    outbox.put(gathering(unchanged("c", "c.py"), until=5.0))
    outbox.settle(first)
    outbox.want([second])
    assert [(entry.attempt_id, entry.unchanged) for entry in take_all(outbox)] == [("b", False)]
    assert take_all(outbox, now=4.0) == []
    assert attempts(take_all(outbox, now=5.0)) == ["c"]


def test_a_result_that_is_wanted_goes_with_others_whose_time_has_come():
    outbox = Outbox()
    outbox.put(unchanged("a", "a.py"))
    batch = take_all(outbox)
    outbox.put(gathering(unchanged("b", "b.py"), until=1.0))
    outbox.put(gathering(unchanged("c", "c.py"), until=2.0))
    outbox.want(batch)
    assert attempts(take_all(outbox, now=1.0)) == ["a", "b", "c"]


def test_a_newer_result_than_the_wanted_one_goes_in_full_in_its_place():
    outbox = Outbox()
    outbox.put(unchanged("old", "a.py", lease_ids=["l"]))
    batch = take_all(outbox)
    outbox.put(gathering(unchanged("new", "a.py"), until=1.5))
    assert attempts(outbox.want(batch)) == ["old"]
    (entry,) = take_all(outbox)
    assert (entry.attempt_id, entry.unchanged, entry.lease_ids) == ("new", False, ["l"])


def test_results_that_fail_together_are_tried_together_again_and_then_in_full():
    outbox = Outbox()
    for name in "ab":
        outbox.put(unchanged(name, f"{name}.py"))
    for until in (1.0, 2.0):
        batch = take_all(outbox, now=until)
        assert [entry.unchanged for entry in batch] == [True, True]
        for entry in batch:
            outbox.defer(entry, until + 1.0)
    assert [(entry.unchanged, entry.alone) for entry in take_all(outbox, now=3.0)] == [(False, False), (False, False)]


def test_a_gateway_that_knows_no_fingerprints_gets_all_in_full():
    outbox = Outbox()
    for name in "ab":
        outbox.put(unchanged(name, f"{name}.py"))
    outbox.send_in_full()
    assert outbox.fills(at_most(2))
    assert [entry.unchanged for entry in take_all(outbox)] == [False, False]


class OutboxAgainstModel(RuleBasedStateMachine):
    """Whatever happens between: the newest result of every file arrives, in order, with the leases of all before it."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox()
        self.numbers = count()
        self.now = 0.0
        self.taken: list[Entry] = []
        self.newest: dict[str, str] = {}
        self.open_attempts: set[str] = set()
        self.open_leases: set[str] = set()
        self.delivered: dict[str, int] = {}

    def _dropped(self, entries: list[Entry]) -> None:
        for entry in entries:
            assert entry.attempt_id is not None
            self.open_attempts.remove(entry.attempt_id)

    @rule(file=st.sampled_from("abcd"), lease=st.booleans(), unchanged=st.booleans(), waits=st.floats(0, 3))
    def put(self, file: str, lease: bool, unchanged: bool, waits: float) -> None:
        number = str(next(self.numbers))
        leases = (f"lease-{number}",) if lease else ()
        self.open_attempts.add(number)
        self.open_leases.update(leases)
        self.newest[file] = number
        entry = Entry.of(result(number, file, lease_ids=leases))
        entry.unchanged = unchanged
        entry.waits_until = self.now + waits
        self._dropped(self.outbox.put(entry))

    @precondition(lambda self: not self.taken)
    @rule(max_count=st.integers(1, 4))
    def take(self, max_count: int) -> None:
        limits = at_most(max_count, unchanged=2)
        due = self.outbox.next_due()
        fills = self.outbox.fills(limits)
        self.taken = self.outbox.take(self.now, limits)
        if due is not None and due <= self.now:
            assert self.taken, "an agent that wakes up for it would wake up again and again"
        elif not fills:
            assert not self.taken, "it waits for company"

    @rule()
    def flush(self) -> None:
        self.outbox.flush()

    @precondition(lambda self: self.taken)
    @rule()
    def deliver(self) -> None:
        for entry in self.taken:
            self._deliver(entry)
        self.taken = []

    @precondition(lambda self: self.taken)
    @rule()
    def want(self) -> None:
        for entry in self.taken:
            if not entry.unchanged:
                self._deliver(entry)
        self._dropped(self.outbox.want([entry for entry in self.taken if entry.unchanged]))
        self.taken = []

    @precondition(lambda self: self.taken)
    @rule()
    def lose(self) -> None:
        self._dropped(self.outbox.restore(self.taken))
        self.taken = []

    @precondition(lambda self: self.taken)
    @rule(delay=st.floats(0, 10))
    def fail_the_first(self, delay: float) -> None:
        first, *others = self.taken
        self._dropped(self.outbox.defer(first, self.now + delay))
        for entry in others:
            self._deliver(entry)
        self.taken = []

    @rule(seconds=st.floats(0, 5))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    def _deliver(self, entry: Entry) -> None:
        assert entry.attempt_id is not None
        file = entry.key[2]
        assert int(entry.attempt_id) > self.delivered.get(file, -1), "an older result after a newer one"
        self.delivered[file] = int(entry.attempt_id)
        self.open_attempts.remove(entry.attempt_id)
        self.open_leases.difference_update(entry.lease_ids)
        self.outbox.settle(entry)

    @invariant()
    def is_bounded_and_counts_what_is_open(self) -> None:
        assert len(self.outbox) == self.outbox.undelivered_results == len(self.open_attempts)
        waiting = len(self.outbox) - len(self.taken)
        assert waiting <= 4
        assert self.outbox.fills(at_most(1, unchanged=1, bytes=1)) == bool(waiting)

    def teardown(self) -> None:
        self._dropped(self.outbox.restore(self.taken))
        while batch := self.outbox.take(self.now + 1000, UNLIMITED):
            for entry in batch:
                self._deliver(entry)
        assert not self.open_attempts
        assert not self.open_leases
        assert {file: str(number) for file, number in self.delivered.items()} == self.newest


TestOutboxAgainstModel = OutboxAgainstModel.TestCase
