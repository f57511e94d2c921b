"""Whether a version of a bundle has landed: what processors tell of its files against what the ledger has stored."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from found_versions import broken, find, parse
from gateway_app import Gateway
from parse_state_rows import add_bundle, add_files, counted_statements, file_row
from registered_processor import RegisteredProcessor

VERSION = """query Version($bundle: String!, $version: String) { bundleVersion(bundle: $bundle, version: $version) {
    id bundleName version firstSeenAt lastSeenAt completedAt isCurrent fileCount storedCount failedCount
    importErrorCount state waitingFiles failing { relativeFileloc status importErrors { stacktrace } } } }"""


def seen(gateway: Gateway, version: str | None = None, bundle: str = "dags") -> dict[str, Any]:
    answer = gateway.data(VERSION, {"bundle": bundle, "version": version}, token=gateway.operator_token())
    return answer["bundleVersion"]


def failing(version: dict[str, Any]) -> list[str]:
    return [file["relativeFileloc"] for file in version["failing"]]


def counts(version: dict[str, Any]) -> tuple[str, int, int, list[str], list[str]]:
    return version["state"], version["fileCount"], version["storedCount"], version["waitingFiles"], failing(version)


def test_a_version_is_complete_once_every_file_of_it_is_stored(
    gateway: Gateway, processor: RegisteredProcessor
) -> None:
    assert seen(gateway) is None
    find(processor, "v1", "a.py", "b.py", "c.py")
    assert counts(seen(gateway)) == ("IN_PROGRESS", 3, 0, ["a.py", "b.py", "c.py"], [])

    parse(processor, "v1", "a.py")
    parse(processor, "v1", "b.py", timedOut=True)
    version = seen(gateway, "v1")
    assert counts(version) == ("IN_PROGRESS", 3, 1, ["c.py"], ["b.py"])
    assert (version["failedCount"], version["failing"][0]["status"], version["completedAt"]) == (1, "TIMED_OUT", None)

    parse(processor, "v1", "c.py", **broken("c.py"))
    parse(processor, "v1", "b.py", sequence=2)
    version = seen(gateway)
    assert counts(version) == ("COMPLETE", 3, 3, [], ["c.py"])
    assert (version["importErrorCount"], version["failedCount"], version["isCurrent"]) == (1, 0, True)
    assert version["failing"][0]["importErrors"] == [{"stacktrace": "Traceback: broken"}]
    assert version["completedAt"] is not None

    # Parsed again, it is still complete since when it was, even while a file fails.
    parse(processor, "v1", "a.py", sequence=2, timedOut=True)
    again = seen(gateway)
    assert (again["state"], again["completedAt"]) == ("COMPLETE", version["completedAt"])
    assert (again["storedCount"], failing(again)) == (2, ["a.py", "c.py"])


def test_a_version_is_overtaken_by_the_next_which_a_processor_that_is_behind_does_not_complete(
    gateway: Gateway, processor: RegisteredProcessor
) -> None:
    behind = RegisteredProcessor(gateway)
    find(processor, "v1", "a.py", "gone.py")
    find(behind, "v1", "a.py", "gone.py")
    parse(processor, "v1", "a.py")
    parse(processor, "v1", "gone.py", **broken("gone.py"))
    # Nobody has looked whether it is complete when the next comes.
    assert find(processor, "v2", "a.py", "b.py")["forgottenFileCount"] == 1
    before = seen(gateway, "v1")
    assert counts(before) == ("COMPLETE", 2, 2, [], [])
    assert (before["isCurrent"], before["importErrorCount"]) == (False, 1)

    parse(processor, "v2", "a.py", sequence=2)
    parse(processor, "v2", "b.py")
    parse(behind, "v1", "a.py", sequence=2)
    parse(behind, "v1", "gone.py", sequence=2)
    parse(behind, "v1", "b.py", timedOut=True)
    assert counts(seen(gateway)) == ("IN_PROGRESS", 2, 0, ["a.py", "b.py"], [])
    find(behind, "v2", "a.py", "b.py")
    for path in ("a.py", "b.py"):
        parse(behind, "v2", path, sequence=3)
    assert counts(seen(gateway)) == ("COMPLETE", 2, 2, [], [])


def test_a_version_that_comes_back_begins_anew(gateway: Gateway, processor: RegisteredProcessor) -> None:
    find(processor, "v1", "a.py", "b.py")
    parse(processor, "v1", "a.py")
    parse(processor, "v1", "b.py")
    first = seen(gateway)
    assert first["state"] == "COMPLETE"
    find(processor, "v2", "a.py", "b.py")
    parse(processor, "v2", "a.py", sequence=2)
    find(processor, "v1", "a.py", "b.py")
    assert counts(seen(gateway, "v2")) == ("OVERTAKEN", 2, 1, ["b.py"], [])
    version = seen(gateway)
    assert counts(version) == ("IN_PROGRESS", 2, 1, ["a.py"], [])
    assert version["firstSeenAt"] > first["firstSeenAt"]
    assert version["completedAt"] is None
    parse(processor, "v1", "a.py", sequence=3)
    assert counts(seen(gateway, "v1")) == ("COMPLETE", 2, 2, [], [])
    # An empty bundle has nothing to wait for.
    find(processor, "v3")
    assert counts(seen(gateway)) == ("COMPLETE", 0, 0, [], [])


def test_a_bundle_without_versions_begins_anew_when_its_set_of_files_changes(
    gateway: Gateway, processor: RegisteredProcessor
) -> None:
    find(processor, None, "a.py")
    parse(processor, None, "a.py")
    version = seen(gateway)
    assert (version["version"], counts(version)) == ("", ("COMPLETE", 1, 1, [], []))
    with counted_statements() as sent:
        find(processor, None, "a.py")
    assert not [text for text in sent if not text.startswith("SELECT")], "it says nothing new"
    assert seen(gateway, "") == version
    parse(processor, None, "a.py", sequence=2, timedOut=True)
    find(processor, None, "a.py", "b.py")
    parse(processor, None, "b.py")
    assert counts(seen(gateway)) == ("IN_PROGRESS", 2, 1, ["a.py"], []), "it failed before the files changed"
    parse(processor, None, "a.py", sequence=3, timedOut=True)
    assert counts(seen(gateway)) == ("IN_PROGRESS", 2, 1, [], ["a.py"])
    parse(processor, None, "a.py", sequence=4)
    assert counts(seen(gateway)) == ("COMPLETE", 2, 2, [], [])


def test_the_last_20_versions_are_kept_and_a_name_that_cannot_be_is_refused(
    gateway: Gateway, processor: RegisteredProcessor
) -> None:
    for number in range(21):
        find(processor, f"v{number}", "a.py")
    assert seen(gateway, "v0") is None
    assert [seen(gateway, f"v{number}")["state"] for number in (1, 20)] == ["OVERTAKEN", "IN_PROGRESS"]
    for version in ("v" * 201, "v\0"):
        payload = processor.send(
            "ReconcileBundle",
            input={"bundleName": "dags", "bundleVersion": version, "files": [], "observedFilelocs": []},
        )
        assert (payload["status"], payload["reason"]) == ("REFUSED", "INVALID_ARGUMENT")
    assert seen(gateway)["version"] == "v20"


def test_processors_that_find_versions_at_the_same_moment_keep_nobody_from_storing(
    gateway: Gateway, processor: RegisteredProcessor
) -> None:
    names = [f"v{number}" for number in range(5)]
    both = [processor, RegisteredProcessor(gateway)]
    with ThreadPoolExecutor(3) as threads:
        finding = [threads.submit(lambda each: [find(each, name, "a.py") for name in names], each) for each in both]
        storing = threads.submit(lambda: [parse(processor, "v4", "a.py", sequence=number) for number in range(1, 11)])
        for work in (*finding, storing):
            work.result(60)
    find(processor, "v4", "a.py")
    assert [seen(gateway, name)["fileCount"] for name in names] == [1] * 5
    assert counts(seen(gateway)) == ("COMPLETE", 1, 1, [], [])


def test_only_a_bundle_that_the_token_grants_can_be_asked_for(gateway: Gateway, processor: RegisteredProcessor) -> None:
    find(processor, "v1", "a.py")
    for token, message in (
        (gateway.operator_token(["team_a"]), "The token does not grant the bundle dags."),
        (processor.token, "This field needs a token of kind operator; the request carries a job token."),
    ):
        (error,) = gateway.execute(VERSION, {"bundle": "dags"}, token=token)["errors"]
        assert (error["extensions"]["code"], error["message"]) == ("FORBIDDEN", message)


def test_the_versions_of_many_bundles_cost_as_many_statements_as_those_of_one(
    gateway: Gateway, processor: RegisteredProcessor
) -> None:
    def current(first: int) -> tuple[int, list[dict[str, Any]]]:
        document = f"""{{ bundles(first: {first}) {{ nodes {{ name currentVersion {{
            version state storedCount waitingFiles failing {{ relativeFileloc }} }} }} }} }}"""
        with counted_statements() as sent:
            answer = gateway.data(document, token=gateway.operator_token())
        return len(sent), [node["currentVersion"] for node in answer["bundles"]["nodes"]]

    names = ["dags", *(f"dags_{number}" for number in range(5))]
    for name in names[1:]:
        add_bundle(name)
    for name in names:
        find(processor, "v1", "a.py", "b.py", bundle=name)
    add_files(*(file_row("a.py", name, bundle_version="v1", import_error_count=1) for name in names))
    one, all_of_them = current(1), current(6)
    assert one[0] == all_of_them[0] == 6
    assert (
        all_of_them[1]
        == [
            {
                "version": "v1",
                "state": "IN_PROGRESS",
                "storedCount": 1,
                "waitingFiles": ["b.py"],
                "failing": [{"relativeFileloc": "a.py"}],
            }
        ]
        * 6
    )
