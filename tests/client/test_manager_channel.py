from __future__ import annotations

import socket
from collections.abc import Iterator

import msgspec
import pytest
from agent_process import parse_result

from parsegate.client import protocol
from parsegate.client.manager_channel import ManagerChannel


@pytest.fixture
def ends() -> Iterator[tuple[ManagerChannel[protocol.FromAgent], socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    channel: ManagerChannel[protocol.FromAgent] = ManagerChannel(ours, "agent", protocol.FromAgent)
    yield channel, theirs
    channel.close()
    theirs.close()


def arrived(connection: socket.socket) -> list[protocol.Message]:
    try:
        data = connection.recv(1 << 20)
    except BlockingIOError:
        return []
    decoder = msgspec.msgpack.Decoder(protocol.ToAgent)
    return [decoder.decode(frame) for frame in protocol.FrameBuffer().feed(data)]


def test_what_is_held_goes_with_the_next_message_in_order(
    ends: tuple[ManagerChannel[protocol.FromAgent], socket.socket],
):
    channel, peer = ends
    results = [parse_result("a.py"), parse_result("b.py")]
    for result in results:
        channel.hold(result)
    assert arrived(peer) == []
    assert channel.pending_bytes > 0
    channel.send(protocol.Tick())
    assert arrived(peer) == [*results, protocol.Tick()]


def test_what_is_held_is_released_after_its_time(ends: tuple[ManagerChannel[protocol.FromAgent], socket.socket]):
    channel, peer = ends
    result = parse_result("a.py")
    channel.hold(result)
    channel.release(held_for=3600.0)
    assert arrived(peer) == []
    channel.release(held_for=0.0)
    assert arrived(peer) == [result]
    channel.release(held_for=0.0)
    assert arrived(peer) == []


def test_nothing_is_held_for_a_peer_that_has_gone(ends: tuple[ManagerChannel[protocol.FromAgent], socket.socket]):
    channel, _ = ends
    channel.close()
    channel.hold(parse_result("a.py"))
    assert channel.pending_bytes == 0


def test_frames_are_cut_wherever_the_stream_is_split():
    messages = [parse_result("a.py", import_errors={"a.py": "x" * size}) for size in (0, 5, 300)]
    stream = b"".join(protocol.encode(message) for message in messages)
    whole = protocol.FrameBuffer().feed(stream)
    assert len(whole) == 3
    for step in (1, 3, 7, 250):
        buffer = protocol.FrameBuffer()
        parts = [stream[at : at + step] for at in range(0, len(stream), step)]
        assert [frame for part in parts for frame in buffer.feed(memoryview(part))] == whole
