"""The manager with real children and a real bundle helper: what it tells the agent, and what it does when told."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from agent_peer import ProcessorUnderTest, ScriptedAgent, accepted, not_found, open_directory

from parsegate.client import protocol
from parsegate.client.exit_codes import EXIT_ENDED, EXIT_MISCONFIGURED, EXIT_NO_GATEWAY, EXIT_STOPPED
from parsegate.client.fingerprints import fingerprint

DAG = "from airflow.sdk import DAG, Variable\nd = DAG({name!r}, description={description})\n"


def write_dag(path: Path, description: str = "'1'") -> None:
    path.write_text(DAG.format(name=path.stem, description=description))
    path.chmod(0o644)


class Setting:
    """A folder with a plain and a versioned bundle, an agent, and a processor of them."""

    def __init__(self, root: Path, *options: str, **settings: str) -> None:
        self.root = root
        self.plain = root / "plain"
        self.versions = root / "versions"
        for directory in (self.plain, self.versions / "v1", self.versions / "v2", root / "socket"):
            directory.mkdir(parents=True)
        write_dag(self.plain / "one.py")
        write_dag(self.versions / "v1" / "dag.py", "'of v1'")
        write_dag(self.versions / "v2" / "dag.py", "'of v2'")
        (self.versions / "CURRENT").write_text("v1")
        self.agent = ScriptedAgent(root / "socket")
        bundles = [
            {
                "name": "plain",
                "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                "kwargs": {"path": str(self.plain), "refresh_interval": 1},
            },
            {
                "name": "versioned",
                "classpath": "versioned_folder.VersionedFolder",
                "kwargs": {"folder": str(self.versions), "refresh_interval": 1},
            },
        ]
        self.processor = ProcessorUnderTest(
            root / "home",
            self.agent.path,
            json.dumps(bundles),
            *options,
            PYTHONPATH=str(Path(__file__).parents[1]),
            **{"AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "1", **settings},
        )

    def stop(self) -> int:
        try:
            return self.processor.stop()
        finally:
            self.agent.close()

    def results(self, name: str) -> list[protocol.ParseResult]:
        return [result for result in self.agent.of(protocol.ParseResult) if result.relative_fileloc == name]

    def description(self, name: str) -> str | None:
        results = self.results(name)
        return results[-1].dags[0].document["dag"]["description"] if results and results[-1].dags else None


@pytest.fixture
def root() -> Iterator[Path]:
    with open_directory() as directory:
        yield directory


@pytest.fixture(scope="module")
def running() -> Iterator[Setting]:
    with open_directory() as directory:
        setting = Setting(directory)
        try:
            setting.agent.wait(lambda: setting.results("one.py") and setting.results("dag.py"))
            yield setting
        finally:
            setting.stop()


def test_it_registers_before_anything_else_and_syncs_its_bundles(running: Setting):
    register, *others = running.agent.received
    assert isinstance(register, protocol.Register)
    assert register.pid == running.processor.process.pid
    assert register.unixname == ("nobody" if os.geteuid() == 0 else register.unixname)
    (sync,) = running.agent.of(protocol.SyncBundles)
    assert [(bundle.name, bundle.supports_versioning) for bundle in sync.bundles] == [
        ("plain", False),
        ("versioned", True),
    ]
    assert sync.deactivate_missing
    kinds = [type(message) for message in others]
    assert kinds.index(protocol.SyncBundles) < kinds.index(protocol.FilesObserved) < kinds.index(protocol.ParseResult)


def test_results_carry_the_version_they_were_parsed_from(running: Setting):
    plain, versioned = running.results("one.py")[0], running.results("dag.py")[0]
    assert (plain.bundle_name, plain.bundle_version, plain.version_data) == ("plain", None, None)
    assert (versioned.bundle_version, versioned.version_data) == ("v1", {"folder": "v1"})
    assert versioned.bundle_path == str(running.versions / "v1")


def test_sequences_grow_and_attempts_are_unique(running: Setting):
    results = running.agent.wait(lambda: len(found := running.agent.of(protocol.ParseResult)) > 4 and found)
    sequences = [result.sequence for result in results]
    assert sequences == sorted(set(sequences))
    assert len({result.attempt_id for result in results}) == len(results)


def test_parsing_an_unchanged_file_again_gives_a_result_with_the_same_fingerprint(running: Setting):
    results = running.agent.wait(lambda: len(found := running.results("one.py")) > 1 and found)
    assert results[0].dags
    frames = [protocol.encode(result)[4:] for result in results[:2]]
    one, two = (fingerprint(msgspec.msgpack.decode(frame, type=protocol.PackedResult)) for frame in frames)
    assert one == two


def test_a_child_finds_loaded_what_every_child_needs_but_no_plugin(running: Setting):
    loaded = "'airflow.providers.standard.sensors.external_task' in sys.modules"
    plugins = "airflow.plugins_manager._get_plugins.cache_info().currsize"
    path = running.plain / "preloaded.py"
    write_dag(path, f"repr(({loaded}, {plugins}))")
    path.write_text("import sys\nimport airflow.plugins_manager\n" + path.read_text())
    running.agent.wait(lambda: running.results("preloaded.py"))
    assert running.description("preloaded.py") == "(True, 0)"
    path.unlink()


def test_a_manager_describes_itself_without_its_files(running: Setting):
    # In every child Python puts the owner of a signal's handler into an error that nobody sees.
    path = running.plain / "described.py"
    write_dag(path, "repr(manager)")
    path.write_text(
        "import sys\n"
        "frame = sys._getframe()\n"
        "while type(manager := frame.f_locals.get('self')).__name__ != 'GatewayDagFileProcessorManager':\n"
        "    frame = frame.f_back\n" + path.read_text()
    )
    running.agent.wait(lambda: running.results("described.py"))
    assert re.fullmatch(r"<GatewayDagFileProcessorManager of \d files>", running.description("described.py") or "")
    path.unlink()


def test_a_new_version_is_adopted_by_the_running_manager(running: Setting):
    (running.versions / "CURRENT").write_text("v2")
    result = running.agent.wait(
        lambda: next((result for result in running.results("dag.py") if result.bundle_version == "v2"), None)
    )
    assert result.dags[0].document["dag"]["description"] == "of v2"
    assert any(message.version == "v2" for message in running.agent.of(protocol.BundleRefreshed))
    # What the version is made of is told once, before anything that was parsed of it.
    observed = [message for message in running.agent.of(protocol.FilesObserved) if message.bundle_name == "versioned"]
    assert [(message.bundle_version, message.files) for message in observed] == [("v1", ["dag.py"]), ("v2", ["dag.py"])]
    assert running.agent.received.index(observed[1]) < running.agent.received.index(result)
    assert {o.bundle_version for o in running.agent.of(protocol.FilesObserved) if o.bundle_name == "plain"} == {None}


def test_a_new_file_is_parsed_and_a_deleted_one_observed_as_gone(running: Setting):
    path = running.plain / "passing.py"
    write_dag(path)
    running.agent.wait(lambda: running.results("passing.py"))
    path.unlink()

    def gone() -> bool:
        observed = [message for message in running.agent.of(protocol.FilesObserved) if message.bundle_name == "plain"]
        return any("passing.py" in message.files for message in observed) and "passing.py" not in observed[-1].files

    running.agent.wait(gone)


def test_a_changed_file_is_stored_again(running: Setting):
    write_dag(running.plain / "one.py", "'changed'")
    running.agent.wait(lambda: running.description("one.py") == "changed")


def test_a_parse_request_is_answered_by_a_parse_that_begins_after_a_refresh(running: Setting):
    path = running.plain / "requested.py"
    write_dag(path)
    # The file is new: only a refresh finds it.
    lease = protocol.ParseRequestLease(lease_id="request-1", bundle_name="plain", relative_fileloc="requested.py")
    running.agent.send(protocol.ParseRequestsLeased(leases=[lease]))
    result = running.agent.wait(lambda: next((r for r in running.results("requested.py") if r.lease_ids), None))
    assert result.lease_ids == ["request-1"]


def test_a_parse_request_for_a_running_file_of_which_the_agent_knows_gets_a_parse_of_its_own(running: Setting):
    path, mark = running.plain / "slow.py", running.root / "home" / "slow.mark"
    path.write_text(
        f"import os, time\nopen({str(mark)!r}, 'a').write('x')\ntime.sleep(5)\n"
        + DAG.format(name="slow", description="'1'")
    )
    path.chmod(0o644)
    deadline = time.monotonic() + 60
    while not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    at_work = protocol.FileAtWork(bundle_name="plain", relative_fileloc="slow.py")
    running.agent.wait(lambda: any(at_work in activity.parsing for activity in running.agent.of(protocol.Activity)))
    lease = protocol.ParseRequestLease(lease_id="request-2", bundle_name="plain", relative_fileloc="slow.py")
    running.agent.send(protocol.ParseRequestsLeased(leases=[lease]))
    running.agent.wait(lambda: any(result.lease_ids == ["request-2"] for result in running.results("slow.py")))
    assert running.results("slow.py")[0].lease_ids == []
    path.unlink()


def test_a_parse_request_for_an_unknown_file_is_given_back(running: Setting):
    lease = protocol.ParseRequestLease(lease_id="request-3", bundle_name="plain", relative_fileloc="nowhere.py")
    running.agent.send(protocol.ParseRequestsLeased(leases=[lease]))
    running.agent.wait(
        lambda: any(message.lease_id == "request-3" for message in running.agent.of(protocol.ParseRequestReleased))
    )


def test_what_an_outage_spoiled_is_not_sent_and_the_file_is_parsed_again(running: Setting):
    reached = False

    def answer(read: protocol.Read) -> protocol.ReadAnswer:
        if not reached:
            return protocol.ReadAnswer(id=read.id, unreachable=True)
        return protocol.ReadAnswer(id=read.id, body={"key": "colour", "value": "blue"})

    running.agent.answer = answer
    write_dag(running.plain / "reading.py", "Variable.get('colour')")
    running.agent.wait(lambda: any(read.relative_fileloc == "reading.py" for read in running.agent.of(protocol.Read)))
    # Another file's result comes in the meantime, this one's doesn't.
    before = len(running.results("one.py"))
    running.agent.wait(lambda: len(running.results("one.py")) > before)
    assert running.results("reading.py") == []
    reached = True
    running.agent.wait(lambda: running.description("reading.py") == "blue")
    assert all(not result.import_errors for result in running.results("reading.py"))
    running.agent.answer = not_found
    (running.plain / "reading.py").unlink()


def test_a_secret_of_one_file_is_not_left_for_the_next(running: Setting):
    def answer(read: protocol.Read) -> protocol.ReadAnswer:
        return protocol.ReadAnswer(id=read.id, body={"key": "api_password", "value": "hunter2-hunter2"})

    running.agent.answer = answer
    write_dag(running.plain / "secretive.py", "str(len(Variable.get('api_password')))")
    running.agent.wait(lambda: running.description("secretive.py") == "15")
    (running.plain / "secretive.py").unlink()
    time.sleep(1.5)
    path = running.plain / "curious.py"
    path.write_text(
        "import re\nfrom airflow.sdk._shared.secrets_masker import _secrets_masker\n"
        "known = [p for p in _secrets_masker().patterns if 'hunter2' in p]\n"
        "known += [key for key in re._cache if 'hunter2' in str(key)]\n"
        + DAG.format(name="curious", description="str(known)")
    )
    path.chmod(0o644)
    running.agent.wait(lambda: running.description("curious.py"))
    assert running.description("curious.py") == "[]"
    running.agent.answer = not_found


def test_a_refused_result_is_a_warning_with_its_reason(running: Setting):
    def refuse(result: protocol.ParseResult) -> protocol.ResultSettled:
        settled = accepted(result)
        return protocol.ResultSettled(
            attempt_id=settled.attempt_id,
            bundle_name=settled.bundle_name,
            relative_fileloc=settled.relative_fileloc,
            status="REFUSED",
            reason="DAG_OWNED_BY_ANOTHER_BUNDLE",
            message="It belongs to finance.",
        )

    running.agent.settle = refuse
    before = len(running.agent.of(protocol.ParseResult))
    running.agent.wait(lambda: len(running.agent.of(protocol.ParseResult)) > before + 1)
    running.agent.settle = accepted
    deadline = time.monotonic() + 30
    while "DAG_OWNED_BY_ANOTHER_BUNDLE: It belongs to finance." not in running.processor.log:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_parse_that_times_out_in_an_outage_is_not_held_against_the_file(root: Path):
    setting = Setting(root, AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT="4")
    setting.agent.answer = lambda read: protocol.ReadAnswer(id=read.id, unreachable=True)
    path = setting.plain / "waiting.py"
    path.write_text(
        "import time\nfrom airflow.sdk import Variable\n"
        "if Variable.get('colour', default=None) is None:\n    time.sleep(600)\n"
        + DAG.format(name="waiting", description="Variable.get('colour')")
    )
    path.chmod(0o644)
    try:
        setting.agent.wait(
            lambda: any(read.relative_fileloc == "waiting.py" for read in setting.agent.of(protocol.Read))
        )
        deadline = time.monotonic() + 30
        while "waiting.py" not in setting.processor.log or "Killing it!" not in setting.processor.log:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        setting.agent.answer = lambda read: protocol.ReadAnswer(id=read.id, body={"key": "colour", "value": "blue"})
        setting.agent.wait(lambda: setting.description("waiting.py") == "blue")
        assert not any(result.timed_out for result in setting.results("waiting.py"))
    finally:
        setting.stop()


def test_it_runs_in_the_background_when_told_to(root: Path):
    home = root / "home"
    files = {option: home / option.strip("-") for option in ("--pid", "--stdout", "--stderr", "--log-file")}
    setting = Setting(root, "--daemon", *(text for option, path in files.items() for text in (option, str(path))))
    try:
        assert setting.processor.wait() == EXIT_ENDED
        setting.agent.wait(lambda: setting.results("one.py"))
        pid = int(files["--pid"].read_text())
        assert [register.pid for register in setting.agent.of(protocol.Register)] == [pid]
        os.kill(pid, signal.SIGTERM)
        setting.agent.wait(lambda: setting.agent.of(protocol.Complete))
        deadline = time.monotonic() + 30
        while Path("/proc", str(pid)).exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "ended with exit code 0" in files["--log-file"].read_text()
    finally:
        setting.stop()


def test_in_development_a_process_beside_it_starts_it_and_takes_it_along(root: Path):
    setting = Setting(root, "--dev")
    try:
        setting.agent.wait(lambda: setting.results("one.py"))
        (register,) = setting.agent.of(protocol.Register)
        assert register.pid != setting.processor.process.pid
        setting.processor.process.send_signal(signal.SIGTERM)
        assert setting.processor.wait() == EXIT_ENDED
        setting.agent.wait(lambda: setting.agent.of(protocol.Complete))
    finally:
        setting.stop()


def test_every_option_of_airflows_command_is_there():
    from airflow.cli.cli_config import core_commands

    from parsegate.client.launcher import parser

    (stock,) = (command for command in core_commands if command.name == "dag-processor")

    ours = {option for action in parser()._actions for option in action.option_strings}

    assert {flag for argument in stock.args for flag in argument.flags} <= ours


def test_it_ends_after_its_runs_once_all_results_are_acknowledged(root: Path):
    setting = Setting(root, "--num-runs", "1", AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL="600")
    held: list[protocol.ParseResult] = []
    setting.agent.settle = None
    try:
        held = setting.agent.wait(lambda: len(found := setting.agent.of(protocol.ParseResult)) >= 2 and found)
        setting.agent.wait(lambda: setting.agent.of(protocol.Flush))
        ticks = len(setting.agent.of(protocol.Tick))
        setting.agent.wait(lambda: len(setting.agent.of(protocol.Tick)) > ticks + 2)
        assert setting.processor.process.poll() is None
        assert len(setting.agent.of(protocol.Flush)) == 1
        for result in held:
            setting.agent.send(accepted(result))
        assert setting.processor.wait() == EXIT_ENDED
        # Nobody watches on a terminal.
        assert "\x1b" not in setting.processor.log
        (complete,) = setting.agent.of(protocol.Complete)
        assert complete.succeeded
    finally:
        setting.stop()


def test_a_signal_ends_it_gracefully_with_its_children(root: Path):
    setting = Setting(root)
    mark = root / "home" / "child.pid"
    path = setting.plain / "endless.py"
    path.write_text(
        f"import os, time\nopen({str(mark)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)  # airflow DAG\n"
    )
    path.chmod(0o644)
    try:
        deadline = time.monotonic() + 60
        while not (mark.exists() and mark.read_text()):
            assert time.monotonic() < deadline, setting.processor.log
            time.sleep(0.05)
        assert setting.stop() == EXIT_ENDED, setting.processor.log
        assert not Path("/proc", mark.read_text()).exists()
        assert [message.succeeded for message in setting.agent.of(protocol.Complete)] == [True]
    finally:
        setting.stop()


def test_it_stops_when_the_agent_is_gone(root: Path):
    setting = Setting(root)
    try:
        setting.agent.wait(lambda: setting.agent.of(protocol.ParseResult))
        setting.agent.close()
        assert setting.processor.wait() == EXIT_STOPPED
        assert "the agent has ended" in setting.processor.log
    finally:
        setting.stop()


def test_it_stops_when_the_gateway_closes_its_job(root: Path):
    setting = Setting(root)
    try:
        setting.agent.wait(lambda: setting.agent.of(protocol.ParseResult))
        setting.agent.send(protocol.Stopped(reason="JOB_CLOSED", message="The Job is no longer running."))
        assert setting.processor.wait() == EXIT_STOPPED
        assert "JOB_CLOSED: The Job is no longer running." in setting.processor.log
    finally:
        setting.stop()


def test_a_refused_registration_ends_it_with_the_reason(root: Path):
    setting = Setting(root)
    setting.agent.registers = False
    try:
        setting.agent.wait(lambda: setting.agent.of(protocol.Register))
        setting.agent.send(protocol.Stopped(reason="VERSION_MISMATCH", message="The gateway runs Airflow 3.4."))
        assert setting.processor.wait() == EXIT_NO_GATEWAY
        assert "VERSION_MISMATCH: The gateway runs Airflow 3.4." in setting.processor.log
    finally:
        setting.stop()


def test_an_unknown_bundle_name_is_a_mistake(root: Path):
    setting = Setting(root, "--bundle-name", "nonesuch")
    try:
        assert setting.processor.wait() == EXIT_MISCONFIGURED
        assert "not configured: nonesuch" in setting.processor.log
    finally:
        setting.stop()


def test_one_bundle_of_several_is_parsed_alone_and_deactivates_none(root: Path):
    setting = Setting(root, "--bundle-name", "plain", "--num-runs", "1")
    try:
        assert setting.processor.wait() == EXIT_ENDED
        (sync,) = setting.agent.of(protocol.SyncBundles)
        assert [bundle.name for bundle in sync.bundles] == ["plain"]
        assert not sync.deactivate_missing
        assert {result.bundle_name for result in setting.agent.of(protocol.ParseResult)} == {"plain"}
    finally:
        setting.stop()
