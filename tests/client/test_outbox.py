from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from parsegate.client import protocol
from parsegate.client.outbox import Entry, Outbox

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UNLIMITED = 1_000_000_000


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
    return outbox.take(now, UNLIMITED, UNLIMITED)


def test_comes_out_in_the_order_it_went_in():
    outbox = Outbox()
    for name in ("a", "b", "c"):
        outbox.put(result(name, f"{name}.py"))
    assert attempts(take_all(outbox)) == ["a", "b", "c"]


def test_a_newer_result_of_a_file_replaces_the_waiting_one_and_goes_to_the_end():
    outbox = Outbox()
    outbox.put(result("old", "a.py"))
    outbox.put(result("other", "b.py"))
    assert attempts(outbox.put(result("new", "a.py"))) == ["old"]
    assert attempts(take_all(outbox)) == ["other", "new"]


def test_a_replaced_result_leaves_its_leases_to_its_successor():
    outbox = Outbox()
    outbox.put(result("old", lease_ids=("l1",)))
    outbox.put(result("new", lease_ids=("l2",)))
    (entry,) = take_all(outbox)
    assert sorted(entry.lease_ids) == ["l1", "l2"]


def test_a_timeout_does_not_push_out_the_result_before_it():
    outbox = Outbox()
    outbox.put(result("parsed"))
    assert outbox.put(result("timeout", timed_out=True)) == []
    assert attempts(take_all(outbox)) == ["parsed", "timeout"]


def test_a_result_replaces_an_earlier_timeout_too():
    outbox = Outbox()
    outbox.put(result("timeout", timed_out=True, lease_ids=("l",)))
    assert attempts(outbox.put(result("parsed"))) == ["timeout"]
    (entry,) = take_all(outbox)
    assert (entry.attempt_id, entry.lease_ids) == ("parsed", ["l"])


def test_what_was_not_delivered_goes_back_in_front():
    outbox = Outbox()
    outbox.put(result("a", "a.py"))
    outbox.put(result("b", "b.py"))
    batch = outbox.take(0, 1, UNLIMITED)
    assert outbox.restore(batch) == []
    assert attempts(take_all(outbox)) == ["a", "b"]


def test_what_was_not_delivered_is_dropped_for_a_newer_result_that_came_meanwhile():
    outbox = Outbox()
    outbox.put(result("old", lease_ids=("l1",)))
    batch = take_all(outbox)
    assert outbox.put(result("new")) == []
    assert attempts(outbox.restore(batch)) == ["old"]
    (entry,) = take_all(outbox)
    assert (entry.attempt_id, entry.lease_ids) == ("new", ["l1"])


def test_a_deferred_entry_waits_alone_and_holds_nobody_up():
    outbox = Outbox()
    for name in ("a", "b", "c"):
        outbox.put(result(name, f"{name}.py"))
    first, second, third = take_all(outbox)
    outbox.defer(first, until=5.0)
    outbox.restore([second, third])
    assert attempts(outbox.take(1.0, UNLIMITED, UNLIMITED)) == ["b", "c"]
    assert outbox.take(4.9, UNLIMITED, UNLIMITED) == []
    assert outbox.next_due() == 5.0
    outbox.put(result("d", "d.py"))
    assert attempts(outbox.take(5.0, UNLIMITED, UNLIMITED)) == ["a"]


def test_nothing_overtakes_the_bundles():
    outbox = Outbox()
    outbox.put(protocol.SyncBundles(bundles=[], deactivate_missing=False))
    outbox.put(result("a"))
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
    outbox.put(protocol.BundleRefreshed(bundle_name="dags", last_refreshed=NOW, version="v1"))
    outbox.put(protocol.BundleRefreshed(bundle_name="dags", last_refreshed=NOW + timedelta(1), version=None))
    (entry,) = take_all(outbox)
    assert entry.message == protocol.BundleRefreshed(
        bundle_name="dags", last_refreshed=NOW + timedelta(1), version="v1"
    )


def test_only_the_newest_files_of_a_bundle_wait():
    outbox = Outbox()
    for files in (["a"], ["a", "b"]):
        outbox.put(protocol.FilesObserved(bundle_name="dags", files=files, observed_filelocs=files))
    (entry,) = take_all(outbox)
    assert isinstance(entry.message, protocol.FilesObserved)
    assert entry.message.files == ["a", "b"]


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=30), st.integers(1, 10), st.integers(1, 20_000))
def test_batches_keep_to_their_limits_unless_one_entry_alone_exceeds_them(
    paddings: list[int], max_count: int, max_bytes: int
):
    outbox = Outbox()
    for number, padding in enumerate(paddings):
        outbox.put(result(str(number), f"{number}.py", padding=padding))
    seen: list[str | None] = []
    while batch := outbox.take(0, max_count, max_bytes):
        assert len(batch) <= max_count
        assert len(batch) == 1 or sum(len(entry.content) for entry in batch) <= max_bytes
        seen += attempts(batch)
        for entry in batch:
            outbox.settle(entry)
    assert seen == [str(number) for number in range(len(paddings))]


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

    @rule(file=st.sampled_from("abcd"), lease=st.booleans())
    def put(self, file: str, lease: bool) -> None:
        number = str(next(self.numbers))
        leases = (f"lease-{number}",) if lease else ()
        self.open_attempts.add(number)
        self.open_leases.update(leases)
        self.newest[file] = number
        self._dropped(self.outbox.put(result(number, file, lease_ids=leases)))

    @precondition(lambda self: not self.taken)
    @rule(max_count=st.integers(1, 4))
    def take(self, max_count: int) -> None:
        self.taken = self.outbox.take(self.now, max_count, UNLIMITED)

    @precondition(lambda self: self.taken)
    @rule()
    def deliver(self) -> None:
        for entry in self.taken:
            self._deliver(entry)
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
        assert len(self.outbox) - len(self.taken) <= 4

    def teardown(self) -> None:
        self._dropped(self.outbox.restore(self.taken))
        while batch := self.outbox.take(self.now + 1000, UNLIMITED, UNLIMITED):
            for entry in batch:
                self._deliver(entry)
        assert not self.open_attempts
        assert not self.open_leases
        assert {file: str(number) for file, number in self.delivered.items()} == self.newest


TestOutboxAgainstModel = OutboxAgainstModel.TestCase
