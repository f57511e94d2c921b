"""One hostile bundle, parsed by a real processor as an unprivileged user: what each file could and could not do."""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import signal
import struct
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
from agent_peer import ProcessorUnderTest, ScriptedAgent, not_found, open_directory

from parsegate.client import protocol
from parsegate.client.process import ParseProcess

DAG = """
import json, os, socket, struct, time
from airflow.sdk import DAG
def dag(name, found):
    return DAG(name, description=json.dumps(found))
"""

DESCRIPTORS = """
def seen():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            pass
    return found
"""

FILES = {
    # The two are parsed at the same time: each waits for the other's mark.
    "descriptors_a.py": DESCRIPTORS
    + """
open("MARKS/a", "w").close()
while not os.path.exists("MARKS/b"): time.sleep(0.05)
d = dag("descriptors_a", seen())
""",
    "descriptors_b.py": DESCRIPTORS
    + """
open("MARKS/b", "w").close()
while not os.path.exists("MARKS/a"): time.sleep(0.05)
d = dag("descriptors_b", seen())
""",
    "garbage.py": 'os.write(0, b"garbage"); time.sleep(60)\nd = dag("garbage", 1)\n',
    "garbage_body.py": 'os.write(0, struct.pack(">I", 3) + b"abc"); time.sleep(60)\nd = dag("garbage_body", 1)\n',
    "endless_frame.py": 'os.write(0, b"\\xff\\xff\\xff\\xff"); time.sleep(60)\nd = dag("endless_frame", 1)\n',
    "log_garbage.py": """
import stat
for descriptor in range(3, 64):
    try:
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            os.write(descriptor, b"[]\\n")
    except OSError:
        pass
time.sleep(60)
d = dag("log_garbage", 1)
""",
    "flood.py": """
import msgspec
from airflow.sdk.execution_time.comms import MaskSecret
peer = socket.socket(fileno=os.dup(0))
for i in range(3000):
    body = msgspec.msgpack.encode([i, {"type": "MaskSecret", "value": "flood-%d" % i, "name": None}])
    peer.sendall(struct.pack(">I", len(body)) + body)
time.sleep(60)
""",
    "flood_of_reads.py": """
import msgspec
peer = socket.socket(fileno=os.dup(0))
for i in range(3000):
    body = msgspec.msgpack.encode([1000 + i, {"type": "GetVariable", "key": "never answered"}])
    peer.sendall(struct.pack(">I", len(body)) + body)
time.sleep(60)
""",
    "hung_read.py": """
from airflow.sdk import Variable
d = dag("hung_read", Variable.get("never answered"))
""",
    "nonsense.py": """
from typing import Literal
from pydantic import BaseModel
from airflow.sdk.execution_time import task_runner
class Nonsense(BaseModel):
    type: Literal["Nonsense"] = "Nonsense"
try:
    answer = task_runner.SUPERVISOR_COMMS.send(Nonsense())
except Exception as error:
    answer = str(error)
d = dag("nonsense", answer)
""",
    "parent.py": """
def attempt(what):
    try:
        what()
    except OSError as error:
        return error.errno
    return 0
ppid = os.getppid()
d = dag("parent", {
    "mem": attempt(lambda: open(f"/proc/{ppid}/mem", "rb")),
    "environ": attempt(lambda: open(f"/proc/{ppid}/environ", "rb").read()),
    "fd": attempt(lambda: os.listdir(f"/proc/{ppid}/fd")),
})
""",
    "no_source.py": 'd = dag("no_source", 1)\nos.unlink(__file__)\n',
    "count.py": """
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import GetTICount
d = dag("count", task_runner.SUPERVISOR_COMMS.send(GetTICount(dag_id="x")).count)
""",
    "good.py": 'd = dag("good", 1)\n',
}

KILLED = ["garbage.py", "garbage_body.py", "endless_frame.py", "log_garbage.py", "flood.py", "flood_of_reads.py"]


class Hostile:
    def __init__(self, agent: ScriptedAgent, processor: ProcessorUnderTest, descriptors: dict[str, str]) -> None:
        self.agent = agent
        self.processor = processor
        self.manager_descriptors = descriptors

    def dags(self, name: str) -> list[dict]:
        result = self.agent.wait(lambda: self.agent.result_of(name))
        return [dag.document["dag"] for dag in result.dags]

    def found(self, name: str):
        """What the file put into its DAG's description."""
        (dag,) = self.dags(name)
        return json.loads(dag["description"])


def answer(read: protocol.Read) -> protocol.ReadAnswer | None:
    if read.request.get("key") == "never answered":
        return None
    if read.request["type"] == "GetTICount":
        return protocol.ReadAnswer(id=read.id, body={"count": 42})
    return not_found(read)


