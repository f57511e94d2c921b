"""A DAG processor on a terminal shows how far it is, below log lines that stay whole; elsewhere nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import dag_files
import pytest
from agent_peer import ProcessorUnderTest, ScriptedAgent, open_directory
from pseudo_terminal import PseudoTerminal

WRITERS = """
import subprocess, sys, time
from parsegate.client.counts import Counts
from parsegate.client.terminal import shared_terminal

other = "import sys, time\\nfor n in range(200): print('other', n, 'x' * 90, file=sys.stderr); time.sleep(0.002)"
with shared_terminal() as counts:
    process = subprocess.Popen([sys.executable, "-c", other])
    for n in range(200):
        print("\\x1b[31mown\\x1b[0m", n, "[not/markup]", "y" * 90, flush=True)
        if counts is not None:
            counts.tell(Counts(parsed=n // 2, total=100, parses=n, errors=n // 100))
        time.sleep(0.005)
    process.wait()
print("outside")
"""


@pytest.fixture
def terminal() -> PseudoTerminal:
    return PseudoTerminal()


def test_lines_of_several_writers_stay_whole_above_the_bar(terminal: PseudoTerminal) -> None:
    # Unbuffered, Python writes a line in pieces, which others may come between on any terminal.
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "60", "PYTHONUNBUFFERED": ""}
    subprocess.run(
        [sys.executable, "-P", "-c", WRITERS],
        stdout=terminal.descriptor,
        stderr=terminal.descriptor,
        env=environment,
        check=True,
        timeout=60,
    )
    terminal.close()

    lines = terminal.lines
    assert [line for line in lines if line.startswith("own")] == [
        f"own {n} [not/markup] {'y' * 90}" for n in range(200)
    ]
    assert [line for line in lines if line.startswith("other")] == [f"other {n} {'x' * 90}" for n in range(200)]
    assert lines[-1] == "outside"
    bars = [line for line in lines if re.search(r"Parsing .*\d+/100 files, \d+\.\d/s, ", line)]
    assert "no errors" in bars[0]
    assert "1 with errors" in bars[-1]
    assert set(lines) == {line for line in lines if line.startswith(("own", "other", "outside", "Parsing"))}


@pytest.mark.parametrize("term", ["dumb", None])
def test_a_terminal_that_cannot_draw_gets_the_lines_alone(terminal: PseudoTerminal, term: str | None) -> None:
    script = "from parsegate.client.terminal import shared_terminal\nwith shared_terminal() as counts: print(counts)"
    environment = {name: value for name, value in os.environ.items() if name != "TERM"} | (
        {"TERM": term} if term else {}
    )
    subprocess.run(
        [sys.executable, "-P", "-c", script],
        stdout=terminal.descriptor,
        stderr=terminal.descriptor,
        env=environment,
        check=True,
        timeout=60,
    )
    terminal.close()

    assert terminal.lines == ["None"]


def test_a_processor_shows_its_files_on_a_terminal(terminal: PseudoTerminal) -> None:
    with open_directory() as root:
        bundle = root / "plain"
        bundle.mkdir()
        dag_files.write(bundle, good=dag_files.DAILY.format(dag_id="good"), broken=dag_files.BROKEN)
        agent = ScriptedAgent(root)
        processor = ProcessorUnderTest(
            root / "home",
            agent.path,
            {"plain": bundle},
            "--num-runs",
            "1",
            terminal=terminal.descriptor,
            TERM="xterm",
            COLUMNS="100",
        )
        assert processor.wait() == 0
        agent.close()
    terminal.close()

    (ended,) = [line for line in terminal.lines if "The processor has ended with exit code 0" in line]
    assert "files," not in ended
    assert any("2/2 files" in line and "1 with errors" in line for line in terminal.lines), terminal.lines[-20:]