@pytest.fixture(scope="module")
def hostile() -> Iterator[Hostile]:
    with open_directory() as root:
        for name in ("dags", "marks", "socket"):
            (root / name).mkdir()
            (root / name).chmod(0o777)
        for name, text in FILES.items():
            (root / "dags" / name).write_text(DAG + text.replace("MARKS", str(root / "marks")))
        agent = ScriptedAgent(root / "socket", answer)
        processor = ProcessorUnderTest(
            root / "home",
            agent.path,
            {"hostile": root / "dags"},
            AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES="4",
            AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT="20",
            AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL="600",
        )
        try:
            agent.wait(lambda: agent.of(protocol.FilesObserved))
            directory = Path(f"/proc/{processor.process.pid}/fd")
            # The processor is undumpable, so only root may look.
            descriptors = {entry.name: os.readlink(entry) for entry in directory.iterdir()} if os.geteuid() == 0 else {}
            yield Hostile(agent, processor, descriptors)
        finally:
            processor.stop()
            agent.close()


# Airflow leaves a socket of the child's to the garbage collector. It comes first, before this process has
# the threads of an agent to fork with.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_what_a_killed_child_has_written_is_in_its_log_though_airflow_closes_the_log_first(tmp_path: Path):
    path, log = tmp_path / "loud.py", tmp_path / "log"
    path.write_text("import os, time  # airflow DAG\nos.write(1, b'loud\\n' * 20_000)\ntime.sleep(60)\n")
    render = structlog.processors.JSONRenderer(lambda event, **_: json.dumps(event, default=str).encode())
    with log.open("wb") as file, selectors.DefaultSelector() as selector:
        process = ParseProcess.start(
            id=uuid4(),
            path=path,
            bundle_path=tmp_path,
            bundle_name="loud",
            dag_file_rel_path="loud.py",
            callbacks=[],
            selector=selector,
            logger=structlog.wrap_logger(structlog.BytesLogger(file), processors=[render]),
            logger_filehandle=file,
            forward=lambda *_: None,
            settle=lambda *_: None,
        )
        output = next(connection for connection, kind in process._open_sockets.items() if kind == "stdout")
        deadline = time.monotonic() + 20
        while struct.unpack("i", fcntl.ioctl(output, termios.FIONREAD, b"1234"))[0] < 100_000:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill(signal.SIGKILL)
        process.logger_filehandle.close()
        process.close()
    assert log.read_bytes().count(b"loud") >= 20_000


def test_children_have_no_descriptor_of_the_manager_or_of_a_sibling(hostile: Hostile):
    one, other = hostile.found("descriptors_a.py"), hostile.found("descriptors_b.py")
    sockets = [{link for link in seen.values() if link.startswith("socket:")} for seen in (one, other)]
    assert sockets[0]
    assert sockets[1]
    assert not sockets[0] & sockets[1]
    for seen in (one, other):
        assert not [link for link in seen.values() if "eventpoll" in link or "pidfd" in link]
        if hostile.manager_descriptors:
            of_manager = {link for link in hostile.manager_descriptors.values() if link.startswith("socket:")}
            assert of_manager
            assert not of_manager & set(seen.values())


def test_children_cannot_look_into_the_manager(hostile: Hostile):
    assert all(errno == 13 for errno in hostile.found("parent.py").values())


@pytest.mark.parametrize("name", KILLED)
def test_what_cannot_be_understood_ends_only_that_child(hostile: Hostile, name: str):
    result = hostile.agent.wait(lambda: hostile.agent.result_of(name))
    assert result.timed_out
    assert not result.dags
    # Ended at once, not by the timeout.
    assert result.parse_duration < 15
    assert hostile.found("good.py") == 1
    assert hostile.processor.process.poll() is None


def test_thousands_of_unread_answers_do_not_hang_the_loop(hostile: Hostile):
    assert "does not read its answers" in hostile.processor.log
    ticks = len(hostile.agent.of(protocol.Tick))
    hostile.agent.wait(lambda: len(hostile.agent.of(protocol.Tick)) > ticks + 1)


def test_a_hung_read_delays_no_other_file_and_is_reported_as_timed_out(hostile: Hostile):
    result = hostile.agent.wait(lambda: hostile.agent.result_of("hung_read.py"))
    assert result.timed_out
    results = [result.relative_fileloc for result in hostile.agent.of(protocol.ParseResult)]
    assert results.index("good.py") < results.index("hung_read.py")


def test_a_message_that_is_not_airflows_is_answered_with_an_error(hostile: Hostile):
    assert "can't be understood" in hostile.found("nonsense.py")


def test_the_count_of_task_instances_reaches_the_child(hostile: Hostile):
    assert hostile.found("count.py") == 42


def test_the_source_travels_with_the_result(hostile: Hostile):
    (dag,) = hostile.dags("good.py")
    assert hostile.agent.result_of("good.py").sources == {dag["fileloc"]: DAG + FILES["good.py"]}


def test_a_dag_whose_source_is_missing_is_sent_without_one_and_without_a_traceback(hostile: Hostile):
    assert hostile.found("no_source.py") == 1
    result = hostile.agent.result_of("no_source.py")
    assert result.sources == {}
    assert result.import_errors == {}


def test_reads_carry_the_file_that_asks(hostile: Hostile):
    reads = hostile.agent.wait(
        lambda: [read for read in hostile.agent.of(protocol.Read) if read.request["type"] == "GetTICount"]
    )
    assert [(read.bundle_name, read.relative_fileloc) for read in reads] == [("hostile", "count.py")]


def test_the_manager_has_no_threads_to_fork_with(hostile: Hostile):
    assert len(os.listdir(f"/proc/{hostile.processor.process.pid}/task")) == 1
